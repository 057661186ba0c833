"""Vault in the files: names that can stand in a path, targets that yield what rules grant, and what Vault cannot enforce."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.arn import parse_role
from gateway.compiling.compiled import Compiled
from gateway.policy.rule import Vault, VaultAws, VaultRole
from tests.support.certificates import Authority
from tests.support.config_folder import GATEWAY, OPS, PAYMENTS, TARGETS, codes, compiled, said

ARN = "arn:aws:iam::111122223333:role/deployer"
VAULTS = "vaults:\n  main: { address: https://vault.acme.example:8200, namespace: acme }\n"
VAULT_ROLES = f"""\
vault_roles:
  ci:
    vault: main
    mount: jwt-github
    role: payments-ci
    user_claim: repository_id
    policies: [payments-ci]
    ttl: 15m
    aws: {{ mount: aws, role: payments, role_arn: "{ARN}" }}
    teams: [payments, ops]
"""
RULE = """\
format: oidc-gateway/mapping.v1
rules:
  - name: ci
    why: PAY-2, builds
    issuer: github
    claims: { repository_id: "4710" }
    grants:
      - { obtain: ci, form: vault-token }
      - { obtain: ci }
"""
CI = "mappings/payments/ci.yaml"


def with_vault(
    tmp_path: Path,
    *,
    vaults: str = VAULTS,
    roles: str = VAULT_ROLES,
    rule: str = RULE,
    more: Mapping[str, str | None] | None = None,
    dev: bool = False,
) -> Compiled:
    files: dict[str, str | None] = {
        "gateway.yaml": GATEWAY + vaults,
        "targets.yaml": TARGETS + roles,
        CI: rule,
        **(more or {}),
    }
    return compiled(tmp_path, files, dev=dev)


def changed(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def grants_of(result: Compiled, rule: str) -> list[tuple[str, str, str | None]]:
    assert result.policy is not None
    return [(one.verb, one.target.name, one.form) for one in result.policy.rules[rule].grants]


def test_a_vault_role_is_compiled_with_its_server_and_its_engine(tmp_path: Path) -> None:
    result = with_vault(tmp_path)

    assert result.findings == ()
    assert result.policy is not None
    assert result.policy.targets["ci"] == VaultRole(
        name="ci",
        vault=Vault(name="main", address="https://vault.acme.example:8200", namespace="acme"),
        mount="jwt-github",
        role="payments-ci",
        user_claim="repository_id",
        policies=("payments-ci",),
        ttl_s=900,
        aws=VaultAws(mount="aws", role="payments", arn=parse_role(ARN)),
        teams=("payments", "ops"),
    )


def test_a_vault_role_yields_tokens_and_credentials_and_starts_workflows(tmp_path: Path) -> None:
    rule = changed(RULE, "- { obtain: ci }", "- { obtain: ci }\n      - { start: deploy, as: ci }")

    result = with_vault(tmp_path, rule=rule)

    assert ("obtain", "ci", "vault-token") in grants_of(result, "payments.ci")
    assert ("obtain", "ci", "aws-credentials") in grants_of(result, "payments.ci")
    assert ("start", "ci", None) in grants_of(result, "payments.ci")


def test_the_optional_parts_are_compiled_too(tmp_path: Path) -> None:
    roles = VAULT_ROLES[: VAULT_ROLES.index("    aws:")] + "    wrap: 60s\n    teams: [payments]\n"
    vaults = "vaults:\n  main: { address: https://vault.acme.example/, ca_file: ca.pem }\n"
    pem = Authority().pem

    result = with_vault(
        tmp_path,
        vaults=vaults,
        roles=roles,
        rule=changed(RULE, "      - { obtain: ci }\n", ""),
        more={"ca.pem": pem},
    )

    assert result.findings == ()
    assert result.policy is not None
    role = result.policy.targets["ci"]
    assert isinstance(role, VaultRole)
    assert (role.wrap_s, role.aws) == (60, None)
    assert role.vault == Vault(name="main", address="https://vault.acme.example", ca_pem=pem)


@pytest.mark.requirement("VA-01")
@pytest.mark.parametrize(
    ("server", "dev", "code"),
    [
        pytest.param("address: vault.acme.example", False, "value_invalid", id="no-scheme"),
        pytest.param("address: http://vault.acme.example", True, "value_invalid", id="http-name"),
        pytest.param("address: http://127.0.0.1:8200", False, "dev_only", id="http"),
        pytest.param("address: http://127.0.0.1:8200", True, None, id="http-dev"),
        pytest.param("address: https://vault.acme.example/v1", False, "value_invalid", id="path"),
        pytest.param("address: https://vault.acme.example//", False, "value_invalid", id="slashes"),
        pytest.param("address: https://vault.acme.example?a=b", False, "value_invalid", id="query"),
        pytest.param("address: https://a:b@vault.acme.example", False, "value_invalid", id="user"),
        pytest.param(
            "address: https://v.example, namespace: /acme", False, "value_invalid", id="slash-before"
        ),
        pytest.param(
            "address: https://v.example, namespace: acme/", False, "value_invalid", id="slash-after"
        ),
        pytest.param("address: https://v.example, namespace: a//b", False, "value_invalid", id="two-slashes"),
        pytest.param("address: https://v.example, namespace: a/../b", False, "value_invalid", id="dots"),
        pytest.param("address: https://v.example, namespace: Acme", False, "value_invalid", id="capital"),
        pytest.param("address: https://v.example, namespace: root", False, "value_invalid", id="root"),
        pytest.param("address: https://v.example, namespace: acme/ci", False, None, id="below"),
        pytest.param("address: https://v.example, ca_file: none.pem", False, "file_missing", id="no-ca"),
    ],
)
def test_a_vault_server_is_an_https_address_and_a_plain_namespace(
    tmp_path: Path, server: str, dev: bool, code: str | None
) -> None:
    result = with_vault(tmp_path, vaults=f"vaults:\n  main: {{ {server} }}\n", dev=dev)

    assert codes(result) == ([] if code is None else [code])
    assert (result.policy is None) is (code is not None)


@pytest.mark.requirement("VA-01")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("mount: jwt-github", "mount: jwt//github", '"jwt//github" is no mount.', id="slashes"),
        pytest.param("mount: jwt-github", "mount: ../sys", '"../sys" is no mount.', id="dots"),
        pytest.param("mount: jwt-github", "mount: a/./b", '"a/./b" is no mount.', id="dot"),
        pytest.param("mount: jwt-github", "mount: /jwt", '"/jwt" is no mount.', id="slash"),
        pytest.param("mount: jwt-github", 'mount: "jwt?x"', '"jwt?x" is no mount.', id="query"),
        pytest.param("mount: jwt-github", 'mount: "jwt%2fx"', '"jwt%2fx" is no mount.', id="escape"),
        pytest.param("mount: jwt-github", 'mount: "jwt x"', '"jwt x" is no mount.', id="blank"),
        pytest.param(
            "mount: jwt-github",
            "mount: auth/jwt",
            "auth/ stands before every auth mount by itself.",
            id="auth",
        ),
        pytest.param(
            "mount: jwt-github",
            "mount: JWT",
            '"JWT" has capitals. The name of a mount is lower case here.',
            id="JWT",
        ),
        pytest.param("role: payments-ci", "role: a/b", '"a/b" is no role of Vault.', id="role-slash"),
        pytest.param("role: payments-ci", "role: ..", '".." is no role of Vault.', id="role-dots"),
        pytest.param(
            "role: payments-ci",
            "role: Payments-CI",
            '"Payments-CI" has capitals. Vault makes the name of a role lower case, so it would be another one than is '
            "read here.",
            id="role-capitals",
        ),
        pytest.param(
            "mount: aws,",
            "mount: sys,",
            '"sys" is a path of Vault\'s own; no AWS secrets engine is mounted there.',
            id="sys",
        ),
        pytest.param(
            "role: payments,", "role: a/b,", '"a/b" is no role of the AWS engine.', id="engine-role"
        ),
        pytest.param("[payments-ci]", "[a//b]", '"a//b" is no policy.', id="policy"),
    ],
)
def test_names_that_become_paths_hold_nothing_that_a_path_gives_a_meaning_to(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    result = with_vault(tmp_path, roles=changed(VAULT_ROLES, old, new))

    assert [(one.code, one.message) for one in result.findings] == [("value_invalid", message)]
    assert result.policy is None


@pytest.mark.parametrize("policy", ["root", "response-wrapping", "control-group"])
def test_no_token_is_to_have_a_policy_of_vaults_own(tmp_path: Path, policy: str) -> None:
    result = with_vault(tmp_path, roles=changed(VAULT_ROLES, "[payments-ci]", f"[payments-ci, {policy}]"))

    assert said(result) == [("value_invalid", "targets.yaml:16:29")]
    assert result.policy is None


def test_the_policy_that_vault_adds_by_itself_need_not_be_written(tmp_path: Path) -> None:
    result = with_vault(tmp_path, roles=changed(VAULT_ROLES, "[payments-ci]", "[payments-ci, default]"))

    assert [(one.code, one.severity) for one in result.findings] == [("value_invalid", "warning")]


@pytest.mark.parametrize(
    ("claim", "severity"),
    [
        pytest.param("repository_id", None, id="stable"),
        pytest.param("sub", None, id="subject"),
        pytest.param("run_id", "warning", id="per-run"),
        pytest.param("jti", "warning", id="per-token"),
        pytest.param("sha", "warning", id="per-commit"),
        pytest.param("repositry_id", "warning", id="misspelt"),
        pytest.param("iss", "error", id="everybody"),
        pytest.param("exp", "error", id="time"),
        pytest.param('"/a~x"', "error", id="pointer"),
        pytest.param('"/run_id"', "error", id="second-name"),
    ],
)
def test_the_claim_that_names_the_caller_says_who_it_is_and_stays_the_same(
    tmp_path: Path, claim: str, severity: str | None
) -> None:
    roles = changed(VAULT_ROLES, "user_claim: repository_id", f"user_claim: {claim}")

    result = with_vault(tmp_path, roles=roles)

    assert {one.severity for one in result.findings} == ({severity} if severity else set())


def test_the_claim_that_names_the_caller_is_a_text(tmp_path: Path) -> None:
    gateway = (
        changed(GATEWAY, "preset: auth0", "preset: gitlab")
        .replace("clients: [nw7]", "")
        .replace("https://acme.eu.auth0.example/", "https://gitlab.acme.example")
    )
    rule = changed(OPS, "sub: nw7@clients", 'project_id: "7"').replace(
        "{ view: deploy, as: shared }", "{ obtain: ci }"
    )
    roles = changed(VAULT_ROLES, "user_claim: repository_id", "user_claim: runner_id")

    result = with_vault(
        tmp_path,
        roles=roles,
        rule=PAYMENTS.replace("name: deploy", "name: x"),
        more={"gateway.yaml": gateway + VAULTS, "mappings/ops.yaml": rule},
    )

    assert ("vault_claim_unusable", "mappings/ops.yaml:7:24") in said(result)
    assert grants_of(result, "ops.watch") == []


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        pytest.param("ttl: 15m", "ttl: 29s", "value_invalid", id="short"),
        pytest.param("ttl: 15m", "ttl: 13h", "value_invalid", id="long"),
        pytest.param("ttl: 15m", "ttl: 15m\n    wrap: 16m", "value_invalid", id="wrapped-beyond-its-life"),
        pytest.param("ttl: 15m", "ttl: 15m\n    wrap: 9s", "value_invalid", id="wrapped-too-briefly"),
        pytest.param("vault: main", "vault: mian", "reference_unknown", id="vault"),
        pytest.param(", ops]", ", opps]", "reference_unknown", id="team"),
        pytest.param(f'"{ARN}"', '"arn:aws:iam::111122223333:role/*"', "value_invalid", id="arn"),
        pytest.param("  ci:", "  prod:", "name_taken", id="a-role-has-the-name"),
    ],
)
def test_a_wrong_vault_role_changes_nothing_that_is_in_force(
    tmp_path: Path, old: str, new: str, code: str
) -> None:
    result = with_vault(tmp_path, roles=changed(VAULT_ROLES, old, new))

    assert codes(result)[-1] == code
    assert result.policy is None


@pytest.mark.parametrize(
    ("roles", "grant", "part"),
    [
        pytest.param(
            VAULT_ROLES, "{ obtain: prod, form: vault-token }", "prod is an IAM role", id="iam-role"
        ),
        pytest.param(
            VAULT_ROLES.replace(
                VAULT_ROLES[VAULT_ROLES.index("    aws:") : VAULT_ROLES.index("    teams:")], ""
            ),
            "{ obtain: ci }",
            "ci has no aws",
            id="no-engine",
        ),
        pytest.param(
            VAULT_ROLES.replace(
                VAULT_ROLES[VAULT_ROLES.index("    aws:") : VAULT_ROLES.index("    teams:")], ""
            ),
            "{ start: deploy, as: ci }",
            "ci has no aws",
            id="no-engine-for-a-start",
        ),
        pytest.param(
            VAULT_ROLES.replace("ttl: 15m", "ttl: 10m"),
            "{ obtain: ci }",
            "no session shorter than 15m",
            id="ttl",
        ),
        pytest.param(
            VAULT_ROLES.replace("111122223333", "444455556666"),
            "{ start: deploy, as: ci }",
            "account 444455556666",
            id="account",
        ),
        pytest.param(
            VAULT_ROLES.replace("arn:aws:", "arn:aws-cn:"),
            "{ start: deploy, as: ci }",
            "partition aws-cn",
            id="partition",
        ),
    ],
)
def test_a_grant_that_a_target_cannot_serve_is_inert_and_the_others_hold(
    tmp_path: Path, roles: str, grant: str, part: str
) -> None:
    result = with_vault(tmp_path, roles=roles, rule=changed(RULE, "{ obtain: ci }", grant))

    (finding,) = result.findings
    assert part in finding.message
    assert finding.severity == "error"
    assert grants_of(result, "payments.ci") == [("obtain", "ci", "vault-token")]


def test_behind_vault_the_region_of_our_own_sts_says_nothing(tmp_path: Path) -> None:
    roles = VAULT_ROLES.replace("arn:aws:", "arn:aws-us-gov:")

    result = with_vault(tmp_path, roles=roles)

    assert result.findings == ()


@pytest.mark.parametrize(
    ("ttl", "timeout", "part"),
    [
        pytest.param("15m", "2h", "ends after 15m, before deploy may", id="shorter"),
        pytest.param("12h", "1h", "lives 12h, much longer than deploy", id="much-longer"),
        pytest.param("1h", "1h", None, id="equal"),
        pytest.param("2h", "1h", None, id="longer"),
        pytest.param("15m", "30s", None, id="no-shorter-one-exists"),
    ],
)
def test_a_lease_lasts_about_as_long_as_the_workflow(
    tmp_path: Path, ttl: str, timeout: str, part: str | None
) -> None:
    targets = changed(TARGETS, "type: standard", f"type: standard\n    timeout: {timeout}")
    roles = changed(VAULT_ROLES, "ttl: 15m", f"ttl: {ttl}")
    rule = changed(RULE, "{ obtain: ci }", "{ start: deploy, as: ci }")

    result = with_vault(tmp_path, rule=rule, more={"targets.yaml": targets + roles})

    assert [one.code for one in result.findings] == ([] if part is None else ["ttl_mismatch"])
    assert all(part in one.message and one.severity == "warning" for one in result.findings if part)


def test_a_number_cannot_be_demanded_by_vault(tmp_path: Path) -> None:
    gateway = changed(GATEWAY, "preset: auth0", "preset: generic")
    rule = changed(OPS, "sub: nw7@clients", "sub: nw7@clients, tier: { any_of: [1, 2] }").replace(
        "{ view: deploy, as: shared }", "{ obtain: ci }"
    )
    roles = changed(VAULT_ROLES, "user_claim: repository_id", "user_claim: sub")

    result = with_vault(
        tmp_path,
        roles=roles,
        rule=PAYMENTS.replace("name: deploy", "name: x"),
        more={"gateway.yaml": gateway + VAULTS, "mappings/ops.yaml": rule},
    )

    (finding,) = [one for one in result.findings if one.place.file == "mappings/ops.yaml"]
    assert (finding.code, finding.severity) == ("vault_claim_unusable", "error")
    assert "write it in quotes" in finding.fix
    assert result.teams["ops"].state == "held"


@pytest.mark.parametrize(
    ("claim", "unseen"),
    [
        pytest.param("", None, id="text"),
        pytest.param(", tenant: { any_of: [a, b] }", None, id="any-of"),
        pytest.param(", admin: true", None, id="boolean"),
        pytest.param(", permissions: { contains: a }", None, id="contains"),
        pytest.param(", permissions: { contains_any: [a, b] }", None, id="contains-any"),
        pytest.param(", permissions: { contains_all: [a] }", None, id="all-of-one"),
        pytest.param(
            ", permissions: { contains_all: [a, b] }", "permissions (contains_all)", id="contains-all"
        ),
        pytest.param(", scope: { scope: read }", "scope (scope)", id="scope"),
        pytest.param(", act: { absent: true }", "act (absent)", id="absent"),
    ],
)
def test_what_vault_cannot_demand_the_gateway_enforces_alone_and_says_so(
    tmp_path: Path, claim: str, unseen: str | None
) -> None:
    rule = changed(OPS, "sub: nw7@clients", f"sub: nw7@clients, azp: nw7{claim}").replace(
        "{ view: deploy, as: shared }", "{ obtain: ci }"
    )
    roles = changed(VAULT_ROLES, "user_claim: repository_id", "user_claim: sub")

    result = with_vault(
        tmp_path,
        roles=roles,
        rule=PAYMENTS.replace("name: deploy", "name: x"),
        more={"mappings/ops.yaml": rule},
    )

    found = [one for one in result.findings if one.place.file == "mappings/ops.yaml"]
    assert [(one.code, one.severity) for one in found] == ([("vault_wider", "warning")] if unseen else [])
    assert all(f"the gateway alone enforces {unseen}." in one.message for one in found)


def test_clients_that_no_rule_names_are_enforced_by_the_gateway_alone(tmp_path: Path) -> None:
    rule = changed(OPS, "{ view: deploy, as: shared }", "{ obtain: ci }")
    roles = changed(VAULT_ROLES, "user_claim: repository_id", "user_claim: sub")

    result = with_vault(
        tmp_path,
        roles=roles,
        rule=PAYMENTS.replace("name: deploy", "name: x"),
        more={"mappings/ops.yaml": rule},
    )

    assert "the gateway alone enforces the clients of partners." in result.findings[-1].message


def second(claims: str, grant: str = "{ obtain: ci }") -> str:
    """Return the rule and another one."""
    return f"{RULE}  - name: other\n    why: PAY-3, others\n    issuer: github\n    claims: {claims}\n    grants: [{grant}]\n"


@pytest.mark.parametrize(
    ("claims", "by"),
    [
        pytest.param('{ repository_id: "4712" }', None, id="one-claim-any-of"),
        pytest.param('{ repository_id: "4710", ref: refs/heads/main }', None, id="one-within-the-other"),
        pytest.param(
            '{ repository_id: "4712", ref: refs/heads/main }', "repository_id and ref", id="combinations"
        ),
    ],
)
def test_rules_that_share_a_role_of_vault_are_told_apart_by_the_gateway_alone(
    tmp_path: Path, claims: str, by: str | None
) -> None:
    result = with_vault(tmp_path, rule=second(claims))

    assert codes(result) == ([] if by is None else ["vault_wider"])
    assert all(f"by {by} the gateway alone tells them apart" in one.message for one in result.findings)


def test_one_mount_serves_one_issuer(tmp_path: Path) -> None:
    rule = changed(OPS, "{ view: deploy, as: shared }", "{ obtain: other }").replace(
        "sub: nw7@clients", "azp: nw7"
    )
    other = VAULT_ROLES[VAULT_ROLES.index("  ci:") :].replace("  ci:", "  other:")
    other = other.replace("role: payments-ci", "role: other").replace(
        "user_claim: repository_id", "user_claim: sub"
    )

    result = with_vault(tmp_path, roles=VAULT_ROLES + other, more={"mappings/ops.yaml": rule})
    apart = with_vault(
        tmp_path,
        roles=VAULT_ROLES + other.replace("jwt-github", "jwt-auth0"),
        more={"mappings/ops.yaml": rule},
    )

    (finding,) = result.findings
    assert (finding.code, finding.severity) == ("vault_mismatch", "error")
    assert "tokens of github" in finding.message
    assert "those of partners" in finding.message
    assert apart.findings == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param("ttl: 15m", "ttl: 15m", ("name_taken", "warning"), id="alike"),
        pytest.param("ttl: 15m", "ttl: 20m", ("vault_mismatch", "error"), id="ttl"),
        pytest.param("[payments-ci]", "[other]", ("vault_mismatch", "error"), id="policies"),
        pytest.param(
            "user_claim: repository_id", "user_claim: sub", ("vault_mismatch", "error"), id="user-claim"
        ),
        pytest.param("mount: jwt-github", "mount: jwt-2", None, id="another-mount"),
    ],
)
def test_a_role_of_vault_is_held_in_one_way_only(
    tmp_path: Path, old: str, new: str, expected: tuple[str, str] | None
) -> None:
    again = changed(VAULT_ROLES[VAULT_ROLES.index("  ci:") :], old, new).replace("  ci:", "  twin:")

    result = with_vault(tmp_path, roles=VAULT_ROLES + again)

    assert [(one.code, one.severity) for one in result.findings] == ([expected] if expected else [])


def test_wrapping_needs_a_token_that_is_handed_out(tmp_path: Path) -> None:
    roles = changed(VAULT_ROLES, "ttl: 15m", "ttl: 15m\n    wrap: 60s")

    without = with_vault(
        tmp_path, roles=roles, rule=changed(RULE, "      - { obtain: ci, form: vault-token }\n", "")
    )
    handed_out = with_vault(tmp_path, roles=roles)

    assert [(one.code, one.severity) for one in without.findings] == [("value_invalid", "warning")]
    assert handed_out.findings == ()


def test_workflows_behind_one_engine_role_are_within_reach_of_each_other(tmp_path: Path) -> None:
    """One alone is exactly what the engine role's policy can say, so nothing is said about it."""
    machine = "arn:aws:states:eu-west-1:111122223333:stateMachine:other"
    targets = (
        f"{TARGETS}  other: {{ state_machine: {machine}, type: standard, teams: [payments] }}\n{VAULT_ROLES}"
    )
    one = changed(RULE, "{ obtain: ci }", "{ start: deploy, as: ci }")
    two = changed(
        one, "{ start: deploy, as: ci }", "{ start: deploy, as: ci }\n      - { start: other, as: ci }"
    )

    alone = with_vault(tmp_path, rule=one, more={"targets.yaml": targets})
    together = with_vault(tmp_path, rule=two, more={"targets.yaml": targets})

    assert alone.findings == ()
    assert codes(together) == ["vault_wider"]
    assert (
        "reach deploy and other alike: through Vault no session policy can be sent"
        in together.findings[0].message
    )


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        pytest.param("{ obtain: ci }", [], id="vault"),
        pytest.param("{ obtain: prod }", ["aws_token_unusable"], id="aws"),
    ],
)
def test_an_issuer_whose_signatures_aws_refuses_is_good_for_vault(
    tmp_path: Path, grant: str, expected: list[str]
) -> None:
    algorithms = "preset: github-actions\n    algorithms: [EdDSA, PS256]"
    gateway = changed(GATEWAY, "preset: github-actions", algorithms)

    result = with_vault(
        tmp_path,
        rule=changed(RULE, "{ obtain: ci }", grant),
        more={"gateway.yaml": gateway + VAULTS, "mappings/payments/deploy.yaml": None},
    )

    assert codes(result) == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [("id", []), ("access", []), ("id, access", ["vault_claim_unusable"])],
    ids=["id", "access", "both"],
)
def test_a_role_of_vault_takes_tokens_with_an_audience_or_without_one(
    tmp_path: Path, tokens: str, expected: list[str]
) -> None:
    pool = (
        "preset: cognito\n    issuer: https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC\n"
        f"    tokens: [{tokens}]\n    clients: [app]\n"
    )
    start, end = GATEWAY.index("preset: auth0"), GATEWAY.index("teams:")
    gateway = GATEWAY[:start] + pool + GATEWAY[end:]
    rule = changed(OPS, "{ view: deploy, as: shared }", "{ obtain: ci }").replace("nw7@clients", "0000-1111")
    roles = changed(VAULT_ROLES, "user_claim: repository_id", "user_claim: sub")

    result = with_vault(
        tmp_path,
        roles=roles,
        rule=PAYMENTS.replace("name: deploy", "name: x"),
        more={"gateway.yaml": gateway + VAULTS, "mappings/ops.yaml": rule},
    )

    assert codes(result) == expected


def test_a_team_uses_the_vault_roles_that_list_it(tmp_path: Path) -> None:
    roles = changed(VAULT_ROLES, "teams: [payments, ops]", "teams: [ops]")

    result = with_vault(tmp_path, roles=roles)

    assert codes(result) == ["grant_not_owned"] * 2
    assert grants_of(result, "payments.ci") == []
