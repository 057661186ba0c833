"""A wall clock that is set is told, whichever way; time that passes is not."""

import pytest

from gateway.state.clock_watch import ClockWatch
from tests.support.clocks import SettableClock


@pytest.mark.requirement("F-14")
@pytest.mark.parametrize("jump_s", [600, -600, 86_400], ids=["ahead", "back", "a day"])
def test_a_jump_of_the_wall_clock_is_an_error_in_the_log_once(
    caplog: pytest.LogCaptureFixture, jump_s: float
) -> None:
    clock = SettableClock()
    watch = ClockWatch(clock)
    clock.advance(5)
    clock.wall_s += jump_s

    watch.turn()
    watch.turn()

    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("ERROR", "the wall clock jumped")
    ]


@pytest.mark.requirement("F-14")
def test_time_that_passes_and_a_clock_that_is_adjusted_a_little_are_no_jump(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = SettableClock()
    watch = ClockWatch(clock)
    clock.advance(3_600)
    watch.turn()
    clock.wall_s += 60

    watch.turn()

    assert caplog.records == []
