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

#: The same, as written.
SECURITY_LINES: Final = b"".join([b"%b: %b\r\n" % field for field in SECURITY_HEADERS])

_ID_BYTES: Final = 16
_IDS_AT_ONCE: Final = 256


def new_request_id() -> str:
    """Return 32 hex digits that nobody can guess; a caller's own request id is never taken over."""
    return secrets.token_hex(_ID_BYTES)


class RequestIds:
    """Gives ids of the same kind, many for one question to the kernel, which costs more than all else about an id."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def take(self) -> str:
        """Return an id; no two calls get the same."""
        if not self._ready:
            chance = secrets.token_hex(_ID_BYTES * _IDS_AT_ONCE)
            self._ready = [chance[at : at + 2 * _ID_BYTES] for at in range(0, len(chance), 2 * _ID_BYTES)]
        return self._ready.pop()
