"""Task roles in the files: IAM roles without wildcards, names that can stand in a path, and what one Vault can hold together."""

from pathlib import Path

import pytest

from gateway.arn import parse_role
from gateway.compiling.compiled import Compiled
from gateway.policy.rule import TaskRole, Vault
from tests.support.config_folder import GATEWAY, TARGETS, codes, compiled

TASK_ARN = "arn:aws:iam::111122223333:role/tasks/pay"
VAULTS = "vaults:\n  main: { address: https://vault.acme.example:8200, namespace: acme }\n"
TASKS = f"""\
task_roles:
  pay:
    vault: main
    mount: aws
    role: pay
    principals: ["{TASK_ARN}"]
    policies: [pay]
    ttl: 5m
    server_id: vault.acme.example
"""
SECOND = """\
  book:
    vault: main
    mount: aws
    role: book
    principals: ["arn:aws:iam::111122223333:role/book"]
    policies: [book]
    ttl: 5m
    server_id: vault.acme.example
"""
CALLER = """\
vault_roles:
  ci:
    vault: main
    mount: jwt-github
    role: ci
    user_claim: repository_id
    policies: [ci]
    ttl: 15m
    aws: { mount: aws, role: ci, role_arn: "arn:aws:iam::111122223333:role/prod" }
    teams: [payments]
"""


def with_tasks(tmp_path: Path, tasks: str, *, targets: str = TARGETS) -> Compiled:
    return compiled(tmp_path, {"gateway.yaml": GATEWAY + VAULTS, "targets.yaml": targets + tasks})


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def messages(result: Compiled) -> str:
    return "\n".join(finding.message for finding in result.findings)


def timed(timeout: str) -> str:
    return changed(TARGETS, "    type: standard\n", f"    type: standard\n    timeout: {timeout}\n")


def test_a_task_role_is_compiled_and_belongs_to_no_team(tmp_path: Path) -> None:
    result = with_tasks(tmp_path, TASKS + "    for: [deploy]\n", targets=timed("2m"))

    assert result.findings == ()
    assert result.policy is not None
    assert dict(result.policy.task_roles) == {
        "pay": TaskRole(
            name="pay",
            vault=Vault(name="main", address="https://vault.acme.example:8200", namespace="acme"),
            mount="aws",
            role="pay",
            principals=(parse_role(TASK_ARN),),
            policies=("pay",),
            ttl_s=300,
            server_id="vault.acme.example",
        )
    }
    assert "pay" not in result.policy.targets


def test_several_roles_share_a_mount_and_its_server_id(tmp_path: Path) -> None:
    result = with_tasks(tmp_path, TASKS + SECOND)

    assert result.findings == ()
    assert result.policy is not None
    assert sorted(result.policy.task_roles) == ["book", "pay"]


@pytest.mark.requirement("VA-01")
@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        pytest.param("vault: main", "vault: mian", "reference_unknown", id="unknown-vault"),
        pytest.param("mount: aws", "mount: auth/aws", "value_invalid", id="auth"),
        pytest.param("mount: aws", "mount: a//b", "value_invalid", id="two-slashes"),
        pytest.param("mount: aws", "mount: ../aws", "value_invalid", id="dots"),
        pytest.param("role: pay", "role: Pay", "value_invalid", id="capital"),
        pytest.param("role: pay", "role: a/b", "value_invalid", id="slash"),
        pytest.param("policies: [pay]", "policies: [root]", "value_invalid", id="root"),
        pytest.param("policies: [pay]", "policies: []", "value_invalid", id="no-policy"),
        pytest.param("ttl: 5m", "ttl: 20s", "value_invalid", id="short"),
        pytest.param("ttl: 5m", "ttl: 13h", "value_invalid", id="long"),
        pytest.param("server_id: vault.acme.example", 'server_id: "a b"', "value_invalid", id="blank"),
        pytest.param("server_id: vault.acme.example", "server_id: vaült", "value_invalid", id="not-ascii"),
        pytest.param("    ttl: 5m\n", "", "field_missing", id="no-ttl"),
        pytest.param("    ttl: 5m\n", "    ttl: 5m\n    teams: [payments]\n", "field_unknown", id="teams"),
        pytest.param("    ttl: 5m\n", "    ttl: 5m\n    for: [deplyo]\n", "reference_unknown", id="workflow"),
    ],
)
def test_what_cannot_stand_in_vault_is_refused(tmp_path: Path, old: str, new: str, finding: str) -> None:
    result = with_tasks(tmp_path, changed(TASKS, old, new))

    assert result.policy is None
    assert codes(result) == [finding]


