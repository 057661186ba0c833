"""HTTP/1.1 on a socket: uvicorn's httptools protocol behind byte counts and timers of our own."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from gateway.doors.answers import SECURITY_HEADERS, new_request_id
from gateway.doors.framing import (
    BodyReader,
    ChunkedBody,
    FramingLimits,
    Head,
    HeadReader,
    PlainBody,
    judge_head,
    malformed,
)
from gateway.doors.problems import problem_response
from gateway.doors.short_way import Served, ShortWay
from gateway.errors import ErrorCode, GatewayError, RequestRejected
from gateway.listening.connections import Connections
from gateway.listening.lingering import LingeringTransport
from gateway.listening.strangers import Strangers

_RATE_CHECK_S: Final = 1.0
#: For all connections, because it can hold nothing: one request at a time. A queue for each would take 0.8 kB.
_NO_PIPELINE: Final[deque[Any]] = deque(maxlen=0)
# A turn of the event loop. Timers that are due run before what has arrived meanwhile is read: on a machine that was busy for
# longer than a limit, callers who kept it would be closed upon.
_READ_FIRST_S: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolLimits:
    """What one connection may take; times in seconds.

    framing:          sizes and counts of a request on the wire.
    first_byte_s:     from the connection to its first byte; also the TLS handshake.
    headers_s:        from a request's first byte to the end of its header fields.
    body_s:           for the whole body.
    min_body_rate:    bytes a second that a body keeps on average, judged after `rate_grace_s`.
    idle_s:           between an answer and the next request.
    max_requests:     per connection.
    linger_s:         for reading on after a last answer, so that it arrives.
    write_stall_s:    for a client that does not read its answer.
    """

    framing: FramingLimits = field(default_factory=FramingLimits)
    first_byte_s: float = 5.0
    headers_s: float = 10.0
    body_s: float = 10.0
    min_body_rate: int = 1024
    rate_grace_s: float = 3.0
    idle_s: float = 5.0
    max_requests: int = 100
    linger_s: float = 1.0
    write_stall_s: float = 20.0


@dataclass(slots=True, kw_only=True)
class _Arriving:
    """A body on its way."""

    reader: BodyReader
    since: float
    received: int = 0


class _Unheard:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Wake nobody."""


