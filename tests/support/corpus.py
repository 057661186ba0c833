"""Tokens of every kind that a verifier must tell apart, good and bad, each with the answer we mean to give.

Everything is signed with real keys; what is wrong with a bad token is one thing. Built for one moment, because another
judge of them reads the machine's clock.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from gateway.errors import ErrorCode

ISSUER: Final = "https://issuer.example/tenant"
OTHER_ISSUER: Final = "https://other.example"
AUDIENCE: Final = "https://gateway.acme.example"
LEEWAY_S: Final = 30

Sign = Callable[[bytes], bytes]
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One token. code: why we refuse it, None when we believe it."""

    name: str
    token: str
    code: ErrorCode | None = None


# --- Keys ---


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


def key_set() -> Mapping[str, object]:
    """Return the issuer's key set: one good key of each kind we accept, and keys that must not be used."""
    return {
        "keys": [
            {**_rsa_jwk("rsa", rsa_key("rsa")), "use": "sig", "alg": "RS256"},
            {**_ec_jwk("ec"), "use": "sig", "alg": "ES256"},
            _rsa_jwk("rsa-any", rsa_key("rsa-any")),
            {
                "kid": "ed",
                "kty": "OKP",
                "crv": "Ed25519",
                "x": encode(ed_key().public_key().public_bytes_raw()),
            },
            {**_rsa_jwk("encryption", rsa_key("encryption")), "use": "enc"},
            {**_rsa_jwk("operations", rsa_key("operations")), "key_ops": ["encrypt"]},
            _rsa_jwk("weak", rsa_key("weak", 1024)),
            {**_rsa_jwk("published", rsa_key("published")), "d": _private_exponent(rsa_key("published"))},
            _rsa_jwk("twice", rsa_key("twice-1")),
            _rsa_jwk("twice", rsa_key("twice-2")),
        ]
    }


def other_key_set() -> Mapping[str, object]:
    """Return the other issuer's key set: another key under the same name."""
    return {"keys": [{**_rsa_jwk("rsa", rsa_key("other")), "use": "sig", "alg": "RS256"}]}


def _rsa_jwk(kid: str, key: rsa.RSAPrivateKey) -> dict[str, object]:
    numbers = key.public_key().public_numbers()
    return {"kid": kid, "kty": "RSA", "n": _encode_number(numbers.n), "e": _encode_number(numbers.e)}


