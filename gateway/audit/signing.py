"""The keys of signed heads: Ed25519, in PEM files.

[edge]
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.audit.heads import SignedHead
from gateway.errors import ConfigurationInvalid, ErrorCode
from gateway.secret import is_open_to_others

_MAKE: Final = "Make one with: oidc-gateway audit keygen FILE"
_LARGEST: Final = 65_536


class HeadSigner:
    """Signs with one private key, whose id is the first 16 hex digits of SHA-256 of the public key's 32 bytes."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._key = _key_id(private.public_key())

    @property
    def key(self) -> str:
        """Return the id under which auditors know the key."""
        return self._key

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the key; raises ConfigurationInvalid (`audit_unavailable`) for an unusable file or one open to others."""
        try:
            status = path.stat()
            pem = _read(path)
        except OSError as fault:
            raise _unusable(
                f"The audit signing key {path} cannot be read: {fault.strerror}.", _MAKE
            ) from None
        if is_open_to_others(status.st_mode, status.st_uid, us=os.geteuid()):
            raise _unusable(f"The audit signing key {path} is open to others.", f"Run: chmod 0600 {path}")
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            private = None
        if not isinstance(private, Ed25519PrivateKey):
            raise _unusable(f"{path} holds no Ed25519 private key in PEM without a password.", _MAKE)
        return cls(private)

    def sign(self, text: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        return self._private.sign(text)


class HeadKeys:
    """The public keys an auditor trusts; the old one stays among them when the key was changed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read them; raises ConfigurationInvalid, or OSError."""
        self._keys = {_key_id(key): key for key in map(_public, paths)}

    def check(self, head: SignedHead) -> bool | None:
        """Say whether the signature is good; None when its key is not among these."""
        key = self._keys.get(head.key)
        if key is None:
            return None
        try:
            key.verify(head.signature, head.text())
        except InvalidSignature:
            return False
        return True


def generate(path: Path) -> tuple[Path, str]:
    """Write a new private key to `path` (mode 0600) and its public key beside it; return the latter's path and the id.

    Raises OSError, also when one of the files is there already.
    """
    private = Ed25519PrivateKey.generate()
    public = path.with_name(f"{path.name}.pub")
    _write(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(
        public,
        private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        0o644,
    )
    return public, _key_id(private.public_key())


def _public(path: Path) -> Ed25519PublicKey:
    pem = _read(path)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _unusable(
            f"{path} holds no Ed25519 public key in PEM.",
            "`audit keygen` writes it beside the private key, as FILE.pub.",
        )
    return key


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)


def _key_id(key: Ed25519PublicKey) -> str:
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]


def _unusable(message: str, hint: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(ErrorCode.AUDIT_UNAVAILABLE, message, hint=hint)
