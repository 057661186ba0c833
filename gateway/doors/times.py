"""Times as answers write them."""

from datetime import UTC, datetime
from functools import lru_cache


def rfc3339_ms(seconds: float) -> str:
    """Return RFC 3339, UTC, with milliseconds: the form of every `…_at`."""
    whole, ms = divmod(round(seconds * 1_000_000) // 1000, 1000)
    return f"{_second(whole)}.{ms:03d}Z"


def rfc3339_s(seconds: float) -> str:
    """Return RFC 3339, UTC, whole seconds, rounded down: the form of AWS's credential documents."""
    return f"{_second(int(seconds))}Z"


@lru_cache(maxsize=64)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
