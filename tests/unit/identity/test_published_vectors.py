"""Published signatures and tokens against our own verifier. Where each comes from: tests/vectors/README.md."""

import gzip
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.errors import ErrorCode, TokenRejected
from gateway.identity.jwk import UnfitKeyError, read_key
from gateway.identity.reading import _base64url, read_token
from gateway.identity.signature import signature_is_valid
from gateway.secret import Secret

_VECTORS = Path(__file__).parents[2] / "vectors"
_SIGNATURES: dict[str, Any] = json.loads(
    gzip.decompress((_VECTORS / "wycheproof_signatures.json.gz").read_bytes())
)
_TOKENS: list[dict[str, Any]] = json.loads((_VECTORS / "rfc_jose.json").read_text("utf-8"))["vectors"]

# Made with another salt or mask than RFC 7518 section 3.5 fixes: what is good for them is bad for us, and one the other way round.
_OTHER_SALT = "rsa_pss_2048_sha256_mgf1_0_test.json"
_OTHER_MASK = "rsa_pss_2048_sha256_mgf1sha1_20_test.json"


def good_for_us(file: str, one: Mapping[str, Any]) -> bool:
    if file in (_OTHER_SALT, _OTHER_MASK):
        return file == _OTHER_SALT and bool(one["comment"] == "s_len changed to 32")
    return bool(one["result"] == "valid")


def wrongly_judged(group: Mapping[str, Any]) -> list[tuple[int, str]]:
    key = read_key(group["jwk"])
    assert group["alg"] in key.algorithms
    return [
        (one["id"], one["comment"])
        for one in group["tests"]
        if one["result"] != "acceptable"
        and signature_is_valid(group["alg"], key, bytes.fromhex(one["msg"]), bytes.fromhex(one["sig"]))
        is not good_for_us(group["file"], one)
    ]


@pytest.mark.requirement("TV-21", "TV-18")
@pytest.mark.parametrize("file", sorted({group["file"] for group in _SIGNATURES["groups"]}))
def test_published_signatures_are_judged_as_their_authors_say(file: str) -> None:
    groups = [group for group in _SIGNATURES["groups"] if group["file"] == file]

    assert [wrongly_judged(group) for group in groups if wrongly_judged(group)] == []
    assert Counter(one["result"] for group in groups for one in group["tests"])["valid"] > 5


@pytest.mark.requirement("TV-21")
@pytest.mark.parametrize(
    "vector",
    [pytest.param(one, id=one["origin"]) for one in _TOKENS if one["key"] is not None],
)
def test_the_signed_examples_of_the_rfcs_verify(vector: Mapping[str, Any]) -> None:
    signed, _, signature = vector["token"].rpartition(".")
    raw = _base64url(signature.encode())
    assert raw is not None

    key = read_key(vector["key"])

    assert signature_is_valid(vector["alg"], key, signed.encode(), raw)
    assert not signature_is_valid(vector["alg"], key, signed.encode() + b"x", raw)


_PROVE_NOTHING = {
    "RFC 7515 A.1": ErrorCode.TOKEN_ALG_NOT_ALLOWED,
    "RFC 7515 A.5": ErrorCode.TOKEN_MALFORMED,
    "RFC 7515 A.6": ErrorCode.TOKEN_MALFORMED,
    "RFC 7515 A.7": ErrorCode.TOKEN_MALFORMED,
    "RFC 7515 E": ErrorCode.TOKEN_MALFORMED,
    "RFC 7520 4.4": ErrorCode.TOKEN_ALG_NOT_ALLOWED,
}


@pytest.mark.requirement("TV-04", "TV-07", "TV-12")
@pytest.mark.parametrize(
    "vector",
    [pytest.param(one, id=one["origin"]) for one in _TOKENS if one["key"] is None],
)
def test_the_examples_that_prove_nothing_to_us_are_refused(vector: Mapping[str, Any]) -> None:
    with pytest.raises(TokenRejected) as caught:
        read_token(Secret(vector["token"]))

    assert caught.value.code is _PROVE_NOTHING[vector["origin"]]


@pytest.mark.requirement("TV-20")
def test_the_symmetric_and_private_keys_of_the_rfcs_are_no_keys_for_us() -> None:
    public = next(one["key"] for one in _TOKENS if one["alg"] == "EdDSA")

    for unfit in ({"kty": "oct", "k": "AAAA"}, {**public, "d": public["x"]}):
        with pytest.raises(UnfitKeyError):
            read_key(unfit)
