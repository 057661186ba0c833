"""What is wrong with a token before anybody asks what it says: its shape, its encoding, its JSON. And good ones."""

import json

from gateway.errors import ErrorCode
from tests.support.corpus.keys import signed_by
from tests.support.corpus.making import ISSUER, Maker, Rows, compact, dump, es256, good_signature, pad, sealed
from tests.support.tokens import AUDIENCE, b64


def good(make: Maker) -> Rows:
    now = make.now
    yield "good-rs256", make.claiming(), None
    yield "good-es256", make.headed(es256, alg="ES256", kid="ec"), None
    yield "good-without-typ", make.headed(typ=...), None
    yield "good-typ-with-prefix", make.headed(typ="application/jwt"), None
    yield "good-access-token", make.headed(typ="at+jwt"), None
    yield "good-key-without-alg", make.headed(signed_by("rsa-any"), kid="rsa-any"), None
    yield "good-audience-list-of-one", make.claiming(aud=[AUDIENCE]), None
    yield "good-nested-claims", make.claiming(realm={"roles": ["a", {"b": None}]}), None
    yield "good-expired-within-leeway", make.claiming(exp=now - 5), None
    yield "good-not-before-within-leeway", make.claiming(nbf=now + 30), None
    yield "good-not-before-past", make.claiming(nbf=now - 60), None
    yield "good-issued-within-leeway", make.claiming(iat=now + 30), None
    yield "good-blanks-around-json", make.saying(f" {make.payload()}\r\n\t "), None


def shape(make: Maker) -> Rows:
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


def encoding(make: Maker) -> Rows:
    good = make.headed(es256, alg="ES256", kid="ec")
    header, payload, signature = good.split(".")
    refused = ErrorCode.TOKEN_ENCODING_INVALID
    # A header whose length leaves two characters over, so that padding it is possible at all.
    odd = make.headed(es256, alg="ES256", kid="ec", typ="application/jwt")
    padded_header = sealed(pad(odd.split(".")[0]), payload, es256)
    yield "padded-header", padded_header, refused
    yield (
        "padded-payload",
        sealed(header, pad(b64(dump(make.claims(filler=_filler(make))))), es256),
        refused,
    )
    yield "padded-signature", f"{header}.{payload}.{pad(signature)}", refused
    yield "classic-alphabet", _classic_alphabet(make), refused
    yield "impossible-length", f"{good}AAA", refused
    yield "unused-bits-set", f"{header}.{payload}.{_set_unused_bits(signature)}", refused


def _filler(make: Maker) -> str:
    return next(text for text in ("", "x", "xx") if len(dump(make.claims(filler=text))) % 3)


def _set_unused_bits(segment: str) -> str:
    # 64 bytes leave four unused bits in the last character.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + alphabet[alphabet.index(segment[-1]) | 1]


def _classic_alphabet(make: Maker) -> str:
    while True:
        token = make.headed(es256, alg="ES256", kid="ec")
        head, _, signature = token.rpartition(".")
        if set(signature) & {"-", "_"}:
            return f"{head}.{signature.replace('-', '+').replace('_', '/')}"


def json_texts(make: Maker) -> Rows:
    sign = good_signature
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
