"""What Vault must hold so that tasks log in: exactly the IAM roles of the files, and what is wider than that."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from gateway.admin.vault_effects import Effect, effect_of, normal
from gateway.admin.vault_items import WantedVault
from gateway.admin.vault_plan import Held, VaultPlan, plan
from gateway.arn import parse_role
from gateway.policy.rule import TaskRole
from gateway.policy.snapshot import AwsEndpoints, Policy
from tests.support.policies import is_, rule
from tests.support.vault_edge import engine, vault_role
from tests.support.vault_plans import item, start_as, task_policy, task_role, vault_policy, wanted

ROLE = "auth/aws/role/pay"
CLIENT = "auth/aws/config/client"
PRINCIPAL = "arn:aws:iam::111122223333:role/tasks/pay"
TASK = task_role(server_id="vault.acme.example", principals=(parse_role(PRINCIPAL),))


def emulated(policy: Policy) -> Policy:
    return replace(policy, aws=AwsEndpoints(region="eu-west-1", emulator=True))


def fields_of(task: TaskRole = TASK) -> Mapping[str, object]:
    return item(wanted(task_policy(task)), ROLE).fields


def test_a_task_role_is_for_exactly_its_iam_roles_by_their_ids_and_has_every_field() -> None:
    fields = fields_of()

    assert (fields["auth_type"], fields["bound_iam_principal_arn"]) == ("iam", [PRINCIPAL])
    assert fields["resolve_aws_unique_ids"] is True
    assert fields["token_policies"] == ["pay"]
    assert {fields[name] for name in ("token_ttl", "token_max_ttl", "token_explicit_max_ttl")} == {300}
    assert (fields["token_type"], fields["token_period"], fields["token_num_uses"]) == ("service", 0, 0)
    assert not any(value for name, value in fields.items() if name.startswith("inferred"))


def test_with_an_emulator_of_aws_iam_roles_are_compared_by_name_which_vault_does_without_the_path() -> None:
    fields = item(wanted(emulated(task_policy(TASK))), ROLE).fields

    assert fields["resolve_aws_unique_ids"] is False
    assert fields["bound_iam_principal_arn"] == ["arn:aws:iam::111122223333:role/pay"]


def test_of_the_mounts_configuration_only_the_server_id_is_ours() -> None:
    found = wanted(task_policy(TASK))

    assert item(found, CLIENT).fields == {"iam_server_id_header_value": "vault.acme.example"}
    assert [(one.kind, one.path) for one in found.items] == [
        ("auth mount", "sys/auth/aws"),
        ("auth config", CLIENT),
        ("auth role", ROLE),
    ]


def test_without_a_server_id_the_mounts_configuration_is_left_alone() -> None:
    paths = [one.path for one in wanted(task_policy(replace(TASK, server_id=None))).items]

    assert paths == ["sys/auth/aws", ROLE]


def test_what_stays_with_the_administrator_is_said() -> None:
    assert wanted(task_policy(TASK)).remarks == (
        (
            "auth/aws: how Vault asks AWS who a task is (its own AWS identity with iam:GetRole, sts_endpoint, sts_region) is "
            "yours to write, in auth/aws/config/client."
        ),
        "What tasks may do stands in their policies, which are yours to write: pay.",
    )


def test_a_policy_that_callers_and_tasks_share_keeps_the_administrators_lines() -> None:
    target = vault_role(aws=engine(), policies=("pay",))
    policy = vault_policy(rule("a", [is_("sub", "s")], start_as(target)))
    shared = replace(policy, task_roles={"pay": replace(TASK, vault=target.vault)})

    assert item(wanted(shared), "sys/policies/acl/pay").shared


# The difference.


def planned(found: WantedVault, **items: Mapping[str, object]) -> VaultPlan:
    held = {one.path: {**one.fields, **items.get(one.path.split("/")[2], {})} for one in found.items}
    return plan(found, Held(items=held, mounts={"aws": "aws"}, engines={}, policies={}))


def test_what_is_just_as_the_files_say_is_in_step() -> None:
    assert planned(wanted(task_policy(TASK))).in_step


@pytest.mark.parametrize(
    ("where", "field", "held", "effect"),
    [
        pytest.param(
            "role", "bound_iam_principal_arn", [PRINCIPAL, f"{PRINCIPAL}-2"], "wider", id="another-role"
        ),
        pytest.param(
            "role", "bound_iam_principal_arn", ["arn:aws:iam::111122223333:*"], "wider", id="wildcard"
        ),
        pytest.param("role", "bound_iam_principal_arn", [], "narrower", id="nobody"),
        pytest.param("role", "resolve_aws_unique_ids", False, "wider", id="names"),
        pytest.param("role", "auth_type", "ec2", "wider", id="machines"),
        pytest.param("role", "token_policies", ["pay", "admin"], "wider", id="policy"),
        pytest.param("role", "token_policies", [], "narrower", id="no-policy"),
        pytest.param("role", "token_ttl", 301, "wider", id="ttl"),
        pytest.param("role", "token_ttl", 60, "narrower", id="shorter"),
        pytest.param("role", "token_explicit_max_ttl", 0, "wider", id="for-ever"),
        pytest.param("role", "token_period", 60, "wider", id="period"),
        pytest.param("config", "iam_server_id_header_value", "", "wider", id="no-server-id"),
        pytest.param("config", "iam_server_id_header_value", "other.example", "wider", id="other-server-id"),
    ],
)
def test_every_difference_is_shown_by_its_field_with_what_it_means(
    where: str, field: str, held: object, effect: Effect
) -> None:
    (change,) = planned(wanted(task_policy(TASK)), **{where: {field: held}}).changes

    (difference,) = change.fields
    assert (difference.field, difference.effect) == (field, effect)
    assert difference.held == normal(field, held)
    assert change.action == "update"


def test_ids_where_the_files_compare_names_refuse_more() -> None:
    assert effect_of("resolve_aws_unique_ids", True, False) == "narrower"


def test_a_mount_that_was_never_configured_demands_no_server_id_and_is_wider() -> None:
    found = wanted(task_policy(TASK))
    held = Held(items={ROLE: fields_of()}, mounts={"aws": "aws"}, engines={}, policies={})

    (change,) = plan(found, held).changes

    assert (change.path, change.action, change.wider) == (CLIENT, "update", True)


def test_in_an_empty_vault_all_is_created_and_nothing_is_wider() -> None:
    held = Held(items={}, mounts={}, engines={}, policies={})

    found = plan(wanted(task_policy(TASK)), held)

    assert [(one.action, one.path) for one in found.changes] == [
        ("create", "sys/auth/aws"),
        ("create", CLIENT),
        ("create", ROLE),
    ]


def test_a_mount_of_another_type_is_left_alone() -> None:
    held = Held(items={}, mounts={"aws": "jwt"}, engines={}, policies={})

    found = plan(wanted(task_policy(TASK)), held)

    assert found.problems == (
        "auth/aws is there and of the type jwt, not aws. Name another mount in the files.",
    )
    assert found.changes == ()


@pytest.mark.parametrize(
    ("endpoint", "strange"),
    [
        pytest.param("https://sts.amazonaws.com", False, id="global"),
        pytest.param("https://sts.eu-west-1.amazonaws.com/", False, id="region"),
        pytest.param("https://vpce-1-2.sts.eu-west-1.vpce.amazonaws.com", False, id="vpc-endpoint"),
        pytest.param("https://sts.cn-north-1.amazonaws.com.cn", False, id="china"),
        pytest.param("https://sts.amazonaws.com.attacker.example", True, id="looks-like-it"),
        pytest.param("https://attackeramazonaws.com", True, id="ends-like-it"),
        pytest.param("https://sts.s3.amazonaws.com", True, id="bucket"),
        pytest.param("https://x.execute-api.eu-west-1.amazonaws.com", True, id="somebodys-api"),
        pytest.param("https://sts.attacker.example/amazonaws.com", True, id="path"),
        pytest.param("https://a@sts.amazonaws.com:8443", True, id="user-and-port"),
        pytest.param("http://sts.amazonaws.com", True, id="in-the-clear"),
    ],
)
def test_a_mount_that_asks_another_than_aws_who_a_task_is_is_pointed_out(
    endpoint: str, strange: bool
) -> None:
    found = wanted(task_policy(TASK))
    held = Held(items={}, mounts={"aws": "aws"}, engines={}, policies={}, sts={"aws": endpoint})

    remarks = plan(found, held).remarks

    assert any(remark.startswith(f"auth/aws asks {endpoint} who") for remark in remarks) is strange
