"""What an upstream says in its own words, on its way into the log."""

import pytest

from gateway.outbound.words import mask_opaque, said_by_upstream

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlQUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo1"


@pytest.mark.requirement("SE-04")
@pytest.mark.parametrize(
    "text",
    [
        "User: arn:aws:sts::111122223333:assumed-role/payments-prod/payments-prod.0a1b2c3d.4e5f6a7b is not authorized",
        "on resource: arn:aws:states:eu-west-1:111122223333:stateMachine:deploy-payments because no policy allows it",
        "execution:deploy:0123456789abcdef0123456789abcdef-0123456789abcdef0123456789abcdef already exists",
        "request 0f6a8f3e-6ab8-4b1e-9a0d-000000000001",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
    ],
    ids=["session", "machine", "execution", "request-id", "action"],
)
def test_what_an_administrator_needs_of_it_is_kept(text: str) -> None:
    assert said_by_upstream(text, limit=300, sent=(TOKEN, '{"amount":12}')) == ascii(text)


@pytest.mark.requirement("SE-04")
@pytest.mark.parametrize(
    "secret",
    [TOKEN.rpartition(".")[2], "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY", TOKEN.encode().hex()],
    ids=["signature", "secret-key", "hex-of-a-token"],
)
def test_long_opaque_words_are_masked(secret: str) -> None:
    assert mask_opaque(f"bad: {secret}.") == f"bad: [masked, {len(secret)} characters]."
    assert secret[:12] not in said_by_upstream(f"bad: {secret}.", limit=300)


def test_what_stood_at_the_cut_is_left_out() -> None:
    said = said_by_upstream(f"the token {TOKEN}", limit=30)

    assert said == "'the token '"


@pytest.mark.requirement("SE-04")
def test_an_echo_of_what_was_sent_is_not_shown_whatever_it_is_made_of() -> None:
    said = said_by_upstream(
        "Invalid input: the amount of marlene is wrong", limit=300, sent=('{"a":"the amount of marlene"}',)
    )

    assert said == "'Invalid input: [not shown] is wrong'"


def test_no_text_of_an_upstream_breaks_a_line() -> None:
    assert said_by_upstream("a\r\nb\x1b\u2028", limit=300) == r"'a\r\nb\x1b\u2028'"
