"""The oldest libraries that `serve` starts with: below them are published ways around what it promises."""

import re
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Final, NamedTuple

from gateway.listening.server import CannotServe


class Floor(NamedTuple):
    """A release, and what is wrong below it."""

    release: str
    why: str


#: Those whose faults reach a caller's token or request. pyproject.toml has the same numbers for what it names; a test compares.
FLOORS: Final[Mapping[str, Floor]] = {
    "pyjwt": Floor("2.15.1", "2.12 to 2.14 mended sixteen advisories about keys, headers and key sets"),
    "starlette": Floor("1.0.1", "CVE-2026-48710, paths that middleware and router read differently"),
    "h11": Floor("0.16.0", "CVE-2025-43859, requests smuggled through chunked bodies"),
    "requests": Floor("2.32.4", "CVE-2024-47081, credentials of .netrc sent to another host"),
}

_VERSION: Final = re.compile(
    r"(?:\d+!)?(\d+(?:\.\d+)*)(?:[._-]?(a|b|c|rc|alpha|beta|pre|dev))?", re.IGNORECASE
)
_WRITTEN: Final = re.compile(r"^Version: (\S+)$", re.MULTILINE)


def refuse_below_floors(
    floors: Mapping[str, Floor] = FLOORS, installed: "Callable[[str], str | None] | None" = None
) -> None:
    """Raise CannotServe (exit code 2) when an installed library is older than its floor.

    installed: the version of a distribution, None where it is not installed; this environment's own unless given.
    """
    for name, floor in floors.items():
        version = (installed or installed_version)(name)
        if version is not None and _is_below(version, floor.release):
            raise CannotServe(
                f"{name} {version} is too old: {floor.why}. "
                f"Install {name} {floor.release} or later, best from requirements.lock."
            )


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution; None where there is none."""
    try:
        # The line alone: parsing the whole of it as a message takes ten times as long.
        written = _WRITTEN.search(distribution(name).read_text("METADATA") or "")
    except PackageNotFoundError:
        return None
    return written[1] if written else None


def _is_below(version: str, floor: str) -> bool:
    found = _VERSION.match(version)
    if found is None:
        return True  # what cannot be read cannot be trusted
    release, least = _numbers(found[1]), _numbers(floor)
    return release < least or (release == least and found[2] is not None)


def _numbers(release: str) -> tuple[int, ...]:
    numbers = [int(number) for number in release.split(".")]
    while numbers and numbers[-1] == 0:  # 1.0 is 1.0.0
        numbers.pop()
    return tuple(numbers)
