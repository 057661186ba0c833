"""The Vault road through every door: the running product, a real Vault, and an AWS that enforces."""

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from botocore.exceptions import ClientError
from hvac.exceptions import Forbidden, InvalidRequest

from gateway.dev.children import free_port
from gateway.dev.vault import VaultServer, running_vault
from gateway.policy.rule import VaultRole
from tests.support.boto import Keys, client
from tests.support.caller import problem, until
from tests.support.gateways import Gateway, edit, fresh, running_gateway, write_config
from tests.support.tokens import jwks
from tests.support.vaults import (
    PreparedVault,
    accessors,
    assumable_role,
    hvac_client,
    prepared_vault,
    serving_keys,
)
from tests.support.world import World

VAULT_TOKEN = "urn:oidc-gateway:token-type:vault-token"
WORKFLOW = "lab-vaulted"


class Seen:
    """The embedded Vault as its administrator sees it."""

    def __init__(self, server: VaultServer) -> None:
        self._server = server
        self._before = self.live()

    def live(self) -> set[str]:
        """Return the accessors of all tokens that live."""
        with hvac_client(self._server.address, self._server.root_token.reveal()) as admin:
            return accessors(admin)

    def new(self) -> set[str]:
        """Return the accessors of those that did not live before the test."""
        return self.live() - self._before

    def are_only(self, *accessors: str) -> bool:
        """Say whether no token of the test lives but these; revocations are made beside the answers."""
        return until(lambda: self.new() <= set(accessors) or None)

    def about(self, token: str) -> dict[str, object]:
        """Return what Vault says of a token to its bearer."""
        with hvac_client(self._server.address, token) as bearer:
            found: dict[str, object] = bearer.auth.token.lookup_self()["data"]
        return found


@pytest.fixture
def seen(vault: VaultServer, world: World) -> Seen:
    """The Vault of the product; the shared one of the tests says that there are any."""
    assert world.environment.vault is not None
    return Seen(world.environment.vault)


def token_of(world: World, target: str, token: str | None = None) -> httpx2.Response:
    return world.exchange(token or world.vault_lab(), audience=target, requested_token_type=VAULT_TOKEN)


def keys_of(answer: httpx2.Response) -> Keys:
    document = answer.json()
    return Keys(
        key_id=document["AccessKeyId"],
        secret=document["SecretAccessKey"],
        session_token=document["SessionToken"],
    )


def everything_recorded(audit: Path) -> str:
    return "".join(file.read_text() for file in audit.rglob("*") if file.is_file())


# --- Starts ---


@pytest.mark.requirement("VA-05", "VA-08", "AU-01")
def test_a_workflow_starts_with_credentials_of_vaults_engine_and_no_login_is_left(
    world: World, seen: Seen
) -> None:
    answer = world.start(world.vault_lab(), WORKFLOW, key=uuid.uuid4().hex, target="lab-vault")

    document = answer.json()
    assert answer.status_code == 201, answer.text
    assert document["target"] == "lab-vault"
    intent, outcome = world.records(answer)
    assert (intent.kind, outcome.kind, outcome.code) == ("intent", "outcome", None)
    assert outcome.issued is not None
    assert outcome.issued.startswith("arn:aws:sts::111122223333:assumed-role/lab-vault/")
    assert outcome.lease is not None
    assert outcome.lease.startswith("aws/sts/lab-vault/")
    assert seen.are_only()


def test_a_start_through_vault_that_is_repeated_is_the_same_execution(world: World, seen: Seen) -> None:
    key, token = uuid.uuid4().hex, world.vault_lab()

    first = world.start(token, WORKFLOW, key=key, target="lab-vault")
    again = world.start(world.vault_lab(), WORKFLOW, key=key, target="lab-vault")
    ended = world.get(f"{first.json()['url']}?wait_s=50&target=lab-vault", token)

    assert (first.status_code, again.status_code) in {(201, 200), (201, 201)}
    assert again.json()["arn"] == first.json()["arn"]
    assert (ended.status_code, ended.json()["status"]) == (200, "SUCCEEDED")
    assert seen.are_only()