@pytest.mark.requirement("VA-01")
@pytest.mark.parametrize(
    ("principal", "message"),
    [
        pytest.param("*", "has a wildcard", id="everything"),
        pytest.param("arn:aws:iam::111122223333:role/*", "has a wildcard", id="every-role"),
        pytest.param("arn:aws:iam::111122223333:role/t*/pay", "has a wildcard", id="in-the-path"),
        pytest.param("arn:aws:iam::111122223333:role/pa?", "has a wildcard", id="one-character"),
        pytest.param("arn:aws:iam::111122223333:root", "is no role", id="account"),
        pytest.param("arn:aws:iam::111122223333:user/pay", "is no role", id="user"),
        pytest.param("arn:aws:sts::111122223333:assumed-role/pay/x", "is no role", id="session"),
        pytest.param("pay", "is no role", id="name"),
    ],
)
def test_only_complete_arns_of_iam_roles_may_log_in(tmp_path: Path, principal: str, message: str) -> None:
    result = with_tasks(tmp_path, changed(TASKS, TASK_ARN, principal))

    (finding,) = result.findings
    assert finding.code == "value_invalid"
    assert message in finding.message
    assert finding.place.file == "targets.yaml"
    assert "principals" in finding.excerpt


@pytest.mark.parametrize(
    ("second", "message"),
    [
        pytest.param(
            changed(SECOND, "role: book", "role: pay"), "pay is the same role of Vault", id="same-role"
        ),
        pytest.param(
            changed(SECOND, "server_id: vault.acme.example", "server_id: other.example"),
            "at the same mount with another server_id",
            id="two-server-ids",
        ),
        pytest.param(
            changed(SECOND, "    server_id: vault.acme.example\n", ""),
            "at the same mount with another server_id",
            id="one-without",
        ),
        pytest.param(CALLER.replace("mount: jwt-github", "mount: aws"), "is the JWT mount of ci", id="jwt"),
    ],
)
def test_what_one_vault_cannot_hold_together_is_refused(tmp_path: Path, second: str, message: str) -> None:
    result = with_tasks(tmp_path, TASKS + second)

    assert result.policy is None
    assert codes(result) == ["vault_mismatch"]
    assert message in messages(result)


def test_a_policy_that_leads_to_an_aws_engine_is_pointed_out(tmp_path: Path) -> None:
    result = with_tasks(tmp_path, changed(TASKS, "policies: [pay]", "policies: [pay, ci]") + CALLER)

    assert codes(result) == ["vault_wider"]
    assert "ci leads to the AWS engine of ci" in messages(result)


def test_a_name_that_stands_in_two_files_is_refused(tmp_path: Path) -> None:
    files = {
        "gateway.yaml": GATEWAY + VAULTS,
        "targets.yaml": None,
        "targets/a.yaml": TARGETS + TASKS,
        "targets/b.yaml": "format: oidc-gateway/targets.v1\n" + TASKS,
    }

    result = compiled(tmp_path, files)

    assert codes(result) == ["name_taken"]


@pytest.mark.parametrize(
    ("ttl", "timeout", "message"),
    [
        pytest.param(
            "5m", "2h", "Its tokens end after 5m, before deploy may: its timeout is 2h.", id="short"
        ),
        pytest.param("1h", "10m", "Its tokens live 1h, much longer than deploy can last", id="long"),
        pytest.param("5m", "30s", None, id="short-enough"),
        pytest.param("2h", "2h", None, id="equal"),
    ],
)
def test_a_ttl_that_does_not_fit_the_workflows_timeout_is_pointed_out(
    tmp_path: Path, ttl: str, timeout: str, message: str | None
) -> None:
    tasks = changed(TASKS, "ttl: 5m", f"ttl: {ttl}") + "    for: [deploy]\n"

    result = with_tasks(tmp_path, tasks, targets=timed(timeout))

    assert result.policy is not None
    assert codes(result) == ([] if message is None else ["ttl_mismatch"])
    assert message is None or message in messages(result)
