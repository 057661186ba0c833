"""One JSON Web Key: what makes it fit to verify a token, and why else it is dropped (RFC 7517, RFC 7518 section 6)."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_RSA_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES: Final[Mapping[str, tuple[EllipticCurve, int, str]]] = {
    # crv: curve, octets of a coordinate, the one algorithm (RFC 7518 section 3.4)
    "P-256": (SECP256R1(), 32, "ES256"),
    "P-384": (SECP384R1(), 48, "ES384"),
    "P-521": (SECP521R1(), 66, "ES512"),
}
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class DropReason(StrEnum):
    """Why a published key is not used. A label of a metric: fixed."""

    NOT_AN_OBJECT = "not_an_object"
    KEY_TYPE = "key_type"
    SYMMETRIC = "symmetric"
    PRIVATE = "private"
    KEY_ID = "key_id"
    USE = "use"
    KEY_OPS = "key_ops"
    ALGORITHM = "algorithm"
    CURVE = "curve"
    ENCODING = "encoding"
    RSA_SIZE = "rsa_size"
    RSA_EXPONENT = "rsa_exponent"
    ROCA = "roca"
    POINT = "point"
    EXPOSED = "exposed"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationKey:
    """One public key, fit to verify signatures.

    key_id:     `kid`; None where the set names none.
    thumbprint: RFC 7638 with SHA-256, base64url.
    algorithms: the `alg` values of tokens it may verify: those of its type, or the one that the key names.
    """

    key_id: str | None
    thumbprint: str
    algorithms: frozenset[str]
    public: PublicKey = field(repr=False)


class UnfitKeyError(Exception):
    """The key is not used. thumbprint: None where its public part could not be read."""

    def __init__(self, reason: DropReason, thumbprint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.thumbprint = thumbprint


def holds_private_members(member: object) -> bool:
    """Say whether a private key stands where only public ones may; a symmetric key is a case of its own."""
    return isinstance(member, dict) and member.get("kty") != "oct" and not _PRIVATE_MEMBERS.isdisjoint(member)


def public_thumbprint(member: Mapping[str, object]) -> str | None:
    """Return the RFC 7638 thumbprint of a key's public part, None where it cannot be read."""
    try:
        return _read_public(member)[0]
    except UnfitKeyError as fault:
        return fault.thumbprint


def read_key(member: object) -> VerificationKey:
    """Read one member of a JWK set. Raises UnfitKeyError."""
    if not isinstance(member, dict):
        raise UnfitKeyError(DropReason.NOT_AN_OBJECT)
    if member.get("kty") == "oct":
        raise UnfitKeyError(DropReason.SYMMETRIC)
    if holds_private_members(member):
        raise UnfitKeyError(DropReason.PRIVATE, public_thumbprint(member))
    thumbprint, algorithms, public = _read_public(member)
    return VerificationKey(
        key_id=_key_id(member, thumbprint),
        thumbprint=thumbprint,
        algorithms=_narrowed(member, algorithms, thumbprint),
        public=public,
    )


def _key_id(member: Mapping[str, object], thumbprint: str) -> str | None:
    if "kid" not in member:
        return None
    key_id = member["kid"]
    if not isinstance(key_id, str) or not 0 < len(key_id) <= 256:
        raise UnfitKeyError(DropReason.KEY_ID, thumbprint)
    return key_id


def _narrowed(member: Mapping[str, object], algorithms: frozenset[str], thumbprint: str) -> frozenset[str]:
    if member.get("use", "sig") != "sig":
        raise UnfitKeyError(DropReason.USE, thumbprint)
    operations = member.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise UnfitKeyError(DropReason.KEY_OPS, thumbprint)
    if "alg" not in member:
        return algorithms
    named = member["alg"]
    # RFC 9864 names the curve in `alg`; a key that says Ed25519 verifies tokens that say EdDSA.
    named = "EdDSA" if named == "Ed25519" else named
    if not isinstance(named, str) or named not in algorithms:
        raise UnfitKeyError(DropReason.ALGORITHM, thumbprint)
    return frozenset({named})


