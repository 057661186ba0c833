"""What Vault must hold for the files: never narrower than the rules, no wider than Vault can say, and every field of it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.admin.vault_bounds import bounds_of
from gateway.admin.vault_effects import Effect, effect_of, normal
from gateway.admin.vault_fields import LONGEST_DOCUMENT, POLICY_MARK, PolicyMark, mark_of, missing_blocks
from gateway.admin.vault_plan import Held, plan
from gateway.admin.vault_text import render_plan, summary
from gateway.identity.issuer import KeyLocation
from gateway.policy.claims import check_claim
from gateway.policy.rule import Condition, Operator, Scalar
from tests.support.policies import is_, rule
from tests.support.tokens import jwks, trusted
from tests.support.vault_edge import engine, vault_role
from tests.support.vault_plans import (
    TODAY,
    credentials_of,
    item,
    start_as,
    token_of,
    vault_policy,
    wanted,
)

ROLE = "auth/jwt-github/role/payments-ci"
ENGINE = "aws/roles/payments"
POLICY = "sys/policies/acl/payments-ci"
TARGET = vault_role(aws=engine())


# Bounds.

_VALUES: st.SearchStrategy[Scalar] = st.one_of(
    st.sampled_from(["a", "b", "c", "1", ""]), st.integers(0, 2), st.booleans()
)
_SOME = st.lists(_VALUES, min_size=1, max_size=3).map(tuple)
_NAMES = st.sampled_from(["x", "y", "/n/z"])


def _condition(claim: str, operator: Operator, values: tuple[Scalar, ...]) -> Condition:
    if operator is Operator.ABSENT:
        return Condition(claim=claim, operator=operator, wanted=())
    if operator is Operator.SCOPE:
        return Condition(claim=claim, operator=operator, wanted=("a",))
    single = operator in (Operator.EQUALS, Operator.CONTAINS)
    return Condition(claim=claim, operator=operator, wanted=values[:1] if single else values)


_CONDITIONS = st.builds(_condition, _NAMES, st.sampled_from(list(Operator)), _SOME)
_RULES = st.lists(st.lists(_CONDITIONS, min_size=1, max_size=4), min_size=1, max_size=3)
_CLAIM: st.SearchStrategy[object] = st.one_of(
    _VALUES, st.lists(_VALUES, max_size=3), st.none(), st.sampled_from(["a b", "b c"])
)
_MEMBERS = st.fixed_dictionaries(
    {}, optional={"x": _CLAIM, "y": _CLAIM, "n": st.fixed_dictionaries({}, optional={"z": _CLAIM})}
)


def vault_lets_in(bounds: dict[str, tuple[Scalar, ...]], members: dict[str, object]) -> bool:
    """Compare as Vault does (vault-plugin-auth-jwt, validateBoundClaims): a number inside a list equals nothing."""

    def key(value: object) -> tuple[str, str]:
        return type(value).__name__, str(value)

    for claim, values in bounds.items():
        found: object = members
        for part in claim.strip("/").split("/"):
            found = found.get(part) if isinstance(found, dict) else None
        held = [one for one in found if type(one) is not int] if isinstance(found, list) else [found]
        if not {key(one) for one in held} & {key(value) for value in values}:
            return False
    return True


@given(_RULES, _MEMBERS)
def test_no_token_that_a_rule_allows_is_refused_by_the_bound_claims(
    rules: list[list[Condition]], members: dict[str, object]
) -> None:
    allowed = any(all(check_claim(one, members).outcome == "matched" for one in rule_) for rule_ in rules)

    bounds = bounds_of(rules)

    if allowed:
        assert bounds is not None
        assert vault_lets_in(dict(bounds), members)


@given(
    st.lists(st.dictionaries(_NAMES, st.sampled_from(["a", "b"]), min_size=1), min_size=1, max_size=1),
    _MEMBERS,
)
def test_for_one_rule_that_compares_texts_vault_refuses_every_token_that_the_rule_does(
    rules: list[dict[str, str]], members: dict[str, object]
) -> None:
    (claims,) = rules
    conditions = [is_(claim, value) for claim, value in claims.items()]
    scalars = all(not isinstance(one, list) for one in (*members.values(), members.get("n", {}).get("z")))  # type: ignore[attr-defined]
    allowed = all(check_claim(one, members).outcome == "matched" for one in conditions)

    bounds = bounds_of([conditions])

    assert bounds is not None
    if scalars:
        assert vault_lets_in(dict(bounds), members) == allowed


def test_rules_that_share_a_role_leave_of_their_claims_those_in_common_with_all_values() -> None:
    bounds = bounds_of(
        [[is_("id", "1"), is_("ref", "main")], [is_("id", "2"), is_("ref", "main"), is_("env", "x")]]
    )

    assert bounds == {"id": ("1", "2"), "ref": ("main",)}


def test_what_the_issuer_requires_narrows_what_a_rule_leaves_open() -> None:
    assert bounds_of([[is_("ref", "a", "b"), is_("ref", "b", "c")]]) == {"ref": ("b",)}


def test_a_rule_that_no_token_can_satisfy_widens_nothing() -> None:
    assert bounds_of([[is_("ref", "a"), is_("ref", "b")], [is_("ref", "c")]]) == {"ref": ("c",)}
    assert bounds_of([[is_("ref", "a"), is_("ref", "b")]]) is None


def test_of_a_list_that_must_hold_all_vault_demands_one_and_the_same_for_several_rules() -> None:
    def every(*values: str) -> Condition:
        return Condition(claim="groups", operator=Operator.CONTAINS_ALL, wanted=values)

    assert bounds_of([[every("a", "b")], [every("b", "c")]]) == {"groups": ("b",)}


# What is wanted.


def test_a_role_has_every_field_exactly() -> None:
    policy = vault_policy(
        rule("prod", [is_("repository_id", "4711"), is_("ref", "refs/heads/main")], start_as(TARGET)),
        require=[is_("repository_owner_id", "12")],
    )

    fields = item(wanted(policy), ROLE).fields

    assert fields["bound_audiences"] == ["https://gateway.acme.example"]
    assert fields["bound_claims"] == {
        "ref": ["refs/heads/main"],
        "repository_id": ["4711"],
        "repository_owner_id": ["12"],
    }
    assert (fields["role_type"], fields["bound_subject"], fields["user_claim"]) == (
        "jwt",
        "",
        "repository_id",
    )
    assert fields["token_policies"] == ["payments-ci"]
    assert {fields[name] for name in ("token_ttl", "token_max_ttl", "token_explicit_max_ttl")} == {900}
    assert (fields["token_type"], fields["token_period"], fields["token_num_uses"]) == ("service", 0, 0)
    assert {fields[f"{name}_leeway"] for name in ("expiration", "not_before", "clock_skew")} == {30}


def test_a_subject_that_all_rules_agree_on_is_bound_as_the_subject() -> None:
    policy = vault_policy(
        rule("prod", [is_("sub", "s")], start_as(TARGET)), rule("b", [is_("sub", "s")], token_of(TARGET))
    )

    fields = item(wanted(policy), ROLE).fields

    assert (fields["bound_subject"], fields["bound_claims"]) == ("s", {})


def test_no_leeway_is_written_so_that_vault_does_not_take_its_own() -> None:
    strict = replace(trusted(), keys=KeyLocation(jwks_uri="https://k.example/keys"), leeway_s=0)
    policy = vault_policy(rule("prod", [is_("sub", "s")], start_as(TARGET)), issuers=[strict])

    assert item(wanted(policy), ROLE).fields["clock_skew_leeway"] == -1


@pytest.mark.parametrize(
    ("kind", "audiences", "claims"),
    [
        pytest.param("cognito-id", ["4fk2client"], {"token_use": ["id"]}, id="ID tokens"),
        pytest.param(
            "cognito-access", [], {"client_id": ["4fk2client"], "token_use": ["access"]}, id="access tokens"
        ),
    ],
)
def test_cognitos_clients_stand_in_for_audiences(
    kind: str, audiences: list[str], claims: dict[str, list[str]]
) -> None:
    issuer = replace(trusted(kind), keys=KeyLocation(jwks_uri="https://k.example/keys"))
    policy = vault_policy(rule("prod", [is_("sub", "s")], start_as(TARGET), issuer=kind), issuers=[issuer])

    fields = item(wanted(policy), ROLE).fields

    assert fields["bound_audiences"] == audiences
    assert fields["bound_claims"] == claims


def test_a_mount_believes_one_issuer_its_keys_and_its_algorithms_and_has_no_default_role() -> None:
    config = item(
        wanted(vault_policy(rule("p", [is_("sub", "s")], start_as(TARGET)))), "auth/jwt-github/config"
    ).fields

    assert config["jwks_url"] == "https://keys.example/jwks"
    assert config["bound_issuer"] == trusted().issuer
    assert config["jwt_supported_algs"] == ["RS256"]
    assert (config["oidc_discovery_url"], config["default_role"]) == ("", "")


def test_an_issuer_that_is_found_by_discovery_is_found_so_by_vault() -> None:
    location = KeyLocation(
        discovery_url=f"{trusted().issuer}/.well-known/openid-configuration", ca_pem="a CA"
    )
    issuer = replace(trusted(), keys=location)
    policy = vault_policy(rule("p", [is_("sub", "s")], start_as(TARGET)), issuers=[issuer])

    config = item(wanted(policy), "auth/jwt-github/config").fields

    assert (config["oidc_discovery_url"], config["oidc_discovery_ca_pem"]) == (trusted().issuer, "a CA")
    assert (config["jwks_url"], config["jwks_ca_pem"]) == ("", "")


@pytest.mark.parametrize(
    "keys",
    [KeyLocation(static_jwks="{}"), KeyLocation(discovery_url="https://elsewhere.example/openid")],
    ids=["file", "elsewhere"],
)
def test_keys_that_vault_cannot_fetch_are_a_problem_with_a_way_out(keys: KeyLocation) -> None:
    policy = vault_policy(
        rule("p", [is_("sub", "s")], start_as(TARGET)), issuers=[replace(trusted(), keys=keys)]
    )

    found = wanted(policy)

    assert len(found.problems) == 1
    assert "ive the issuer a jwks_uri" in found.problems[0]
    assert not any(one.kind.startswith("auth") for one in found.items)


def test_keys_that_stand_in_a_file_are_given_to_vault_themselves() -> None:
    issuer = replace(trusted(), keys=KeyLocation(static_jwks=jwks().decode()))
    policy = vault_policy(rule("p", [is_("sub", "s")], start_as(TARGET)), issuers=[issuer])

    config = item(wanted(policy), "auth/jwt-github/config").fields

    pems = config["jwt_validation_pubkeys"]
    assert isinstance(pems, list)
    assert len(pems) == 4
    assert all(pem.startswith("-----BEGIN PUBLIC KEY-----\n") for pem in pems)
    assert (config["jwks_url"], config["oidc_discovery_url"]) == ("", "")


def test_two_issuers_on_one_mount_are_a_problem() -> None:
    okta = replace(trusted("okta"), keys=KeyLocation(jwks_uri="https://k.example/keys"))
    other = vault_role(name="agents", role="agents")
    policy = vault_policy(
        rule("a", [is_("sub", "s")], start_as(TARGET)),
        rule("b", [is_("sub", "s")], start_as(other), issuer="okta"),
        issuers=[okta],
    )

    assert (
        wanted(policy)
        .problems[0]
        .startswith("auth/jwt-github would have to serve the issuers github and okta;")
    )


def test_two_targets_with_one_role_of_vault_are_a_problem() -> None:
    policy = vault_policy(
        rule("a", [is_("sub", "s")], start_as(TARGET), start_as(replace(TARGET, name="second")))
    )

    assert "name the same role auth/jwt-github/role/payments-ci" in wanted(policy).problems[0]


@pytest.mark.parametrize(
    "last_day", [pytest.param(date(2026, 11, 21), id="over"), pytest.param(None, id="no rule")]
)
def test_nothing_is_wanted_for_a_role_that_nobody_is_granted(last_day: date | None) -> None:
    granting = [rule("a", [is_("sub", "s")], start_as(TARGET), last_day=last_day)] if last_day else []

    found = wanted(vault_policy(*granting, targets=[TARGET]), today=TODAY)

    assert found.items == ()
    assert found.remarks == ("No rule grants payments-ci; nothing is needed for it.",)


def test_the_engine_role_may_start_and_follow_the_workflows_that_rules_name_and_no_other() -> None:
    policy = vault_policy(
        rule("a", [is_("sub", "s")], start_as(TARGET, "deploy"), start_as(TARGET, "migrate"))
    )

    fields = item(wanted(policy), ENGINE).fields

    assert json.loads(str(fields["policy_document"]))["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution"],
            "Resource": [
                "arn:aws:states:eu-west-1:111122223333:execution:deploy:*",
                "arn:aws:states:eu-west-1:111122223333:execution:migrate:*",
            ],
        },
        {
            "Effect": "Allow",
            "Action": ["states:StartExecution"],
            "Resource": [
                "arn:aws:states:eu-west-1:111122223333:stateMachine:deploy",
                "arn:aws:states:eu-west-1:111122223333:stateMachine:migrate",
            ],
        },
    ]
    assert fields["role_arns"] == ["arn:aws:iam::111122223333:role/deployer"]
    assert (fields["credential_type"], fields["default_sts_ttl"], fields["max_sts_ttl"]) == (
        "assumed_role",
        900,
        900,
    )


@pytest.mark.parametrize("grant", [credentials_of(TARGET), token_of(TARGET)], ids=["credentials", "token"])
def test_an_engine_role_that_is_handed_out_narrows_nothing_and_the_plan_says_so(grant: object) -> None:
    policy = vault_policy(rule("a", [is_("sub", "s")], start_as(TARGET), grant))  # type: ignore[arg-type]

    found = wanted(policy)

    assert item(found, ENGINE).fields["policy_document"] == ""
    assert found.remarks[0].startswith(
        "payments-ci is handed out by `obtain`, so its engine role narrows nothing"
    )


def test_more_workflows_than_aws_takes_in_one_policy_are_a_problem() -> None:
    grants = [start_as(TARGET, f"workflow-with-a-long-name-{number}") for number in range(20)]

    found = wanted(vault_policy(rule("a", [is_("sub", "s")], *grants)))

    assert f"AWS takes {LONGEST_DOCUMENT:,}" in found.problems[0]


def test_the_policy_leads_to_the_engine_and_nowhere_else() -> None:
    text = item(wanted(vault_policy(rule("a", [is_("sub", "s")], start_as(TARGET)))), POLICY).fields["policy"]

    assert text == (
        "# Written by `oidc-gateway vault apply` for auth/jwt-github/role/payments-ci; "
        "engine roles: aws/roles/payments.\n"
        'path "aws/sts/payments" {\n  capabilities = ["update"]\n}\n'
    )
    mark = mark_of(str(text))
    assert mark == PolicyMark(users=(ROLE,), engine_roles=(ENGINE,), untouched=True)
    assert mark.is_of(["jwt-github"])
    assert not mark.is_of(["jwt-other"])


def test_an_engine_role_is_remembered_at_its_own_mount_even_where_that_is_called_as_a_path_of_it() -> None:
    target = vault_role(aws=replace(engine(), mount="x/sts/y"))

    text = item(wanted(vault_policy(rule("a", [is_("sub", "s")], start_as(target)))), POLICY).fields["policy"]

    mark = mark_of(str(text))
    assert mark is not None
    assert (mark.engine_roles, mark.untouched) == (("x/sts/y/roles/payments",), True)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + 'path "secret/data/sts/x" { capabilities = ["read"] }\n',
        lambda text: text.replace("aws/roles/payments", "secret/data/roles/x"),
        lambda text: text.replace("update", "read"),
    ],
    ids=["a line more", "another path in the mark", "another power"],
)
def test_a_policy_that_was_changed_is_not_deleted_and_left_to_whoever_changed_it(
    change: Callable[[str], str],
) -> None:
    found = wanted(vault_policy(rule("a", [is_("sub", "s")], start_as(TARGET))))
    mark = mark_of(change(str(item(found, POLICY).fields["policy"])))
    assert mark is not None

    result = plan(
        found, Held(items={}, mounts={}, engines={"aws": "aws"}, policies={"sys/policies/acl/old": mark})
    )

    assert not mark.untouched
    assert result.prune == ()
    assert any(remark.startswith("sys/policies/acl/old is not in the files") for remark in result.remarks)


def test_a_policy_that_somebody_else_wrote_is_a_problem_and_not_overwritten() -> None:
    found = wanted(vault_policy(rule("a", [is_("sub", "s")], start_as(TARGET))))
    held = Held(
        items={POLICY: {"policy": 'path "secret/data/x" { capabilities = ["read"] }'}},
        mounts={},
        engines={"aws": "aws"},
    )

    result = plan(found, held)

    assert result.problems[0].startswith(f"{POLICY} is there and was not written here")
    assert POLICY not in [change.path for change in result.changes]


@pytest.mark.parametrize(
    ("held", "missing"),
    [
        pytest.param('path "aws/sts/payments" { capabilities = ["read", "update"] }', False, id="there"),
        pytest.param('path "aws/sts/payments" { capabilities = ["read"] }', True, id="another power"),
        pytest.param('path "aws/sts/payments" { capabilities = ["update", "deny"] }', True, id="denied"),
        pytest.param('# path "aws/sts/payments" { capabilities = ["update"] }', True, id="comment"),
        pytest.param("", True, id="empty"),
    ],
)
def test_a_policy_of_the_administrators_own_must_hold_our_block(held: str, missing: bool) -> None:
    wanted_text = f'{POLICY_MARK}x.\npath "aws/sts/payments" {{\n  capabilities = ["update"]\n}}\n'

    assert bool(missing_blocks(wanted_text, held)) is missing


def test_rules_with_nothing_in_common_are_pointed_out() -> None:
    policy = vault_policy(
        rule("a", [is_("repository_id", "1")], start_as(TARGET)),
        rule("b", [is_("environment", "x")], start_as(TARGET)),
    )

    assert "its rules have no claim in common that Vault can compare" in wanted(policy).remarks[0]


# Differences.


@pytest.mark.parametrize(
    ("field", "held", "files", "effect"),
    [
        ("bound_claims", {}, {"ref": ["a"]}, "wider"),
        ("bound_claims", {"ref": ["a", "b"]}, {"ref": ["a"]}, "wider"),
        ("bound_claims", {"ref": ["a"], "x": ["1"]}, {"ref": ["a", "b"]}, "narrower"),
        ("bound_claims", {"n": [1]}, {"n": ["1"]}, "wider"),
        ("bound_audiences", ["a", "b"], ["a"], "wider"),
        ("bound_audiences", [], ["a"], "narrower"),
        ("bound_subject", "", "s", "wider"),
        ("jwt_supported_algs", [], ["RS256"], "wider"),
        ("token_ttl", 0, 900, "wider"),
        ("token_ttl", 300, 900, "narrower"),
        ("clock_skew_leeway", 0, 30, "wider"),
        ("clock_skew_leeway", -1, 30, "narrower"),
        ("token_period", 60, 0, "wider"),
        ("default_role", "any", "", "wider"),
        ("token_type", "batch", "service", "wider"),
        ("token_num_uses", 2, 0, "narrower"),
        ("user_claim", "sub", "repository_id", "different"),
        ("policy_document", "", '{"Statement": []}', "wider"),
        ("policy_document", '{"Statement": []}', "", "narrower"),
        ("policy", 'path "*" {\n}', 'path "a" {\n}', "wider"),
        ("policy", "", 'path "a" {\n}', "narrower"),
    ],
)
def test_a_difference_is_wider_when_vault_lets_more_through_than_the_files(
    field: str, held: object, files: object, effect: Effect
) -> None:
    assert effect_of(field, normal(field, held), normal(field, files)) == effect


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("bound_claims", {"ref": "a"}, {"ref": ["a"]}),
        ("bound_claims", None, {}),
        ("token_policies", ["b", "a"], ["a", "b"]),
        ("policy_document", '{"a":1}', '{ "a": 1 }'),
        ("bound_subject", None, ""),
        ("policy", "x\n", "x"),
    ],
)
def test_spelling_is_no_difference(field: str, one: object, other: object) -> None:
    assert normal(field, one) == normal(field, other)


def test_a_plan_reads_as_what_would_happen() -> None:
    found = wanted(vault_policy(rule("a", [is_("ref", "main")], start_as(TARGET))))
    items = {one.path: dict(one.fields) for one in found.items}
    items[ROLE]["bound_claims"] = {}
    held = Held(
        items=items,
        mounts={"jwt-github": "jwt"},
        engines={"aws": "aws"},
        policies={},
        other_roles=("auth/jwt-github/role/by-hand",),
    )

    text = render_plan(plan(found, held), address="https://vault.acme.example:8200", pruning=False)

    assert text == (
        "main (https://vault.acme.example:8200)\n"
        "  ~ auth/jwt-github/role/payments-ci  (update auth role)\n"
        "      bound_claims:  Vault is wider\n"
        "        - nothing\n"
        '        + {"ref": ["main"]}\n'
        "  - auth/jwt-github/role/by-hand  (delete auth role)  not in the files; --prune deletes it\n"
        "  1 change, 1 deletion. Vault is wider than the files."
    )


def test_a_vault_that_is_just_so_is_in_step() -> None:
    found = wanted(vault_policy(rule("a", [is_("ref", "main")], start_as(TARGET))))
    held = Held(
        items={one.path: one.fields for one in found.items},
        mounts={"jwt-github": "jwt"},
        engines={"aws": "aws"},
        policies={},
    )

    result = plan(found, held)

    assert result.in_step
    assert summary(result) == "Vault is in step with the files."
