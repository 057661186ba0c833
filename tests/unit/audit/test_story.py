"""What the record of a refused token says: all that was verified, and nothing that was not."""

import pytest

from gateway.audit.story import Story
from gateway.errors import ErrorCode, TokenRejected
from gateway.identity.keys import read_key_set
from gateway.identity.reading import read_token
from gateway.identity.verify import verify_token
from gateway.secret import Secret
from tests.support.clocks import START_S
from tests.support.policies import policy
from tests.support.tokens import jwk, jwks, key_id, token, trusted


def refusal_of(text: str) -> TokenRejected:
    key = read_key_set(jwks(jwk())).find(key_id("RS256"))
    assert key is not None
    with pytest.raises(TokenRejected) as refused:
        verify_token(read_token(Secret(text)), trusted("github"), key, now=START_S)
    return refused.value


def story_of(text: str) -> Story:
    return Story(
        request_id="r1",
        act="start",
        at=START_S,
        policy=policy(),
        presented=Secret(text),
        object="deploy",
        source=None,
        user_agent=None,
        notes={},
    )


def test_a_token_refused_after_its_signature_is_recorded_with_its_claims_and_issuer() -> None:
    text = token("github", aud="https://other.example")
    refusal = refusal_of(text)

    record = story_of(text).record("refused", refusal)

    assert refusal.code is ErrorCode.TOKEN_AUDIENCE_MISMATCH
    assert record.issuer == "github"
    assert record.principal is not None
    assert record.principal.subject == "repo:acme/payments:environment:prod"
    assert dict(record.claims)["aud"] == "https://other.example"
    assert story_of(text).labels(refusal) == {
        "act": "start",
        "code": "token_audience_mismatch",
        "issuer": "github",
    }


def test_the_records_of_a_call_share_their_words_until_something_else_is_to_be_said() -> None:
    story = story_of("text")
    members = {"repository": "acme/payments"}

    intent = story._shared(members, ())
    outcome = story._shared(members, ())
    other = story._shared({"repository": "acme/payments"}, ())

    assert intent is outcome
    assert other is not intent


def test_a_refusal_keeps_nothing_for_other_records() -> None:
    text = token("github", aud="https://other.example")

    assert story_of(text).record("refused", refusal_of(text)).wording is None


def test_nothing_of_a_token_with_a_bad_signature_is_recorded_but_its_digest() -> None:
    text = _forged()
    refusal = refusal_of(text)

    record = story_of(text).record("refused", refusal)

    assert refusal.code is ErrorCode.TOKEN_SIGNATURE_INVALID
    assert (record.issuer, record.principal, record.claims) == (None, None, ())
    assert record.token == Secret(text).digest()


def _forged() -> str:
    head, payload, _ = token("github").split(".")
    other = token("github", run_id="992").rpartition(".")[2]
    return f"{head}.{payload}.{other}"
