"""`oidc-gateway dev`: it starts, mints, follows the files, and leaves nothing behind however it ends."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.dev.children import free_port
from tests.support import components
from tests.support.processes import descendants, listening_addresses

REPOSITORY = Path(__file__).parents[2]
pytestmark = components.skip_without("ministack")
_VAULT = components.skip_without("vault")
_START_S = 60.0
_END_S = 60.0


def until(true: Callable[[], object], *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return bool(true())


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # ended; a container's first process may not collect it


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", "dev", *arguments]


class Dev:
    """A running `oidc-gateway dev` with a cache folder of its own, but the ministack and the Vault that are built already."""

    def __init__(self, home: Path, *, has_vault: bool = True) -> None:
        self.port = free_port()
        self.config = home / "config"
        self.cache = home / "cache"
        self.environment = os.environ | {"XDG_CACHE_HOME": str(self.cache)}
        shutil.copytree(REPOSITORY / "config", self.config)
        real = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oidc-gateway"
        (self.cache / "oidc-gateway").mkdir(parents=True)
        for built in real.glob("ministack-*"):
            (self.cache / "oidc-gateway" / built.name).symlink_to(built)
        if has_vault:
            for built in real.glob("vault-*"):
                (self.cache / "oidc-gateway" / built.name).symlink_to(built)
        else:
            self.environment["PATH"] = str(home)
        self.output = (home / "output").open("w+")
        self.process = subprocess.Popen(
            command("--config", str(self.config), "--port", str(self.port)),
            cwd=REPOSITORY,
            env=self.environment,
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
        )

    def printed(self) -> str:
        return Path(self.output.name).read_text()

    def is_up(self) -> bool:
        return "Ctrl-C ends everything" in self.printed()

    def runs(self) -> list[Path]:
        return list((self.cache / "oidc-gateway" / "run").glob("*"))

    def token(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command("token", *arguments),
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def call(self, method: str, path: str, token: str, body: object = None) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": "1",
        }
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@contextmanager
def running_dev(home: Path, **options: bool) -> Iterator[Dev]:
    dev = Dev(home, **options)
    try:
        assert until(lambda: dev.is_up() or dev.process.poll() is not None, within_s=_START_S)
        assert dev.process.poll() is None, dev.printed()
        yield dev
    finally:
        if dev.process.poll() is None:
            dev.process.terminate()
            dev.process.wait(_END_S)
        dev.output.close()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with running_dev(tmp_path_factory.mktemp("dev")) as running:
        yield running


@pytest.mark.parametrize("issuer", ["github", "okta-agents", "operators", "partners"])
def test_a_minted_token_is_all_that_is_printed_and_the_gateway_believes_it(dev: Dev, issuer: str) -> None:
    minted = dev.token("--issuer", issuer)

    assert (minted.returncode, minted.stderr) == (0, "")
    assert minted.stdout == minted.stdout.strip()
    status, who = dev.call("GET", "/v1/whoami", minted.stdout)
    assert (status, who["issuer_name"]) == (200, issuer)


def test_a_claim_a_missing_claim_and_an_audience_can_be_ordered(dev: Dev) -> None:
    branch = dev.token("--issuer", "github", "--claim", "ref=refs/heads/x").stdout
    homeless = dev.token("--issuer", "github", "--remove", "environment").stdout
    foreign = dev.token("--issuer", "github", "--audience", "https://else.example").stdout
    expired = dev.token("--issuer", "github", "--expires-in=-5m").stdout

    start = {"workflow": "deploy-payments", "input": {"version": "1.4.2"}}
    answers = [
        dev.call("POST", "/v1/executions", token, start) for token in (branch, homeless, foreign, expired)
    ]

    assert [(status, document["code"]) for status, document in answers] == [
        (403, "claim_mismatch"),
        (403, "claim_mismatch"),
        (401, "token_audience_mismatch"),
        (401, "token_expired"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("--issuer", "gitlab"), "There is no issuer 'gitlab' here", id="unknown issuer"),
        pytest.param(
            ("--issuer", "github", "--claim", "ref"), "Expected NAME=TEXT or NAME:=JSON", id="no value"
        ),
        pytest.param(
            ("--issuer", "operators", "--claim", "a=b"), "come from a Cognito user pool", id="cognito"
        ),
        pytest.param(
            ("--issuer", "github", "--port", "1"),
            "No environment is running at port 1, but at: ",
            id="other port",
        ),
        pytest.param(
            ("--issuer", "github", "--expires-in", "5"), "a time such as 90s, 5m or 1h, not '5'", id="no unit"
        ),
    ],
)
def test_a_token_that_cannot_be_made_says_why_and_prints_nothing(
    dev: Dev, arguments: tuple[str, ...], message: str
) -> None:
    refused = dev.token(*arguments)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert message in refused.stderr


def test_everything_listens_on_loopback_alone(dev: Dev) -> None:
    addresses = listening_addresses(descendants(dev.process.pid))

    assert ("127.0.0.1", dev.port) in addresses
    assert {host for host, _ in addresses} == {"127.0.0.1"}


def test_an_edited_rule_is_live_without_a_restart(dev: Dev) -> None:
    rules = dev.config / "mappings" / "payments" / "deploy.yaml"
    before = rules.read_text()
    token = dev.token("--issuer", "github", "--claim", "ref=refs/heads/live").stdout
    start = {"workflow": "deploy-payments", "input": {"version": "1.4.2"}}

    refused, _ = dev.call("POST", "/v1/executions", token, start)
    rules.write_text(before.replace("ref: refs/heads/main", "ref: refs/heads/live"))
    allowed = until(lambda: dev.call("POST", "/v1/executions", token, start)[0] in {200, 201}, within_s=20)
    rules.write_text(before)

    assert refused == 403
    assert allowed


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name
)
def test_nothing_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    with running_dev(tmp_path) as dev:
        family = descendants(dev.process.pid)
        ports = {port for _, port in listening_addresses(family)}
        runs = dev.runs()

        dev.process.send_signal(number)
        dev.process.wait(_END_S)

        gone = until(lambda: not any(map(lives, family)) and not dev.runs(), within_s=_END_S)

    assert len(runs) == 1
    assert len(ports) >= 3
    assert gone, ([one for one in family if lives(one)], dev.runs())
    if number is not signal.SIGKILL:
        assert dev.process.returncode == 0


def test_asked_to_end_while_it_starts_it_leaves_nothing_behind(tmp_path: Path) -> None:
    dev = Dev(tmp_path)
    started = until(
        lambda: any(any(folder.glob("oidc-gateway-ministack-*")) for folder in dev.runs()), within_s=_START_S
    )
    family = descendants(dev.process.pid)

    dev.process.send_signal(signal.SIGINT)
    status = dev.process.wait(_END_S)
    dev.output.close()

    assert started
    assert status == 130
    assert until(lambda: not any(map(lives, family)) and not dev.runs(), within_s=_END_S)


def test_a_port_that_is_taken_is_named(dev: Dev) -> None:
    second = subprocess.run(
        command("--port", str(dev.port)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 2
    assert f"The gateway cannot listen on port {dev.port}: another program does" in second.stderr
    assert "Choose another with --port" in second.stderr
    assert "Building" not in second.stderr


@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_what_is_no_port_is_refused_with_the_usage(port: str) -> None:
    refused = subprocess.run(
        command(f"--port={port}"), cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )

    assert refused.returncode == 2
    assert f"argument --port: expected a port, 0 to 65535, not '{port}'" in refused.stderr


def test_the_commands_of_the_welcome_can_be_pasted(dev: Dev) -> None:
    token = dev.token("--issuer", "github").stdout
    welcome = [line.strip() for line in dev.printed().splitlines()]
    decide = next(place for place, line in enumerate(welcome) if "decide --token -" in line)
    pasted = f"{welcome[decide].removesuffix(chr(92))} {welcome[decide + 1]}"
    _, refused = dev.call("GET", "/v1/executions/deploy-payments/nothing", token)
    explain = next(line for line in welcome if " explain " in line)

    said = [
        subprocess.run(
            ["bash", "-c", line],
            cwd=REPOSITORY,
            env=dev.environment | {"TOKEN": token},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        ).stdout
        for line in (pasted, explain.replace("REQUEST_ID", str(refused["request_id"])))
    ]

    assert said[0].splitlines()[-1] == "ALLOWED as payments-prod, by payments.prod."
    assert str(refused["request_id"]) in said[1]


@_VAULT
def test_the_plan_of_its_vault_can_be_pasted_whatever_vault_the_terminal_names(dev: Dev) -> None:
    welcome = [line.strip() for line in dev.printed().splitlines()]
    place = next(place for place, line in enumerate(welcome) if " vault plan --dev " in line)
    pasted = f"{welcome[place].removesuffix(chr(92))} {welcome[place + 1]}"

    planned = subprocess.run(
        ["bash", "-c", pasted],
        cwd=REPOSITORY,
        env=dev.environment | {"VAULT_ADDR": "https://vault.acme.example:8200"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert planned.returncode == 0, planned.stdout
    assert "http://127.0.0.1:" in planned.stdout


@_VAULT
def test_an_edited_role_of_vault_is_live_without_a_restart(dev: Dev) -> None:
    rules = dev.config / "mappings" / "payments" / "ci.yaml"
    before = rules.read_text()
    job = ["repository=acme/payments-tests", "repository_id=4712", "environment=nightly"]
    ordered = [part for claim in job for part in ("--claim", claim)]
    token = dev.token("--issuer", "github", *ordered).stdout
    obtain = {"target": "payments-ci"}

    refused, _ = dev.call("POST", "/v1/credentials", token, obtain)
    rules.write_text(before.replace("environment: ci ", "environment: nightly "))
    allowed = until(lambda: dev.call("POST", "/v1/credentials", token, obtain)[0] == 200, within_s=20)
    rules.write_text(before)

    assert refused == 403
    assert allowed


@_VAULT
def test_the_root_token_of_its_vault_is_in_a_file_of_the_owner_alone(dev: Dev) -> None:
    (file,) = (run / "vault-token" for run in dev.runs())

    assert str(file) in dev.printed()
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text() not in dev.printed()


def test_without_a_vault_it_runs_and_says_how_to_get_one(tmp_path: Path) -> None:
    claims = ("repository=acme/payments-tests", "repository_id=4712", "environment=ci")
    with running_dev(tmp_path, has_vault=False) as dev:
        printed = dev.printed()
        job = dev.token("--issuer", "github", *(part for claim in claims for part in ("--claim", claim)))
        status, refused = dev.call("POST", "/v1/credentials", job.stdout, {"target": "payments-ci"})

    assert "vault plan" not in printed
    assert "Vault      not here. No vault was found. Install Vault so that `vault` is on PATH" in printed
    # Not the Vault that the files name: no token of this environment leaves the machine.
    assert (status, refused["code"]) == (503, "vault_not_ready")