# --- What leaves the gateway ---


@pytest.mark.requirement("VA-04")
def test_a_token_becomes_a_token_of_vault_with_the_targets_policies_alone(world: World, seen: Seen) -> None:
    answer = token_of(world, "lab-vault")

    document = answer.json()
    assert answer.status_code == 200, answer.text
    held = str(document.pop("access_token"))
    about = seen.about(held)
    assert about["policies"] == ["default", "lab-vault"]
    assert about["path"] == "auth/jwt-github/login"
    assert 880 < document.pop("expires_in") <= 900
    assert document.pop("request_id") == answer.headers["x-request-id"]
    assert world.environment.vault is not None
    assert document == {
        "issued_token_type": VAULT_TOKEN,
        "token_type": "N_A",
        "target": "lab-vault",
        "vault_address": world.environment.vault.address,
        "vault_namespace": None,
        "wrapped": False,
    }
    assert seen.are_only(str(about["accessor"]))


@pytest.mark.requirement("VA-05")
def test_the_record_names_the_login_and_holds_neither_token_nor_accessor(world: World, seen: Seen) -> None:
    answer = token_of(world, "lab-vault")

    held = str(answer.json()["access_token"])
    accessor = str(seen.about(held)["accessor"])
    outcome = world.records(answer)[-1]
    assert outcome.issued is not None
    assert outcome.issued.startswith("auth/jwt-github/role/lab-vault/")
    assert [secret for secret in (held, accessor) if secret in everything_recorded(world.audit)] == []
    assert held not in world.environment.log().read_text()


@pytest.mark.requirement("VA-05", "VA-08")
def test_aws_credentials_of_vaults_engine_work_and_reach_what_the_engines_role_may_alone(
    world: World, seen: Seen
) -> None:
    answer = world.ask("POST", "/v1/credentials", world.vault_lab(), body={"target": "lab-vault"})

    assert answer.status_code == 200, answer.text
    states = client("stepfunctions", world.environment.aws.url, keys_of(answer))
    machine = "arn:aws:states:eu-west-1:111122223333:stateMachine:"
    states.start_execution(stateMachineArn=f"{machine}{WORKFLOW}", name=uuid.uuid4().hex)
    with pytest.raises(ClientError, match="AccessDenied"):
        states.start_execution(stateMachineArn=f"{machine}lab-echo", name=uuid.uuid4().hex)
    outcome = world.records(answer)[-1]
    assert str(outcome.lease).startswith("aws/sts/lab-vault/")
    assert answer.json()["SecretAccessKey"] not in everything_recorded(world.audit)
    assert seen.are_only()


def test_a_wrapped_token_is_unwrapped_by_vaults_own_client_once(world: World, seen: Seen) -> None:
    document = token_of(world, "lab-wrapped").json()

    wrapping = document["access_token"]
    assert (document["wrapped"], document["creation_path"]) == (True, "auth/jwt-github/login")
    assert document["expires_in"] <= 60
    with hvac_client(document["vault_address"], wrapping) as receiver:
        looked_up = receiver.write_data("sys/wrapping/lookup", data={"token": wrapping})["data"]
        unwrapped = receiver.sys.unwrap()["auth"]
    assert looked_up["creation_path"] == document["creation_path"]
    assert unwrapped["token_policies"] == ["default", "lab-wrapped"]
    with hvac_client(document["vault_address"], wrapping) as late, pytest.raises((Forbidden, InvalidRequest)):
        late.sys.unwrap()


def test_who_asks_is_told_in_which_forms_a_target_may_be_obtained(world: World) -> None:
    document = world.get("/v1/whoami", world.vault_lab()).json()

    forms = {one["target"]: set(one["forms"]) for one in document["may_obtain"]}
    assert forms == {
        "lab-vault": {"aws-credentials", "vault-token"},
        "lab-narrow": {"vault-token"},
        "lab-wrapped": {"vault-token"},
    }


# --- Refusals ---


