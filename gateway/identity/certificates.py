"""Certificates as far as they are judged by their text: of issuers' private CAs, our own, and the names of clients."""

import re
from typing import Final

from cryptography.x509 import (
    ExtensionNotFound,
    SubjectAlternativeName,
    UniformResourceIdentifier,
    load_der_x509_certificate,
    load_pem_x509_certificates,
)

# A URI begins with a scheme, a subject with an attribute's name and `=`: neither can pass for the other.
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S+")


def holds_certificates(pem: str) -> bool:
    """Say whether a text holds at least one PEM certificate and none that cannot be read."""
    try:
        return bool(load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return False


def ends_at(pem: str) -> float | None:
    """Return when the first certificate of a chain to run out does, as wall seconds; None for a text that holds none."""
    try:
        return min(one.not_valid_after_utc.timestamp() for one in load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return None


def names_of(der: bytes) -> tuple[str, ...]:
    """Return the subject of a verified certificate as RFC 4514 writes it, and its URIs; empty when it is unreadable.

    der: as the TLS handshake took it; whether it is to be believed was decided there.
    """
    try:
        certificate = load_der_x509_certificate(der)
        subject = certificate.subject.rfc4514_string()
    except ValueError:
        return ()
    try:
        alternative = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except (ExtensionNotFound, ValueError):
        return (subject,)
    uris = alternative.get_values_for_type(UniformResourceIdentifier)
    return (subject, *(uri for uri in uris if _URI.fullmatch(uri)))
