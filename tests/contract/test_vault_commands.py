"""`vault plan` and `vault apply` on a folder of files and a real Vault: shown, asked, made, and the token never seen."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

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


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("  - name: [broken\n", id="a file that cannot be read"),
        pytest.param("  - name: other\n    why: a test\n    issuer: gone\n", id="a rule that is not valid"),
    ],
)
def test_while_a_file_has_an_error_nothing_counts_as_not_in_the_files_and_pruning_is_refused(
    case: Case, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    gateway = case.config / "gateway.yaml"
    gateway.write_text(
        gateway.read_text()
        + "teams: { team: { issuers: [github], contact: a }, other: { issuers: [github], contact: b } }\n"
    )
    targets = case.config / "targets.yaml"
    owned = re.sub(
        r"^  (payments-ci|deploy):\n", r"\g<0>    teams: [team]\n", targets.read_text(), flags=re.MULTILINE
    )
    targets.write_text(owned)
    other = case.config / "mappings/other/x.yaml"
    for team in ("team", "other"):
        (case.config / "mappings" / team).mkdir()
    (case.config / "mappings/rules.yaml").rename(case.config / "mappings/team/x.yaml")
    case.run("apply", "--yes")
    other.write_text(f"format: oidc-gateway/mapping.v1\nrules:\n{text}")
    by_hand = case.role.replace("payments-ci", "by-hand")
    case.session.write(by_hand, {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"]})
    capsys.readouterr()

    codes = (case.run("plan"), case.run("apply", "--yes", "--prune"))

    said = capsys.readouterr()
    assert codes == (1, 2)
    assert "mappings/other/x.yaml:" in said.err
    assert by_hand not in said.out
    assert case.session.read(by_hand) is not None
    assert case.session.read(case.role) is not None
    assert "  ! mappings/other/x.yaml:" in said.out
    assert "nothing was changed or deleted" in said.err


class _Liar(BaseHTTPRequestHandler):
    """Answers everything with one body."""

    body = b""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(200)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_LIST = do_GET  # noqa: N815 - so http.server wants it

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
        pass


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":"x"}',
        b'{"data":null}',
        b'{"data":[]}',
        b'{"data":{}}',
        b'{"data":{"keys":[1,null]}}',
        b'{"data":{"a/":{"type":"x"},"keys":[1,null]}}',
        b"[1]",
        b"<html>",
        b'{"auth":["x"]}',
        b'{"auth":{"client_token":"t","lease_duration":"abc"}}',
        b'{"data":{"a\\u001b[31m":{"type":"jwt"}}}',
        b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: body[:24].decode(),
)
def test_an_answer_that_is_not_of_vaults_form_is_one_line_and_no_traceback(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Liar", (_Liar,), {"body": body})) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")

        code = case.run("plan")

        server.shutdown()
        thread.join()
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err.count("\n") == 1
    assert "\x1b" not in said.err


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:x", "https://a:99999"])
def test_an_address_that_is_none_is_one_line_and_no_traceback(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("VAULT_ADDR", address)

    code = case.run("plan")

    assert code == 2
    assert "The address of Vault cannot be read" in capsys.readouterr().err


def test_while_the_plan_has_a_problem_pruning_is_refused_and_deletes_nothing(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("apply", "--yes")
    gateway = case.config / "gateway.yaml"
    second = "  second:\n    preset: github-actions\n    issuer: https://token.example/second\n    audiences: [https://g.example]\naws:"
    gateway.write_text(gateway.read_text().replace("aws:", second))
    targets = case.config / "targets.yaml"
    lines = targets.read_text().splitlines(keepends=True)
    copied = "".join(lines[2:10]).replace("payments-ci", "other")
    targets.write_text("".join([*lines[:2], *lines[2:10], copied, *lines[10:]]))
    (case.config / "mappings/other.yaml").write_text(
        MAPPING.replace("prod", "b")
        .replace("issuer: github", "issuer: second")
        .replace("as: payments-ci", "as: other")
    )
    capsys.readouterr()

    codes = (case.run("plan"), case.run("apply", "--yes", "--prune"))

    said = capsys.readouterr()
    assert "would have to serve the issuers github and second" in said.out
    assert codes == (1, 2)
    assert "--prune deletes it" not in said.out
    assert case.session.read(case.role) is not None


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
