"""How long a call may take is settled when its request comes in, whatever happened before its handler got to it."""

import pytest
from starlette.requests import Request

from gateway.doors.inbound import EXCHANGE_S, START_S, make_call
from gateway.secret import Secret
from tests.support.clocks import SettableClock

ARRIVED_S = 700.0


def request_that_took(seconds: float, clock: SettableClock) -> Request:
    clock.monotonic_s = ARRIVED_S + seconds
    state: dict[str, object] = {
        "request_id": "r1",
        "trace_id": None,
        "arrived": ARRIVED_S,
        "source": None,
        "notes": {},
        "standings": [],
    }
    return Request({"type": "http", "headers": [], "state": state})


@pytest.mark.requirement("HT-09")
@pytest.mark.parametrize("took_s", [0.0, 9.0], ids=["at-once", "a-slow-body"])
def test_a_call_must_be_answered_so_many_seconds_after_its_first_byte(took_s: float) -> None:
    clock = SettableClock()
    request = request_that_took(took_s, clock)

    usual = make_call(request, Secret("a.b.c"), clock)
    start = make_call(request, Secret("a.b.c"), clock, seconds=START_S)

    assert (usual.deadline, start.deadline) == (ARRIVED_S + 15, ARRIVED_S + 25)
    assert (EXCHANGE_S, START_S) == (15, 25)
