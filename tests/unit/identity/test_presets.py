"""What is known about each kind of issuer."""

import pytest

from gateway.identity.presets import PRESETS, SUPPORTED_ALGORITHMS, is_okta_org, owner_pins


def test_the_presets_are_the_documented_ones() -> None:
    assert set(PRESETS) == {"okta", "cognito", "auth0", "github-actions", "gitlab", "kubernetes", "generic"}
    assert all(name == preset.name for name, preset in PRESETS.items())


@pytest.mark.requirement("TV-12")
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_starts_with_the_usual_algorithms_at_most(name: str) -> None:
    assert set(PRESETS[name].algorithms) <= {"RS256", "ES256"} <= SUPPORTED_ALGORITHMS


@pytest.mark.requirement("TV-16")
@pytest.mark.parametrize("name", PRESETS)
def test_access_tokens_with_a_type_of_their_own_come_from_auth0_and_from_whom_nothing_is_known(
    name: str,
) -> None:
    expected = {"", "jwt", "at+jwt"} if name in {"auth0", "generic"} else {"", "jwt"}

    assert set(PRESETS[name].types) == expected


@pytest.mark.requirement("MP-08")
@pytest.mark.parametrize(
    ("issuer", "pinned"),
    [
        pytest.param("https://token.actions.githubusercontent.com", True, id="github"),
        pytest.param("https://token.actions.githubusercontent.com/acme", True, id="github-enterprise-path"),
        pytest.param("https://token.actions.acme.ghe.example", False, id="own-github"),
        pytest.param("https://gitlab.com", True, id="gitlab.com"),
        pytest.param("https://gitlab.acme.example", False, id="own-gitlab"),
        pytest.param("https://accounts.google.com", True, id="google"),
        pytest.param("https://acme.eu.auth0.example/", False, id="own-tenant"),
    ],
)
def test_issuers_that_sign_for_everybody_need_an_immutable_owner(issuer: str, pinned: bool) -> None:
    assert bool(owner_pins(issuer)) is pinned


@pytest.mark.requirement("MP-08")
@pytest.mark.parametrize(
    ("preset", "claim", "binds"),
    [
        ("github-actions", "repository_id", True),
        ("github-actions", "ref", False),
        ("github-actions", "environment", False),
        ("github-actions", "anything_else", False),
        ("gitlab", "project_id", True),
        ("gitlab", "ref_protected", False),
        ("kubernetes", "/kubernetes.io/serviceaccount/name", True),
        ("auth0", "https://acme.example/partner", True),
        ("auth0", "scope", False),
        ("okta", "groups", True),
        ("okta", "scp", False),
        ("cognito", "cognito:groups", True),
        ("cognito", "token_use", False),
        ("generic", "email_verified", False),
    ],
)
def test_a_rule_must_name_a_claim_that_says_who(preset: str, claim: str, binds: bool) -> None:
    assert PRESETS[preset].binds_subject(claim) is binds


@pytest.mark.parametrize(
    ("preset", "claim", "kind"),
    [
        ("github-actions", "repository_id", "string"),
        ("github-actions", "ref_protected", "string"),
        ("gitlab", "ref_protected", "string"),
        ("gitlab", "runner_id", "integer"),
        ("cognito", "cognito:groups", "list"),
        ("cognito", "email_verified", "boolean"),
        ("okta", "scp", "list"),
    ],
)
def test_the_types_of_well_known_claims_are_those_the_issuer_sends(
    preset: str, claim: str, kind: str
) -> None:
    assert PRESETS[preset].claim_types[claim] == kind


@pytest.mark.requirement("TV-26a")
@pytest.mark.parametrize(
    ("issuer", "is_org"),
    [
        ("https://acme.okta.example", True),
        ("https://acme.okta.example/", True),
        ("https://acme.okta.example/oauth2/", True),
        ("https://acme.okta.example/oauth2/agents", False),
        ("https://acme.okta.example/oauth2/default", False),
    ],
)
def test_an_okta_issuer_without_a_server_path_is_the_org_server(issuer: str, is_org: bool) -> None:
    assert is_okta_org(issuer) is is_org
