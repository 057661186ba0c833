"""A real Vault is made to follow the files: what was written is what logins are held to, and every later difference shows."""

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from gateway.admin.vault_effects import normal
from gateway.admin.vault_session import VaultSession
from gateway.dev.vault import VaultServer
from gateway.errors import AccessDenied, ErrorCode, GatewayError, UpstreamFailed
from gateway.identity.issuer import KeyLocation
from gateway.policy.rule import Condition, Operator, VaultAws, VaultRole
from gateway.policy.snapshot import Policy
from tests.support.policies import is_, rule
from tests.support.tokens import jwks, token, trusted
from tests.support.vault_edge import engine, vault_role
from tests.support.vault_plans import (
    administrator,
    apply,
    item,
    planned,
    start_as,
    token_of,
    vault_policy,
    wanted,
)
from tests.support.vaults import hvac_client, serving_keys


@pytest.fixture(scope="module")
def keys_url() -> Iterator[str]:
    with serving_keys(jwks()) as url:
        yield url


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One Vault and the files for it. target: under names that no other test has."""

    session: VaultSession
    server: VaultServer
    target: VaultRole
    policy: Policy

    @property
    def role(self) -> str:
        return f"auth/{self.target.mount}/role/{self.target.role}"


@pytest.fixture
def case(vault: VaultServer, keys_url: str) -> Iterator[Case]:
    """Files that start a workflow through Vault's AWS engine, which is enabled and has no role yet."""
    suffix = uuid.uuid4().hex[:8]
    behind: VaultAws = replace(engine(), mount=f"aws-{suffix}")
    target = vault_role(
        vault.address, mount=f"jwt-{suffix}", policies=(f"payments-{suffix}",), aws=behind, ttl_s=900
    )
    policy = vault_policy(
        rule("prod", [is_("repository_id", "4711"), is_("ref", "refs/heads/main")], start_as(target)),
        jwks_url=keys_url,
    )
    with administrator(vault) as session:
        session.write(f"sys/mounts/{behind.mount}", {"type": "aws"})
        yield Case(session=session, server=vault, target=target, policy=policy)


def log_in(case: Case, **claims: object) -> dict[str, object]:
    """Log in with hvac, which nobody here wrote, and return what the answer says."""
    with hvac_client(case.server.address) as client:
        compact = token(now=time.time(), claims=claims)
        answer: dict[str, object] = client.auth.jwt.jwt_login(
            case.target.role, compact, use_token=False, path=case.target.mount
        )["auth"]
    return answer


def test_what_is_applied_leaves_nothing_to_plan(case: Case) -> None:
    first = apply(case.session, case.policy)

    again = planned(case.session, case.policy)

    assert [change.action for change in first.changes] == ["create"] * 5
    assert again.in_step
    assert again.changes == ()


def test_a_token_that_the_rules_allow_logs_in_and_holds_just_what_the_target_says(case: Case) -> None:
    apply(case.session, case.policy)

    auth = log_in(case)

    assert sorted(auth["policies"]) == sorted(["default", *case.target.policies])  # type: ignore[call-overload]
    assert auth["lease_duration"] == 900
    assert auth["token_type"] == "service"


@pytest.mark.parametrize(
    "claims",
    [
        {"ref": "refs/heads/x"},
        {"repository_id": "4712"},
        {"aud": "https://elsewhere.example"},
        {"ref": ["refs/heads/x"]},
    ],
    ids=["ref", "repository", "audience", "list"],
)
def test_a_token_that_no_rule_allows_is_refused_by_vault_as_well(
    case: Case, claims: dict[str, object]
) -> None:
    apply(case.session, case.policy)

    with pytest.raises(Exception, match="error validating"):
        log_in(case, **claims)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(
            {"bound_audiences": ["https://gateway.acme.example", "b"]}, "bound_audiences", id="audience"
        ),
        pytest.param({"bound_claims": {"repository_id": ["4711"]}}, "bound_claims", id="claim gone"),
        pytest.param(
            {"bound_claims": {"repository_id": ["4711"], "ref": ["refs/heads/main", "refs/heads/x"]}},
            "bound_claims",
            id="claim value",
        ),
        pytest.param({"bound_claims_type": "glob"}, "bound_claims_type", id="globs"),
        pytest.param({"token_policies": ["payments", "admin"]}, "token_policies", id="policy"),
        pytest.param({"token_ttl": 0}, "token_ttl", id="ttl"),
        pytest.param({"token_explicit_max_ttl": 86_400}, "token_explicit_max_ttl", id="end"),
        pytest.param({"token_period": 60}, "token_period", id="period"),
        pytest.param({"clock_skew_leeway": 0}, "clock_skew_leeway", id="leeway"),
        pytest.param({"groups_claim": "repository_owner"}, "groups_claim", id="groups"),
    ],
)
def test_a_role_that_somebody_widened_is_seen_and_taken_back(
    case: Case, change: dict[str, object], field: str
) -> None:
    apply(case.session, case.policy)
    held = case.session.read(case.role)
    assert held is not None
    case.session.write(case.role, {**held["data"], **change})

    found = planned(case.session, case.policy)
    apply(case.session, case.policy)

    assert [(one.path, one.action, one.wider) for one in found.changes] == [(case.role, "update", True)]
    assert [one.field for one in found.changes[0].fields if one.effect == "wider"] == [field]
    assert planned(case.session, case.policy).in_step


