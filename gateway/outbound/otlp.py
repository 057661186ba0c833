"""Spans on their way to an OpenTelemetry collector, over OTLP/HTTP. Needs the extra `otel`.

[edge]
"""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Final, Literal, Self, Unpack
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from requests import RequestException, Response, Session
from requests.exceptions import ConnectionError, SSLError, Timeout  # noqa: A004 - its names

from gateway import tracing
from gateway.metrics import Metrics
from gateway.tracing import ATTRIBUTES, Attributes, TraceParent, listen, unlisten

_log = logging.getLogger("gateway.traces")

#: How many spans wait for the collector, and for how long the end waits for them.
WAITING: Final = 2048
CLOSE_S: Final = 2.0
_BATCH: Final = 512
_PAUSE_S: Final = 1.0
_EXPORT_S: Final = 2.0
_PATH: Final = "/v1/traces"
_CREDENTIALS: Final = "It wants credentials: OTEL_EXPORTER_OTLP_HEADERS holds the headers it asks for."
_HINTS: Final[Mapping[str, str]] = {
    "timeout": f"It does not answer within {_EXPORT_S:.0f} s: look at its load and at what lies between.",
    "tls": "Its certificate is not trusted: OTEL_EXPORTER_OTLP_CERTIFICATE names the file of its CA.",
    "unreachable": "Nothing takes connections there: is it running, and does server.tracing.otlp name its port for OTLP over "
    "HTTP (usually 4318; 4317 is gRPC)?",
    "status 401": _CREDENTIALS,
    "status 403": _CREDENTIALS,
    "status 404": "It takes no traces at this path: server.tracing.otlp may name one.",
    "other": "The collector's own log says more.",
}
# OpenTelemetry's own words where it has one (semantic conventions, HTTP and AWS SDK).
_NAMES: Final[Mapping[str, str]] = {
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "aws_request_id": "aws.request_id",
    **{name: f"oidc_gateway.{name}" for name in ATTRIBUTES - {"method", "route", "status", "aws_request_id"}},
}
_LIMITS: Final[Mapping[str, int]] = {
    "max_span_attributes": 32,
    "max_span_attribute_length": 256,
    "max_events": 0,
    "max_links": 0,
}
_KINDS: Final[Mapping[tracing.SpanKind, SpanKind]] = {
    "internal": SpanKind.INTERNAL,
    "client": SpanKind.CLIENT,
}


def otlp_exporter(endpoint: str) -> "CollectorExporter":
    """Return what sends spans to a collector. endpoint: its URL; without a path, OTLP's own is added."""
    return CollectorExporter(endpoint, _Session())


