from pathlib import Path

import pytest

from tests.support.config_folder import GATEWAY, TARGETS, codes, compiled, rule, said

FILE = "mappings/payments/deploy.yaml"
GRANTS = "grants: [{ start: deploy, as: prod }]"


def github(claims: str) -> dict[str, str | bytes | None]:
    return {FILE: rule(f"issuer: github\nclaims: {claims}\n{GRANTS}")}


def partner(claims: str, *, clients: bool = True) -> dict[str, str | bytes | None]:
    file = rule(f"issuer: partners\nclaims: {claims}\ngrants: [{{ view: deploy, as: shared }}]")
    gateway = GATEWAY if clients else GATEWAY.replace("    clients: [nw7]\n", "")
    return {"mappings/ops.yaml": file, "gateway.yaml": gateway}


@pytest.mark.parametrize("claim", ["iss", "aud", "exp", "iat", "nbf", "jti", "/aud"])
def test_what_every_token_is_checked_for_is_no_claim_for_rules(tmp_path: Path, claim: str) -> None:
    result = compiled(tmp_path, github(f'{{ repository_id: "1", {claim}: x }}'))

    assert codes(result) == ["claim_forbidden"]


@pytest.mark.requirement("MP-08")
@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ('{ repository_id: "1" }', True),
        ("{ sub: x }", True),
        ("{ ref: refs/heads/main }", False),
        ("{ repository_id: { absent: true } }", False),
        ("{ runner_environment: github-hosted, event_name: push }", False),
    ],
)
def test_a_rule_says_whose_tokens_are_meant(tmp_path: Path, claims: str, good: bool) -> None:
    assert codes(compiled(tmp_path, github(claims))) == ([] if good else ["rule_unbound"])


@pytest.mark.requirement("MP-08")
def test_where_several_applications_share_an_issuer_a_rule_says_which(tmp_path: Path) -> None:
    unbound = compiled(tmp_path, partner("{ org_id: o1 }", clients=False))
    bound = compiled(tmp_path, partner("{ org_id: o1, azp: nw7 }", clients=False))
    known = compiled(tmp_path, partner("{ org_id: o1 }"))

    assert (codes(unbound), codes(bound), codes(known)) == (["rule_unbound"], [], [])


@pytest.mark.requirement("MP-08")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param("{ org_name: x, azp: { absent: true } }", id="client-absent"),
        pytest.param("{ org_name: x, client_id: { absent: true }, sub: { absent: true } }", id="all-absent"),
        pytest.param("{ org_name: x, azp: { scope: nw7 } }", id="one-word-of-it"),
    ],
)
def test_only_a_condition_on_what_a_claim_is_says_for_which_application(tmp_path: Path, claims: str) -> None:
    assert codes(compiled(tmp_path, partner(claims, clients=False))) == ["rule_unbound"]


@pytest.mark.requirement("MP-08")
@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        pytest.param('{ sub: { scope: "environment:prod" } }', ["rule_unbound"], id="one-word-of-a-subject"),
        pytest.param('{ sub: x, ref: { scope: "a" } }', [], id="beside-one-that-binds"),
    ],
)
def test_one_word_of_a_text_does_not_say_whose_token_is_meant(
    tmp_path: Path, claims: str, expected: list[str]
) -> None:
    assert codes(compiled(tmp_path, github(claims))) == expected


@pytest.mark.requirement("MP-08", "TV-36")
@pytest.mark.parametrize(
    ("claims", "fix"),
    [
        pytest.param('{ sub: x, "/email": a@acme.example }', "Write email.", id="unverified-address"),
        pytest.param('{ "/gty": client-credentials }', "Write gty.", id="how-not-who"),
        pytest.param('{ sub: x, "/auth_time": "1" }', "Write auth_time.", id="type"),
        pytest.param('{ "/azp": other }', "Write azp.", id="client"),
        pytest.param('{ sub: x, "/a~0b": c }', "Write a~b.", id="tilde"),
        pytest.param(
            '{ sub: x, "/https:~1~1acme.example~1p": c }', "Write https://acme.example/p.", id="url"
        ),
    ],
)
def test_a_claim_has_one_name_so_that_no_judgement_is_passed_by(
    tmp_path: Path, claims: str, fix: str
) -> None:
    found = compiled(tmp_path, partner(claims)).findings

    assert (found[0].code, found[0].fix) == ("value_invalid", fix)