class ShortCycle:
    """One request on the short way, with what the server asks of a cycle of its own.

    left: the caller is gone. task: what works on the answer, None where nothing has to be waited for.
    """

    def __init__(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.left = False
        self.task: asyncio.Task[None] | None = None
        self.response_started = self.response_complete = self.disconnected = False
        self.message_event = _Unheard()

    def leave(self) -> None:
        """Note that the caller is gone; what works for them ends, but for effects that have begun."""
        self.left = True
        if self.task is not None:
            self.task.cancel()


class GuardedProtocol(HttpToolsProtocol):
    """Reads the framing itself, strictly, and hands the parser whole heads and counted bodies.

    The parser must come to the same end of every message; a request that the two read differently is refused.
    One request at a time: bytes that arrive before the answer is complete and taken (pipelining) are dropped, and
    the connection closes after that answer.

    count_refused: takes the reason why a connection was closed, one of a fixed set.
    strangers:     takes note of what was refused on the wire.
    connections:   gives each connection its place, and marks the requests of the last ones `crowded`.
    short_way:     serves what it knows and came in one piece; everything else goes to the application. None: all does.
    """

    # With these among uvicorn's own, the dictionary of each connection would be too large to share its keys: 1.5 kB more.
    __slots__ = (
        "_body", "_count_refused", "_dropping", "_head", "_idle_since", "_message_complete", "_place", "_places", "_served", "_short_way",
        "_stall_timer", "_strangers", "_timer", "limits",
    )  # fmt: skip

    # uvicorn leaves it None until the first request, and does not say so in its types.
    cycle: "RequestResponseCycle | ShortCycle | None"  # type: ignore[assignment]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        limits: ProtocolLimits,
        count_refused: Callable[[str], None],
        strangers: Strangers,
        connections: Connections,
        short_way: ShortWay | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self.pipeline = _NO_PIPELINE
        self._strangers = strangers
        self._short_way = short_way
        self.limits = limits
        # Not `connections`, which is uvicorn's own set.
        self._places = connections
        self._place: str | None = None
        self._count_refused = count_refused
        self.timeout_keep_alive = limits.idle_s  # type: ignore[assignment]
        self._head = HeadReader(self.limits.framing)
        self._body: _Arriving | None = None
        self._message_complete = False
        self._dropping = False
        # None while a request is under way or on its way.
        self._idle_since: float | None = None
        self._served = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stall_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock of the first byte."""
        patient = LingeringTransport(
            transport,
            loop=self.loop,
            linger_s=self.limits.linger_s,
            flush_s=self.limits.write_stall_s,
            unread=lambda: self._dropping or self._body is not None,
        )
        super().connection_made(patient)
        if self._take_place():
            self._arm(self.limits.first_byte_s, self._on_silence)

    def _take_place(self) -> bool:
        """Count the connection; close it without a word where there is no place left, which costs least."""
        place, self._place = self._places.enter(self.client[0] if self.client else None)
        match place:
            case "full" | "address_full":
                self._count_refused("too_many" if place == "full" else "too_many_from_address")
                self._dropping = True
                self.transport.abort()
                return False
            case "crowded":
                self._count_refused("crowded")
                self.app_state = {**self.app_state, "crowded": True}
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every clock; a running request learns that its caller is gone."""
        self._disarm()
        self._cancel_stall_timer()
        self._unset_keepalive_if_required()
        self._dropping = True
        if self._place is not None:
            self._places.leave(self._place)
            self._place = None
        if isinstance(self.transport, LingeringTransport):
            self.transport.forget()
        if isinstance(self.cycle, ShortCycle):
            self.cycle.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes as far as they are the one request that is due."""
        if self._dropping or self.transport.is_closing():
            return
        self._idle_since = None
        try:
            while data:
                data = self._take(data)
            self._watch()
        except RequestRejected as fault:
            self._refuse(fault)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._refuse(malformed("The request is not HTTP/1.1."))

    def _take(self, data: bytes) -> bytes:
        if self.transport.is_closing():
            # The answer to what came before these bytes was the last of the connection.
            return b""
        if self._body is not None:
            return self._take_body(self._body, data)
        if self.cycle is not None and (not self.cycle.response_complete or self.flow.write_paused):
            self._count_refused("pipelined")
            self._dropping = True
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                # Its answer is not read, and a hundred more would be kept for it.
                self.transport.close()
            return b""
        return self._take_head(data)

    def _take_head(self, data: bytes) -> bytes:
        if not self._head:
            self._disarm()
        complete = self._head.add(data)
        if complete is None:
            return b""
        text, rest = complete
        head = judge_head(text, self.limits.framing)
        self._disarm()
        length = head.body_length
        if (
            self._short_way is not None
            and length is not None
            and length <= len(rest)
            and self._short_way.knows(head)
        ):
            if len(rest) > length:
                # As on the long way: one connection has one request at a time, and takes its turn like any other.
                self._count_refused("pipelined")
                self._dropping = True
            self._serve_short(self._short_way, head, rest[:length])
            return b""
        self._message_complete = False
        reader = ChunkedBody(self.limits.framing) if head.body_length is None else PlainBody(head.body_length)
        self._body = _Arriving(reader=reader, since=self.loop.time())
        self.parser.feed_data(head.text())
        self._note_end(self._body)
        return rest

    def _serve_short(self, short_way: ShortWay, head: Head, body: bytes) -> None:
        self._served += 1
        cycle = self.cycle = ShortCycle(
            keep_alive=self._served < self.limits.max_requests and not self._dropping
        )
        outcome = short_way.serve(head, body, client=self.client, state=self.app_state, by=cycle)
        if isinstance(outcome, Served):
            self._finish_short(short_way, cycle, outcome)
            return
        cycle.task = task = self.loop.create_task(self._wait_short(short_way, cycle, outcome))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        # A task that is cancelled before its first step never gets as far as waiting for it.
        task.add_done_callback(lambda _: outcome.close())

    async def _wait_short(
        self, short_way: ShortWay, cycle: "ShortCycle", coming: Coroutine[object, object, Served]
    ) -> None:
        self._finish_short(short_way, cycle, await coming)

    def _finish_short(self, short_way: ShortWay, cycle: "ShortCycle", served: Served) -> None:
        data, closes = short_way.compose(
            served, self.server_state.default_headers, closing=not cycle.keep_alive
        )
        cycle.response_complete = True
        if cycle.left:
            return
        self.transport.write(data)
        if closes:
            self.transport.close()
        self.on_response_complete()

    def _take_body(self, body: _Arriving, data: bytes) -> bytes:
        taken = body.reader.take(data)
        body.received += taken
        self.parser.feed_data(data[:taken])
        self._note_end(body)
        return data[taken:]

    def _note_end(self, body: _Arriving) -> None:
        if body.reader.done is not self._message_complete:
            raise malformed("The end of the request can be read in two ways.")
        if body.reader.done:
            self._body = None
            self._disarm()

    def _watch(self) -> None:
        """Start the clock of what has begun to arrive and is not complete."""
        if self._timer is not None or self._dropping:
            return
        if self._body is not None:
            self._arm(_RATE_CHECK_S, self._check_body)
        elif self._head:
            self._arm(self.limits.headers_s, self._on_slow_head)

    def on_headers_complete(self) -> None:
        """Count the request; the last one a connection may carry says so in its answer."""
        self._served += 1
        super().on_headers_complete()
        if self.cycle is not None and self._served >= self.limits.max_requests:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that the parser has seen the end."""
        self._message_complete = True
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless this one was not read to its end: then nothing can follow."""
        # What uvicorn does there, but for its queue of requests and for a timer after each of them.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._dropping or self._body is not None:
            self._disarm()
            self.transport.close()
            return
        # One timer for all pauses of the connection, which finds out when it is due: most of them end soon.
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def shutdown(self) -> None:
        """Close when nothing is under way; a head that is half here is still answered."""
        if not self._head:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough, unless its next request has come by then."""
        self.timeout_keep_alive_task = None
        since = self._idle_since
        if since is None:
            return
        left = since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_again(left, self.timeout_keep_alive_handler)
        else:
            self._look_again(_READ_FIRST_S, self._close_idle, since)

    def _close_idle(self, since: float) -> None:
        if self._idle_since == since:
            super().timeout_keep_alive_handler()
        else:
            self.timeout_keep_alive_handler()

    def _look_again(self, seconds: float, callback: Callable[..., None], *arguments: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, callback, *arguments)

    def pause_writing(self) -> None:
        """Give a client that does not read its answer a limited time."""
        super().pause_writing()
        self._cancel_stall_timer()
        self._stall_timer = self.loop.call_later(self.limits.write_stall_s, self._on_stall)

    def resume_writing(self) -> None:
        """Go on writing."""
        self._cancel_stall_timer()
        super().resume_writing()

    def _on_silence(self) -> None:
        self._count_refused("no_request")
        self.transport.close()

    def _on_slow_head(self) -> None:
        self._refuse(_too_slow("The header fields did not arrive in time."))

    def _on_stall(self) -> None:
        self._count_refused("answer_not_read")
        self.transport.abort()

    def _check_body(self) -> None:
        body = self._body
        if body is None:
            return
        elapsed = self.loop.time() - body.since
        slow = elapsed >= self.limits.rate_grace_s and body.received < elapsed * self.limits.min_body_rate
        # While we hold the client back ourselves its pace says nothing.
        if not self.flow.read_paused and (slow or elapsed >= self.limits.body_s):
            self._refuse(_too_slow("The body did not arrive in time."))
        else:
            left = self.limits.body_s - elapsed
            self._arm(left if 0 < left < _RATE_CHECK_S else _RATE_CHECK_S, self._check_body)

    def _refuse(self, fault: GatewayError) -> None:
        """Answer a fault of the wire in our own shape, and close; a request that was under way is told."""
        self._count_refused(str(fault.code))
        self._disarm()
        self._dropping = True
        if self.cycle is None or self.cycle.response_complete:
            self._answer(fault, new_request_id(), begun=False)
        else:
            if not self.cycle.response_started:
                self._answer(fault, self._request_id(), begun=True)
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def _answer(self, fault: GatewayError, request_id: str, *, begun: bool) -> None:
        self.transport.write(_raw_answer(fault, request_id, self.server_state.default_headers))
        peer = self.client[0] if self.client else None
        self._strangers.refused(peer, fault.code, request_id, counted=begun)

    def _request_id(self) -> str:
        # The middleware has named this request; its log lines and this answer then agree.
        named = self.scope["state"].get("request_id")
        return named if isinstance(named, str) else new_request_id()

    def _arm(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back after so many seconds, and after everything was read that has come by then."""
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._read_first, callback)

    def _read_first(self, callback: Callable[[], None]) -> None:
        self._timer = self.loop.call_later(_READ_FIRST_S, callback)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel_stall_timer(self) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None


def _too_slow(message: str) -> RequestRejected:
    return RequestRejected(ErrorCode.REQUEST_TIMEOUT, message)


def _raw_answer(error: GatewayError, request_id: str, server_headers: list[tuple[bytes, bytes]]) -> bytes:
    answer = problem_response(error, request_id)
    status = HTTPStatus(answer.status_code)
    fields = [
        *server_headers,
        *SECURITY_HEADERS,
        *answer.raw_headers,
        (b"x-request-id", request_id.encode("ascii")),
        (b"connection", b"close"),
    ]
    lines = [b"HTTP/1.1 %d %s" % (status, status.phrase.encode("ascii")), *(b": ".join(f) for f in fields)]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
