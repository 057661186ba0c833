"""The issuer's keys, good and unfit, and signatures made with them: right ones, and ones that only look right."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tests.support.tokens import b64, jwk, private_key, sign

Sign = Callable[[bytes], bytes]
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def key_set() -> Mapping[str, object]:
    """Return the issuer's key set: good keys by the names `rsa`, `ec`, `rsa-any` and `ed`, and keys that must not be used."""
    return {
        "keys": [
            _named("rsa", "RS256"),
            _named("ec", "ES256"),
            _named("rsa-any", alg=None),
            _named("ed", "EdDSA"),
            _named("encryption", use="enc"),
            _named("operations", use=None, key_ops=["encrypt"]),
            _named("weak", n=_encode_number(_weak_key().public_key().public_numbers().n)),
            _named("published", d=_private_exponent("published")),
            {**_named("twice-1"), "kid": "twice"},
            {**_named("twice-2"), "kid": "twice"},
        ]
    }


def other_key_set() -> Mapping[str, object]:
    """Return the other issuer's key set: another key under the same name."""
    return {"keys": [{**_named("other"), "kid": "rsa"}]}


def foreign_key() -> Mapping[str, object]:
    """Return a key of nobody's, under the good key's name."""
    return {**_named("attacker"), "kid": "rsa"}


def _named(which: str, algorithm: str = "RS256", **members: object) -> dict[str, object]:
    return jwk(algorithm, which, kid=which, **members)


@cache
def _weak_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def _private_exponent(which: str) -> str:
    return _encode_number(_rsa(which).private_numbers().d)


def _rsa(which: str) -> rsa.RSAPrivateKey:
    key = private_key("RS256", which)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def _encode_number(number: int) -> str:
    return b64(number.to_bytes((number.bit_length() + 7) // 8))


# --- Signatures ---


def signed_by(which: str, algorithm: str = "RS256") -> Sign:
    """Return the good way to sign with this key."""
    return lambda data: sign(data, algorithm, which)


def weak_rs256(data: bytes) -> bytes:
    return _weak_key().sign(data, padding.PKCS1v15(), hashes.SHA256())


def hs256(secret: bytes) -> Sign:
    return lambda data: hmac.new(secret, data, hashlib.sha256).digest()


def public_pem() -> bytes:
    """Return the good key's public half as a file would hold it: a "secret" that everybody has."""
    return (
        _rsa("rsa")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def modulus_text() -> bytes:
    """Return the good key's modulus as its JWK holds it."""
    return str(_named("rsa")["n"]).encode()


def es256_twin(data: bytes) -> bytes:
    """Return the second valid signature that anybody can make of a first one."""
    r, s = _es256(data)
    return r.to_bytes(32) + (P256_ORDER - s).to_bytes(32)


def es256_der(data: bytes) -> bytes:
    return encode_dss_signature(*_es256(data))


def es256_wide(data: bytes) -> bytes:
    r, s = _es256(data)
    return r.to_bytes(33) + s.to_bytes(33)


def _es256(data: bytes) -> tuple[int, int]:
    raw = sign(data, "ES256", "ec")
    return int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
