"""What development tokens say, and how a person changes it."""

import time

import pytest

from gateway.dev.tokens import OrderInvalid, TokenOrder, complete_claims, default_claims, parse_claim


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("ref=refs/heads/x", ("ref", "refs/heads/x"), id="text"),
        pytest.param("run_id=12", ("run_id", "12"), id="digits stay text"),
        pytest.param("tier:=1", ("tier", 1), id="json number"),
        pytest.param('cognito:groups:=["a"]', ("cognito:groups", ["a"]), id="colon in a name"),
        pytest.param("https://acme.example/p=x=y", ("https://acme.example/p", "x=y"), id="URL name"),
        pytest.param("environment=", ("environment", ""), id="empty text"),
    ],
)
def test_a_claim_is_text_unless_it_is_written_as_json(text: str, expected: tuple[str, object]) -> None:
    assert parse_claim(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("ref", "Expected NAME=TEXT or NAME:=JSON, not 'ref'.", id="no value"),
        pytest.param(":=1", "Expected NAME=TEXT or NAME:=JSON, not ':=1'.", id="no name"),
        pytest.param(
            "tier:=one",
            "The value of tier is not JSON (Expecting value); for text write tier=TEXT.",
            id="not json",
        ),
    ],
)
def test_a_claim_that_cannot_be_read_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(OrderInvalid) as refusal:
        parse_claim(text)

    assert str(refusal.value) == message


def test_an_order_replaces_adds_and_removes_claims() -> None:
    order = TokenOrder(
        issuer="github",
        claims={"ref": "refs/heads/x", "tier": 1, "aud": "else"},
        remove=("environment", "jti"),
    )

    claims = complete_claims(
        order,
        issuer="https://i",
        audience="https://gw",
        defaults=default_claims("github-actions", client=None),
    )

    assert (claims["ref"], claims["tier"], claims["aud"], claims["iss"]) == (
        "refs/heads/x",
        1,
        "else",
        "https://i",
    )
    assert claims["repository_id"] == "4711"
    assert claims.keys().isdisjoint({"environment", "jti"})


def test_an_expired_token_was_issued_before_it_expired() -> None:
    claims = complete_claims(
        TokenOrder(issuer="x", expires_in_s=-300), issuer="https://i", audience="a", defaults={}
    )

    issued, expires = claims["iat"], claims["exp"]
    assert isinstance(issued, int)
    assert isinstance(expires, int)
    assert issued < expires < time.time()


@pytest.mark.parametrize("preset", ["github-actions", "okta", "auth0", "generic"])
def test_every_preset_has_a_subject(preset: str) -> None:
    assert default_claims(preset, client="some-client")["sub"]
