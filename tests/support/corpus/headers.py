"""What is wrong with a header, an algorithm, a key or a signature."""

import base64

from gateway.errors import ErrorCode
from tests.support.corpus.keys import (
    P256_ORDER,
    es256_der,
    es256_twin,
    es256_wide,
    foreign_key,
    hs256,
    modulus_text,
    public_pem,
    signed_by,
    weak_rs256,
)
from tests.support.corpus.making import Maker, Rows, dump, pad
from tests.support.tokens import b64


def header(make: Maker) -> Rows:
    invalid = ErrorCode.TOKEN_HEADER_INVALID
    crit = ErrorCode.TOKEN_CRIT_UNSUPPORTED
    kind = ErrorCode.TOKEN_TYPE_NOT_ALLOWED
    attacker = signed_by("attacker")
    yield "crit-known-claim", make.headed(crit=["exp"], exp=1), crit
    yield "crit-empty", make.headed(crit=[]), crit
    yield "crit-unencoded-payload", make.headed(crit=["b64"], b64=False), crit
    yield "b64-alone", make.headed(b64=True), invalid
    yield "zip", make.headed(zip="DEF"), invalid
    yield "cty-jwt", make.headed(cty="JWT"), invalid
    yield "own-key-in-header", make.headed(attacker, jwk=foreign_key()), ErrorCode.TOKEN_SIGNATURE_INVALID
    yield (
        "own-key-in-header-without-kid",
        make.headed(attacker, jwk=foreign_key(), kid=...),
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
    yield "typ-a-number", make.headed(typ=7), invalid


def algorithm(make: Maker) -> Rows:
    refused = ErrorCode.TOKEN_ALG_NOT_ALLOWED
    signed = make.claiming().rpartition(".")[2]
    for name in ("none", "None", "NONE"):
        unsigned = f"{b64(make.header(alg=name))}.{b64(dump(make.claims()))}."
        yield f"alg-{name}-unsigned", unsigned, ErrorCode.TOKEN_MALFORMED
        yield f"alg-{name}-signed", unsigned + signed, refused
    yield "alg-missing", make.headed(alg=...), ErrorCode.TOKEN_HEADER_INVALID
    yield "alg-a-number", make.headed(alg=256), ErrorCode.TOKEN_HEADER_INVALID
    yield "alg-lower-case", make.headed(alg="rs256"), refused
    yield "alg-unknown", make.headed(alg="XX256"), refused
    yield "hs256-with-the-public-key-pem", make.headed(hs256(public_pem()), alg="HS256"), refused
    yield "hs256-with-the-modulus", make.headed(hs256(modulus_text()), alg="HS256"), refused
    yield "hs256-with-an-empty-key", make.headed(hs256(b""), alg="HS256"), refused
    yield (
        "rs512-not-on-the-list",
        make.headed(signed_by("rsa-any", "RS512"), alg="RS512", kid="rsa-any"),
        refused,
    )
    yield (
        "ps256-not-on-the-list",
        make.headed(signed_by("rsa-any", "PS256"), alg="PS256", kid="rsa-any"),
        refused,
    )
    yield "eddsa-not-on-the-list", make.headed(signed_by("ed", "EdDSA"), alg="EdDSA", kid="ed"), refused


def key(make: Maker) -> Rows:
    unknown = ErrorCode.TOKEN_KEY_UNKNOWN
    yield "key-of-the-other-issuer", make.headed(signed_by("other")), ErrorCode.TOKEN_SIGNATURE_INVALID
    yield "key-of-another-kind", make.headed(kid="ec"), ErrorCode.TOKEN_KEY_MISMATCH
    yield "key-for-encryption", make.headed(signed_by("encryption"), kid="encryption"), unknown
    yield "key-not-for-verifying", make.headed(signed_by("operations"), kid="operations"), unknown
    yield "key-too-weak", make.headed(weak_rs256, kid="weak"), unknown
    yield (
        "key-published-with-its-private-half",
        make.headed(signed_by("published"), kid="published"),
        unknown,
    )
    yield (
        "two-keys-of-one-name-first",
        make.headed(signed_by("twice-1"), kid="twice"),
        ErrorCode.TOKEN_KEY_AMBIGUOUS,
    )
    yield (
        "two-keys-of-one-name-second",
        make.headed(signed_by("twice-2"), kid="twice"),
        ErrorCode.TOKEN_KEY_AMBIGUOUS,
    )


def signature(make: Maker) -> Rows:
    invalid = ErrorCode.TOKEN_SIGNATURE_INVALID
    header, payload, signature = make.claiming().split(".")
    other = b64(dump(make.claims(sub="somebody-else")))
    raw = base64.urlsafe_b64decode(pad(signature))
    yield "payload-changed", f"{header}.{other}.{signature}", invalid
    yield "header-changed", f"{b64(make.header(x=1))}.{payload}.{signature}", invalid
    yield "signature-cut", f"{header}.{payload}.{b64(raw[:-1])}", invalid
    yield "signature-longer", f"{header}.{payload}.{b64(raw + bytes(1))}", invalid
    yield "signature-flipped", f"{header}.{payload}.{b64(raw[:-1] + bytes([raw[-1] ^ 1]))}", invalid
    yield "signature-of-zeros", f"{header}.{payload}.{b64(bytes(256))}", invalid
    yield "es256-twin", make.headed(es256_twin, alg="ES256", kid="ec"), None
    yield "es256-der", make.headed(es256_der, alg="ES256", kid="ec"), invalid
    yield "es256-wide", make.headed(es256_wide, alg="ES256", kid="ec"), invalid
    yield "es256-of-zeros", make.headed(lambda _: bytes(64), alg="ES256", kid="ec"), invalid
    yield (
        "es256-of-orders",
        make.headed(lambda _: P256_ORDER.to_bytes(32) * 2, alg="ES256", kid="ec"),
        invalid,
    )
