"""What is refused of a token before anybody looks for its issuer."""

import base64
import binascii
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import ErrorCode, TokenRejected
from gateway.identity import reading
from gateway.identity.reading import read_token
from gateway.secret import Secret
from tests.support.tokens import b64, claims_of, raw_token, token

_GOOD_HEADER = b'{"alg":"RS256","kid":"first-rs256"}'
_VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "malformed_tokens.json").read_text("utf-8"))


def refused(text: str, *, max_chars: int | None = None) -> TokenRejected:
    with pytest.raises(TokenRejected) as caught:
        read_token(Secret(text)) if max_chars is None else read_token(Secret(text), max_chars=max_chars)
    return caught.value


def vector_bytes(text: str | None, otherwise: bytes) -> bytes:
    return otherwise if text is None else text.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(
    "vector",
    [
        pytest.param(v, id=v["name"].replace(" ", "-"), marks=pytest.mark.requirement(v["requirement"]))
        for v in _VECTORS
    ],
)
def test_a_malformed_token_is_refused_although_its_signature_is_good(vector: dict[str, str]) -> None:
    header = vector_bytes(vector.get("header"), _GOOD_HEADER)
    payload = vector_bytes(vector.get("payload"), json.dumps(claims_of()).encode())

    assert refused(raw_token(header, payload)).code == vector["code"]


def test_a_good_token_gives_the_permitted_peeks() -> None:
    text = token()

    read = read_token(Secret(text))

    assert read.issuer == "https://token.actions.githubusercontent.com"
    assert read.key_id == "first-rs256"
    assert read.algorithm == "RS256"
    assert read.claimed_expiry == claims_of()["exp"]
    assert read.signing_input.decode() == text.rpartition(".")[0]


@pytest.mark.requirement("TV-46")
def test_nothing_of_an_unverified_token_is_shown() -> None:
    read = read_token(Secret(token(sub="hidden-subject")))

    assert "hidden-subject" not in repr(read)
    assert str(read.signing_input) not in repr(read)


@pytest.mark.requirement("TV-02")
@pytest.mark.parametrize(
    ("length", "max_chars"),
    [
        pytest.param(16_385, None, id="default"),
        pytest.param(20_001, 20_000, id="raised"),
        pytest.param(20_001, 30_000, id="never-beyond-what-sts-takes"),
    ],
)
def test_a_text_that_is_too_long_is_refused_before_it_is_read(length: int, max_chars: int | None) -> None:
    assert refused("." * length, max_chars=max_chars).code is ErrorCode.TOKEN_TOO_LARGE


@pytest.mark.requirement("TV-02")
def test_a_token_of_exactly_the_longest_length_is_read_on() -> None:
    assert refused("." * 16_384).code is ErrorCode.TOKEN_MALFORMED


@pytest.mark.requirement("TV-03", "TV-04", "TV-05")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("", ErrorCode.TOKEN_MISSING, id="empty"),
        pytest.param("abc", ErrorCode.TOKEN_OPAQUE, id="one-part"),
        pytest.param("a.b", ErrorCode.TOKEN_MALFORMED, id="two-parts"),
        pytest.param("a.b.c.d", ErrorCode.TOKEN_MALFORMED, id="four-parts"),
        pytest.param("a.b.c.d.e", ErrorCode.TOKEN_ENCRYPTED, id="five-parts"),
        pytest.param("a.b.c.d.e.f", ErrorCode.TOKEN_MALFORMED, id="six-parts"),
        pytest.param("." * 9_999, ErrorCode.TOKEN_MALFORMED, id="dots"),
        pytest.param(".eyJ9.e30", ErrorCode.TOKEN_MALFORMED, id="empty-header"),
        pytest.param("e30..e30", ErrorCode.TOKEN_MALFORMED, id="empty-payload"),
        pytest.param("e30.e30.", ErrorCode.TOKEN_MALFORMED, id="empty-signature"),
        pytest.param('{"payload":"e30","signatures":[]}', ErrorCode.TOKEN_MALFORMED, id="json-serialisation"),
    ],
)
def test_a_token_has_exactly_three_parts(text: str, code: ErrorCode) -> None:
    assert refused(text).code is code