def _read_public(member: Mapping[str, object]) -> tuple[str, frozenset[str], PublicKey]:
    match member.get("kty"):
        case "RSA":
            return _read_rsa(member)
        case "EC":
            return _read_ec(member)
        case "OKP":
            return _read_okp(member)
        case _:
            raise UnfitKeyError(DropReason.KEY_TYPE)


def _read_rsa(member: Mapping[str, object]) -> tuple[str, frozenset[str], PublicKey]:
    modulus = int.from_bytes(_octets(member, "n", at_most=2_048))
    exponent = int.from_bytes(_octets(member, "e", at_most=2_048))
    thumbprint = _thumbprint({"e": _text(_minimal(exponent)), "kty": "RSA", "n": _text(_minimal(modulus))})
    if not 2_048 <= modulus.bit_length() <= 8_192:
        raise UnfitKeyError(DropReason.RSA_SIZE, thumbprint)
    # A huge exponent makes each verification thirty times as expensive, at the issuer's choice and our cost.
    if exponent % 2 == 0 or not 3 <= exponent < 2**32:
        raise UnfitKeyError(DropReason.RSA_EXPONENT, thumbprint)
    if _has_roca_fingerprint(modulus):
        raise UnfitKeyError(DropReason.ROCA, thumbprint)
    try:
        public = RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise UnfitKeyError(DropReason.ENCODING, thumbprint) from None
    return thumbprint, _RSA_ALGORITHMS, public


def _read_ec(member: Mapping[str, object]) -> tuple[str, frozenset[str], PublicKey]:
    name = member.get("crv")
    if not isinstance(name, str) or name not in _CURVES:
        raise UnfitKeyError(DropReason.CURVE)
    curve, size, algorithm = _CURVES[name]
    x, y = _octets(member, "x", at_most=66), _octets(member, "y", at_most=66)
    if len(x) != size or len(y) != size:
        raise UnfitKeyError(DropReason.ENCODING)
    thumbprint = _thumbprint({"crv": name, "kty": "EC", "x": _text(x), "y": _text(y)})
    try:
        public = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()
    except ValueError:  # not on the curve
        raise UnfitKeyError(DropReason.POINT, thumbprint) from None
    return thumbprint, frozenset({algorithm}), public


def _read_okp(member: Mapping[str, object]) -> tuple[str, frozenset[str], PublicKey]:
    if member.get("crv") != "Ed25519":
        raise UnfitKeyError(DropReason.CURVE)
    x = _octets(member, "x", at_most=32)
    if len(x) != 32:
        raise UnfitKeyError(DropReason.ENCODING)
    thumbprint = _thumbprint({"crv": "Ed25519", "kty": "OKP", "x": _text(x)})
    return thumbprint, frozenset({"EdDSA"}), Ed25519PublicKey.from_public_bytes(x)


def _octets(member: Mapping[str, object], name: str, *, at_most: int) -> bytes:
    value = member.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= at_most * 4 // 3 + 2 or not value.isascii():
        raise UnfitKeyError(DropReason.ENCODING)
    raw = value.encode("ascii")
    try:
        decoded = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except binascii.Error:
        raise UnfitKeyError(DropReason.ENCODING) from None
    # As for tokens: the library's decoder is lenient, so what it would write back must be what stood there.
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != raw:
        raise UnfitKeyError(DropReason.ENCODING)
    return decoded


def _minimal(number: int) -> bytes:
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8))


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _thumbprint(required: Mapping[str, str]) -> str:
    # RFC 7638 section 3: required members only, names in order, no white space. All values are plain ASCII.
    body = ",".join(f'"{name}":"{required[name]}"' for name in sorted(required))
    return _text(hashlib.sha256(f"{{{body}}}".encode()).digest())


_ROCA_PRIMES: Final = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)  # fmt: skip


def _has_roca_fingerprint(modulus: int) -> bool:
    """CVE-2017-15361: such a modulus is a power of 65537 modulo every small prime; one in 10^8 others is by chance."""
    return all(_is_power_of_65537(modulus % prime, prime) for prime in _ROCA_PRIMES)


def _is_power_of_65537(residue: int, prime: int) -> bool:
    power = 1
    for _ in range(prime):
        if power == residue:
            return True
        power = power * 65_537 % prime
    return False
