"""Notices when the wall clock is set: what expires by it may then expire early or late, on this machine and on no other."""

import logging
from types import TracebackType
from typing import Final, Self

from gateway.clock import Clock
from gateway.repeating import Repeating, every

_log = logging.getLogger("gateway.state.clock")

_PERIOD_S: Final = 5.0
#: What a well-kept clock never moves by at once; less is slewed by time services.
_JUMP_S: Final = 60.0


class ClockWatch:
    """Compares both clocks every five seconds while it is entered, and logs an error for each jump of the wall clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._apart_s = self._difference()
        self._turning = Repeating(
            self.turn,
            wait=every(_PERIOD_S),
            name="clock-watch",
            log=_log,
            failed="the clocks could not be compared",
        )

    async def __aenter__(self) -> Self:
        self._turning.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._turning.end()

    def turn(self) -> None:
        """Compare once. A jump smaller than a minute counts for the next comparison no more."""
        before, self._apart_s = self._apart_s, self._difference()
        jump_s = self._apart_s - before
        if abs(jump_s) > _JUMP_S:
            _log.error(
                "the wall clock jumped",
                extra={
                    "seconds": round(jump_s),
                    "hint": "See who sets this machine's clock (NTP, a hypervisor): by it tokens are valid or expired.",
                },
            )

    def _difference(self) -> float:
        return self._clock.wall() - self._clock.monotonic()
