"""What every request gets, whichever way it comes in: an id, limits, a log line, metrics, an answer whatever goes wrong."""

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from gateway.clock import Clock
from gateway.doors.answers import SECURITY_HEADERS, SECURITY_LINES, RequestIds
from gateway.doors.draining import Draining
from gateway.doors.entrance import ALWAYS_OPEN, Entrance, draining, not_found, rate_fields
from gateway.doors.leaving import CallerLeft
from gateway.doors.problems import ErrorShape, problem_response, token_error_response
from gateway.errors import ErrorCode, GatewayError, RequestRejected
from gateway.metrics import Metrics
from gateway.state.rates import Standing
from gateway.tracing import Attributes, RequestSpan, Silent

_access = logging.getLogger("gateway.access")
_log = logging.getLogger("gateway.http")

#: What the log says of one request. Words of ours and numbers; of what a caller wrote only a `Host` that we do not have,
#: made fit for a line.
AccessMembers = dict[str, str | int | float | None]


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
#: What the last answer of a connection says.
CLOSING: Final = (b"connection", b"close")
_FRAMEWORK_CODES: Final = {
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.BODY_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
}
#: What the log says of a request whose caller left before an answer began; never on the wire.
_CALLER_LEFT: Final = 499


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request while it is here.

    begun:     monotonic seconds at which it came.
    notes:     what others want the log line to say.
    place:     how many of the places for requests it takes: none where health is asked, one everywhere else.
    standings: where the caller stands with its limits.
    status, sent_bytes: of the answer; 0 before it.
    quiet:     it leaves no log line: one for the same refusals of the same caller is enough.
    """

    scope: Scope
    span: RequestSpan
    request_id: str
    begun: float
    style: Style
    notes: dict[str, str]
    place: int = 1
    standings: list[Standing] = field(default_factory=list)
    status: int = 0
    sent_bytes: int = 0
    quiet: bool = False


def log_access(members: AccessMembers) -> None:
    """Write one request's line as any other line of the log."""
    _access.info("request", extra=members)


class Reception:
    """Receives requests and sees them off. One for a process: it knows how many are here.

    styles:   by exact path.
    access:   takes one line of the log for each request.
    listener: its name in log lines; None for the public one.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        draining: Draining,
        clock: Clock,
        styles: Mapping[str, Style] = STYLES,
        entrance: Entrance | None = None,
        access: Callable[[AccessMembers], None] = log_access,
        listener: str | None = None,
    ) -> None:
        self._listener = listener
        self._metrics = metrics
        self._draining = draining
        self._clock = clock
        self._styles = styles
        self._entrance = entrance or Entrance(metrics=metrics, draining=draining)
        self._access = access
        self._in_flight = 0
        self._ids = RequestIds()

    def receive(self, scope: Scope, span: RequestSpan) -> Visit:
        """Take note of a request; `see_off` or `forget` must follow.

        Sets in the scope's state: `request_id`; `trace_id` of the caller's trace or ours, None without either;
        `arrived`, monotonic seconds; `notes` and `standings` of the visit; `source`, the caller's address.
        """
        path = scope["path"]
        trace_id = span.trace_id
        visit = Visit(
            scope=scope,
            span=span,
            request_id=self._ids.take(),
            begun=self._clock.monotonic(),
            style=self._styles.get(path, _DEFAULT_STYLE),
            notes={} if trace_id is None else {"trace": trace_id},
            place=0 if path in ALWAYS_OPEN else 1,
        )
        if self._listener is not None:
            visit.notes["listener"] = self._listener
        state = scope.setdefault("state", {})
        state["request_id"] = visit.request_id
        state["trace_id"] = trace_id
        state["arrived"] = visit.begun
        state["notes"] = visit.notes
        state["source"] = self._entrance.source(scope)
        state["standings"] = visit.standings
        self._in_flight += visit.place
        self._metrics.in_flight(1)
        return visit

    def admit(self, visit: Visit) -> None:
        """Let the request in, or raise what `Entrance.admit` says."""
        self._entrance.admit(
            visit.scope, in_flight=self._in_flight, max_body_bytes=visit.style.max_body_bytes
        )

    def explain(self, visit: Visit, fault: BaseException) -> Response | None:
        """Return what to answer when serving ended so; None when the caller has left and nobody would read it."""
        if isinstance(fault, ClientDisconnect | CallerLeft):
            return None
        headers: Mapping[str, str] = {}
        match fault:
            case HTTPException():
                error, headers = _framework_error(fault, visit.scope)
            case GatewayError():
                error = fault
                visit.quiet = fault.repeated
                if error.code is ErrorCode.INTERNAL_ERROR:
                    _log_fault(error.__cause__ or error, visit.request_id)
            case asyncio.CancelledError():
                # The server gives up what has not finished in time; the caller still reads why.
                error = draining()
            case _:
                _log_fault(fault, visit.request_id)
                error = GatewayError(
                    ErrorCode.INTERNAL_ERROR, "The gateway failed; its log has the request id."
                )
        visit.notes["code"] = str(error.code)
        return visit.style.say(error, visit.request_id, headers)

    def fields(
        self, visit: Visit, set_by_door: list[tuple[bytes, bytes]], *, unread: bool
    ) -> list[tuple[bytes, bytes]]:
        """Return the answer's header fields, ours in place of whatever a door set under these names.

        unread: there is more of the request's body, which would follow the answer on the connection; who sends it
                must not send more there.
        """
        fields = _set_by_door(set_by_door)
        fields += [*SECURITY_HEADERS, *self._fields_of(visit)]
        if self.is_last(unread=unread):
            fields.append(CLOSING)
        return fields

    def lines(self, visit: Visit, set_by_door: list[tuple[bytes, bytes]], *, last: bool) -> bytes:
        """Return the same fields as text. last: nothing may follow on the connection; see `is_last`."""
        fields = _set_by_door(set_by_door)
        fields += self._fields_of(visit)
        if last:
            fields.append(CLOSING)
        text = b"".join([b"%b: %b\r\n" % field for field in fields])
        if text.count(b"\n") != len(fields):
            raise ValueError("A header field of ours holds a line end.")
        return text + SECURITY_LINES

    def is_last(self, *, unread: bool) -> bool:
        """Say whether an answer ends its connection."""
        return unread or self._draining.leaving

    def _fields_of(self, visit: Visit) -> list[tuple[bytes, bytes]]:
        return [(b"x-request-id", visit.request_id.encode("ascii")), *rate_fields(visit.standings)]

    def forget(self, visit: Visit) -> None:
        """Take the note of one request back: the same one is about to be received again."""
        self._in_flight -= visit.place
        self._metrics.in_flight(-1)

    def see_off(self, visit: Visit, route: str | None) -> None:
        """Count the request, and write its line. route: its template, None where none was found."""
        self._in_flight -= visit.place
        metrics = self._metrics
        metrics.in_flight(-1)
        seconds = self._clock.monotonic() - visit.begun
        scope, notes = visit.scope, visit.notes
        path = scope["path"]
        route = route or (path if path in self._styles else "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        status = visit.status or _CALLER_LEFT
        metrics.answered(route, method, status, seconds)
        if not isinstance(visit.span, Silent):
            visit.span.name(f"{method} {route}")
            visit.span.say(method=method, route=route, status=status, request_id=visit.request_id)
            visit.span.say(**_decided(notes))
        if visit.quiet:
            return
        self._access(
            {
                "request_id": visit.request_id,
                "method": method,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "bytes": visit.sent_bytes,
                "source": scope["state"]["source"],
                **notes,
            }
        )


def _set_by_door(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [field for field in fields if field[0].lower() not in _OURS]


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