def test_a_token_whose_issuers_keys_stand_in_a_file_logs_in_too(case: Case) -> None:
    static = replace(trusted(), keys=KeyLocation(static_jwks=jwks().decode()))
    policy = vault_policy(
        rule("prod", [is_("repository_id", "4711")], start_as(case.target)), issuers=[static]
    )

    apply(case.session, policy)

    assert log_in(case)["lease_duration"] == 900
    assert planned(case.session, policy).in_step


def test_a_field_that_the_files_no_longer_want_does_not_stay_because_vault_merges(case: Case) -> None:
    apply(case.session, case.policy)
    other = vault_policy(
        rule("prod", [is_("sub", "repo:acme/payments:environment:prod")], start_as(case.target)),
        jwks_url=item(wanted(case.policy), f"auth/{case.target.mount}/config").fields["jwks_url"],  # type: ignore[arg-type]
    )

    apply(case.session, other)

    held = case.session.read(case.role)
    assert held is not None
    assert normal("bound_claims", held["data"]["bound_claims"]) is None
    assert held["data"]["bound_subject"] == "repo:acme/payments:environment:prod"


def test_every_field_that_vault_has_is_written_or_left_to_the_administrator_by_name(case: Case) -> None:
    apply(case.session, case.policy)
    found = wanted(case.policy)

    left = {
        name
        for one in found.items
        if one.kind != "auth mount" and (held := case.session.read(one.path)) is not None
        for name in held["data"].keys() - one.fields.keys()
    }

    # The last three have names of their own for the same thing, or say where they stand.
    assert left <= {"token_bound_cidrs", "external_id", "mfa_serial_number", "namespace_in_state", "name"} | {
        "policies", "ttl", "max_ttl", "alias_metadata"
    }  # fmt: skip


def test_what_narrows_a_role_and_the_files_do_not_describe_stays(case: Case) -> None:
    apply(case.session, case.policy)
    case.session.write(case.role, {"token_bound_cidrs": ["127.0.0.1"], "token_ttl": 600, "role_type": "jwt"})

    apply(case.session, case.policy)

    held = case.session.read(case.role)
    assert held is not None
    assert held["data"]["token_bound_cidrs"] == ["127.0.0.1"]
    assert held["data"]["token_ttl"] == 900


def test_the_engine_role_is_for_exactly_the_workflows_of_the_rules(case: Case) -> None:
    apply(case.session, case.policy)
    path = f"{case.target.aws.mount}/roles/payments" if case.target.aws else ""
    case.session.write(path, {"credential_type": "assumed_role", "policy_document": ""})

    found = planned(case.session, case.policy)
    apply(case.session, case.policy)

    assert [(one.path, one.wider) for one in found.changes] == [(path, True)]
    held = case.session.read(path)
    assert held is not None
    assert "stateMachine:deploy" in held["data"]["policy_document"]


def test_a_policy_that_somebody_widened_is_taken_back(case: Case) -> None:
    apply(case.session, case.policy)
    path = f"sys/policies/acl/{case.target.policies[0]}"
    text = case.session.read(path)
    assert text is not None
    case.session.write(path, {"policy": text["data"]["policy"] + '\npath "*" { capabilities = ["sudo"] }\n'})

    found = planned(case.session, case.policy)
    apply(case.session, case.policy)

    assert [(one.path, one.wider) for one in found.changes] == [(path, True)]
    assert planned(case.session, case.policy).in_step


