"""How long a connection may wait for its next request: judged by one timer, which finds out when the last answer was."""

import asyncio
from collections.abc import Callable
from typing import cast

import pytest
import uvicorn
from starlette.responses import JSONResponse, Response
from uvicorn.server import ServerState

from gateway.doors.draining import Draining
from gateway.doors.leaving import WholeRequest
from gateway.doors.reception import Reception
from gateway.doors.short_way import ShortWay
from gateway.listening.connections import Connections
from gateway.listening.protocol import GuardedProtocol, ProtocolLimits
from gateway.listening.strangers import Strangers
from gateway.metrics import Metrics
from tests.support.clocks import SettableClock

IDLE_S = 5.0
REQUEST = b"GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = REQUEST[:20]


class ScriptedLoop:
    """Time that goes on only when it is told to, and the timers that are due by then."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[tuple[float, Timer]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[..., None], *arguments: object) -> "Timer":
        timer = Timer(lambda: callback(*arguments))
        self.timers.append((self.now + seconds, timer))
        return timer

    def go_on(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [one for one in self.timers if one[0] <= end and not one[1].cancelled]:
            first = min(due, key=lambda one: one[0])
            self.timers.remove(first)
            self.now = max(self.now, first[0])
            first[1].call()
        self.now = end


class Timer:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Wire(asyncio.Transport):
    """Takes what is written; closed at once."""

    closed = False
    answers = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.answers += 1

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return False

    def resume_reading(self) -> None:
        pass


class Line:
    """One connection on scripted time."""

    def __init__(self) -> None:
        self.loop, self.wire = ScriptedLoop(), Wire()
        metrics = Metrics()
        reception = Reception(metrics=metrics, draining=Draining(), clock=SettableClock())
        address = (b"GET", b"/v1/whoami")
        self.protocol = GuardedProtocol(
            uvicorn.Config(_nobody, log_config=None),
            ServerState(),
            {},
            limits=ProtocolLimits(idle_s=IDLE_S),
            count_refused=lambda _: None,
            strangers=cast(Strangers, None),
            connections=Connections(),
            short_way=ShortWay(reception=reception, handlers={address: _later}, quick={address: _at_once}),
        )
        self.protocol.loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.protocol.connection_made(self.wire)

    def ask(self) -> None:
        self.protocol.data_received(REQUEST)


async def _nobody(scope: object, receive: object, send: object) -> None:
    raise AssertionError("Nothing goes the long way here.")


async def _later(_: WholeRequest) -> Response:
    raise AssertionError("Every answer is there at once.")


def _at_once(_: WholeRequest) -> Response:
    return JSONResponse({})


@pytest.fixture
async def line() -> Line:
    return Line()


@pytest.mark.requirement("HT-02")
async def test_a_connection_is_closed_so_long_after_its_last_answer_and_not_before(line: Line) -> None:
    line.ask()
    line.loop.go_on(4.0)
    line.ask()

    line.loop.go_on(4.9)
    early = line.wire.closed
    line.loop.go_on(0.2)

    assert (early, line.wire.closed, line.wire.answers) == (False, True, 2)


@pytest.mark.requirement("HT-02")
async def test_pauses_that_are_short_enough_may_be_many(line: Line) -> None:
    for _ in range(20):
        line.ask()
        line.loop.go_on(4.9)

    assert (line.wire.closed, line.wire.answers) == (False, 20)


async def test_a_connection_has_one_timer_for_its_pauses_however_many_requests_come(line: Line) -> None:
    for _ in range(20):
        line.ask()

    assert len([timer for _, timer in line.loop.timers if not timer.cancelled]) == 1


async def test_a_request_that_is_on_its_way_is_not_cut_off_as_a_pause(line: Line) -> None:
    line.ask()
    line.loop.go_on(4.9)

    line.protocol.data_received(HALF)
    line.loop.go_on(4.9)
    line.protocol.data_received(REQUEST[20:])

    assert (line.wire.closed, line.wire.answers) == (False, 2)


@pytest.mark.requirement("HT-02")
async def test_what_came_while_the_machine_was_busy_is_read_before_the_connection_is_given_up(
    line: Line,
) -> None:
    line.ask()

    line.loop.go_on(5.001)  # the timer runs, late; what has arrived is read right after it
    line.ask()
    line.loop.go_on(4.0)

    assert (line.wire.closed, line.wire.answers) == (False, 2)


async def test_nothing_is_left_of_a_connection_that_is_gone(line: Line) -> None:
    line.ask()

    line.protocol.connection_lost(None)

    assert [timer for _, timer in line.loop.timers if not timer.cancelled] == []


async def test_who_does_not_take_an_answer_gets_no_further_one(line: Line) -> None:
    line.ask()
    line.protocol.pause_writing()  # more is waiting for the client than may

    line.ask()
    line.ask()
    line.loop.go_on(1.1)

    assert (line.wire.closed, line.wire.answers) == (True, 1)


async def test_who_has_taken_an_answer_goes_on(line: Line) -> None:
    line.ask()
    line.protocol.pause_writing()
    line.protocol.resume_writing()

    line.ask()

    assert (line.wire.closed, line.wire.answers) == (False, 2)
