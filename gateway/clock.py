"""The two clocks: wall time for claims and records, monotonic time for caches and deadlines."""

import time
from typing import Protocol


class Clock(Protocol):
    """Read once per decision and passed on as a number, so that one call sees one moment."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps; comparable with the event loop's time."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on the clock that asyncio's event loop uses too."""
        return time.monotonic()