def test_where_tokens_are_handed_out_the_administrators_own_lines_of_the_policy_stay(case: Case) -> None:
    handed_out = vault_policy(
        rule("prod", [is_("repository_id", "4711")], start_as(case.target), token_of(case.target)),
        jwks_url=item(wanted(case.policy), f"auth/{case.target.mount}/config").fields["jwks_url"],  # type: ignore[arg-type]
    )
    path = f"sys/policies/acl/{case.target.policies[0]}"
    case.session.write(path, {"policy": 'path "secret/data/ci" { capabilities = ["read"] }'})

    apply(case.session, handed_out)

    held = case.session.read(path)
    assert held is not None
    assert "secret/data/ci" in held["data"]["policy"]
    assert f'path "{case.target.aws.mount}/sts/payments"' in held["data"]["policy"]  # type: ignore[union-attr]
    assert planned(case.session, handed_out).in_step


def test_roles_that_the_files_do_not_have_are_deleted_only_when_asked_for(case: Case) -> None:
    apply(case.session, case.policy)
    other = f"auth/{case.target.mount}/role/by-hand"
    case.session.write(other, {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["a"]})

    kept = apply(case.session, case.policy)
    still = case.session.read(other)
    apply(case.session, case.policy, prune=True)

    assert [(one.path, one.action) for one in kept.prune] == [(other, "delete")]
    assert still is not None
    assert case.session.read(other) is None
    assert planned(case.session, case.policy).in_step


def test_when_a_rule_goes_its_role_its_policy_and_its_engine_role_can_be_pruned(case: Case) -> None:
    apply(case.session, case.policy)
    gone = vault_policy(rule("other", [is_("repository_id", "1")], *()), targets=[case.target])

    found = apply(case.session, gone, prune=True)

    assert [one.kind for one in found.prune] == ["auth role", "policy", "engine role"]
    assert case.session.read(case.role) is None
    assert planned(case.session, gone).in_step


def test_what_a_line_by_hand_or_a_forged_mark_leads_to_is_never_deleted(case: Case) -> None:
    suffix = uuid.uuid4().hex[:8]
    for mount in (f"kv-{suffix}/roles", f"kv-{suffix}/sts"):
        case.session.write(f"sys/mounts/{mount}", {"type": "kv"})
    secrets = (f"kv-{suffix}/roles/a", f"kv-{suffix}/sts/a")
    for secret in secrets:
        case.session.write(secret, {"value": "x"})
    apply(case.session, case.policy)
    path = f"sys/policies/acl/{case.target.policies[0]}"
    text = case.session.read(path)
    assert text is not None
    by_hand = f'path "kv-{suffix}/sts/a" {{\n  capabilities = ["read"]\n}}\n'
    case.session.write(path, {"policy": text["data"]["policy"] + by_hand})
    mark = f"# Written by `oidc-gateway vault apply` for {case.role}; engine roles: kv-{suffix}/roles/a."
    forged = f'{mark}\npath "kv-{suffix}/sts/a" {{\n  capabilities = ["update"]\n}}\n'
    case.session.write(f"sys/policies/acl/forged-{suffix}", {"policy": forged})
    gone = vault_policy(rule("other", [is_("repository_id", "1")], *()), targets=[case.target])

    apply(case.session, gone, prune=True)

    assert all(case.session.read(secret) is not None for secret in secrets)
    assert case.session.read(path) is not None
    assert case.session.read(f"{case.target.aws.mount}/roles/payments") is not None  # type: ignore[union-attr]


def test_an_engine_role_that_the_policy_of_somebody_else_leads_to_stays(case: Case) -> None:
    apply(case.session, case.policy)
    assert case.target.aws is not None
    other = f"sys/policies/acl/other-{uuid.uuid4().hex[:8]}"
    text = f'path "{case.target.aws.mount}/sts/payments" {{ capabilities = ["update"] }}'
    case.session.write(other, {"policy": text})
    gone = vault_policy(rule("other", [is_("repository_id", "1")], *()), targets=[case.target])

    found = apply(case.session, gone, prune=True)

    assert [one.kind for one in found.prune] == ["auth role", "policy"]
    assert case.session.read(f"{case.target.aws.mount}/roles/payments") is not None


def test_of_a_role_that_was_handed_out_engine_role_and_policy_are_found_too(case: Case) -> None:
    url = str(item(wanted(case.policy), f"auth/{case.target.mount}/config").fields["jwks_url"])
    handed_out = vault_policy(
        rule("prod", [is_("repository_id", "4711")], token_of(case.target)), jwks_url=url
    )
    apply(case.session, handed_out)
    gone = vault_policy(rule("other", [is_("repository_id", "1")], *()), targets=[case.target])

    found = apply(case.session, gone, prune=True)

    assert [one.kind for one in found.prune] == ["auth role", "policy", "engine role"]