class _Session(Session):
    """Knows how the last request ended. why: a word of `_HINTS`, or the HTTP status."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # no proxy and no netrc of the environment
        self.why = ""

    def request(self, *arguments: object, **options: object) -> Response:
        """Send, and note how it ended."""
        try:
            answer = super().request(*arguments, **options)  # type: ignore[arg-type]  # whatever the exporter asks
        except RequestException as fault:
            self.why = _why(fault)
            raise
        self.why = f"status {answer.status_code}"
        return answer


class CollectorExporter(OTLPSpanExporter):
    """Sends spans to a collector. place: its host and port."""

    def __init__(self, endpoint: str, session: _Session) -> None:
        bare = endpoint.rstrip("/")
        super().__init__(
            endpoint=endpoint if bare.count("/") > 2 else bare + _PATH, timeout=_EXPORT_S, session=session
        )
        self.place = urlsplit(endpoint).netloc.rpartition("@")[2]
        self._told = session

    def why_not(self) -> dict[str, str]:
        """Return what the log says of spans that were not taken: where, why, and what to do."""
        why = self._told.why or "other"
        return {"collector": self.place, "why": why, "hint": _HINTS.get(why, _HINTS["other"])}


def _why(fault: RequestException) -> str:
    match fault:
        case Timeout():
            return "timeout"
        case SSLError():
            return "tls"
        case ConnectionError():
            return "unreachable"
        case _:
            return "other"


class OtlpTracer:
    """A Tracer, open inside `async with`; only one that is open keeps spans."""

    def __init__(
        self, exporter: SpanExporter, *, metrics: Metrics, version: str, ratio: float, follow_callers: bool
    ) -> None:
        """Prepare.

        ratio:          share of traces that are kept, 0 to 1.
        follow_callers: a caller's own decision, the `sampled` flag of its `traceparent`, stands.
        """
        own = TraceIdRatioBased(ratio)
        self._outbox = Outbox(exporter, metrics)
        provider = TracerProvider(
            sampler=ParentBased(own) if follow_callers else own,
            # Not Resource.create: that adds whatever the environment and the process say of themselves.
            resource=Resource({"service.name": "oidc-gateway", "service.version": version}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(**_LIMITS),
        )
        provider.add_span_processor(self._outbox)
        self._tracer = provider.get_tracer("gateway", version)

    async def __aenter__(self) -> Self:
        self._outbox.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._outbox.close)

    def request(self, parent: TraceParent | None) -> AbstractContextManager[tracing.RequestSpan]:
        """Open the span of a request; see Tracer."""
        return self._request(parent)

    @contextmanager
    def _request(self, parent: TraceParent | None) -> Iterator[tracing.RequestSpan]:
        with self._open("request", SpanKind.SERVER, _context(parent)) as told:
            # What is not kept is not told either: then a span costs what it costs without a tracer.
            token = listen(self if told.kept else None)
            try:
                yield told
            finally:
                unlisten(token)

    def span(self, name: str, kind: tracing.SpanKind) -> AbstractContextManager[tracing.Span]:
        """Open a span below the one that is open; see Tracer."""
        return self._open(name, _KINDS[kind], None)

    def place(self) -> TraceParent | None:
        """Return where the trace stands; see Tracer."""
        place = get_current_span().get_span_context()
        if not place.is_valid:
            return None
        return TraceParent(
            trace_id=f"{place.trace_id:032x}",
            span_id=f"{place.span_id:016x}",
            sampled=place.trace_flags.sampled,
        )

    @contextmanager
    def _open(self, name: str, kind: SpanKind, context: Context | None) -> Iterator["_Told"]:
        # Exceptions are not recorded: their text and their frames may hold a token.
        with self._tracer.start_as_current_span(
            name, context, kind, record_exception=False, set_status_on_exception=False
        ) as opened:
            try:
                yield _Told(opened)
            except BaseException:
                opened.set_status(Status(StatusCode.ERROR))
                raise


class _Told:
    """A span of OpenTelemetry behind our list of attributes."""

    def __init__(self, opened: OtelSpan) -> None:
        self._opened = opened

    @property
    def kept(self) -> bool:
        return self._opened.is_recording()

    @property
    def trace_id(self) -> str | None:
        return f"{self._opened.get_span_context().trace_id:032x}"

    def name(self, name: str) -> None:
        self._opened.update_name(name)

    def say(self, **attributes: Unpack[Attributes]) -> None:
        for name, value in attributes.items():
            if name in ATTRIBUTES and isinstance(value, str | int):
                self._opened.set_attribute(_NAMES[name], value)
        status = attributes.get("status", 0)
        if status >= 500:
            self._opened.set_status(Status(StatusCode.ERROR))


class Outbox(SpanProcessor):
    """Sends ended spans from a thread of its own. A collector that is slow or gone costs spans, which are counted."""

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter = exporter
        self._spans: queue.Queue[ReadableSpan | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()
        self._told = "exported"
        self._results = {name: metrics.trace_spans.labels(name) for name in ("exported", "failed", "dropped")}

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span without waiting."""
        try:
            self._spans.put_nowait(span)
        except queue.Full:
            self._results["dropped"].inc()

    def start(self) -> None:
        """Begin to send."""
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Send what waits; a collector that does not take it is left behind after CLOSE_S."""
        if self._thread is None:
            return
        self._ending.set()
        with contextlib.suppress(queue.Full):
            self._spans.put_nowait(None)  # wakes who waits
        self._thread.join(CLOSE_S)
        self._thread = None
        self._exporter.shutdown()

    def _run(self) -> None:
        while not (self._ending.is_set() and self._spans.empty()):
            batch = self._collect()
            if batch:
                result = self._sent(batch)
                self._results[result].inc(len(batch))
                self._tell(result)

    def _tell(self, result: Literal["exported", "failed"]) -> None:
        """Say once that it fails, and once that it works again; the exporter's own words come every two seconds."""
        if result != self._told:
            self._told = result
            if result == "exported":
                _log.info("spans are taken again")
            else:
                known = self._exporter.why_not() if isinstance(self._exporter, CollectorExporter) else {}
                _log.warning("spans are not taken", extra=known)

    def _sent(self, batch: list[ReadableSpan]) -> Literal["exported", "failed"]:
        try:
            return "exported" if self._exporter.export(batch) is SpanExportResult.SUCCESS else "failed"
        except Exception:  # noqa: BLE001  whatever it was, the next batch may go
            return "failed"

    def _collect(self) -> list[ReadableSpan]:
        """Return what comes within a moment of the first; nothing of what comes after the end waits."""
        batch: list[ReadableSpan] = []
        until = time.monotonic() + _PAUSE_S
        with contextlib.suppress(queue.Empty):
            while len(batch) < _BATCH:
                left = max(0.0, until - time.monotonic())
                span = self._spans.get(timeout=left) if left else self._spans.get_nowait()
                if span is None:
                    until = 0.0
                else:
                    batch.append(span)
        return batch


def _context(parent: TraceParent | None) -> Context:
    if parent is None:
        return Context()
    place = SpanContext(
        trace_id=int(parent.trace_id, 16),
        span_id=int(parent.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT),
    )
    return set_span_in_context(NonRecordingSpan(place), Context())
