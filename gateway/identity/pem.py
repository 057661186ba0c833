"""An issuer's keys in the form that Vault takes where they stand in a file. Pure."""

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.identity.keys import KeySet


def public_pems(keys: KeySet) -> tuple[str, ...]:
    """Return every usable key of a set as PEM text (RFC 7468 section 13), sorted; no name and no algorithm goes along."""
    usable = (*keys.by_id.values(), *keys.nameless)
    return tuple(
        sorted(
            key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii").strip()
            for key in usable
        )
    )
