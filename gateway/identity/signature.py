"""Whether a signature is the key's own over the received bytes (RFC 7515 section 5.2)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, TypeGuard

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

from gateway.identity.jwk import PublicKey, VerificationKey

# pyjwt's algorithms fix padding, hash, mask and salt length; each is named here, none is looked up by what a token says.
_RSA: Final[Mapping[str, RSAAlgorithm]] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),  # MGF1 with the same hash, salt as long as the digest
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
}
_EC: Final[Mapping[str, tuple[ECAlgorithm, int]]] = {
    # RFC 7518 section 3.4: r and s, each as long as the curve's order
    "ES256": (ECAlgorithm(ECAlgorithm.SHA256), 64),
    "ES384": (ECAlgorithm(ECAlgorithm.SHA384), 96),
    "ES512": (ECAlgorithm(ECAlgorithm.SHA512), 132),
}
_ED25519: Final = OKPAlgorithm()


def signature_is_valid(algorithm: str, key: VerificationKey, signed: bytes, signature: bytes) -> bool:
    """Say whether the key made this signature with this algorithm. The caller has checked that both fit."""
    match key.public:
        case rsa if algorithm in _RSA and _is_rsa(rsa):
            if len(signature) != (rsa.key_size + 7) // 8:
                return False
            return _RSA[algorithm].verify(signed, rsa, signature)
        case EllipticCurvePublicKey() as curve if algorithm in _EC:
            verifier, length = _EC[algorithm]
            # r = 0, s = 0 and values beyond the order are refused by the library, with this length.
            return len(signature) == length and verifier.verify(signed, curve, signature)
        case Ed25519PublicKey() as edwards if algorithm == "EdDSA":
            return len(signature) == 64 and _ED25519.verify(signed, edwards, signature)
        case _:
            return False


def _is_rsa(key: PublicKey) -> TypeGuard[RSAPublicKey]:
    return _is_kind(type(key), RSAPublicKey)


#: The library's kinds of keys are abstract: asking costs a tenth of the verification, and the answer stays the same.
_is_kind: Final = lru_cache(maxsize=16)(issubclass)
