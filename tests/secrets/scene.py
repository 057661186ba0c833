"""One gateway among peers that give it marked secrets and talk too much, and everything that it writes meanwhile."""

import asyncio
import json
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent
from typing import Literal

import httpx2

from gateway.audit.signing import generate
from tests.support.background import in_background
from tests.support.caller import Caller
from tests.support.canaries import canary
from tests.support.gateways import Gateway, edit, fresh, running_gateway, write_config
from tests.support.hurt_gateway import VARIABLE
from tests.support.otlp import Collector, running_collector
from tests.support.peer import Peer, Received, Reply
from tests.support.processes import descendants
from tests.support.redis_server import RedisServer, running_redis
from tests.support.scripted_aws import ScriptedAws, issues_credentials, running_scripted_aws
from tests.support.syslog import Receiver
from tests.support.vault_edge import REVOKED, engine_answer, login_answer, says

TESTS_RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: once
    why: PAY-7, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants: [{ start: deploy-payments, as: payments-prod }, { obtain: payments-prod }]
    replay: once
"""


@dataclass(slots=True)
class Secrets:
    """What must be nowhere but where it belongs.

    everywhere: by name: credentials, keys and parts of tokens, which only their own answer may hold.
    recorded:   claims, which the record holds and nothing else does.
    delivered:  inputs and outputs of workflows, which only requests to AWS and their own answers hold.
    """

    everywhere: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, str] = field(default_factory=dict)
    delivered: dict[str, str] = field(default_factory=dict)

    def token(self, kind: str = "github", **claims: object) -> str:
        """Return a good token with a marked claim, and hold its signature."""
        claim = self.recorded.setdefault("a claim", canary("claim-"))
        made = fresh(kind, **{"a_marked_claim": claim, **claims})
        return self.hold_token(made)

    def hold_token(self, token: str) -> str:
        """Hold the parts of a token that make it one: its payload as it was sent, and its signature."""
        _, payload, signature = token.split(".")
        number = len(self.everywhere)
        # The first piece of every payload is `{"iss": "https://…`.
        self.everywhere[f"token {number}, payload"] = payload[120:]
        self.everywhere[f"token {number}, signature"] = signature
        return token


@dataclass(kw_only=True)
class Scene:
    """Everything at hand. answers: of every request that was made, with what was asked."""

    gateway: Gateway
    aws: ScriptedAws
    vault: "Vault"
    collector: Collector
    copy: Receiver
    redis: RedisServer
    secrets: Secrets
    temporary: Path
    answers: list[tuple[str, httpx2.Response]] = field(default_factory=list)

    def ask(self, method: str, path: str, token: str | None = None, **how: object) -> httpx2.Response:
        """Send one request, and keep its answer."""
        answer = Caller.ask(self.gateway, method, path, token, **how)  # type: ignore[arg-type]
        self.answers.append((f"{method} {path}", answer))
        return answer

    def start(
        self, token: str, workflow: str = "deploy-payments", *, key: str | None = None, **members: object
    ) -> httpx2.Response:
        """Start a workflow."""
        headers = {"Idempotency-Key": key or self.key()}
        return self.ask(
            "POST", "/v1/executions", token, body={"workflow": workflow, **members}, headers=headers
        )

    def exchange(self, token: str, **fields: str) -> httpx2.Response:
        """Ask the token endpoint."""
        answer = self.gateway.exchange(token, **fields)
        self.answers.append((f"POST /token {fields.get('audience')}", answer))
        return answer

    def key(self) -> str:
        """Return a marked idempotency key."""
        made = canary("key-")
        self.secrets.everywhere[f"idempotency key {len(self.secrets.everywhere)}"] = made
        return made

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return what comes back until the end or a second's silence."""
        port = httpx2.URL(self.gateway.url).port or 0
        received = b""
        with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            while some := peer.recv(65_536):
                received += some
        return received


class Vault:
    """A Vault that gives marked tokens. reply: what it does next to a login; None is to do it well."""

    def __init__(self, secrets: Secrets) -> None:
        held = secrets.everywhere
        held["Vault token"] = canary("hvs.", length=60)
        held["Vault accessor"] = canary(length=24)
        held["Vault AWS secret"] = canary(length=40)
        held["Vault AWS session token"] = canary("IQoJ", length=200)
        self._held = held
        self.reply: Reply | None = None
        self.peer = Peer(self._answer)

    async def _answer(self, request: Received, writer: asyncio.StreamWriter) -> None:
        held = self._held
        if self.reply is not None:
            await self.reply(request, writer)
        elif request.target.endswith("/login"):
            found = login_answer(client_token=held["Vault token"], accessor=held["Vault accessor"])
            await says(found)(request, writer)
        elif "/sts/" in request.target or "/creds/" in request.target:
            session = json.loads(request.body)["role_session_name"]
            made = engine_answer(
                session,
                arn=f"arn:aws:sts::111122223333:assumed-role/payments-deployer/{session}",
                secret_key=held["Vault AWS secret"],
                security_token=held["Vault AWS session token"],
                session_token=held["Vault AWS session token"],
            )
            await says(made)(request, writer)
        else:
            await REVOKED(request, writer)