def _ec_jwk(kid: str) -> dict[str, object]:
    numbers = ec_key().public_key().public_numbers()
    x, y = (encode(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    return {"kid": kid, "kty": "EC", "crv": "P-256", "x": x, "y": y}


def _private_exponent(key: rsa.RSAPrivateKey) -> str:
    return _encode_number(key.private_numbers().d)


def _encode_number(number: int) -> str:
    return encode(number.to_bytes((number.bit_length() + 7) // 8))


def _rs256(key: rsa.RSAPrivateKey) -> Sign:
    return lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def _rs512(data: bytes) -> bytes:
    return rsa_key("rsa-any").sign(data, padding.PKCS1v15(), hashes.SHA512())


def _ps256(data: bytes) -> bytes:
    return rsa_key("rsa-any").sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def _es256_numbers(data: bytes) -> tuple[int, int]:
    return decode_dss_signature(ec_key().sign(data, ec.ECDSA(hashes.SHA256())))


def _es256(data: bytes) -> bytes:
    r, s = _es256_numbers(data)
    return r.to_bytes(32) + s.to_bytes(32)


def _es256_twin(data: bytes) -> bytes:
    r, s = _es256_numbers(data)
    return r.to_bytes(32) + (_P256_ORDER - s).to_bytes(32)


def _es256_der(data: bytes) -> bytes:
    return encode_dss_signature(*_es256_numbers(data))


def _es256_wide(data: bytes) -> bytes:
    r, s = _es256_numbers(data)
    return r.to_bytes(33) + s.to_bytes(33)


def _hs256(secret: bytes) -> Sign:
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def _public_pem() -> bytes:
    return (
        rsa_key("rsa")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


# --- Building ---


def encode(data: bytes) -> str:
    """Return base64url without padding (RFC 7515 section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(header: bytes, payload: bytes, sign: Sign) -> str:
    """Return header, payload and a signature over them in compact form."""
    signing_input = f"{encode(header)}.{encode(payload)}"
    return f"{signing_input}.{encode(sign(signing_input.encode()))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Makes tokens that differ from a good one in what is asked for. now: whole seconds since the epoch."""

    now: int

    def claims(self, **changed: object) -> dict[str, object]:
        """Return good claims, changed; a claim set to `...` is left out."""
        good: dict[str, object] = {
            "iss": ISSUER,
            "sub": "build-7",
            "aud": AUDIENCE,
            "iat": self.now - 60,
            "exp": self.now + 600,
        }
        return {name: value for name, value in (good | changed).items() if value is not ...}

    def claiming(self, **changed: object) -> str:
        return compact(self.header(), _dump(self.claims(**changed)), _rs256(rsa_key("rsa")))

    def header(self, **changed: object) -> bytes:
        good: dict[str, object] = {"alg": "RS256", "kid": "rsa", "typ": "JWT"}
        return _dump({name: value for name, value in (good | changed).items() if value is not ...})

    def headed(self, sign: Sign | None = None, /, **changed: object) -> str:
        return compact(self.header(**changed), _dump(self.claims()), sign or _rs256(rsa_key("rsa")))

    def saying(self, payload: str | bytes) -> str:
        """Return a well-signed token with exactly this payload."""
        data = payload if isinstance(payload, bytes) else payload.encode("utf-8", "surrogatepass")
        return compact(self.header(), data, _rs256(rsa_key("rsa")))

    def payload(self, more: str = "") -> str:
        """Return the good payload as text, with more members before its end."""
        return json.dumps(self.claims())[:-1] + more + "}"

    def time_as(self, text: str) -> str:
        """Return a token whose `exp` is this text, whatever it means."""
        return self.saying(json.dumps(self.claims(exp=...))[:-1] + f', "exp": {text}}}')


def _dump(value: object) -> bytes:
    return json.dumps(value).encode()


# --- The corpus ---


def corpus(now: int) -> tuple[Sample, ...]:
    """Return all samples for this moment."""
    make = Maker(now=now)
    parts = (
        _good,
        _shapes,
        _encodings,
        _json,
        _headers,
        _algorithms,
        _keys,
        _signatures,
        _issuers,
        _audiences,
        _times,
        _claims,
    )
    return tuple(
        Sample(name=name, token=token, code=code) for part in parts for name, token, code in part(make)
    )


Row = tuple[str, str, ErrorCode | None]


def _good(make: Maker) -> Iterator[Row]:
    now = make.now
    yield "good-rs256", make.claiming(), None
    yield "good-es256", make.headed(_es256, alg="ES256", kid="ec"), None
    yield "good-without-typ", make.headed(typ=...), None
    yield "good-typ-with-prefix", make.headed(typ="application/jwt"), None
    yield "good-access-token", make.headed(typ="at+jwt"), None
    yield "good-key-without-alg", make.headed(_rs256(rsa_key("rsa-any")), kid="rsa-any"), None
    yield "good-audience-list-of-one", make.claiming(aud=[AUDIENCE]), None
    yield "good-nested-claims", make.claiming(realm={"roles": ["a", {"b": None}]}), None
    yield "good-expired-within-leeway", make.claiming(exp=now - 10), None
    yield "good-not-before-within-leeway", make.claiming(nbf=now + 15), None
    yield "good-not-before-past", make.claiming(nbf=now - 60), None
    yield "good-issued-within-leeway", make.claiming(iat=now + 15), None
    yield "good-blanks-around-json", make.saying(f" {make.payload()}\r\n\t "), None


def _shapes(make: Maker) -> Iterator[Row]:
    good = make.claiming()
    header, payload, signature = good.split(".")
    malformed = ErrorCode.TOKEN_MALFORMED
    yield "one-segment", header, ErrorCode.TOKEN_OPAQUE
    yield "two-segments", f"{header}.{payload}", malformed
    yield "four-segments", f"{good}.{signature}", malformed
    yield "five-segments", f"{good}.{signature}.{signature}", ErrorCode.TOKEN_ENCRYPTED
    yield "dot-at-the-end", f"{good}.", malformed
    yield "dots-alone", "..", malformed
    yield "thousands-of-dots", "." * 10_000, malformed
    yield "empty-header", f".{payload}.{signature}", malformed
    yield "empty-payload", f"{header}..{signature}", malformed
    yield "empty-signature", f"{header}.{payload}.", malformed
    yield "json-serialisation", _json_serialisation(good), malformed
    yield "too-long", make.claiming(filler=["x" * 8_000, "y" * 6_000]), ErrorCode.TOKEN_TOO_LARGE
    yield "bearer-twice", f"Bearer {good}", malformed
    yield "quoted", f'"{good}"', malformed
    yield "blank-inside", f"{header}.{payload} .{signature}", malformed
    yield "not-ascii", f"{good}\xe9", malformed


def _json_serialisation(token: str) -> str:
    protected, payload, signature = token.split(".")
    return json.dumps(
        {"protected": protected, "payload": payload, "signature": signature}, separators=(",", ":")
    )


def _encodings(make: Maker) -> Iterator[Row]:
    good = make.headed(_es256, alg="ES256", kid="ec")
    header, payload, signature = good.split(".")
    refused = ErrorCode.TOKEN_ENCODING_INVALID
    # A header whose length leaves two characters over, so that padding it is possible at all.
    odd = make.headed(_es256, alg="ES256", kid="ec", typ="application/jwt")
    padded_header = _signed_as_written(_pad(odd.split(".")[0]), payload)
    yield "padded-header", padded_header, refused
    yield (
        "padded-payload",
        _signed_as_written(header, _pad(encode(_dump(make.claims(filler=_filler(make)))))),
        refused,
    )
    yield "padded-signature", f"{header}.{payload}.{_pad(signature)}", refused
    yield "classic-alphabet", _classic_alphabet(make), refused
    yield "impossible-length", f"{good}AAA", refused
    yield "unused-bits-set", f"{header}.{payload}.{_set_unused_bits(signature)}", refused


def _filler(make: Maker) -> str:
    return next(text for text in ("", "x", "xx") if len(_dump(make.claims(filler=text))) % 3)


def _pad(segment: str) -> str:
    return segment + "=" * (-len(segment) % 4)


def _signed_as_written(header: str, payload: str) -> str:
    return f"{header}.{payload}.{encode(_es256(f'{header}.{payload}'.encode()))}"


def _set_unused_bits(segment: str) -> str:
    # 64 bytes leave four unused bits in the last character.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) | 1]


def _classic_alphabet(make: Maker) -> str:
    while True:
        token = make.headed(_es256, alg="ES256", kid="ec")
        head, _, signature = token.rpartition(".")
        if set(signature) & {"-", "_"}:
            return f"{head}.{signature.replace('-', '+').replace('_', '/')}"


def _json(make: Maker) -> Iterator[Row]:
    sign = _rs256(rsa_key("rsa"))
    good = make.payload()
    invalid = ErrorCode.TOKEN_JSON_INVALID
    duplicate = ErrorCode.TOKEN_JSON_DUPLICATE
    complex_ = ErrorCode.TOKEN_JSON_TOO_COMPLEX
    yield "header-not-json", compact(b"alg=RS256", good.encode(), sign), invalid
    yield "header-a-list", compact(b"[]", good.encode(), sign), invalid
    yield (
        "header-with-byte-order-mark",
        compact(b"\xef\xbb\xbf" + make.header(), good.encode(), sign),
        invalid,
    )
    yield "payload-not-json", make.saying("hello"), invalid
    yield "payload-a-list", make.saying(f"[{good}]"), invalid
    yield "payload-a-string", make.saying('"hello"'), invalid
    yield "payload-null", make.saying("null"), invalid
    yield "payload-with-byte-order-mark", make.saying("\ufeff" + good), invalid
    yield "payload-in-utf-16", make.saying(good.encode("utf-16")), invalid
    yield "payload-not-utf-8", make.saying(good[:-1].encode() + b', "x": "\xff"}'), invalid
    yield "payload-then-more", make.saying(good + "{}"), invalid
    yield "payload-with-comment", make.saying(good + "/* */"), invalid
    yield "payload-with-trailing-comma", make.saying(good[:-1] + ",}"), invalid
    yield "nan", make.saying(make.payload(', "x": NaN')), invalid
    yield "infinity", make.saying(make.payload(', "x": 1e999')), invalid
    yield "half-a-surrogate-pair", make.saying(make.payload(', "x": "\\ud800"')), invalid
    yield "raw-control-character", make.saying(make.payload(', "x": "\x07"')), invalid
    yield "issuer-twice", make.saying(make.payload(f', "iss": "{ISSUER}"')), duplicate
    yield "issuer-twice-escaped", make.saying(make.payload(f', "\\u0069ss": "{ISSUER}"')), duplicate
    yield "other-audience-then-ours", make.saying('{"aud": "https://else.example", ' + good[1:]), duplicate
    yield "duplicate-deep-inside", make.saying(make.payload(', "x": [{"a": 1, "a": 2}]')), duplicate
    yield "algorithm-twice", compact(b'{"alg": "none", ' + make.header()[1:], good.encode(), sign), duplicate
    yield "nested-too-deep", make.claiming(x=_nested(20)), complex_
    yield "nested-very-deep", make.saying(make.payload(f', "x": {"[" * 4_000}{"]" * 4_000}')), complex_
    yield "too-many-members", make.claiming(x={str(number): 0 for number in range(600)}), complex_
    yield "number-without-end", make.saying(make.payload(f', "x": {"9" * 5_000}')), complex_


def _nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


def _headers(make: Maker) -> Iterator[Row]:
    invalid = ErrorCode.TOKEN_HEADER_INVALID
    crit = ErrorCode.TOKEN_CRIT_UNSUPPORTED
    kind = ErrorCode.TOKEN_TYPE_NOT_ALLOWED
    foreign = {"kty": "RSA", **_rsa_jwk("rsa", rsa_key("attacker"))}
    attacker = _rs256(rsa_key("attacker"))
    yield "crit-known-claim", make.headed(crit=["exp"], exp=1), crit
    yield "crit-empty", make.headed(crit=[]), crit
    yield "crit-unencoded-payload", make.headed(crit=["b64"], b64=False), crit
    yield "b64-alone", make.headed(b64=True), invalid
    yield "zip", make.headed(zip="DEF"), invalid
    yield "cty-jwt", make.headed(cty="JWT"), invalid
    yield "own-key-in-header", make.headed(attacker, jwk=foreign), ErrorCode.TOKEN_SIGNATURE_INVALID
    yield (
        "own-key-in-header-without-kid",
        make.headed(attacker, jwk=foreign, kid=...),
        ErrorCode.TOKEN_KID_MISSING,
    )
    yield (
        "key-url-in-header",
        make.headed(attacker, jku="https://attacker.example/jwks"),
        ErrorCode.TOKEN_SIGNATURE_INVALID,
    )
    yield "kid-missing", make.headed(kid=...), ErrorCode.TOKEN_KID_MISSING
    yield "kid-unknown", make.headed(kid="nobody"), ErrorCode.TOKEN_KEY_UNKNOWN
    yield "kid-a-path", make.headed(kid="../../etc/passwd"), ErrorCode.TOKEN_KEY_UNKNOWN
    yield "kid-other-case", make.headed(kid="RSA"), ErrorCode.TOKEN_KEY_UNKNOWN
    yield "kid-empty", make.headed(kid=""), invalid
    yield "kid-a-number", make.headed(kid=7), invalid
    yield "kid-endless", make.headed(kid="k" * 300), invalid
    yield "typ-logout", make.headed(typ="logout+jwt"), kind
    yield "typ-dpop", make.headed(typ="dpop+jwt"), kind
    yield "typ-security-event", make.headed(typ="secevent+jwt"), kind
    yield "typ-a-number", make.headed(typ=7), kind


def _algorithms(make: Maker) -> Iterator[Row]:
    refused = ErrorCode.TOKEN_ALG_NOT_ALLOWED
    signed = make.claiming().rpartition(".")[2]
    for name in ("none", "None", "NONE"):
        unsigned = f"{encode(make.header(alg=name))}.{encode(_dump(make.claims()))}."
        yield f"alg-{name}-unsigned", unsigned, ErrorCode.TOKEN_MALFORMED
        yield f"alg-{name}-signed", unsigned + signed, refused
    yield "alg-missing", make.headed(alg=...), ErrorCode.TOKEN_HEADER_INVALID
    yield "alg-a-number", make.headed(alg=256), ErrorCode.TOKEN_HEADER_INVALID
    yield "alg-lower-case", make.headed(alg="rs256"), refused
    yield "alg-unknown", make.headed(alg="XX256"), refused
    yield "hs256-with-the-public-key-pem", make.headed(_hs256(_public_pem()), alg="HS256"), refused
    yield "hs256-with-the-modulus", make.headed(_hs256(_modulus_text()), alg="HS256"), refused
    yield "hs256-with-an-empty-key", make.headed(_hs256(b""), alg="HS256"), refused
    yield "rs512-not-on-the-list", make.headed(_rs512, alg="RS512", kid="rsa-any"), refused
    yield "ps256-not-on-the-list", make.headed(_ps256, alg="PS256", kid="rsa-any"), refused
    yield "eddsa-not-on-the-list", make.headed(ed_key().sign, alg="EdDSA", kid="ed"), refused


def _modulus_text() -> bytes:
    return str(_rsa_jwk("rsa", rsa_key("rsa"))["n"]).encode()


def _keys(make: Maker) -> Iterator[Row]:
    unknown = ErrorCode.TOKEN_KEY_UNKNOWN
    yield "key-of-the-other-issuer", make.headed(_rs256(rsa_key("other"))), ErrorCode.TOKEN_SIGNATURE_INVALID
    yield "key-of-another-kind", make.headed(kid="ec"), ErrorCode.TOKEN_KEY_MISMATCH
    yield "key-for-encryption", make.headed(_rs256(rsa_key("encryption")), kid="encryption"), unknown
    yield "key-not-for-verifying", make.headed(_rs256(rsa_key("operations")), kid="operations"), unknown
    yield "key-too-weak", make.headed(_rs256(rsa_key("weak", 1024)), kid="weak"), unknown
    yield (
        "key-published-with-its-private-half",
        make.headed(_rs256(rsa_key("published")), kid="published"),
        unknown,
    )
    yield (
        "two-keys-of-one-name-first",
        make.headed(_rs256(rsa_key("twice-1")), kid="twice"),
        ErrorCode.TOKEN_KEY_AMBIGUOUS,
    )
    yield (
        "two-keys-of-one-name-second",
        make.headed(_rs256(rsa_key("twice-2")), kid="twice"),
        ErrorCode.TOKEN_KEY_AMBIGUOUS,
    )


def _signatures(make: Maker) -> Iterator[Row]:
    invalid = ErrorCode.TOKEN_SIGNATURE_INVALID
    header, payload, signature = make.claiming().split(".")
    other = encode(_dump(make.claims(sub="somebody-else")))
    raw = base64.urlsafe_b64decode(_pad(signature))
    yield "payload-changed", f"{header}.{other}.{signature}", invalid
    yield "header-changed", f"{encode(make.header(x=1))}.{payload}.{signature}", invalid
    yield "signature-cut", f"{header}.{payload}.{encode(raw[:-1])}", invalid
    yield "signature-longer", f"{header}.{payload}.{encode(raw + bytes(1))}", invalid
    yield "signature-flipped", f"{header}.{payload}.{encode(raw[:-1] + bytes([raw[-1] ^ 1]))}", invalid
    yield "signature-of-zeros", f"{header}.{payload}.{encode(bytes(256))}", invalid
    yield "es256-twin", make.headed(_es256_twin, alg="ES256", kid="ec"), None
    yield "es256-der", make.headed(_es256_der, alg="ES256", kid="ec"), invalid
    yield "es256-wide", make.headed(_es256_wide, alg="ES256", kid="ec"), invalid
    yield "es256-of-zeros", make.headed(lambda _: bytes(64), alg="ES256", kid="ec"), invalid
    yield (
        "es256-of-orders",
        make.headed(lambda _: _P256_ORDER.to_bytes(32) * 2, alg="ES256", kid="ec"),
        invalid,
    )


def _issuers(make: Maker) -> Iterator[Row]:
    unknown = ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-unknown", make.claiming(iss="https://else.example"), unknown
    yield "issuer-with-slash", make.claiming(iss=f"{ISSUER}/"), unknown
    yield "issuer-in-capitals", make.claiming(iss=ISSUER.upper()), unknown
    yield "issuer-with-port", make.claiming(iss="https://issuer.example:443/tenant"), unknown
    yield "issuer-over-http", make.claiming(iss=ISSUER.replace("https", "http")), unknown
    yield "issuer-without-scheme", make.claiming(iss=ISSUER.removeprefix("https://")), unknown
    yield "issuer-cut", make.claiming(iss="https://issuer.example"), unknown
    yield "issuer-with-more", make.claiming(iss=f"{ISSUER}.attacker.example"), unknown
    yield "issuer-missing", make.claiming(iss=...), ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-a-number", make.claiming(iss=7), ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-a-list", make.claiming(iss=[ISSUER]), ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-the-other", make.claiming(iss=OTHER_ISSUER), ErrorCode.TOKEN_SIGNATURE_INVALID


def _audiences(make: Maker) -> Iterator[Row]:
    mismatch = ErrorCode.TOKEN_AUDIENCE_MISMATCH
    yield "audience-missing", make.claiming(aud=...), ErrorCode.TOKEN_AUDIENCE_MISSING
    yield "audience-wrong", make.claiming(aud="https://else.example"), mismatch
    yield "audience-with-slash", make.claiming(aud=f"{AUDIENCE}/"), mismatch
    yield "audience-without-scheme", make.claiming(aud=AUDIENCE.removeprefix("https://")), mismatch
    yield "audience-in-capitals", make.claiming(aud=AUDIENCE.upper()), mismatch
    yield "audience-in-a-text-of-several", make.claiming(aud=f"https://else.example {AUDIENCE}"), mismatch
    yield "audience-among-others", make.claiming(aud=["https://else.example", AUDIENCE]), mismatch
    yield "audience-list-empty", make.claiming(aud=[]), mismatch
    yield "audience-empty", make.claiming(aud=""), mismatch
    yield "audience-a-number", make.claiming(aud=7), ErrorCode.CLAIM_VALUE_INVALID
    yield "audience-an-object", make.claiming(aud={AUDIENCE: True}), ErrorCode.CLAIM_VALUE_INVALID
    yield "audience-list-with-a-number", make.claiming(aud=[AUDIENCE, 7]), ErrorCode.CLAIM_VALUE_INVALID


def _times(make: Maker) -> Iterator[Row]:
    now = make.now
    invalid = ErrorCode.CLAIM_VALUE_INVALID
    missing = ErrorCode.CLAIM_MISSING
    yield "exp-missing", make.claiming(exp=...), missing
    yield "exp-null", make.claiming(exp=None), invalid
    yield "exp-a-text", make.claiming(exp=str(now + 600)), invalid
    yield "exp-a-fraction", make.claiming(exp=now + 600.5), invalid
    yield "exp-a-whole-fraction", make.time_as(f"{now + 600}.0"), invalid
    yield "exp-with-exponent", make.time_as(f"{(now + 600) // 100}e2"), invalid
    yield "exp-true", make.claiming(exp=True), invalid
    yield "exp-negative", make.claiming(exp=-1), invalid
    yield "exp-beyond-64-bits", make.time_as("1" + "0" * 25), invalid
    yield "exp-beyond-any-date", make.claiming(exp=253_402_300_800), invalid
    yield "exp-a-list", make.claiming(exp=[now + 600]), invalid
    yield "expired-beyond-leeway", make.claiming(exp=now - LEEWAY_S - 5), ErrorCode.TOKEN_EXPIRED
    yield "expired-long-ago", make.claiming(iat=now - 7_200, exp=now - 3_600), ErrorCode.TOKEN_EXPIRED
    yield "exp-zero", make.claiming(iat=0, exp=0), ErrorCode.TOKEN_EXPIRED
    yield "not-before-later", make.claiming(nbf=now + 300), ErrorCode.TOKEN_NOT_YET_VALID
    yield "nbf-a-text", make.claiming(nbf=str(now - 60)), invalid
    yield "nbf-true", make.claiming(nbf=True), invalid
    yield "nbf-null", make.claiming(nbf=None), invalid
    yield "nbf-after-exp", make.claiming(nbf=now + 20, exp=now + 10), invalid
    yield "iat-missing", make.claiming(iat=...), missing
    yield "iat-later", make.claiming(iat=now + 300), ErrorCode.TOKEN_ISSUED_IN_FUTURE
    yield "iat-a-text", make.claiming(iat=str(now - 60)), invalid
    yield "iat-false", make.claiming(iat=False), invalid
    yield "iat-a-fraction", make.claiming(iat=now - 60.5), invalid
    yield "iat-after-exp", make.claiming(iat=now + 20, exp=now + 10), invalid
    yield "too-old", make.claiming(iat=now - 7_200), ErrorCode.TOKEN_TOO_OLD
    yield "lives-too-long", make.claiming(exp=now + 10 * 86_400), ErrorCode.TOKEN_LIFETIME_TOO_LONG


def _claims(make: Maker) -> Iterator[Row]:
    invalid = ErrorCode.CLAIM_VALUE_INVALID
    yield "subject-missing", make.claiming(sub=...), ErrorCode.CLAIM_MISSING
    yield "subject-null", make.claiming(sub=None), invalid
    yield "subject-empty", make.claiming(sub=""), invalid
    yield "subject-a-number", make.claiming(sub=7), invalid
    yield "subject-with-blank", make.claiming(sub="build 7"), invalid
    yield "subject-with-nul", make.claiming(sub="build\0"), invalid
    yield "subject-with-line-break", make.claiming(sub="build\r\nX: y"), invalid
    yield "subject-not-ascii", make.claiming(sub="b\u00fcild"), invalid
    yield "subject-endless", make.claiming(sub="s" * 256), invalid
    yield (
        "logout-token",
        make.claiming(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
        ErrorCode.TOKEN_TYPE_NOT_ALLOWED,
    )
