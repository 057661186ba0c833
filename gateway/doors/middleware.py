"""What happens around every request: its id, limits, log line, metrics, and an answer whatever goes wrong."""

import asyncio
import logging
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.clock import Clock
from gateway.doors.answers import SECURITY_HEADERS, new_request_id
from gateway.doors.draining import Draining
from gateway.doors.entrance import Entrance, body_too_large, draining, not_found, rate_fields
from gateway.doors.leaving import CallerLeft
from gateway.doors.problems import ErrorShape, problem_response, token_error_response
from gateway.errors import ErrorCode, GatewayError, RateLimited, RequestRejected
from gateway.metrics import Metrics
from gateway.state.rates import Standing
from gateway.tracing import Attributes, NoTracer, RequestSpan, Tracer, read_traceparent

_access = logging.getLogger("gateway.access")
_log = logging.getLogger("gateway.http")


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How one path differs from the others.

    max_body_bytes: larger bodies are `body_too_large`.
    say:            the shape of its errors.
    """

    max_body_bytes: int = 64 * 1024
    say: ErrorShape = problem_response


#: By exact path; every other path has the default style.
STYLES: Final[Mapping[str, Style]] = {
    "/v1/executions": Style(max_body_bytes=320 * 1024),
    "/token": Style(say=token_error_response),
}
_DEFAULT_STYLE: Final = Style()
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
_OURS: Final = frozenset(name for name, _ in SECURITY_HEADERS) | {b"x-request-id", b"server"}
_FRAMEWORK_CODES: Final = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.BODY_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}
#: What the log says of a request whose caller left before an answer began; never on the wire.
_CALLER_LEFT: Final = 499


class Front:
    """Stands before the routes. `app` is a Starlette Router: the errors of a Starlette would be its own.

    Sets `scope["state"]["request_id"]`, `["trace_id"]` of the caller's trace or ours (None without either), `["arrived"]`
    to the monotonic seconds at which the request came, and `["notes"]`, into which others put what the log line should
    say: words of ours, never the caller's.
    `["source"]` is the caller's address, and `["standings"]` is filled with where the caller stands with its limits.
    listener: its name in log lines; None for the public one.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        draining: Draining,
        clock: Clock,
        styles: Mapping[str, Style] = STYLES,
        entrance: Entrance | None = None,
        tracer: Tracer | None = None,
        listener: str | None = None,
    ) -> None:
        self._app = app
        self._listener = listener
        self._tracer: Tracer = tracer or NoTracer()
        self._metrics = metrics
        self._draining = draining
        self._clock = clock
        self._styles = styles
        self._entrance = entrance or Entrance(metrics=metrics, draining=draining)
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; never raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracer.request(read_traceparent(scope["headers"])) as span:
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: RequestSpan) -> None:
        begun = self._clock.monotonic()
        style = self._styles.get(scope["path"], _DEFAULT_STYLE)
        body = _Body(scope, receive, style.max_body_bytes)
        answer = _Answer(send, new_request_id(), body, closes=self._draining.leaving)
        notes: dict[str, str] = {} if span.trace_id is None else {"trace": span.trace_id}
        if self._listener is not None:
            notes["listener"] = self._listener
        scope.setdefault("state", {}).update(
            request_id=answer.request_id,
            trace_id=span.trace_id,
            arrived=begun,
            notes=notes,
            source=self._entrance.source(scope),
            standings=answer.standings,
        )
        # Without it Starlette's router writes its own 404 and 405 instead of raising them.
        scope["app"] = self
        self._in_flight += 1
        self._metrics.http_in_flight.inc()
        try:
            await self._serve(scope, body, style, answer)
        finally:
            self._in_flight -= 1
            self._metrics.http_in_flight.dec()
            self._conclude(scope, answer, span, self._clock.monotonic() - begun)

    async def _serve(self, scope: Scope, body: "_Body", style: Style, answer: "_Answer") -> None:
        headers: Mapping[str, str] = {}
        try:
            self._entrance.admit(scope, in_flight=self._in_flight, max_body_bytes=style.max_body_bytes)
            await self._app(scope, body.receive, answer.send)
            return
        except (ClientDisconnect, CallerLeft):
            return
        except HTTPException as refusal:
            error, headers = _framework_error(refusal, scope)
        except GatewayError as refusal:
            error = refusal
            answer.quiet = isinstance(refusal, RateLimited) and refusal.repeated
            if error.code is ErrorCode.INTERNAL_ERROR:
                _log_fault(error.__cause__ or error, answer.request_id)
        except asyncio.CancelledError:
            # The server gives up what has not finished in time; the caller still reads why.
            error = draining()
        except Exception as fault:  # noqa: BLE001  # nothing of ours may end in the server's own text
            _log_fault(fault, answer.request_id)
            error = GatewayError(ErrorCode.INTERNAL_ERROR, "The gateway failed; its log has the request id.")
        scope["state"]["notes"]["code"] = str(error.code)
        if not answer.begun:
            await style.say(error, answer.request_id, headers)(scope, body.receive, answer.send)

    def _conclude(self, scope: Scope, answer: "_Answer", span: RequestSpan, seconds: float) -> None:
        notes: Mapping[str, str] = scope["state"]["notes"]
        route = self._route(scope)
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        status = answer.status or _CALLER_LEFT
        self._metrics.http_requests.labels(route, method, status).inc()
        self._metrics.http_seconds.labels(route).observe(seconds)
        span.name(f"{method} {route}")
        span.say(method=method, route=route, status=status, request_id=answer.request_id)
        span.say(**_decided(notes))
        if answer.quiet:
            return
        _access.info(
            "request",
            extra={
                "request_id": answer.request_id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "bytes": answer.sent_bytes,
                "source": scope["state"]["source"],
                **notes,
            },
        )

    def _route(self, scope: Scope) -> str:
        """Return the template of the route, never the path that was sent."""
        template = getattr(scope.get("route"), "path", None)
        if isinstance(template, str):
            return template
        return scope["path"] if scope["path"] in self._styles else "unmatched"


