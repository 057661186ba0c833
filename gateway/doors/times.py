"""Times as answers write them."""

from datetime import UTC, datetime


def rfc3339_ms(seconds: float) -> str:
    """Return RFC 3339, UTC, with milliseconds: the form of every `…_at`."""
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_s(seconds: float) -> str:
    """Return RFC 3339, UTC, whole seconds, rounded down: the form of AWS's credential documents."""
    return datetime.fromtimestamp(int(seconds), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
