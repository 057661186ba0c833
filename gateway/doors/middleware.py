"""The way into the application: every request is received, let in, served by the routes, and seen off."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.doors.entrance import body_too_large
from gateway.doors.reception import Reception, Visit
from gateway.doors.short_way import ShortWay
from gateway.tracing import NoTracer, RequestSpan, Tracer, read_traceparent


class Front:
    """Stands before the routes. `app` is a Starlette Router: the errors of a Starlette would be its own.

    short_way: past it, for a server that can take it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        reception: Reception,
        tracer: Tracer | None = None,
        short_way: ShortWay | None = None,
    ) -> None:
        self.short_way = short_way
        self._app = app
        self._reception = reception
        self._tracer: Tracer = tracer or NoTracer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; never raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracer.request(read_traceparent(scope["headers"])) as span:
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: RequestSpan) -> None:
        visit = self._reception.receive(scope, span)
        body = _Body(scope, receive, visit.style.max_body_bytes)
        answer = _Answer(send, visit, body, self._reception)
        # Without it Starlette's router writes its own 404 and 405 instead of raising them.
        scope["app"] = self
        try:
            self._reception.admit(visit)
            await self._app(scope, body.receive, answer.send)
        except (Exception, asyncio.CancelledError) as fault:  # noqa: BLE001  # nothing of ours may end in the server's own text
            said = self._reception.explain(visit, fault)
            if said is not None and not visit.status:
                await said(scope, body.receive, answer.send)
        finally:
            # The template, never the path that was sent.
            self._reception.see_off(visit, getattr(scope.get("route"), "path", None))


class _Answer:
    """Passes an answer on, with our header fields, and notes how it went."""

    def __init__(self, send: Send, visit: Visit, body: "_Body", reception: Reception) -> None:
        self._send = send
        self._visit = visit
        self._body = body
        self._reception = reception

    async def send(self, message: Message) -> None:
        visit = self._visit
        if message["type"] == "http.response.start":
            visit.status = message["status"]
            fields = self._reception.fields(visit, message.get("headers", []), unread=self._body.unread)
            message = {**message, "headers": fields}
        elif message["type"] == "http.response.body":
            visit.sent_bytes += len(message.get("body", b""))
        await self._send(message)


class _Body:
    """Passes a request's body on, with a limit for bodies that declare no length. unread: there is more of it."""

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._received = 0
        self.unread = any(
            name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
            for name, value in scope["headers"]
        )

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self.unread = message.get("more_body", False)
            if self._received > self._max_bytes:
                self.unread = True
                raise body_too_large(self._max_bytes)
        return message
