"""A second opinion on tokens of the issuer `generic`, written from the rules and not from the gateway's code.

It shares nothing with the gateway and nothing with pyjwt: text patterns, the standard library's JSON, and cryptography's
own verify calls. It answers yes or no, slowly and plainly.
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from tests.support.clocks import START_S
from tests.support.tokens import AUDIENCE, key_id, private_key

_SEGMENT: Final = "[A-Za-z0-9_-]+"
_COMPACT: Final = re.compile(rf"({_SEGMENT})\.({_SEGMENT})\.({_SEGMENT})")
_ISSUER: Final = "https://issuer.example"
_LEEWAY_S: Final = 30
#: How many levels, members, array items, and characters of names, strings and numbers one object may have.
_MOST: Final = (16, 512, 1_024, 256, 8_192, 64)


class _NoError(Exception):
    """The oracle says no."""


def oracle_accepts(token: str) -> bool:
    """Say whether this token must be accepted at the moment START_S: good in every respect, or not at all."""
    try:
        _judge(token)
    except _NoError:
        return False
    return True


def _demand(*holds: bool) -> None:
    if not all(holds):
        raise _NoError


def _judge(token: str) -> None:
    _demand(len(token) <= 16_384)
    found = _COMPACT.fullmatch(token)
    if found is None or not token.isascii():
        raise _NoError
    header_bytes, payload_bytes, signature = map(_decoded, found.groups())
    _demand(len(header_bytes) <= 4_096, len(payload_bytes) <= 12_288, len(signature) <= 1_024)
    algorithm = _header(_object(header_bytes))
    _verify(algorithm, token.rpartition(".")[0].encode(), signature)
    _claims(_object(payload_bytes))


def _decoded(segment: str) -> bytes:
    _demand(len(segment) % 4 != 1)
    data = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_")
    _demand(base64.b64encode(data, b"-_").decode().rstrip("=") == segment)
    return data


def _object(data: bytes) -> Mapping[str, object]:
    members = 0

    def build(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal members
        members += len(pairs)
        _demand(len({name for name, _ in pairs}) == len(pairs))
        return dict(pairs)

    def number(text: str) -> object:
        _demand(len(text) <= _MOST[5])
        return json.loads(text)

    try:
        found = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=build,
            parse_constant=lambda _: _demand(False),
            parse_float=number,
            parse_int=number,
        )
    except (ValueError, RecursionError):
        raise _NoError from None
    if not isinstance(found, dict):
        raise _NoError
    _demand(members <= _MOST[1])
    _measure(found, 1)
    return found


def _measure(value: object, depth: int) -> None:
    match value:
        case dict():
            _demand(depth <= _MOST[0])
            for name, inner in value.items():
                _demand(len(name) <= _MOST[3])
                _measure_text(name)
                _measure(inner, depth + 1)
        case list():
            _demand(depth <= _MOST[0], len(value) <= _MOST[2])
            for inner in value:
                _measure(inner, depth + 1)
        case str():
            _demand(len(value) <= _MOST[4])
            _measure_text(value)
        case float():
            _demand(value not in (float("inf"), float("-inf")))


def _measure_text(text: str) -> None:
    _demand(re.search("[\ud800-\udfff]", text) is None)


def _header(header: Mapping[str, object]) -> str:
    algorithm, kid, typ = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    _demand(header.keys().isdisjoint({"crit", "b64", "zip", "cty", "jwk", "jku", "x5u", "x5c"}))
    if not isinstance(algorithm, str) or algorithm not in {"RS256", "ES256", "PS256", "EdDSA"}:
        raise _NoError
    _demand(isinstance(kid, str) and kid == key_id(algorithm))
    _demand(
        isinstance(typ, str) and typ.lower() in {"jwt", "at+jwt", "application/jwt", "application/at+jwt"}
    )
    return algorithm


def _verify(algorithm: str, signed: bytes, signature: bytes) -> None:
    key = private_key(algorithm).public_key()
    try:
        match key:
            case ec.EllipticCurvePublicKey():
                _demand(len(signature) == 64)
                r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
                _demand(r > 0, s > 0)
                key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
            case ed25519.Ed25519PublicKey():
                key.verify(signature, signed)
            case rsa.RSAPublicKey() if algorithm == "PS256":
                _demand(len(signature) == 256)
                key.verify(signature, signed, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
            case _:
                _demand(len(signature) == 256)
                key.verify(signature, signed, padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        raise _NoError from None


def _claims(claims: Mapping[str, object]) -> None:
    now = START_S
    exp, iat, nbf = (claims.get(name, 0 if name == "nbf" else None) for name in ("exp", "iat", "nbf"))
    if type(exp) is not int or type(iat) is not int or type(nbf) is not int:
        raise _NoError
    _demand(*(0 <= time <= 253_402_300_799 for time in (exp, iat, nbf)))
    _demand(iat <= exp, nbf <= exp, now < exp + _LEEWAY_S, nbf <= now + _LEEWAY_S, iat <= now + _LEEWAY_S)
    _demand(now - iat <= 3_600, exp - iat <= 86_400)
    _demand(claims.get("iss") == _ISSUER, claims.get("aud") in (AUDIENCE, [AUDIENCE]), "events" not in claims)
    subject = claims.get("sub")
    _demand(isinstance(subject, str) and re.fullmatch("[!-~]{1,255}", subject) is not None)
    _demand(*(isinstance(claims.get(name, ""), str) for name in ("azp", "cid", "client_id")))
    for name, value in claims.items():
        for text in (name, *(value if isinstance(value, list) else [value])):
            _demand(not isinstance(text, str) or re.search("[\x00-\x1f\x7f]", text) is None)
