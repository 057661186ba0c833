"""The short way, apart from any socket: what it counts when nothing ever comes of a request."""

import pytest
from starlette.responses import JSONResponse, Response

from gateway.doors.draining import Draining
from gateway.doors.entrance import Entrance
from gateway.doors.framing import FramingLimits, judge_head
from gateway.doors.leaving import WholeRequest
from gateway.doors.reception import Reception
from gateway.doors.short_way import Served, ShortWay
from gateway.metrics import Metrics
from gateway.state.rates import Rate, RateTable
from gateway.tracing import Silent
from tests.support.clocks import SettableClock

ADDRESS = (b"GET", b"/v1/whoami")
HEAD = judge_head(b"GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n", FramingLimits())


class Waiting:
    """Whoever asked."""

    left = False


async def slow(_: WholeRequest) -> Response:
    return JSONResponse({"slow": True})


def never(_: WholeRequest) -> Response | None:
    return None


def reception(metrics: Metrics, *, address: RateTable | None = None, max_in_flight: int = 100) -> Reception:
    draining = Draining()
    entrance = Entrance(metrics=metrics, draining=draining, address=address, max_in_flight=max_in_flight)
    return Reception(metrics=metrics, draining=draining, clock=SettableClock(), entrance=entrance)


def never_quick(reception: Reception) -> ShortWay:
    return ShortWay(reception=reception, handlers={ADDRESS: slow}, quick={ADDRESS: never})


@pytest.mark.requirement("F-26")
async def test_a_request_whose_task_never_runs_is_not_counted_as_in_flight() -> None:
    metrics = Metrics()
    short_way = never_quick(reception(metrics))

    coming = short_way.serve(HEAD, b"", client=None, state={}, by=Waiting())

    assert not isinstance(coming, Served)
    assert metrics.registry.get_sample_value("oidc_gateway_http_requests_in_flight") == 0
    coming.close()


async def test_what_cannot_be_answered_at_once_is_answered_by_the_other_handler_and_counted_once() -> None:
    metrics = Metrics()
    short_way = never_quick(reception(metrics))

    coming = short_way.serve(HEAD, b"", client=None, state={}, by=Waiting())
    assert not isinstance(coming, Served)
    answer, closes = short_way.compose(await coming, [], closing=False)

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"slow":true}')
    assert not closes
    labels = {"route": "/v1/whoami", "method": "GET", "status": "200"}
    assert metrics.registry.get_sample_value("oidc_gateway_http_requests_total", labels) == 1
    assert metrics.registry.get_sample_value("oidc_gateway_http_requests_in_flight") == 0


@pytest.mark.requirement("HT-10")
async def test_a_request_that_both_handlers_see_counts_once_against_its_address() -> None:
    address = RateTable("address", Rate(quota=10, window_s=60), clock=SettableClock())
    short_way = never_quick(reception(Metrics(), address=address))

    coming = short_way.serve(HEAD, b"", client=None, state={}, by=Waiting())
    assert not isinstance(coming, Served)
    answer, _ = short_way.compose(await coming, [], closing=False)

    assert b'ratelimit: "address";r=9;' in answer


@pytest.mark.requirement("HT-08", "F-26")
async def test_who_asks_for_health_takes_no_place_from_a_caller() -> None:
    metrics = Metrics()
    crowded = reception(metrics, max_in_flight=1)
    usual = {"type": "http", "method": "GET", "headers": []}

    crowded.receive({**usual, "path": "/metrics"}, Silent())
    visit = crowded.receive({**usual, "path": "/v1/whoami"}, Silent())

    crowded.admit(visit)
    assert metrics.registry.get_sample_value("oidc_gateway_http_requests_in_flight") == 2