@pytest.mark.requirement("TV-03")
def test_a_text_of_dots_is_not_taken_apart_at_each_of_them() -> None:
    """CVE-2025-30204: a list of as many parts as there are dots costs eight bytes for each of them and more."""
    text = Secret("." * 16_384)
    tracemalloc.start()

    with pytest.raises(TokenRejected):
        read_token(text)
    most_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert most_bytes < 65_536


@pytest.mark.requirement("TV-04")
def test_a_token_in_json_is_told_so() -> None:
    fault = refused('{"payload":"e30","signatures":[]}')

    assert fault.message == "The token is JSON, not a compact JWT."


@pytest.mark.requirement("TV-03")
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        pytest.param("hvs.CAESIExample.with.dots", "a Vault service token", id="vault"),
        pytest.param("ghp_Example000", "a GitHub personal access token", id="github-pat"),
        pytest.param("ghs_1_e30.e30.e30", "a GitHub installation token (GITHUB_TOKEN)", id="github-actions"),
        pytest.param("glcbt-64_Example", "a GitLab job token (CI_JOB_TOKEN)", id="gitlab-job"),
        pytest.param("AKIAEXAMPLEEXAMPLE", "an AWS access key", id="aws"),
    ],
)
def test_a_well_known_token_that_is_no_jwt_is_named(text: str, kind: str) -> None:
    fault = refused(text)

    assert fault.code is ErrorCode.TOKEN_OPAQUE
    assert fault.message == f"This looks like {kind}, not an OIDC token."


@pytest.mark.requirement("TV-07")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda text: f"Bearer {text}", id="bearer"),
        pytest.param(lambda text: f"bearer {text}", id="bearer-lower-case"),
        pytest.param(lambda text: f'"{text}"', id="quotes"),
        pytest.param(lambda text: f"{text}\n", id="line-end"),
        pytest.param(lambda text: f" {text}", id="leading-blank"),
        pytest.param(lambda text: text.replace(".", ".\r\n", 1), id="line-break-inside"),
        pytest.param(lambda text: f"{text}\x00", id="nul"),
        pytest.param(lambda text: text + "\u00e9", id="beyond-ascii"),
        pytest.param(lambda text: text + "\ud800", id="surrogate"),
    ],
)
def test_a_token_is_never_repaired(spoil: Callable[[str], str]) -> None:
    assert refused(spoil(token())).code is ErrorCode.TOKEN_MALFORMED


def _parts() -> list[str]:
    return token().split(".")


@pytest.mark.requirement("TV-06")
@pytest.mark.parametrize("part", [0, 1, 2], ids=["header", "payload", "signature"])
@pytest.mark.parametrize(
    "segment",
    [
        pytest.param("e30=", id="padding"),
        pytest.param("e30==", id="too-much-padding"),
        pytest.param("e3+/", id="standard-alphabet"),
        pytest.param("e30a=", id="misplaced-padding"),
        pytest.param("e30ab", id="length-1-modulo-4"),
        pytest.param("e31", id="unused-bits"),
        pytest.param("e3!0", id="foreign-character"),
        pytest.param("e3%30", id="percent"),
        pytest.param("e30a!!!!", id="foreign-characters-that-decoders-skip"),
    ],
)
def test_every_part_is_canonical_base64url(part: int, segment: str) -> None:
    parts = _parts()
    parts[part] = segment

    assert refused(".".join(parts)).code is ErrorCode.TOKEN_ENCODING_INVALID


@pytest.mark.requirement("TV-06")
def test_padding_that_pyjwt_takes_again_is_refused() -> None:
    header, payload, signature = _parts()

    assert refused(f"{header}.{payload}.{signature}==").code is ErrorCode.TOKEN_ENCODING_INVALID


