"""Looks for records while others are served: in a thread, for a limited time, and no longer than somebody waits.

[edge]
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from gateway.audit.reading import find_stories
from gateway.audit.record import Record
from gateway.errors import ErrorCode, Unavailable

#: The command line waits 30 s for an answer.
LOOK_S: Final = 20.0


class _GivenUp(Exception):
    """Nobody waits for the look any more."""


async def look_for(
    directories: Iterable[Path],
    text: str,
    *,
    within_s: float = LOOK_S,
    now: Callable[[], float] = time.monotonic,
) -> list[list[Record]]:
    """Return what `find_stories` finds there; raises Unavailable (`overloaded`) when it takes too long.

    Cancelled, it ends the thread too: callers who leave must not pile up threads that read for nobody.
    """
    left, until = threading.Event(), now() + within_s

    def go_on() -> None:
        if left.is_set():
            raise _GivenUp
        if now() > until:
            raise _too_long(within_s)

    try:
        found = [await asyncio.to_thread(find_stories, folder, text, go_on=go_on) for folder in directories]
    finally:
        left.set()
    return [[entry.record for entry in story] for several in found for story in several]


def _too_long(within_s: float) -> Unavailable:
    return Unavailable(
        ErrorCode.OVERLOADED,
        f"There are more records than can be looked through in {within_s:g} s.",
        hint="`oidc-gateway explain` takes its time, where the audit folder is.",
    )
