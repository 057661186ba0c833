"""Task roles of the files, made in a real Vault: the tasks they name log in, nobody else does, and every widening shows."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.admin.vault_session import VaultSession
from gateway.arn import parse_role
from gateway.cli.main import main
from gateway.dev.vault import VaultServer, running_vault
from gateway.dev.vault_seed import seed_vault
from gateway.errors import ErrorCode, UpstreamFailed
from gateway.policy.snapshot import AwsEndpoints
from tests.support.vault_plans import (
    ENVIRONMENT,
    administrator,
    apply,
    item,
    planned,
    task_policy,
    task_role,
    wanted,
)
from tests.support.vault_tasks import as_task, client_config, task_keys
from tests.support.vaults import assumable_role

SERVER_ID = "vault.acme.example"
GATEWAY = """\
format: oidc-gateway/gateway.v1
issuers:
  github:
    preset: github-actions
    audiences: [https://gateway.acme.example]
    require: {{ repository_owner_id: "12" }}
aws: {{ region: eu-west-1, emulator: true }}
vaults:
  main: {{ address: "{address}" }}
"""
TARGETS = """\
format: oidc-gateway/targets.v1
roles:
  prod: {{ arn: "arn:aws:iam::111122223333:role/prod" }}
task_roles:
  pay:
    vault: main
    mount: {mount}
    role: pay
    principals: ["{principal}"]
    policies: [{policy}]
    ttl: 5m
    server_id: {server_id}
"""
MAPPING = """\
format: oidc-gateway/mapping.v1
rules:
  - name: prod
    why: a test
    issuer: github
    claims: { repository_id: "4711" }
    grants: [{ obtain: prod }]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A folder of files and the Vault that shall follow them."""

    config: Path
    session: VaultSession
    mount: str
    principal: str
    aws_url: str

    @property
    def role(self) -> str:
        return f"auth/{self.mount}/role/pay"

    def run(self, command: str, *options: str) -> int:
        return main(["vault", command, "--dev", "--config", str(self.config), *options])

    def log_in(self, *, server_id: str | None = SERVER_ID) -> int:
        header = [] if server_id is None else ["--header-value", server_id]
        words = ["login", "--role", "pay", "--mount", self.mount, "--output", "json", *header]
        return main(["vault", *words])

    def edit(self, old: str, new: str) -> None:
        file = self.config / "targets.yaml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


@pytest.fixture
def case(
    vault: VaultServer, ministack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    suffix = uuid.uuid4().hex[:8]
    mount, principal = f"aws-{suffix}", assumable_role(ministack)
    files = {
        "gateway.yaml": GATEWAY.format(address=vault.address),
        "targets.yaml": TARGETS.format(
            mount=mount, principal=principal, policy=f"pay-{suffix}", server_id=SERVER_ID
        ),
        "mappings/rules.yaml": MAPPING,
    }
    for name, text in files.items():
        file = tmp_path / "config" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for variable in ENVIRONMENT:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("VAULT_ADDR", vault.address)
    monkeypatch.setenv("VAULT_TOKEN", vault.root_token.reveal())
    as_task(monkeypatch, task_keys(ministack, principal))
    with administrator(vault) as session:
        session.write(f"sys/auth/{mount}", {"type": "aws"})
        session.write(f"auth/{mount}/config/client", client_config(ministack))
        yield Case(
            config=tmp_path / "config", session=session, mount=mount, principal=principal, aws_url=ministack
        )
        session.delete(f"sys/auth/{mount}")


def test_what_is_planned_is_made_once_and_then_there_is_nothing_to_do(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    planned_ = case.run("plan")
    shown = capsys.readouterr().out
    made = case.run("apply", "--yes")
    again = (case.run("plan"), case.run("apply", "--yes"))

    assert (planned_, made, again) == (1, 0, (0, 0))
    assert f"  + {case.role}  (create auth role)\n" in shown
    assert f'      bound_iam_principal_arn: ["{case.principal}"]\n' in shown
    assert f"  ~ auth/{case.mount}/config/client  (update auth config)\n" in shown
    assert f"  i auth/{case.mount}: how Vault asks AWS who a task is" in shown
    assert f"  i auth/{case.mount} asks {case.aws_url} who a task is, which is no address of AWS." in shown


def test_the_mounts_aws_identity_and_endpoints_stay_as_the_administrator_wrote_them(case: Case) -> None:
    case.run("apply", "--yes")

    held = case.session.read(f"auth/{case.mount}/config/client")

    assert held is not None
    assert held["data"]["iam_server_id_header_value"] == SERVER_ID
    kept = {name: value for name, value in client_config(case.aws_url).items() if name != "secret_key"}
    assert {name: held["data"][name] for name in kept} == kept


def test_a_mount_that_is_not_there_is_enabled(case: Case) -> None:
    case.session.delete(f"sys/auth/{case.mount}")

    made = case.run("apply", "--yes")

    assert (made, case.run("plan")) == (0, 0)
    assert case.session.read(case.role) is not None


def test_a_task_with_the_iam_role_logs_in_and_holds_just_what_the_files_say(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("apply", "--yes")
    capsys.readouterr()

    code = case.log_in()

    document = json.loads(capsys.readouterr().out)
    case.session.write("auth/token/revoke", {"token": document["token"]})
    assert code == 0
    assert sorted(document["policies"]) == ["default", case.mount.replace("aws-", "pay-")]
    assert document["lease_s"] == 300


def test_another_role_of_the_same_account_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("apply", "--yes")
    as_task(monkeypatch, task_keys(case.aws_url, assumable_role(case.aws_url)))

    code = case.log_in()

    assert code == 1
    assert "this AWS identity is not one that the role is for." in capsys.readouterr().err


def test_the_role_of_that_name_in_another_account_is_refused(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.edit("111122223333:role/" + parse_role(case.principal).name, "444455556666:role/elsewhere")
    case.run("apply", "--yes")

    code = case.log_in()

    assert code == 1
    assert "this AWS identity is not one that the role is for." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("server_id", "said"),
    [
        pytest.param(None, "wants a server id and got none.", id="none"),
        pytest.param("other.example", "the server id is not the one", id="of-another-vault"),
    ],
)
def test_a_login_that_does_not_name_this_vault_is_refused(
    case: Case, capsys: pytest.CaptureFixture[str], server_id: str | None, said: str
) -> None:
    case.run("apply", "--yes")

    code = case.log_in(server_id=server_id)

    assert code == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(
            {"bound_iam_principal_arn": ["arn:aws:iam::111122223333:role/x"]},
            "bound_iam_principal_arn",
            id="another-role",
        ),
        pytest.param(
            {"bound_iam_principal_arn": ["arn:aws:iam::111122223333:*"]},
            "bound_iam_principal_arn",
            id="wildcard",
        ),
        pytest.param({"token_policies": ["admin"]}, "token_policies", id="policy"),
        pytest.param({"token_ttl": 0}, "token_ttl", id="ttl"),
        pytest.param({"token_max_ttl": 0}, "token_max_ttl", id="longest"),
        pytest.param({"token_explicit_max_ttl": 86_400}, "token_explicit_max_ttl", id="end"),
        pytest.param({"token_period": 60}, "token_period", id="period"),
    ],
)
def test_a_role_that_somebody_widened_fails_the_plan_and_is_taken_back(
    case: Case, capsys: pytest.CaptureFixture[str], change: dict[str, object], field: str
) -> None:
    case.run("apply", "--yes")
    case.session.write(case.role, change)
    capsys.readouterr()

    code = case.run("plan", "--format", "json")

    document = json.loads(capsys.readouterr().out)
    assert (code, document["wider"]) == (1, True)
    assert [(one["path"], one["action"]) for one in document["changes"]] == [(case.role, "update")]
    assert [one["field"] for one in document["changes"][0]["fields"]] == [field]
    assert (case.run("apply", "--yes"), case.run("plan")) == (0, 0)


def test_a_server_id_that_somebody_took_away_fails_the_plan_and_is_put_back(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("apply", "--yes")
    case.session.write(f"auth/{case.mount}/config/client", {"iam_server_id_header_value": ""})
    capsys.readouterr()

    code = case.run("plan")

    assert code == 1
    assert "iam_server_id_header_value:  Vault is wider" in capsys.readouterr().out
    assert (case.run("apply", "--yes"), case.run("plan")) == (0, 0)


def test_a_role_for_machines_under_that_name_is_made_anew(case: Case) -> None:
    case.session.write(case.role, {"auth_type": "ec2", "bound_ami_id": ["ami-0123456789abcdef0"]})

    made = case.run("apply", "--yes")

    held = case.session.read(case.role)
    assert held is not None
    assert (made, held["data"]["auth_type"], held["data"]["bound_ami_id"]) == (0, "iam", [])
    assert case.run("plan") == 0


def test_roles_that_the_files_do_not_name_are_pointed_out_and_never_deleted(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    case.run("apply", "--yes")
    other = f"auth/{case.mount}/role/by-hand"
    case.session.write(
        other,
        {
            "auth_type": "iam",
            "bound_iam_principal_arn": ["arn:aws:iam::111122223333:*"],
            "resolve_aws_unique_ids": False,
        },
    )

    codes = (case.run("apply", "--yes", "--prune"), case.run("plan"))

    assert codes == (0, 0)
    assert f"{other} is not in the files. AWS auth mounts are shared" in capsys.readouterr().out
    assert case.session.read(other) is not None
    assert case.session.read(case.role) is not None


def test_every_field_that_vault_has_is_written_or_is_of_machines_or_of_the_administrator(case: Case) -> None:
    policy = task_policy(task_role(mount=case.mount, principals=(parse_role(case.principal),)))
    apply(case.session, policy)

    held = case.session.read(case.role)

    assert held is not None
    # Vault takes the first three for auth_type=ec2 alone; the next two it makes itself.
    left = {"allow_instance_migration", "disallow_reauthentication", "role_tag"}
    left |= {"role_id", "bound_iam_principal_id", "token_bound_cidrs"}
    assert held["data"].keys() - item(wanted(policy), case.role).fields.keys() <= left | {
        "policies",
        "ttl",
        "max_ttl",
        "period",
    }


# On AWS itself roles are bound by their ids.


def test_on_aws_the_role_is_bound_by_its_id_and_the_task_logs_in(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = task_policy(task_role(mount=case.mount, principals=(parse_role(case.principal),)))

    apply(case.session, policy)

    held = case.session.read(case.role)
    assert held is not None
    assert held["data"]["resolve_aws_unique_ids"] is True
    assert len(held["data"]["bound_iam_principal_id"]) == 1
    assert planned(case.session, policy).in_step
    assert case.log_in() == 0
    case.session.write("auth/token/revoke", {"token": json.loads(capsys.readouterr().out)["token"]})


def test_an_iam_role_that_is_not_there_is_said_so_and_nothing_of_the_mount_is_wider(case: Case) -> None:
    missing = parse_role("arn:aws:iam::111122223333:role/never-made")
    policy = task_policy(task_role(mount=case.mount, principals=(missing,)))

    with pytest.raises(UpstreamFailed) as caught:
        apply(case.session, policy)

    assert caught.value.code is ErrorCode.VAULT_ERROR
    assert caught.value.message == (
        f"Cannot write {case.role}: Vault could not look up in AWS the IAM roles that may log in."
    )
    assert case.session.read(case.role) is None


def test_a_role_that_was_bound_by_name_is_bound_by_id_afterwards_and_the_other_way_round(case: Case) -> None:
    by_id = task_policy(task_role(mount=case.mount, principals=(parse_role(case.principal),)))
    by_name = replace(by_id, aws=AwsEndpoints(region="eu-west-1", emulator=True))

    for policy in (by_name, by_id, by_name):
        apply(case.session, policy)

        assert planned(case.session, policy).in_step


def test_the_embedded_vault_lets_tasks_in_with_the_embedded_aws(
    vault: VaultServer, ministack: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    principal = parse_role(assumable_role(ministack))
    as_task(monkeypatch, task_keys(ministack, str(principal)))
    with running_vault() as own:
        policy = task_policy(task_role(own.address, principals=(principal,), server_id=SERVER_ID))
        policy = replace(policy, aws=AwsEndpoints(region="eu-west-1", emulator=True))
        monkeypatch.setenv("VAULT_ADDR", own.address)

        faults = [seed_vault(own, policy, aws_url=ministack, region="eu-west-1") for _ in range(2)]
        code = main(["vault", "login", "--role", "pay", "--header-value", SERVER_ID])

    assert faults == [(), ()]
    assert code == 0
    assert capsys.readouterr().out.startswith("hvs.")