@pytest.mark.requirement("TV-06")
@settings(max_examples=500)
@given(
    st.text(st.sampled_from("AQgwEIMk048Zz9-_+/=.! \n"), min_size=1, max_size=9)
    | st.binary(min_size=1).map(b64)
)
def test_of_all_spellings_only_the_one_that_would_be_written_is_read(segment: str) -> None:
    try:
        decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except binascii.Error:
        decoded = b""
    canonical = base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() == segment

    assert reading._base64url(segment.encode()) == (decoded if canonical else None)


@pytest.mark.requirement("TV-05")
@pytest.mark.parametrize(
    ("header", "payload", "signature"),
    [
        pytest.param(4_097, 10, 10, id="header"),
        pytest.param(10, 12_289, 10, id="payload"),
        pytest.param(10, 10, 1_025, id="signature"),
    ],
)
def test_each_part_has_its_own_limit(header: int, payload: int, signature: int) -> None:
    text = ".".join(b64(b"x" * size) for size in (header, payload, signature))

    assert refused(text, max_chars=20_000).code is ErrorCode.TOKEN_TOO_LARGE


@pytest.mark.requirement("TV-08")
@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(json.dumps(claims_of()).encode("utf-16"), id="utf-16"),
        pytest.param(b"\xef\xbb\xbf" + json.dumps(claims_of()).encode(), id="byte-order-mark"),
        pytest.param(b'{"iss":"\xff"}', id="latin-1"),
    ],
)
def test_only_utf_8_without_byte_order_mark_is_read(payload: bytes) -> None:
    assert refused(raw_token(_GOOD_HEADER, payload)).code is ErrorCode.TOKEN_JSON_INVALID


@pytest.mark.requirement("TV-08")
def test_the_faults_are_found_in_the_fixed_order() -> None:
    """Each text has the fault of its step and of all later ones."""
    bad_json, bad_header = b64(b"{"), b64(b'{"alg":1}')

    codes = [
        refused("=" * 16_385).code,
        refused("=.=").code,
        refused(f"=.{bad_json}.=").code,
        refused(f"{bad_json}.=.=").code,
        refused(f"{bad_json}.{bad_json}.=").code,
        refused(f"{bad_json}.{bad_json}.{b64(b'x')}").code,
        refused(f"{bad_header}.{bad_json}.{b64(b'x')}").code,
        refused(f"{b64(_GOOD_HEADER)}.{bad_json}.{b64(b'x')}").code,
    ]

    assert codes == [
        ErrorCode.TOKEN_TOO_LARGE,
        ErrorCode.TOKEN_MALFORMED,
        ErrorCode.TOKEN_ENCODING_INVALID,
        ErrorCode.TOKEN_ENCODING_INVALID,
        ErrorCode.TOKEN_ENCODING_INVALID,
        ErrorCode.TOKEN_JSON_INVALID,
        ErrorCode.TOKEN_HEADER_INVALID,
        ErrorCode.TOKEN_JSON_INVALID,
    ]


@pytest.mark.requirement("TV-10")
def test_no_refusal_shows_any_part_of_the_token() -> None:
    fault = refused(raw_token(_GOOD_HEADER, b'{"sub":"hunter2","sub":"hunter2"}'))

    assert "hunter2" not in f"{fault} {fault.hint} {fault.__cause__}"
    assert fault.claims == ()


@pytest.mark.requirement("TV-48")
@given(st.text(max_size=200))
def test_any_text_is_refused_by_the_one_error(text: str) -> None:
    refused(text)


@pytest.mark.requirement("TV-48")
@given(st.lists(st.text("AQgw!", min_size=1, max_size=8), min_size=3, max_size=3))
def test_any_three_parts_are_refused_by_the_one_error(parts: list[str]) -> None:
    refused(".".join(parts))


@pytest.mark.requirement("TV-48")
@given(st.binary(min_size=1, max_size=80), st.binary(min_size=1, max_size=80))
def test_any_header_and_payload_are_refused_by_the_one_error(header: bytes, payload: bytes) -> None:
    refused(f"{b64(header)}.{b64(payload)}.{b64(b'x')}")
