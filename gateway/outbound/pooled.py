"""The pooled HTTP client: one call, once, within its deadline and its size.

[edge] The one way out over HTTP for everything but what vendors' own libraries send. It can do no more than is asked of it:
HTTP/1.1, GET and POST, a body in one piece, so that a call costs little beside what it carries.
"""

import asyncio
import ssl
from collections import deque
from types import TracebackType
from typing import Final, Self

from gateway.outbound.connection import NO_ANSWER, Connection
from gateway.outbound.dialling import Dialler, Resolver, SystemResolver
from gateway.outbound.http import Answer, FailureKind, OutboundFailure, Outgoing
from gateway.outbound.request_bytes import Place, UrlInvalid, place_of, request_bytes

# Shorter than the idle limit of AWS's front ends, so that a request seldom meets a connection that is being closed.
_KEEP_ALIVE_S: Final = 10.0
_CLOSING_S: Final = 1.0


class PooledHttp:
    """An HttpClient over one connection pool, open inside `async with`.

    No proxy, netrc, cookie or compression, whatever the environment says; no redirect is followed, and nothing repeated.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        resolver: Resolver | None = None,
        connections: int = 1000,
        reuse: bool = True,
    ) -> None:
        """Prepare the client.

        connections: in use at one time; further calls wait inside their `connect_s`.
        reuse:       keep connections and name look-ups for later calls.
        """
        self._dialler = Dialler(tls=tls, resolver=resolver or SystemResolver(), remember=reuse)
        self._reuse = reuse
        self._free = asyncio.Semaphore(connections)
        self._idle: dict[str, deque[Connection]] = {}
        self._open: set[Connection] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop = None
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._dialler.close()
        self._idle.clear()
        closing = [connection.gone for connection in self._open]
        for connection in self._open:
            connection.abort()
        if closing:
            await asyncio.wait(closing, timeout=_CLOSING_S)

    async def call(self, request: Outgoing, *, deadline: float) -> Answer:
        """Make one call, once; raises OutboundFailure. deadline: the event loop's time."""
        if self._loop is None:
            raise RuntimeError("PooledHttp is used outside its `async with`.")
        try:
            place = place_of(request.url)
        except UrlInvalid as fault:
            raise OutboundFailure("connect", str(fault), sent=False) from None
        connection = await self._take(self._loop, place, request.connect_s, deadline)
        try:
            # From here on the request may reach the peer. Nothing here keeps its bytes meanwhile.
            return await connection.ask(
                request_bytes(request, place, keep=self._reuse),
                max_answer_bytes=request.max_answer_bytes,
                deadline=deadline,
            )
        finally:
            self._give_back(place, connection)

    async def _take(
        self, loop: asyncio.AbstractEventLoop, place: Place, connect_s: float, deadline: float
    ) -> Connection:
        now = loop.time()
        if now >= deadline:
            raise _no_connection(place, "timeout", NO_ANSWER)
        until = min(deadline, now + connect_s)
        if self._idle.get(place.origin) and not self._free.locked():
            await self._free.acquire()  # at once: one is free
            kept = self._kept(place, now)
            if kept is not None:
                return kept
            self._free.release()
        try:
            async with asyncio.timeout_at(until):
                return await self._wait_and_dial(place)
        except TimeoutError:
            # What ended first: the time of the whole call, or that for a connection.
            if until == deadline:
                raise _no_connection(place, "timeout", NO_ANSWER) from None
            raise _no_connection(place, "connect", "no connection in time") from None

    async def _wait_and_dial(self, place: Place) -> Connection:
        await self._free.acquire()
        try:
            kept = self._kept(place, asyncio.get_running_loop().time())
            if kept is not None:
                return kept
            connection = await self._dialler.dial(place)
        except BaseException:
            self._free.release()
            raise
        self._open.add(connection)
        connection.gone.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    def _kept(self, place: Place, now: float) -> Connection | None:
        """Return the connection that was used last, None without one that may be used again."""
        idle = self._idle.get(place.origin)
        while idle:
            connection = idle.pop()
            if connection.fit and now - connection.idle_since < _KEEP_ALIVE_S:
                return connection
            connection.abort()
        return None

    def _give_back(self, place: Place, connection: Connection) -> None:
        self._free.release()
        if not (self._reuse and connection.fit and self._loop is not None):
            connection.abort()
            return
        connection.idle_since = self._loop.time()
        self._idle.setdefault(place.origin, deque()).append(connection)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(_KEEP_ALIVE_S, self._sweep, self._loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close what nobody has used for long, and look again while anything is left."""
        now = loop.time()
        for origin, idle in list(self._idle.items()):
            while idle and (not idle[0].fit or now - idle[0].idle_since >= _KEEP_ALIVE_S):
                idle.popleft().abort()
            if not idle:
                del self._idle[origin]
        self._sweeper = loop.call_later(_KEEP_ALIVE_S / 2, self._sweep, loop) if self._idle else None


def _no_connection(place: Place, kind: FailureKind, text: str) -> OutboundFailure:
    return OutboundFailure(kind, f"{place.host}: {text}", sent=False)
