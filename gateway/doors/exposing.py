"""The text of /metrics for everybody who asks: made a few times a second at most, because making it takes milliseconds."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from gateway.metrics import Metrics

#: Made so often without a pause, and then once in so long: whoever asks meanwhile waits, and all of them get the same.
AT_ONCE: Final = 10
EVERY_S: Final = 0.1


class Exposition:
    """Makes the text. now: monotonic seconds; pause: waits for so many."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._metrics = metrics
        self._now = now
        self._pause = pause
        self._left: float = AT_ONCE
        self._seen = now()
        self._next: asyncio.Task[bytes] | None = None
        self._one_at_a_time = asyncio.Lock()

    async def text(self) -> bytes:
        """Return what the metrics are, made after this was asked."""
        if self._next is None:
            self._next = asyncio.create_task(self._make(), name="exposition")
        # Whoever leaves takes nothing from the others.
        return await asyncio.shield(self._next)

    async def _make(self) -> bytes:
        async with self._one_at_a_time:
            now = self._now()
            self._left = min(float(AT_ONCE), self._left + (now - self._seen) / EVERY_S)
            self._seen = now
            if self._left < 1:
                await self._pause((1 - self._left) * EVERY_S)
            self._left -= 1
            # From here on the text would be older than what was asked.
            self._next = None
            # Those of several workers are read from files.
            if self._metrics.shared:
                return await asyncio.to_thread(self._metrics.exposition)
            return self._metrics.exposition()