def test_only_a_member_whose_name_starts_with_a_slash_needs_a_pointer(tmp_path: Path) -> None:
    assert codes(compiled(tmp_path, partner('{ sub: x, "/~1path": c, "/a/b": d }'))) == []


@pytest.mark.requirement("MP-08")
def test_what_an_issuer_requires_has_plain_names_too(tmp_path: Path) -> None:
    changed = GATEWAY.replace('repository_owner_id: "12"', 'repository_owner_id: "12", "/repository_id": "1"')

    assert "value_invalid" in codes(compiled(tmp_path, {"gateway.yaml": changed}))


@pytest.mark.requirement("MP-09")
@pytest.mark.parametrize("value", ["acme/*", "refs/heads/*", "${repository}", "{{ ref }}", "*"])
def test_values_are_compared_exactly_so_patterns_are_refused(tmp_path: Path, value: str) -> None:
    result = compiled(tmp_path, github(f'{{ repository_id: "1", ref: {{ any_of: [x, "{value}"] }} }}'))

    assert codes(result) == ["value_invalid"]


@pytest.mark.parametrize(
    ("claims", "fix"),
    [
        pytest.param("{ repository_id: 4711 }", 'Write "4711" in quotes.', id="github-ids-are-text"),
        pytest.param(
            '{ repository_id: "1", ref_protected: true }', 'Write "true" in quotes.', id="github-booleans"
        ),
        pytest.param(
            '{ repository_id: "1", ref: { contains: x } }',
            "Write the value itself, or any_of: […].",
            id="no-list",
        ),
        pytest.param('{ repository_id: { any_of: ["1", 2] } }', 'Write "2" in quotes.', id="one-of-several"),
    ],
)
def test_a_type_that_the_preset_never_sends_is_refused(tmp_path: Path, claims: str, fix: str) -> None:
    (finding,) = compiled(tmp_path, github(claims)).findings

    assert (finding.code, finding.fix) == ("claim_type_wrong", fix)


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ("{ sub: x, permissions: read }", ["claim_type_wrong"]),
        ("{ sub: x, permissions: { contains: read } }", []),
        ("{ sub: x, scope: { scope: read } }", []),
        ('{ sub: x, scope: { scope: "read write" } }', ["rule_unsatisfiable"]),
        ('{ sub: x, auth_time: "1" }', ["claim_type_wrong"]),
        ("{ sub: x, auth_time: { scope: a } }", ["claim_type_wrong"]),
        ("{ sub: x, 'https://acme.example/partner': nw }", []),
        ("{ sub: x, /a/b: c }", []),
        ("{ sub: x, /a~2: c }", ["value_invalid"]),
        ("{ sub: x, /act/act/act/act/act/sub: c }", ["rule_unsatisfiable"]),
    ],
)
def test_every_operator_fits_its_claim(tmp_path: Path, claims: str, expected: list[str]) -> None:
    assert codes(compiled(tmp_path, partner(claims))) == expected


@pytest.mark.requirement("TV-39")
@pytest.mark.parametrize(("deep", "expected"), [(4, []), (5, ["rule_unsatisfiable"])])
def test_a_rule_describes_a_chain_of_four_actors_at_most(
    tmp_path: Path, deep: int, expected: list[str]
) -> None:
    claims = f"{{ sub: x, {'/act' * deep}/sub: c }}"

    assert codes(compiled(tmp_path, partner(claims))) == expected


@pytest.mark.requirement("TV-36")
@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ("{ email: a@acme.example, email_verified: true }", []),
        ("{ email: a@acme.example }", ["email_unverified"]),
        ("{ email: a@acme.example, email_verified: false }", ["email_unverified"]),
        ('{ email: a@acme.example, email_verified: "true" }', ["email_unverified", "claim_type_wrong"]),
        ("{ email: a@acme.example, email_verified: 1 }", ["email_unverified", "claim_type_wrong"]),
        ("{ email: a@b@acme.example, email_verified: true }", ["value_invalid"]),
        ("{ email: { any_of: [a@b.example, acme] }, email_verified: true }", ["value_invalid"]),
        ("{ sub: x, email: { absent: true } }", []),
    ],
)
def test_an_address_counts_only_when_the_issuer_has_verified_it(
    tmp_path: Path, claims: str, expected: list[str]
) -> None:
    assert codes(compiled(tmp_path, partner(claims))) == expected