@contextmanager
def _running_vault(secrets: Secrets) -> Iterator[Vault]:
    vault = Vault(secrets)
    with in_background(vault.peer):
        yield vault


def issues_marked(secrets: Secrets) -> Reply:
    """Answer as STS does, with marked credentials."""
    held = secrets.everywhere
    held.setdefault("AWS access key id", "ASIA" + canary(length=16).upper())
    held.setdefault("AWS secret", canary(length=40))
    held.setdefault("AWS session token", canary("IQoJ", length=300))
    return issues_credentials(
        AccessKeyId=held["AWS access key id"],
        SecretAccessKey=held["AWS secret"],
        SessionToken=held["AWS session token"],
    )


@contextmanager
def running_scene(
    folder: Path,
    *,
    workers: int = 1,
    log: Literal["json", "console"] = "json",
    hurt: Mapping[str, object] | None = None,
) -> Iterator[Scene]:
    """Start everything: traces, the second copy and shared state are on. hurt: see `tests.support.hurt_gateway`."""
    secrets, copy = Secrets(), Receiver()
    password = secrets.everywhere.setdefault("Redis password", canary(length=40))
    users = ("user default off", f"user gateway on >{password} ~* &* +@all")
    with (
        running_collector() as collector,
        running_scripted_aws() as aws,
        _running_vault(secrets) as vault,
        running_redis(users=users) as redis,
    ):
        aws.sts = issues_marked(secrets)
        temporary = folder / "tmp"
        temporary.mkdir()
        environment = {
            **_settings(folder, secrets, password),
            "OIDC_GATEWAY_TRACING_OTLP": collector.url,
            "OIDC_GATEWAY_AUDIT_SYSLOG_TO": f"tcp://127.0.0.1:{copy.port}",
            "OIDC_GATEWAY_AUDIT_SYSLOG_MAX_MESSAGE_BYTES": "300000",
            "OIDC_GATEWAY_STATE_URL": redis.url,
            "OIDC_GATEWAY_WORKERS": str(workers),
            "TMPDIR": str(temporary),
            **({VARIABLE: json.dumps(hurt)} if hurt else {}),
        }
        config = _config(folder / "config", aws.url, vault.peer.url)
        module = "tests.support.hurt_gateway" if hurt else "gateway"
        with running_gateway(
            config, folder / "audit", environment=environment, module=module, log=log
        ) as gateway:
            yield Scene(
                gateway=gateway,
                aws=aws,
                vault=vault,
                collector=collector,
                copy=copy,
                redis=redis,
                secrets=secrets,
                temporary=temporary,
            )
    copy.close()


def _settings(folder: Path, secrets: Secrets, password: str) -> dict[str, str]:
    generate(folder / "head.pem")
    lines = (folder / "head.pem").read_text().splitlines()
    secrets.everywhere["signing key"] = "".join(line for line in lines if "-----" not in line)[-40:]
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o600)
    return {
        "OIDC_GATEWAY_AUDIT_SIGNING_KEY": str(folder / "head.pem"),
        "OIDC_GATEWAY_AUDIT_HEAD_RECORDS": "5",
        "OIDC_GATEWAY_STATE_USERNAME": "gateway",
        "OIDC_GATEWAY_STATE_PASSWORD_FILE": str(folder / "password"),
        "OIDC_GATEWAY_STATE_PREFIX": f"canary-{uuid.uuid4().hex}:",
        "OIDC_GATEWAY_STATE_TIMEOUT_MS": "5000",
    }


def _config(folder: Path, aws: str, vault: str) -> Path:
    config = write_config(folder, aws=aws)
    edit(config / "gateway.yaml", "https://vault.acme.example:8200", vault)
    edit(config / "targets.yaml", "input_schema: schemas/incident.json", "input_schema: any")
    express = "  notify:\n" + indent(
        "state_machine: arn:aws:states:eu-west-1:111122223333:stateMachine:notify\n"
        "type: express-sync\ninput_schema: any\noutput: visible\ntimeout: 20s\nteams: [ops]\n",
        "    ",
    )
    edit(config / "targets.yaml", "workflows:\n", f"workflows:\n{express}")
    agents = config / "mappings" / "ops" / "agents.yaml"
    agents.write_text(agents.read_text() + "      - { start: notify, as: incident-agent }\n")
    (config / "mappings" / "payments" / "once.yaml").write_text(TESTS_RULES)
    return config


def command_lines(process: int) -> bytes:
    """Return the arguments and titles of a process and its descendants."""
    said = b""
    for one in descendants(process):
        for name in ("cmdline", "comm"):
            said += Path(f"/proc/{one}/{name}").read_bytes() + b"\n"
    return said
