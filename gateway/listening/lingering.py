"""A transport that closes without a reset, so that a last answer reaches a client that is still sending."""

import asyncio
from collections.abc import Callable
from typing import Any


class LingeringTransport(asyncio.Transport):
    """What uvicorn's protocol uses of a transport, with a patient close (RFC 9112 section 9.6).

    A socket that is closed with bytes unread is reset, and a reset can overtake the answer. So after the answer
    we half-close, read on and throw away what comes, for `linger_s` at most.

    unread: says whether the client may still be sending; otherwise the close is immediate.
    """

    def __init__(
        self,
        inner: asyncio.Transport,
        *,
        loop: asyncio.AbstractEventLoop,
        linger_s: float,
        flush_s: float,
        unread: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._linger_s = linger_s
        self._flush_s = flush_s
        self._unread = unread
        self._closing = False
        self._timers: list[asyncio.TimerHandle] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, unless closing."""
        if not self._closing:
            self._inner.write(data)

    def close(self) -> None:
        """Close after what was written has left; an answer that nobody reads is given up after `flush_s`."""
        if self.is_closing():
            return
        self._closing = True
        self._timers.append(self._loop.call_later(self._flush_s, self._inner.abort))
        if not self._unread():
            self._inner.close()
            return
        if self._inner.can_write_eof():
            self._inner.write_eof()
        self._inner.resume_reading()
        self._timers.append(self._loop.call_later(self._linger_s, self._inner.close))

    def abort(self) -> None:
        """Close at once and drop what was not sent."""
        self._closing = True
        self._inner.abort()

    def forget(self) -> None:
        """Take note that the connection is gone."""
        self._closing = True
        for timer in self._timers:
            timer.cancel()

    def is_closing(self) -> bool:
        """Say whether writing has ended."""
        return self._closing or self._inner.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the transport underneath knows."""
        return self._inner.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """Stop reading from the client; not while closing, where reading on is the point."""
        if not self._closing:
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self._inner.is_closing():
            self._inner.resume_reading()
