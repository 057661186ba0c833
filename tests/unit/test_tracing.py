"""Whose trace a request belongs to, and what is told of it while nobody listens."""

import pytest

from gateway.tracing import (
    ATTRIBUTES,
    NoTracer,
    TraceParent,
    listen,
    read_traceparent,
    span,
    unlisten,
    xray_header,
)

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"


def sent(*values: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"gateway.example"), *((b"traceparent", value.encode("latin-1")) for value in values)]


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        pytest.param(GOOD, True, id="sampled"),
        pytest.param(f"00-{TRACE}-{PARENT}-00", False, id="not-sampled"),
        pytest.param(f"00-{TRACE}-{PARENT}-03", True, id="random-flag"),
        pytest.param(f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", True, id="later-version"),
        pytest.param(f"01-{TRACE}-{PARENT}-01", True, id="next-version"),
    ],
)
def test_a_callers_trace_is_continued(value: str, sampled: bool) -> None:
    assert read_traceparent(sent(value)) == TraceParent(trace_id=TRACE, span_id=PARENT, sampled=sampled)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="none"),
        pytest.param([GOOD, GOOD], id="two"),
        pytest.param([""], id="empty"),
        pytest.param([GOOD.upper()], id="upper-case"),
        pytest.param([f"ff-{TRACE}-{PARENT}-01"], id="version-ff"),
        pytest.param([f"00-{TRACE}-{PARENT}-01-more"], id="version-00-with-more"),
        pytest.param([f"cc-{TRACE}-{PARENT}-01more"], id="more-without-a-dash"),
        pytest.param([f"00-{'0' * 32}-{PARENT}-01"], id="trace-of-zeros"),
        pytest.param([f"00-{TRACE}-{'0' * 16}-01"], id="parent-of-zeros"),
        pytest.param([f"00-{TRACE[:-1]}-{PARENT}-01"], id="short"),
        pytest.param([f" {GOOD}"], id="blank"),
        pytest.param([f"{GOOD}\n"], id="line-end"),
        pytest.param([f"00-{TRACE}-{PARENT}-0g"], id="no-hex"),
        pytest.param([f"00-{TRACE[:-1]}\xb2-{PARENT}-01"], id="a-digit-that-is-not-ascii"),
        pytest.param([f"cc-{TRACE}-{PARENT}-01-{'x' * 1000}"], id="endless"),
        pytest.param(["eyJhbGciOiJub25lIn0.e30."], id="a-token"),
    ],
)
def test_what_is_no_traceparent_is_no_trace(values: list[str]) -> None:
    assert read_traceparent(sent(*values)) is None


def test_without_a_listener_a_callers_trace_is_known_and_nothing_else_happens() -> None:
    parent = TraceParent(trace_id=TRACE, span_id=PARENT, sampled=True)

    with NoTracer().request(parent) as request, span("identify") as told:
        told.say(issuer="github")

    assert request.trace_id == TRACE
    assert xray_header() is None


class Standing(NoTracer):
    """A tracer that is somewhere."""

    def place(self) -> TraceParent | None:
        return TraceParent(trace_id=TRACE, span_id=PARENT, sampled=False)


def test_the_trace_goes_on_to_x_ray_in_its_own_writing() -> None:
    token = listen(Standing())
    header = xray_header()
    unlisten(token)

    assert header == f"Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Parent={PARENT};Sampled=0"


@pytest.mark.requirement("SE-06")
def test_the_list_of_attributes_has_no_place_for_what_a_caller_wrote() -> None:
    assert {
        "act", "aws_request_id", "code", "issuer", "method", "operation", "outcome", "request_id", "result", "route",
        "service", "status", "target", "workflow",
    } == ATTRIBUTES  # fmt: skip
