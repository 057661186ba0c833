"""One step again and again in the background, whatever becomes of one of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable


def every(period_s: float) -> Callable[[], Awaitable[None]]:
    """Return what waits so long."""
    return lambda: asyncio.sleep(period_s)


class Repeating:
    """Waits, takes the step, and so on between `start` and `end`.

    A step that raises is logged, and the next comes all the same: a bug of ours must not end a watch without a word.

    name:    of the task. wait: usually `every` so many seconds.
    log:     where it is said of a step that raised that it `failed`, such as "switches could not be looked at".
    """

    def __init__(
        self,
        step: Callable[[], Awaitable[object] | None],
        *,
        wait: Callable[[], Awaitable[object]],
        name: str,
        log: logging.Logger,
        failed: str,
    ) -> None:
        self._step = step
        self._wait = wait
        self._name = name
        self._log = log
        self._failed = failed
        self._task: asyncio.Task[None] | None = None

    def start(self, *, at_once: bool = False) -> None:
        """Begin. at_once: with a step, not with the wait before it."""
        self._task = asyncio.create_task(self._run(at_once=at_once), name=self._name)

    async def end(self) -> None:
        """Break off what is under way; nothing happens when it never began."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def once(self) -> None:
        """Take one step now, and log it when it raises."""
        try:
            if (under_way := self._step()) is not None:
                await under_way
        except Exception:  # noqa: BLE001 - logged whole, as the docstring says
            self._log.exception(self._failed)

    async def _run(self, *, at_once: bool) -> None:
        if not at_once:
            await self._wait()
        while True:
            await self.once()
            await self._wait()
