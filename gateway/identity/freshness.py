"""How long a fetched key set counts as fresh (RFC 9111 section 5.2.2.1, between limits of our own)."""

from collections.abc import Mapping
from typing import Final

_DEFAULT_S: Final = 600.0
_SHORTEST_S: Final = 300.0
_LONGEST_S: Final = 3_600.0


def fresh_for_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that `Cache-Control: max-age` allows, 300 to 3,600; 600 when it says nothing usable."""
    for directive in headers.get("cache-control", "").split(","):
        name, _, value = directive.strip().partition("=")
        if name.lower() != "max-age":
            continue
        seconds = value.strip('"')
        # isdigit alone lets other scripts' digits pass; ten digits are 300 years.
        if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 10):
            return _DEFAULT_S
        return min(max(float(seconds), _SHORTEST_S), _LONGEST_S)
    return _DEFAULT_S