@pytest.mark.requirement("TV-36")
def test_the_issuer_may_demand_verified_addresses_for_all_rules(tmp_path: Path) -> None:
    changes = partner("{ email: a@acme.example }")
    changes["gateway.yaml"] = GATEWAY.replace(
        "    clients:", "    require: { email_verified: true }\n    clients:"
    )

    assert codes(compiled(tmp_path, changes)) == []


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param('{ repository_id: "1", repository_owner_id: "13" }', id="other-owner"),
        pytest.param('{ repository_id: "1", repository_owner_id: { absent: true } }', id="absent-owner"),
    ],
)
def test_a_rule_that_no_token_can_satisfy_is_refused(tmp_path: Path, claims: str) -> None:
    assert codes(compiled(tmp_path, github(claims))) == ["rule_unsatisfiable"]


def test_a_rule_for_a_client_that_the_issuer_does_not_list_fits_nobody(tmp_path: Path) -> None:
    assert codes(compiled(tmp_path, partner("{ azp: other }"))) == ["rule_unsatisfiable"]


def test_the_issuers_of_one_rule_are_of_one_kind(tmp_path: Path) -> None:
    file = rule("issuer: [github, partners]\nclaims: { sub: x }\ngrants: [{ view: deploy, as: shared }]")

    assert said(compiled(tmp_path, {"mappings/ops.yaml": file})) == [
        ("value_invalid", "mappings/ops.yaml:5:13")
    ]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ('"2026-11-21"', [("rule_expired", "warning")]),
        ('"2026-11-22"', []),
        ('"2026-02-30"', [("value_invalid", "error")]),
        ("2026-11-22", [("yaml_type", "error")]),
    ],
)
def test_a_last_day_is_a_day_and_over_when_it_is_past(
    tmp_path: Path, day: str, expected: list[tuple[str, str]]
) -> None:
    file = rule(f'issuer: github\nclaims: {{ repository_id: "1" }}\n{GRANTS}\nlast_day: {day}')

    result = compiled(tmp_path, {FILE: file})

    assert [(finding.code, finding.severity) for finding in result.findings] == expected


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        (GRANTS.replace("deploy", "deplyo"), "7:23", "Did you mean deploy?"),
        (GRANTS.replace("prod", "prd"), "7:35", "Did you mean prod?"),
        ("grants: [{ obtain: staging }]", "7:24", "Known: prod, shared."),
    ],
    ids=["workflow", "target", "obtain"],
)
def test_a_name_that_nothing_bears_is_pointed_out_with_the_nearest(
    tmp_path: Path, text: str, place: str, fix: str
) -> None:
    result = compiled(tmp_path, {FILE: rule(f'issuer: github\nclaims: {{ repository_id: "1" }}\n{text}')})

    (finding,) = result.findings
    assert (finding.code, str(finding.place), finding.fix) == ("reference_unknown", f"{FILE}:{place}", fix)
    assert result.inert == 1


def test_a_rule_name_stands_once_in_a_team_and_may_stand_in_others(tmp_path: Path) -> None:
    one = rule(f'issuer: github\nclaims: {{ repository_id: "1" }}\n{GRANTS}')
    other = rule("issuer: partners\nclaims: { sub: x }\ngrants: [{ view: deploy, as: shared }]")

    twice = compiled(tmp_path / "a", {FILE: one, "mappings/payments/more.yaml": one})
    apart = compiled(tmp_path / "b", {FILE: one, "mappings/ops.yaml": other})

    assert codes(twice) == ["name_taken"]
    assert apart.policy is not None
    assert set(apart.policy.rules) == {"payments.one", "ops.one"}


def test_all_of_a_good_rule_is_compiled(tmp_path: Path) -> None:
    result = compiled(tmp_path, {"targets.yaml": TARGETS})

    assert result.findings == ()
    assert result.policy is not None
    found = result.policy.rules["payments.deploy"]
    assert (found.team, found.issuers, found.why) == ("payments", ("github",), "PAY-1, production")
    assert [(condition.claim, condition.wanted) for condition in found.conditions] == [
        ("repository_id", ("4711",)),
        ("ref", ("refs/heads/main",)),
    ]
    assert [(grant.verb, grant.target.name, grant.form) for grant in found.grants] == [
        ("start", "prod", None),
        ("obtain", "prod", "aws-credentials"),
    ]
    assert str(found.written) == f"{FILE}:3:5"
    assert result.policy.issuers["https://token.actions.githubusercontent.com"].name == "github"
    assert result.policy.requirements["github"][0].wanted == ("12",)
