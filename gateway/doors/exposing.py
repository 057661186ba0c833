"""The text of /metrics for everybody who asks: made a few times a second at most, because making it takes milliseconds."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from gateway.metrics import Metrics

#: Made so often without a pause, and then once in so long: whoever asks more gets the last one again.
AT_ONCE: Final = 10
EVERY_S: Final = 0.1


class Exposition:
    """Makes the text, and keeps the last one. now: monotonic seconds."""

    def __init__(self, metrics: Metrics, *, now: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._now = now
        self._left: float = AT_ONCE
        self._seen = now()
        self._text: bytes | None = None
        self._making = asyncio.Lock()

    async def text(self) -> bytes:
        """Return what the metrics are, or were at most a moment ago."""
        async with self._making:
            if self._text is None or self._may_make():
                self._text = await self._make()
            return self._text

    def _may_make(self) -> bool:
        now = self._now()
        self._left = min(float(AT_ONCE), self._left + (now - self._seen) / EVERY_S)
        self._seen = now
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def _make(self) -> bytes:
        # Those of several workers are read from files.
        if self._metrics.shared:
            return await asyncio.to_thread(self._metrics.exposition)
        return self._metrics.exposition()