@pytest.mark.parametrize(
    ("target", "requested"),
    [
        pytest.param("lab-narrow", None, id="credentials-where-only-tokens-are-granted"),
        pytest.param("lab-one", VAULT_TOKEN, id="a-token-of-an-iam-role"),
    ],
)
def test_a_form_that_no_rule_grants_is_as_unknown_as_the_target(
    world: World, seen: Seen, target: str, requested: str | None
) -> None:
    wanted = {} if requested is None else {"requested_token_type": requested}

    answer = world.exchange(world.vault_lab(), audience=target, **wanted)

    assert (answer.status_code, answer.json()["code"]) == (400, "target_unknown")
    assert seen.new() == set()


@pytest.mark.requirement("VA-06", "VA-07")
def test_what_our_rule_allows_and_vaults_role_does_not_is_refused_with_the_claim_named(
    world: World, seen: Seen
) -> None:
    server = world.environment.vault
    assert server is not None
    with hvac_client(server.address, server.root_token.reveal()) as admin:
        bound = {"repository_id": ["98"], "ref": ["refs/heads/release-of-vault"]}
        admin.write_data("auth/jwt-github/role/lab-narrow", data={"role_type": "jwt", "bound_claims": bound})

    started = world.start(world.vault_lab(), WORKFLOW, key=uuid.uuid4().hex, target="lab-narrow")
    exchanged = token_of(world, "lab-narrow")

    document = problem(started)
    assert (started.status_code, document["code"], document["stage"]) == (403, "vault_denied", "vault")
    assert document["claims"] == [{"name": "ref", "problem": "value", "value": "refs/heads/main"}]
    assert (exchanged.status_code, exchanged.json()["error"]) == (400, "invalid_target")
    assert exchanged.json()["code"] == "vault_denied"
    for answer in (started, exchanged):
        assert "release-of-vault" not in answer.text
        assert "bound claim" not in answer.text
        assert [record.code for record in world.records(answer)][-1] == "vault_denied"
    assert seen.new() == set()


# --- One gateway, one Vault, for a test that spoils them ---


class Road:
    """A gateway whose files have one role of Vault more, `own`, with both forms."""

    def __init__(self, gateway: Gateway, vault: PreparedVault) -> None:
        self.gateway = gateway
        self.vault = vault

    def token(self) -> httpx2.Response:
        """Exchange a fresh token for one of Vault."""
        return self.gateway.exchange(fresh(), audience="own", requested_token_type=VAULT_TOKEN)

    def credentials(self) -> httpx2.Response:
        """Exchange a fresh token for AWS credentials."""
        return self.gateway.ask("POST", "/v1/credentials", fresh(), body={"target": "own"})


@contextmanager
def own_road(folder: Path, aws_url: str, *, environment: dict[str, str] | None = None) -> Iterator[Road]:
    with (
        running_vault(workdir=folder) as server,
        serving_keys(jwks()) as keys_url,
        prepared_vault(server, jwks_url=keys_url) as prepared,
    ):
        engine = prepared.add_engine(aws_url, role_arn=assumable_role(aws_url))
        role = prepared.add_role(token_policies=[prepared.may_use(engine)])
        config = write_config(folder / "config", aws=aws_url, emulator=True)
        edit(config / "gateway.yaml", "https://vault.acme.example:8200", server.address)
        edit(config / "gateway.yaml", "    namespace: acme #", "    # namespace: acme #")
        target = {**_as_written(role), "aws": _engine_as_written(engine.mount, engine.role, str(engine.arn))}
        (config / "targets").mkdir()
        (config / "targets" / "own.yaml").write_text(
            json.dumps({"format": "oidc-gateway/targets.v1", "vault_roles": {"own": target}})
        )
        (config / "mappings" / "payments" / "own.yaml").write_text(_RULES)
        with running_gateway(config, folder / "audit", environment=environment) as gateway:
            yield Road(gateway, prepared)


def _as_written(role: VaultRole) -> dict[str, object]:
    return {
        "vault": "main",
        "mount": role.mount,
        "role": role.role,
        "user_claim": role.user_claim,
        "policies": list(role.policies),
        "ttl": f"{role.ttl_s}s",
        "teams": ["payments"],
    }


