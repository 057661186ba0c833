"""What a request spent its time on: the seam between what is told and who listens. Off, it costs one look into a variable.

Only `Front` opens a trace. Whoever does something worth a line says `with span("…") as told`, and is heard while the
request that runs it is traced. Attributes are the fixed list below, so that no token, claim, header or body can be one.
"""

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Protocol, Self, TypedDict, Unpack

# W3C Trace Context section 3.2: version, trace-id, parent-id, flags; a later version may add more behind a dash.
_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_LONGEST: Final = 512
_SAMPLED: Final = 0x01

SpanKind = Literal["internal", "client"]


class Attributes(TypedDict, total=False):
    """All that a trace may say: words of ours, names of the administrators' files, numbers, and AWS's request id.

    act, code, issuer: as in metrics; issuer is its configured name.
    target, workflow:  configured names, once they are decided; never what the caller asked for.
    service, operation, outcome: of a call out, as in metrics; result: of a cache.
    method, route, status: of the answer; route is the template.
    """

    act: str
    code: str
    issuer: str
    target: str
    workflow: str
    service: str
    operation: str
    outcome: str
    result: str
    method: str
    route: str
    status: int
    request_id: str
    aws_request_id: str


#: The allow-list itself; what is not in it never leaves the process.
ATTRIBUTES: Final = frozenset(Attributes.__annotations__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceParent:
    """A place in a trace. trace_id: 32 hex digits; span_id: 16; neither all zeros."""

    trace_id: str
    span_id: str
    sampled: bool


class Span(Protocol):
    """A stretch of time that something took."""

    def say(self, **attributes: Unpack[Attributes]) -> None:
        """Add what is known of it."""
        ...


class RequestSpan(Span, Protocol):
    """The whole of a request. trace_id: of its trace; None while nobody traces and the caller sent none."""

    @property
    def trace_id(self) -> str | None:
        """Return the trace's id."""
        ...

    def name(self, name: str) -> None:
        """Name it, once the route is known."""
        ...


class Tracer(Protocol):
    """Who listens, while it is open."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def request(self, parent: TraceParent | None) -> AbstractContextManager[RequestSpan]:
        """Open the span of a request, a continuation of the caller's trace where there is one."""
        ...

    def span(self, name: str, kind: SpanKind) -> AbstractContextManager[Span]:
        """Open a span below the one that is open."""
        ...

    def place(self) -> TraceParent | None:
        """Return where the trace stands now, None outside a trace that is kept."""
        ...


class Silent:
    """A span that nobody hears."""

    __slots__ = ("trace_id",)

    def __init__(self, trace_id: str | None = None) -> None:
        self.trace_id = trace_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def say(self, **attributes: Unpack[Attributes]) -> None:
        """Hear nothing."""

    def name(self, name: str) -> None:
        """Hear nothing."""


class NoTracer:
    """Nobody listens; a caller's trace id is still known, for the log and the record."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def request(self, parent: TraceParent | None) -> Silent:
        """Return a span that nobody hears and that knows the caller's trace."""
        return Silent(parent.trace_id) if parent else _SILENT

    def span(self, name: str, kind: SpanKind) -> Silent:
        """Return a span that nobody hears."""
        return _SILENT

    def place(self) -> TraceParent | None:
        """Return None."""
        return None


_SILENT: Final = Silent()
_listening: ContextVar[Tracer | None] = ContextVar("listening", default=None)


def span(name: str, kind: SpanKind = "internal") -> AbstractContextManager[Span]:
    """Open a span of the request that runs now. name: a word of ours."""
    tracer = _listening.get()
    return _SILENT if tracer is None else tracer.span(name, kind)


def listen(tracer: Tracer | None) -> "Token[Tracer | None]":
    """Let `span` be heard by this tracer, in this context and the tasks made in it, until `unlisten`."""
    return _listening.set(tracer)


def unlisten(token: "Token[Tracer | None]") -> None:
    """End what `listen` began."""
    _listening.reset(token)


def xray_header() -> str | None:
    """Return where the trace stands, as AWS X-Ray writes it; None when there is none to go on from.

    X-Ray takes W3C trace ids, cut after eight digits.
    """
    tracer = _listening.get()
    place = tracer.place() if tracer else None
    if place is None:
        return None
    root = f"1-{place.trace_id[:8]}-{place.trace_id[8:]}"
    return f"Root={root};Parent={place.span_id};Sampled={int(place.sampled)}"


def read_traceparent(headers: Iterable[tuple[bytes, bytes]]) -> TraceParent | None:
    """Return the caller's place in its trace; None when it sent none, several, or one that is not well formed.

    headers: names in lower case. W3C Trace Context section 3.2: what cannot be read begins a new trace.
    """
    sent = [value for name, value in headers if name == b"traceparent"]
    if len(sent) != 1 or len(sent[0]) > _LONGEST:
        return None
    found = _TRACEPARENT.fullmatch(sent[0])
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5] is not None):
        return None
    trace_id, span_id = found[2].decode("ascii"), found[3].decode("ascii")
    if not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(trace_id=trace_id, span_id=span_id, sampled=bool(int(found[4], 16) & _SAMPLED))