def test_a_mount_that_gives_batch_tokens_whatever_a_role_says_is_a_problem(case: Case) -> None:
    apply(case.session, case.policy)
    case.session.write(f"sys/auth/{case.target.mount}/tune", {"token_type": "batch"})

    found = planned(case.session, case.policy)

    assert found.problems[0].startswith(f"auth/{case.target.mount} is tuned to give batch tokens")


def test_an_engine_that_is_not_there_is_for_the_administrator_and_holds_nothing_else_up(
    case: Case,
) -> None:
    case.session.delete(f"sys/mounts/{case.target.aws.mount}")  # type: ignore[union-attr]

    found = apply(case.session, case.policy)

    assert len(found.problems) == 1
    assert "is not there. Enable it" in found.problems[0]
    assert case.session.read(case.role) is not None
    assert not planned(case.session, case.policy).in_step


def test_a_mount_of_another_type_is_left_alone(case: Case) -> None:
    case.session.write(f"sys/auth/{case.target.mount}", {"type": "userpass"})

    found = apply(case.session, case.policy)

    assert found.problems == (
        f"auth/{case.target.mount} is there and of the type userpass, not jwt. Name another mount in the files.",
    )
    assert not any(change.path.startswith(f"auth/{case.target.mount}") for change in found.changes)


def test_an_issuer_that_vault_cannot_reach_is_said_so(case: Case) -> None:
    unreachable = vault_policy(
        rule("prod", [is_("repository_id", "4711")], start_as(case.target)),
        jwks_url="http://127.0.0.1:9/keys",
    )

    with pytest.raises(UpstreamFailed) as caught:
        apply(case.session, unreachable)

    assert caught.value.message.endswith("Vault could not fetch the issuer's keys.")


@pytest.mark.requirement("VA-07")
def test_a_token_that_may_not_look_is_told_at_what_and_sees_nothing_of_vaults_answer(
    case: Case, vault: VaultServer
) -> None:
    made = case.session.write("auth/token/create", {"policies": ["default"]})
    with hvac_client(vault.address, made["auth"]["client_token"]) as client:
        weak = VaultSession(client, vault.address)

        with pytest.raises(GatewayError) as caught:
            planned(weak, case.policy)

    assert isinstance(caught.value, AccessDenied)
    assert caught.value.code is ErrorCode.VAULT_DENIED
    assert "read sys/auth" in caught.value.message
    assert "permission denied" not in str(caught.value)
    case.session.write("auth/token/revoke", {"token": made["auth"]["client_token"]})


@pytest.mark.parametrize(
    ("conditions", "claims"),
    [
        pytest.param(
            [Condition(claim="groups", operator=Operator.CONTAINS, wanted=("a",))],
            {"groups": ["b", "a"]},
            id="contains",
        ),
        pytest.param(
            [Condition(claim="groups", operator=Operator.CONTAINS_ALL, wanted=("a", "b"))],
            {"groups": ["b", "a"]},
            id="all",
        ),
        pytest.param(
            [Condition(claim="n", operator=Operator.CONTAINS_ANY, wanted=(1, "x"))],
            {"n": [1]},
            id="number in list",
        ),
        pytest.param([is_("run", 991)], {"run": 991}, id="number"),
        pytest.param([is_("run", 2**53 - 1)], {"run": 2**53 - 1}, id="largest number"),
        pytest.param([is_("ok", True)], {"ok": True}, id="boolean"),
        pytest.param([is_("/k8s.io/ns", "prod")], {"k8s.io": {"ns": "prod"}}, id="pointer"),
        pytest.param([is_("/a~1b/c", "x")], {"a/b": {"c": "x"}}, id="escaped pointer"),
        pytest.param(
            [is_("https://acme.example/team", "x, y")],
            {"https://acme.example/team": "x, y"},
            id="URL and comma",
        ),
        pytest.param(
            [Condition(claim="scope", operator=Operator.SCOPE, wanted=("a",))], {"scope": "a b"}, id="scope"
        ),
        pytest.param([Condition(claim="gone", operator=Operator.ABSENT, wanted=())], {}, id="absent"),
        pytest.param([is_("empty", "")], {"empty": ""}, id="empty text"),
    ],
)
def test_whatever_a_rule_compares_vault_lets_the_token_in_that_satisfies_it(
    case: Case, conditions: list[Condition], claims: dict[str, object]
) -> None:
    url = str(item(wanted(case.policy), f"auth/{case.target.mount}/config").fields["jwks_url"])
    policy = vault_policy(
        rule("prod", [is_("repository_id", "4711"), *conditions], start_as(case.target)), jwks_url=url
    )
    apply(case.session, policy)

    auth = log_in(case, **claims)

    assert auth["metadata"]["role"] == case.target.role  # type: ignore[index]
