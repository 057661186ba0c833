"""Certificates of issuers' private CAs, as far as a file is judged by them; the connection itself is `outbound`'s."""

from cryptography.x509 import load_pem_x509_certificates


def holds_certificates(pem: str) -> bool:
    """Say whether a text holds at least one PEM certificate and none that cannot be read."""
    try:
        return bool(load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return False
