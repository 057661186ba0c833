"""What every answer carries, whoever writes it: protocol, middleware or door."""

import secrets
from typing import Final

#: On every answer, in place of whatever a door set under these names.
SECURITY_HEADERS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


def new_request_id() -> str:
    """Return 32 hex digits that nobody can guess; a caller's own request id is never taken over."""
    return secrets.token_hex(16)
