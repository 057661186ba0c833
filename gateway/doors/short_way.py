"""The short way to the busiest routes: from a request that is all here to its answer, without the framework between.

What is judged, recorded, counted and said is what the long way does (`reception`, and the doors' own handlers); what is
left out is ASGI's messages, the router, and a second task that watches whether the caller leaves. A decision that has
to wait for nobody is made without any task.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

from starlette.responses import Response
from starlette.types import Scope

from gateway.doors.framing import Head
from gateway.doors.leaving import CallerLeft, WholeRequest
from gateway.doors.reception import Reception, Visit
from gateway.state.rates import Standing
from gateway.tracing import NoTracer, read_traceparent

Fields = list[tuple[bytes, bytes]]
#: A route by method and path, both as on the request line.
Address = tuple[bytes, bytes]
Handler = Callable[[WholeRequest], Awaitable[Response]]
#: Answers without waiting, or returns None where the other handler must be asked.
QuickHandler = Callable[[WholeRequest], Response | None]

_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode("ascii")) for status in HTTPStatus
}


class Presence(Protocol):
    """Whether whoever asked is still there."""

    left: bool


class Served(NamedTuple):
    """A request that has its answer, None where nobody would read it."""

    visit: Visit
    response: Response | None


class ShortWay:
    """Serves requests whose bodies are complete, where nobody traces them; a caller's trace id is still known.

    handlers: by address; none of them streams. quick: handlers to ask first, for some of these addresses.
    """

    def __init__(
        self,
        *,
        reception: Reception,
        handlers: Mapping[Address, Handler],
        quick: Mapping[Address, QuickHandler],
    ) -> None:
        self._reception = reception
        self._tracer = NoTracer()
        self._handlers = handlers
        self._quick = quick
        self._server: tuple[Fields, bytes] = [], b""

    def knows(self, head: Head) -> bool:
        """Say whether the request can be served here."""
        return head.is_plain and _address(head) in self._handlers

    def serve(
        self,
        head: Head,
        body: bytes,
        *,
        client: tuple[str, int] | None,
        state: dict[str, object],
        by: Presence,
    ) -> Served | Coroutine[object, object, Served]:
        """Serve a request that `knows` knows; never raises. `compose` must follow.

        state: of the connection, copied for the request. by: who waits; cancel the coroutine when they have left.
        """
        address = _address(head)
        scope = _scope(head, address[1], client, state)
        quick = self._quick.get(address)
        if quick is None:
            return self._wait(scope, body, self._handlers[address], by)
        visit = self._receive(scope)
        request = WholeRequest(scope, body)
        try:
            self._reception.admit(visit)
            response = quick(request)
        except Exception as fault:  # noqa: BLE001  # nothing of ours may end in the server's own text
            return Served(visit, self._reception.explain(visit, fault))
        if response is None:
            # What goes on is received anew, in a task: this visit must not depend on whether that task ever runs.
            self._reception.forget(visit)
            return self._wait(scope, body, self._handlers[address], by, admitted=visit.standings)
        return Served(visit, response)

    async def _wait(
        self,
        scope: Scope,
        body: bytes,
        handler: Handler,
        by: Presence,
        *,
        admitted: Sequence[Standing] | None = None,
    ) -> Served:
        """admitted: where the caller stood when this request was let in; None when it was not judged yet."""
        visit = self._receive(scope)
        if admitted is not None:
            # A request counts once against its caller's limits.
            visit.standings.extend(admitted)
            return await self._go_on(visit, WholeRequest(scope, body), handler, by)
        try:
            self._reception.admit(visit)
        except Exception as fault:  # noqa: BLE001  # as above
            return Served(visit, self._reception.explain(visit, fault))
        return await self._go_on(visit, WholeRequest(scope, body), handler, by)

    def _receive(self, scope: Scope) -> Visit:
        # Nobody listens, so there is nothing that would have to stay open until the request is seen off.
        return self._reception.receive(scope, self._tracer.request(read_traceparent(scope["headers"])))

    async def _go_on(self, visit: Visit, request: WholeRequest, handler: Handler, by: Presence) -> Served:
        try:
            return Served(visit, await handler(request))
        except asyncio.CancelledError as fault:
            return Served(visit, self._reception.explain(visit, CallerLeft() if by.left else fault))
        except Exception as fault:  # noqa: BLE001  # as above
            return Served(visit, self._reception.explain(visit, fault))

    def compose(self, served: Served, server_fields: Fields, *, closing: bool) -> tuple[bytes, bool]:
        """Return the answer's bytes, none where nobody would read them, and whether it ends the connection.

        closing: nothing may follow on the connection.
        """
        visit, response = served
        try:
            return (
                (b"", True)
                if response is None
                else self._answer(visit, response, server_fields, closing=closing)
            )
        finally:
            self._reception.see_off(visit, visit.scope["path"])

    def _answer(
        self, visit: Visit, response: Response, server_fields: Fields, *, closing: bool
    ) -> tuple[bytes, bool]:
        visit.status = response.status_code
        visit.sent_bytes = len(response.body)
        last = self._reception.is_last(unread=closing)
        ours = self._reception.lines(visit, response.raw_headers, last=last)
        head = _STATUS_LINES[visit.status], self._server_lines(server_fields), ours
        return b"".join((*head, b"\r\n", response.body)), last

    def _server_lines(self, fields: Fields) -> bytes:
        # The server makes a new list once a second, for the date.
        known, text = self._server
        if known is not fields:
            text = b"".join([b"%b: %b\r\n" % field for field in fields])
            self._server = fields, text
        return text


def _address(head: Head) -> Address:
    return head.method, head.target.partition(b"?")[0]


def _scope(head: Head, path: bytes, client: tuple[str, int] | None, state: dict[str, object]) -> Scope:
    return {
        "type": "http",
        "method": head.method.decode("ascii"),
        "path": path.decode("ascii"),
        "raw_path": path,
        "query_string": head.target[len(path) + 1 :],
        "headers": head.fields,
        "client": client,
        "state": state.copy(),
    }
