"""`vault plan` and `vault apply` on a folder of files and a real Vault: shown, asked, made, and the token never seen."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.admin.vault_session import VaultSession
from gateway.cli.main import main
from gateway.dev.vault import VaultServer
from tests.support.tokens import jwks
from tests.support.vault_plans import ENVIRONMENT, administrator
from tests.support.vaults import serving_keys

GATEWAY = """\
format: oidc-gateway/gateway.v1
issuers:
  github:
    preset: github-actions
    audiences: [https://gateway.acme.example]
    jwks_uri: {keys}
    require: {{ repository_owner_id: "12" }}
aws: {{ region: eu-west-1 }}
vaults:
  main: {{ address: "{address}" }}
"""
TARGETS = """\
format: oidc-gateway/targets.v1
vault_roles:
  payments-ci:
    vault: main
    mount: jwt-{suffix}
    role: payments-ci
    user_claim: repository_id
    policies: [payments-{suffix}]
    ttl: 15m
    aws: {{ mount: aws-{suffix}, role: payments, role_arn: "arn:aws:iam::111122223333:role/deployer" }}
workflows:
  deploy:
    state_machine: arn:aws:states:eu-west-1:111122223333:stateMachine:deploy
    type: standard
    input_schema: any
"""
MAPPING = """\
format: oidc-gateway/mapping.v1
rules:
  - name: prod
    why: a test
    issuer: github
    claims: { repository_id: "4711", ref: refs/heads/main }
    grants: [{ start: deploy, as: payments-ci }]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    config: Path
    session: VaultSession
    role: str
    address: str

    def run(self, command: str, *options: str) -> int:
        return main(["vault", command, "--dev", "--config", str(self.config), *options])


@pytest.fixture(scope="module")
def keys_url() -> Iterator[str]:
    with serving_keys(jwks()) as url:
        yield url


@pytest.fixture
def case(
    vault: VaultServer, keys_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    suffix = uuid.uuid4().hex[:8]
    files = {
        "gateway.yaml": GATEWAY.format(keys=keys_url, address=vault.address),
        "targets.yaml": TARGETS.format(suffix=suffix),
        "mappings/rules.yaml": MAPPING,
    }
    for name, text in files.items():
        file = tmp_path / "config" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for variable in ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VAULT_TOKEN", vault.root_token.reveal())
    with administrator(vault) as session:
        session.write(f"sys/mounts/aws-{suffix}", {"type": "aws"})
        yield Case(
            config=tmp_path / "config",
            session=session,
            role=f"auth/jwt-{suffix}/role/payments-ci",
            address=vault.address,
        )


def test_what_is_planned_is_made_once_and_then_there_is_nothing_to_do(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = case.run("plan")
    shown = capsys.readouterr().out
    made = case.run("apply", "--yes")
    said = capsys.readouterr().out
    again = (case.run("plan"), case.run("apply", "--yes"))

    assert (planned, made, again) == (1, 0, (0, 0))
    assert f"  + {case.role}  (create auth role)\n" in shown
    assert said.startswith(shown)
    assert f"  done: create {case.role}\n" in said
    assert said.endswith("  Vault is in step with the files now.\n")


def test_nothing_is_changed_unless_somebody_agrees(
    case: Case, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code = case.run("apply")

    assert code == 1
    assert capsys.readouterr().out.endswith("Nothing was changed; --yes makes these changes.\n")
    assert case.session.read(case.role) is None


def test_a_role_that_is_wider_than_the_files_fails_the_plan_and_names_the_field(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("apply", "--yes")
    case.session.write(case.role, {"bound_claims": {"repository_id": ["4711"]}, "role_type": "jwt"})
    capsys.readouterr()

    code = case.run("plan", "--format", "json")

    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert (document["wider"], document["in_step"]) == (True, False)
    assert [(one["path"], one["wider"]) for one in document["changes"]] == [(case.role, True)]
    assert document["changes"][0]["fields"] == [
        {
            "field": "bound_claims",
            "held": {"repository_id": ["4711"]},
            "wanted": {"ref": ["refs/heads/main"], "repository_id": ["4711"], "repository_owner_id": ["12"]},
            "effect": "wider",
        }
    ]


def test_what_the_files_do_not_have_fails_the_plan_until_it_is_pruned(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("apply", "--yes")
    other = case.role.replace("payments-ci", "by-hand")
    case.session.write(other, {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"]})

    before = (case.run("apply", "--yes"), case.run("plan"))
    kept = case.session.read(other)
    after = (case.run("apply", "--yes", "--prune"), case.run("plan"))

    assert (before, after) == ((0, 1), (0, 0))
    assert kept is not None
    assert "--prune deletes it" in capsys.readouterr().out


def test_the_token_is_neither_printed_nor_written(
    case: Case, vault: VaultServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("plan", "--format", "json")
    case.run("apply", "--yes")

    printed = capsys.readouterr()
    written = [file.read_text() for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(vault.root_token.reveal() in text for text in (printed.out, printed.err, *written))


def test_the_token_may_stand_in_a_file_and_the_address_in_openbaos_variable(
    case: Case, vault: VaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{vault.root_token.reveal()}\n")
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("BAO_ADDR", vault.address)

    assert case.run("plan", "--token-file", str(file)) == 1


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        pytest.param("VAULT_TOKEN", "", "There is no token of an administrator.", id="no token"),
        pytest.param("VAULT_TOKEN", "two words", "What was given as a token is none.", id="no token's form"),
        pytest.param("VAULT_TOKEN", "hvs.unknown", "vault_denied: Cannot read sys/auth", id="unknown token"),
        pytest.param(
            "VAULT_NAMESPACE", "elsewhere", "VAULT_NAMESPACE is elsewhere, and the files say", id="namespace"
        ),
        pytest.param(
            "VAULT_ADDR", "http://vault.acme.example", "is not https://HOST:PORT", id="in the clear"
        ),
        pytest.param("VAULT_ADDR", "https://127.0.0.1:9", "cannot be reached.", id="nobody there"),
        pytest.param("VAULT_CACERT", "/nonexistent", "The CA cannot be read from /nonexistent", id="no CA"),
    ],
)
def test_what_keeps_the_command_from_running_is_said_on_one_line(
    case: Case,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    said: str,
) -> None:
    monkeypatch.setenv(variable, value)

    code = case.run("plan")

    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert said in printed.err


def test_a_vault_that_no_target_is_on_is_named_with_those_that_are(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    code = case.run("plan", "--vault", "backup")

    assert code == 2
    assert capsys.readouterr().err == (
        "oidc-gateway vault plan: No Vault role is on a Vault named backup. Choose with --vault: main.\n"
    )


def test_a_namespace_that_this_edition_of_vault_ignores_is_pointed_out(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    file = case.config / "gateway.yaml"
    file.write_text(file.read_text().replace("address: ", "namespace: acme, address: "))

    case.run("plan")

    assert "  i This Vault is a Community edition and ignores the namespace acme;" in capsys.readouterr().out
