"""One connection to one peer: a request out in one piece, its answer in, and nothing kept that is in doubt.

[edge]
"""

import asyncio
from typing import Final, cast

from gateway.outbound.answer_reader import BROKEN, AnswerReader
from gateway.outbound.http import Answer, OutboundFailure

NO_ANSWER: Final = "no complete answer in time"


class Connection(asyncio.Protocol):
    """Carries one call at a time.

    idle_since: the event loop's time at which the last call ended, set by whoever keeps the connection.
    gone:       done once the socket is closed.
    """

    def __init__(self, host: str, loop: asyncio.AbstractEventLoop) -> None:
        """Prepare. host: for the words of failures."""
        self.idle_since = 0.0
        self.gone: asyncio.Future[None] = loop.create_future()
        self._host = host
        self._loop = loop
        self._reader = AnswerReader(host)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None

    @property
    def fit(self) -> bool:
        """Whether another call may use it: the last one ended as it should, and nothing is left in either direction."""
        transport = self._transport
        return (
            transport is not None
            and self._reader.keep
            and self._waiter is None
            and not transport.is_closing()
            and not transport.get_write_buffer_size()
        )

    async def ask(self, request: bytes, *, max_answer_bytes: int, deadline: float) -> Answer:
        """Send a request and return its answer; raises OutboundFailure. deadline: the event loop's time."""
        if self._transport is None:
            raise RuntimeError("A connection is used before it is made.")
        self._reader.begin(max_answer_bytes)
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        timer = self._loop.call_at(deadline, self._late)
        self._transport.write(request)
        del request  # 2 kB in which a token stands, for as long as the answer takes
        try:
            return await waiter
        except BaseException:
            # Also when the caller has left: an answer that still comes must not meet the next request.
            self.abort()
            raise
        finally:
            self._waiter = None
            timer.cancel()

    def abort(self) -> None:
        """Close it now, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what requests are written to."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass

    def data_received(self, data: bytes) -> None:
        """Take a piece of the answer; what nobody waits for ends the connection."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._reader.keep = False
            self.abort()
            return
        try:
            answer = self._reader.feed(data)
        except Exception as fault:  # noqa: BLE001 - a bug of ours belongs to the call, not into the event loop's own log
            waiter.set_exception(fault)
            self.abort()
        else:
            if answer is not None:
                waiter.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """End what is under way: with an answer where closing is how the peer ends it."""
        if not self.gone.done():
            self.gone.set_result(None)
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if exc is not None:
            waiter.set_exception(OutboundFailure("broken", f"{self._host}: {BROKEN}", sent=True))
            return
        try:
            waiter.set_result(self._reader.end())
        except OutboundFailure as failure:
            waiter.set_exception(failure)

    def _late(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            failure = OutboundFailure("timeout", f"{self._host}: {NO_ANSWER}", sent=True)
            self._waiter.set_exception(failure)
