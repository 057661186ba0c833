"""What is told of a traced request, to whom, and what it costs when nobody takes it."""

import asyncio
import socket

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from gateway.metrics import Metrics
from gateway.outbound import otlp
from gateway.outbound.addresses import ThreadedLookUp
from gateway.outbound.http import OutboundFailure
from gateway.outbound.keyfetch import FetchRules, KeyFetch
from gateway.outbound.otlp import OtlpTracer, otlp_exporter
from gateway.tracing import TraceParent, span, xray_header
from tests.support.hang import no_hang
from tests.support.otlp import running_collector

SECRET = "eyJhbGciOi.the-token.signature"
CALLER = TraceParent(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7", sampled=True)
UNSAMPLED = TraceParent(trace_id=CALLER.trace_id, span_id=CALLER.span_id, sampled=False)


class House:
    """A tracer and what it gave away once it was closed."""

    def __init__(self, *, ratio: float = 1.0, follow_callers: bool = False) -> None:
        self.metrics = Metrics()
        self.kept = InMemorySpanExporter()
        self.tracer = OtlpTracer(
            self.kept, metrics=self.metrics, version="1", ratio=ratio, follow_callers=follow_callers
        )

    def spans(self) -> dict[str, ReadableSpan]:
        return {one.name: one for one in self.kept.get_finished_spans()}


def count(metrics: Metrics, result: str) -> float:
    return metrics.registry.get_sample_value("oidc_gateway_trace_spans_total", {"result": result}) or 0


async def test_a_span_stands_below_the_request_that_it_is_part_of_also_in_a_task_of_its_own() -> None:
    house = House()

    async with house.tracer as tracer:
        with tracer.request(CALLER) as request:

            async def flight() -> None:
                with span("sts AssumeRoleWithWebIdentity", "client") as told:
                    told.say(service="sts", status=200)

            await asyncio.create_task(flight())
            request.name("POST /token")
            request.say(method="POST", route="/token", status=200)

    spans = house.spans()
    top, below = spans["POST /token"], spans["sts AssumeRoleWithWebIdentity"]
    assert top.context is not None
    assert top.parent is not None
    assert (f"{top.context.trace_id:032x}", f"{top.parent.span_id:016x}") == (CALLER.trace_id, CALLER.span_id)
    assert below.parent == top.context
    assert (top.kind, below.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert dict(top.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/token",
        "http.response.status_code": 200,
    }
    assert count(house.metrics, "exported") == 2


async def test_a_request_without_a_trace_begins_one_and_its_id_is_known() -> None:
    house = House()

    async with house.tracer as tracer:
        with tracer.request(None) as first, tracer.request(None):
            pass
        with tracer.request(None) as second:
            pass

    assert first.trace_id != second.trace_id
    assert {len(str(one.trace_id)) for one in (first, second)} == {32}


@pytest.mark.requirement("SE-06")
async def test_what_is_not_on_the_list_is_not_told_and_neither_is_an_exception() -> None:
    house = House()

    async def fail() -> None:
        with span("identify") as told:
            told.say(issuer="github", subject=SECRET)  # type: ignore[call-arg]
            raise ValueError(SECRET)

    async with house.tracer as tracer:
        with tracer.request(CALLER) as request, pytest.raises(ValueError, match="token"):
            await fail()
        request.say(status=500)

    told = house.spans()["identify"]
    assert dict(told.attributes or {}) == {"oidc_gateway.issuer": "github"}
    assert told.events == ()
    assert (told.status.status_code, told.status.description) == (StatusCode.ERROR, None)
    assert SECRET not in "".join(one.to_json() for one in house.kept.get_finished_spans())


@pytest.mark.parametrize(
    ("ratio", "follow", "caller", "kept"),
    [
        pytest.param(0.0, False, CALLER, False, id="a-caller-cannot-make-us-keep"),
        pytest.param(1.0, False, UNSAMPLED, True, id="nor-make-us-forget"),
        pytest.param(0.0, True, CALLER, True, id="unless-callers-are-followed"),
        pytest.param(1.0, True, UNSAMPLED, False, id="and-then-both-ways"),
        pytest.param(0.0, True, None, False, id="who-says-nothing-gets-the-ratio"),
    ],
)
async def test_a_callers_sampling_counts_only_where_callers_are_followed(
    ratio: float, follow: bool, caller: TraceParent | None, kept: bool
) -> None:
    house = House(ratio=ratio, follow_callers=follow)

    async with house.tracer as tracer:
        with tracer.request(caller) as request, span("identify"):
            header = xray_header()

    assert set(house.spans()) == ({"request", "identify"} if kept else set())
    assert (header is not None) == kept
    assert request.trace_id is not None


async def test_the_trace_that_goes_on_to_x_ray_is_the_one_that_is_kept() -> None:
    house = House()

    async with house.tracer as tracer:
        with tracer.request(CALLER):
            header = xray_header()

    opened = house.spans()["request"].context
    assert opened is not None
    assert header == f"Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={opened.span_id:016x};Sampled=1"


async def test_spans_reach_a_collector_over_otlp() -> None:
    metrics = Metrics()

    with running_collector() as collector:
        exporter = otlp_exporter(collector.url)
        async with OtlpTracer(
            exporter, metrics=metrics, version="1", ratio=1, follow_callers=False
        ) as tracer:
            with tracer.request(CALLER), span("identify"):
                pass

    assert set(collector.of(CALLER.trace_id)) == {"request", "identify"}
    assert set(collector.paths) == {"/v1/traces"}
    assert count(metrics, "exported") == 2


async def test_a_collector_that_does_not_answer_costs_spans_and_two_seconds_at_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(otlp, "CLOSE_S", 0.2)
    metrics = Metrics()

    with no_hang(), running_collector() as collector:
        collector.holds.clear()
        exporter = otlp_exporter(collector.url)
        async with OtlpTracer(
            exporter, metrics=metrics, version="1", ratio=1, follow_callers=False
        ) as tracer:
            for _ in range(otlp.WAITING + 1_000):
                with tracer.request(CALLER):
                    pass
        exported = count(metrics, "exported")

    assert count(metrics, "dropped") >= 1
    assert exported == 0


class Broken(SpanExporter):
    """Takes nothing, in the worst way."""

    def export(self, spans: object) -> SpanExportResult:
        raise RuntimeError(SECRET)


async def test_an_exporter_that_breaks_is_counted_and_stops_nothing() -> None:
    metrics = Metrics()

    async with OtlpTracer(Broken(), metrics=metrics, version="1", ratio=1, follow_callers=False) as tracer:
        with tracer.request(None):
            pass

    assert count(metrics, "failed") == 1


@pytest.mark.parametrize(
    ("path", "why", "hint"),
    [
        pytest.param(None, "unreachable", "server.tracing.otlp name its port", id="nobody-listens"),
        pytest.param("/elsewhere", "status 404", "server.tracing.otlp may name one", id="another-path"),
    ],
)
async def test_the_log_says_once_to_whom_spans_did_not_go_and_why_and_what_to_do(
    path: str | None, why: str, hint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(otlp, "_EXPORT_S", 0.2)
    monkeypatch.setattr(otlp, "CLOSE_S", 20)
    with socket.create_server(("127.0.0.1", 0)) as taken, running_collector(refuses=404) as collector:
        port = taken.getsockname()[1]
        taken.close()
        url = f"http://somebody:secret@127.0.0.1:{port}" if path is None else collector.url + path

        async with OtlpTracer(
            otlp_exporter(url), metrics=Metrics(), version="1", ratio=1, follow_callers=False
        ) as tracer:
            with tracer.request(CALLER):
                pass

    [line] = [record for record in caplog.records if record.name == "gateway.traces"]
    told = vars(line)
    assert line.getMessage() == "spans are not taken"
    assert told["collector"] == url.rpartition("@")[2].removeprefix("http://").removesuffix("/elsewhere")
    assert told["why"] == why
    assert hint in told["hint"]


@pytest.mark.parametrize(
    ("given", "sent_to"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
        ("https://otel.example/a/traces", "https://otel.example/a/traces"),
    ],
)
def test_an_endpoint_without_a_path_gets_otlps_own(given: str, sent_to: str) -> None:
    assert otlp_exporter(given)._endpoint == sent_to


async def test_a_fetch_of_keys_is_a_span_that_says_how_it_ended_and_not_where_it_went() -> None:
    house = House()
    fetch = KeyFetch(look_up=ThreadedLookUp(), metrics=house.metrics)

    async with house.tracer as tracer:
        with tracer.request(CALLER), pytest.raises(OutboundFailure):
            await fetch.fetch("https://10.9.8.7/jwks", FetchRules(), max_bytes=10, deadline=1e9)

    told = house.spans()["issuer fetch"]
    assert told.kind is SpanKind.CLIENT
    assert dict(told.attributes or {}) == {
        "oidc_gateway.service": "issuer",
        "oidc_gateway.operation": "fetch",
        "oidc_gateway.outcome": "address",
    }
    assert "10.9.8.7" not in told.to_json()
