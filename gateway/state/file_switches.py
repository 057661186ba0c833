"""The switches of a file, looked at every second; what cannot be read counts as off.

[edge]
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from gateway.clock import Clock
from gateway.repeating import Repeating, every
from gateway.state.switch_document import board_of, unreadable
from gateway.state.switch_file import SwitchesUnreadable, SwitchFile
from gateway.state.switches import Switch, SwitchBoard

_log = logging.getLogger("gateway.state.switches")

#: How often the file is looked at, and how old a look may be before nobody knows what is off.
PERIOD_S: Final = 1.0
PATIENCE_S: Final = 5.0


class FileSwitches:
    """Implements Switches, and SwitchStore, between `__aenter__` and `__aexit__`.

    A file that was there once and is gone counts as unreadable, even where it may be absent at the start.
    """

    def __init__(self, file: SwitchFile, *, clock: Clock, period_s: float = PERIOD_S) -> None:
        self._file = file
        self._clock = clock
        self._was_there = False
        self._why: str | None = None
        #: What was read, and the monotonic seconds at which it was begun; replaced together.
        self._seen = unreadable(), float("-inf")
        self._looking = Repeating(
            self.look,
            wait=every(period_s),
            name="switches",
            log=_log,
            failed="switches could not be looked at",
        )
        # Its own: calls that hang elsewhere must not keep the switches from being read.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="switches")

    def current(self) -> SwitchBoard:
        """Return what is off; at most five seconds old, else unreadable."""
        board, looked_at = self._seen
        if self._clock.monotonic() - looked_at > PATIENCE_S:
            return unreadable()
        return board

    async def __aenter__(self) -> Self:
        """Look once, and every second from now on. An unreadable file stops nothing but the exchanges."""
        await self.look()
        self._looking.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more."""
        await self._looking.end()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def read(self) -> SwitchBoard:
        """Return what is off, read now; see `SwitchStore`."""
        return await self._file.read()

    async def turn_off(self, switch: Switch) -> bool:
        """Switch off, here at once; see `SwitchStore`."""
        turned = await self._file.turn_off(switch)
        await self.look()
        return turned

    async def turn_on(self, switch: Switch) -> Switch | None:
        """Switch on, here at once; see `SwitchStore`."""
        before = await self._file.turn_on(switch)
        await self.look()
        return before

    async def look(self) -> None:
        """Read the file now."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._look)

    def _look(self) -> None:
        # All of it in the thread: an event loop that is held up must not let what was read just now grow old.
        began = self._clock.monotonic()
        try:
            board = self._load()
        except SwitchesUnreadable as fault:
            self._refuse(fault)
            board = unreadable()
        else:
            self._accept()
        self._seen = board, began

    def _load(self) -> SwitchBoard:
        found = self._file.load()
        if found is not None:
            self._was_there = True
            self._file.remember()
            return found
        if self._was_there or self._file.has_vanished():
            raise self._file.missing()
        return board_of()

    def _refuse(self, fault: SwitchesUnreadable) -> None:
        why = str(fault)
        if why != self._why:
            _log.error(
                "switches cannot be read; everything counts as switched off",
                extra={"reason": why, "hint": fault.hint},
            )
        self._why = why

    def _accept(self) -> None:
        if self._why is not None:
            _log.warning("switches can be read again")
        self._why = None