class _Answer:
    """Passes an answer on, with our header fields, and remembers how it went."""

    def __init__(self, send: Send, request_id: str, body: "_Body", *, closes: bool) -> None:
        self.request_id = request_id
        self._body = body
        self._closes = closes
        self.standings: list[Standing] = []
        self.status = 0
        self.sent_bytes = 0
        #: One line in the log for the same refusals of the same caller is enough.
        self.quiet = False
        self._send = send

    @property
    def begun(self) -> bool:
        return self.status != 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": self._headers(message.get("headers", ()))}
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
        await self._send(message)

    def _headers(self, set_by_door: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        headers = [(name, value) for name, value in set_by_door if name.lower() not in _OURS]
        headers += [*SECURITY_HEADERS, (b"x-request-id", self.request_id.encode("ascii"))]
        headers += rate_fields(self.standings)
        # A body that was not read would follow the answer on the connection; who sends it must not send more there.
        if self._closes or self._body.unread:
            headers.append((b"connection", b"close"))
        return headers


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


def _decided(notes: Mapping[str, str]) -> Attributes:
    """Return what the trace may say of the decision."""
    told: Attributes = {}
    if "act" in notes:
        told["act"] = notes["act"]
    if "code" in notes:
        told["code"] = notes["code"]
    if "issuer" in notes:
        told["issuer"] = notes["issuer"]
    return told


def _framework_error(refusal: HTTPException, scope: Scope) -> tuple[GatewayError, Mapping[str, str]]:
    """Return Starlette's refusal as one of ours; its text is not repeated."""
    code = _FRAMEWORK_CODES.get(refusal.status_code)
    if code is None:
        code = ErrorCode.INTERNAL_ERROR if refusal.status_code >= 500 else ErrorCode.REQUEST_MALFORMED
    if code is ErrorCode.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(scope)
        return RequestRejected(code, f"This address answers {allowed}."), {"Allow": allowed}
    if code is ErrorCode.NOT_FOUND:
        return not_found(), {}
    return RequestRejected(code, "The request was not understood."), {}


def _allowed_methods(scope: Scope) -> str:
    # Starlette names the methods of the first route of this path only; several routes may share a path.
    allowed: set[str] = set()
    for route in scope["router"].routes:
        if route.matches(scope)[0] is Match.PARTIAL:
            allowed |= route.methods
    return ", ".join(sorted(allowed))


def _log_fault(fault: BaseException, request_id: str) -> None:
    """Log where our code failed; an exception's text may hold a token, so it is never written."""
    places = [
        f"{frame.f_globals.get('__name__', '?')}:{line}"
        for frame, line in traceback.walk_tb(fault.__traceback__)
        if str(frame.f_globals.get("__name__", "")).startswith("gateway.")
    ]
    _log.error(
        "unhandled exception",
        extra={"request_id": request_id, "exception": type(fault).__qualname__, "places": places[-6:]},
    )
