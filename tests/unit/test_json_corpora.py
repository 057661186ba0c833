"""Published corpora of JSON texts and of strings that break programs. Where each comes from: tests/vectors/README.md."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import TokenRejected
from gateway.identity.jwk import VerificationKey
from gateway.identity.keys import read_key_set
from gateway.identity.reading import QUICK_JSON, read_token
from gateway.identity.verify import verify_token
from gateway.policy.claims import check_claim
from gateway.policy.rule import Condition, Operator
from gateway.secret import Secret
from gateway.strict_json import Quick, StrictJsonError, parse_json_object
from tests.support.clocks import START_S
from tests.support.token_oracle import oracle_accepts
from tests.support.tokens import jwks, key_id, token, trusted

_VECTORS = Path(__file__).parents[1] / "vectors"
_SUITE: dict[str, Any] = json.loads((_VECTORS / "json_test_suite.json").read_text("utf-8"))
_STRINGS: list[str] = json.loads((_VECTORS / "naughty_strings.json").read_text("utf-8"))["strings"]

# JSON as RFC 8259 has it, and refused all the same: two parsers read these in two ways (RFC 7493), or it is too much of one thing.
_STRICTER = {
    '{"a":"b","a":"c"}': "duplicate",
    '{"a":"b","a":"b"}': "duplicate",
    f"[-0.{'0' * 77}1]": "too_complex",
}


def object_of(case: str) -> bytes:
    """The suite's texts are any JSON value; ours are objects, which hold any value."""
    return b'{"case":' + case.encode("latin-1") + b"}"


@pytest.mark.requirement("TV-08", "TV-09")
@pytest.mark.parametrize("case", _SUITE["accepted"], ids=range(len(_SUITE["accepted"])))
@pytest.mark.parametrize("quick", [json.loads, QUICK_JSON], ids=["library", "quick"])
def test_every_json_text_is_read_as_the_standard_library_reads_it_unless_it_has_two_meanings(
    case: str, quick: Quick
) -> None:
    data = object_of(case)
    try:
        found: object = parse_json_object(data, quick=quick)
    except StrictJsonError as fault:
        found = fault.kind

    assert found == _STRICTER.get(case.strip(), json.loads(data))


@pytest.mark.requirement("TV-08", "TV-10")
@pytest.mark.parametrize("case", _SUITE["refused"], ids=range(len(_SUITE["refused"])))
@pytest.mark.parametrize("wrapped", [True, False], ids=["member", "alone"])
@pytest.mark.parametrize("quick", [json.loads, QUICK_JSON], ids=["library", "quick"])
def test_what_is_no_json_is_refused(case: str, wrapped: bool, quick: Quick) -> None:
    data = object_of(case) if wrapped else case.encode("latin-1")

    with pytest.raises(StrictJsonError):
        parse_json_object(data, quick=quick)


@pytest.mark.requirement("TV-48")
def test_a_string_that_breaks_programs_is_no_token() -> None:
    for text in _STRINGS:
        with pytest.raises(TokenRejected):
            read_token(Secret(text))


def in_every_place(text: str) -> Iterator[str]:
    for claims in ({"sub": text}, {"iss": text}, {"aud": text}, {"azp": text}, {text or "x": text}):
        yield token("generic", algorithm="ES256", claims=claims)
    yield token("generic", algorithm="ES256", header={"kid": text, "typ": text})


@pytest.mark.requirement("TV-10", "TV-35", "TV-48")
def test_a_string_that_breaks_programs_is_a_refusal_or_a_value_in_every_place_of_a_token() -> None:
    key = read_key_set(jwks()).by_id[key_id("ES256")]
    believed = refused = 0

    for text in (one for string in _STRINGS for one in in_every_place(string)):
        assert oracle_accepts(text) == judged_good(text, key)
        believed += oracle_accepts(text)
        refused += not oracle_accepts(text)

    assert min(believed, refused) > 100


def judged_good(text: str, key: VerificationKey) -> bool:
    try:
        verify_token(read_token(Secret(text)), trusted("generic"), key, now=START_S)
    except TokenRejected:
        return False
    return True


@pytest.mark.requirement("TV-37")
def test_a_string_matches_itself_and_no_other() -> None:
    strings = list(dict.fromkeys(_STRINGS))

    for wanted in strings[::7]:
        condition = Condition(claim="x", operator=Operator.EQUALS, wanted=(wanted,))
        matching = [one for one in strings if check_claim(condition, {"x": one}).outcome == "matched"]
        assert matching == [wanted]
