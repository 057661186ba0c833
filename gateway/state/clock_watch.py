"""Notices when the wall clock is set: what expires by it may then expire early or late, on this machine and on no other."""

import asyncio
import logging
from types import TracebackType
from typing import Final, Self

from gateway.clock import Clock

_log = logging.getLogger("gateway.state.clock")

_PERIOD_S: Final = 5.0
#: What a well-kept clock never moves by at once; less is slewed by time services.
_JUMP_S: Final = 60.0


class ClockWatch:
    """Compares both clocks every five seconds while it is entered, and logs an error for each jump of the wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart_s = self._difference()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="clock-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def turn(self) -> None:
        """Compare once. A jump smaller than a minute counts for the next comparison no more."""
        before, self._apart_s = self._apart_s, self._difference()
        jump_s = self._apart_s - before
        if abs(jump_s) > _JUMP_S:
            _log.error("the wall clock jumped", extra={"seconds": round(jump_s)})

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PERIOD_S)
            self.turn()

    def _difference(self) -> float:
        return self._clock.wall() - self._clock.monotonic()
