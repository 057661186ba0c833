"""The discovery document: where it is and what may be believed in it (OIDC Discovery 1.0 section 4)."""

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from gateway.identity.issuer import KeyLocation
from gateway.identity.keys import KeyFault
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

_WELL_KNOWN: Final = "/.well-known/openid-configuration"
_MAX_URL_CHARS: Final = 2_048
_LIMITS: Final = JsonLimits()


class KeyFetchError(Exception):
    """No key set came of an attempt; for operators.

    url: what was asked for, None when that is the issuer's usual source. The text is ours and names hosts at most.
    """

    def __init__(self, fault: KeyFault, message: str, *, url: str | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.url = url


def discovery_url(issuer: str) -> str:
    """Return the well-known URL of an issuer: one terminating slash is removed, no more (section 4.1)."""
    return issuer.removesuffix("/") + _WELL_KNOWN


def read_jwks_uri(document: bytes, *, issuer: str, location: KeyLocation) -> str:
    """Return the key set URL of a discovery document that is the issuer's own. Raises KeyFetchError."""
    try:
        members = parse_json_object(document, _LIMITS)
    except StrictJsonError as fault:
        raise KeyFetchError(
            KeyFault.BAD_ANSWER, f"The discovery document is not acceptable: {fault.message}"
        ) from None
    # Section 4.3: exactly the issuer that was asked for, or somebody else's keys would speak for it.
    if members.get("issuer") != issuer:
        raise KeyFetchError(KeyFault.DISCOVERY_MISMATCH, "The discovery document is another issuer's.")
    url = members.get("jwks_uri")
    if not isinstance(url, str) or not url or len(url) > _MAX_URL_CHARS:
        raise KeyFetchError(KeyFault.BAD_ANSWER, "The discovery document has no usable jwks_uri.")
    if not _is_allowed(url, issuer, location):
        raise KeyFetchError(
            KeyFault.JWKS_HOST_NOT_ALLOWED,
            "The discovery document's jwks_uri is not https on the issuer's host or a listed one.",
        )
    return url


def _is_allowed(url: str, issuer: str, location: KeyLocation) -> bool:
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return False
    try:
        wanted, own = _authority(urlsplit(url)), _authority(urlsplit(issuer))
    except ValueError:  # a port that is none
        return False
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None or parts.fragment or not parts.hostname:
        return False
    secure = parts.scheme == "https"
    if not secure and not (parts.scheme == "http" and location.allow_http and _is_loopback(parts.hostname)):
        return False
    listed = {host.lower() for host in location.hosts}
    return wanted == own or f"{wanted[0]}:{wanted[1]}" in listed or (wanted[0] in listed and wanted[1] == 443)


def _authority(parts: SplitResult) -> tuple[str, int]:
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name, `localhost` too: names can be made to mean other addresses
        return False
