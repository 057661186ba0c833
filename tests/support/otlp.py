"""A collector of OpenTelemetry on a free loopback port, which keeps what it receives."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.canaries import RUN


class Collector:
    """Takes OTLP over HTTP. spans: everything received; bodies: as it came; paths: where to. holds: until it is set
    nothing is answered.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.bodies: list[bytes] = []
        self.paths: list[str] = []
        self.holds = threading.Event()
        self.holds.set()
        self.url = ""

    def of(self, trace_id: str) -> dict[str, Span]:
        """Return the spans of one trace by name; the last of equal names."""
        return {span.name: span for span in self.spans if span.trace_id.hex() == trace_id}

    def take(self, path: str, body: bytes) -> None:
        """Keep one request."""
        self.paths.append(path)
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)


def attributes(span: Span) -> dict[str, object]:
    """Return what a span says, by OpenTelemetry's names."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in span.attributes}


@contextmanager
def running_collector(*, refuses: int | None = None) -> Iterator[Collector]:
    """Serve one until the block ends. refuses: the status with which it answers everything."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.holds.wait(30)
            if refuses is not None:
                self.send_error(refuses)
                return
            collector.take(self.path, body)
            RUN.add("traces", collector.url, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its own
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.holds.set()
            server.shutdown()
            thread.join(10)