def _engine_as_written(mount: str, role: str, arn: str) -> dict[str, object]:
    return {"mount": mount, "role": role, "role_arn": arn}


_RULES = json.dumps(
    {
        "format": "oidc-gateway/mapping.v1",
        "rules": [
            {
                "name": "own",
                "why": "what a test asks of a Vault of its own",
                "issuer": "github",
                "claims": {"repository": "acme/payments", "repository_id": "4711"},
                "grants": [{"obtain": "own", "form": "vault-token"}, {"obtain": "own"}],
            }
        ],
    }
)


def unseal_key(folder: Path) -> str:
    """Return what a Vault in dev mode printed when it started."""
    (output,) = folder.glob("oidc-gateway-vault-*/output")
    return output.read_text().partition("Unseal Key: ")[2].split()[0]


@pytest.mark.requirement("VA-05", "VA-06", "F-51", "F-53")
def test_a_vault_that_is_sealed_in_mid_flight_is_unavailable_and_no_login_outlives_it(
    vault: VaultServer, ministack: str, tmp_path: Path
) -> None:
    sealed, answered = threading.Event(), threading.Barrier(5)

    def ask_on(road: Road) -> list[httpx2.Response]:
        answers = [road.credentials()]
        answered.wait(30)
        while not sealed.is_set() or answers[-1].status_code == 200:
            answers.append(road.credentials())
        return answers

    with own_road(tmp_path, ministack) as road:
        before = road.vault.tokens()
        with ThreadPoolExecutor() as pool:
            callers = [pool.submit(ask_on, road) for _ in range(4)]
            answered.wait(30)
            road.vault.admin.sys.seal()
            sealed.set()
            answers = [answer for caller in callers for answer in caller.result(60)]
        after = road.token()
        road.vault.admin.sys.submit_unseal_key(unseal_key(tmp_path))

        refused = [answer for answer in answers if answer.status_code != 200]
        assert {problem(answer)["code"] for answer in refused} == {"vault_sealed"}
        assert {answer.status_code for answer in refused} == {503}
        assert all(answer.headers["retry-after"] for answer in refused)
        assert (after.status_code, after.json()["code"]) == (503, "vault_sealed")
        assert road.gateway.get("/readyz").status_code == 200
        # A login whose revocation met the seal is revoked some seconds later.
        assert until(lambda: road.vault.tokens() <= before or None, patience_s=40)
        assert road.token().status_code == 200


@pytest.mark.requirement("VA-02", "F-55")
def test_nothing_of_vault_in_the_environment_of_the_gateway_is_read(
    vault: VaultServer, ministack: str, tmp_path: Path
) -> None:
    # What a client of Vault reads by itself: none of it leads anywhere or is worth anything.
    nowhere = f"http://127.0.0.1:{free_port()}"
    home = tmp_path / "home"
    home.mkdir()
    (home / ".vault-token").write_text("hvs.from-the-home-folder")
    (home / ".vault").write_text("token_helper = '/bin/false'\n")
    values = {
        "ADDR": nowhere,
        "AGENT_ADDR": nowhere,
        "TOKEN": "hvs.from-the-environment",
        "NAMESPACE": "trap",
        "CACERT": str(tmp_path / "no-such-ca.pem"),
        "SKIP_VERIFY": "true",
        "HTTP_PROXY": nowhere,
        "PROXY_ADDR": nowhere,
    }
    trap = {f"{prefix}_{name}": value for prefix in ("VAULT", "BAO") for name, value in values.items()}

    with own_road(tmp_path, ministack, environment={**trap, "HOME": str(home)}) as road:
        before = road.vault.tokens()
        exchanged, issued = road.token(), road.credentials()
        about = road.vault.seen_by(exchanged.json()["access_token"])
        left = until(lambda: road.vault.tokens() - before <= {about["accessor"]} or None)
        log = road.gateway.log()

    assert (exchanged.status_code, issued.status_code) == (200, 200)
    assert about["path"].endswith("/login")
    assert exchanged.json()["vault_namespace"] is None
    assert left
    assert "hvs.from-the" not in log
