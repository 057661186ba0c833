"""A text that must not be seen: tokens, keys, session tokens; and whether a file keeps one."""

import hashlib
import hmac
from typing import NoReturn


class Secret:
    """Holds a secret text whose str, repr, format, pickle and comparison reveal nothing.

    Compared in constant time with another Secret only; not hashable, so it cannot become a dictionary key by
    accident: use `digest()`.
    """

    __slots__ = ("_digest", "_text")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, text: str) -> None:
        self._text = text
        self._digest: str | None = None

    def reveal(self) -> str:
        """Return the text. Only an edge that sends it on calls this, or the parser that reads it."""
        return self._text

    def digest(self) -> str:
        """Return the SHA-256 of the text's UTF-8 bytes as 64 hex digits."""
        if self._digest is None:
            self._digest = hashlib.sha256(self._text.encode("utf-8", "surrogatepass")).hexdigest()
        return self._digest

    def __len__(self) -> int:
        return len(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(
            self._text.encode("utf-8", "surrogatepass"), other._text.encode("utf-8", "surrogatepass")
        )

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "Secret(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Secret is not serialised.")


def is_open_to_others(mode: int, owner: int, *, us: int) -> bool:
    """Say of a file that holds a secret whether somebody else may read or replace it. us: our own user id.

    The group may read: that is how Kubernetes hands secrets to a user that is not root.
    """
    return bool(mode & 0o037) or owner not in {0, us}
