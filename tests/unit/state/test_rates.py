"""Counting what callers send: exactly for each, in bounded memory, and together with other processes."""

import pytest

from gateway.state.rates import Rate, RateTable, Standing, learn
from tests.support.clocks import SettableClock

WINDOW_S = 60
#: Of a window, so that tests know how far it has gone.
BEGIN_S = 1_795_342_620.0


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock(wall_s=BEGIN_S)


def table(clock: SettableClock, quota: int = 10, entries: int = 100_000) -> RateTable:
    return RateTable("address", Rate(quota=quota, window_s=WINDOW_S), clock=clock, entries=entries)


def hits(rates: RateTable, key: str, times: int) -> list[Standing]:
    return [rates.hit(key) for _ in range(times)]


@pytest.mark.requirement("HT-10")
def test_as_many_as_the_limit_says_are_let_through_and_the_next_is_not(clock: SettableClock) -> None:
    found = hits(table(clock), "a", 11)

    assert [one.refused for one in found] == [False] * 10 + [True]
    assert [one.left for one in found] == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert found[0].policy == b'"address";q=10;w=60'


@pytest.mark.requirement("HT-10", "F-27")
def test_whoever_sends_too_much_is_the_only_one_who_is_refused(clock: SettableClock) -> None:
    rates = table(clock)
    hits(rates, "noisy", 1_000)

    assert not any(one.refused for one in hits(rates, "quiet", 10))
    assert rates.hit("noisy").refused


@pytest.mark.requirement("HT-10")
def test_the_limit_does_not_fit_twice_around_the_end_of_a_window(clock: SettableClock) -> None:
    rates = table(clock)
    clock.advance(WINDOW_S - 1)
    hits(rates, "a", 10)

    clock.advance(2)

    assert rates.hit("a").refused


@pytest.mark.requirement("HT-10")
@pytest.mark.parametrize("into_s", [0, 1, 30, 59.5])
@pytest.mark.parametrize("before", [0, 3, 10])
def test_a_request_after_the_told_time_is_let_through_and_one_just_before_it_is_not(
    clock: SettableClock, into_s: float, before: int
) -> None:
    rates = table(clock)
    hits(rates, "a", before)
    clock.advance(WINDOW_S + into_s)
    while not (refusal := rates.hit("a")).refused:
        pass

    clock.advance(refusal.reset_s - 1.001)
    early = refusal.reset_s > 1 and not rates.hit("a").refused
    clock.advance(1.002)

    assert not early
    assert not rates.hit("a").refused


@pytest.mark.requirement("HT-10")
def test_refused_requests_do_not_count(clock: SettableClock) -> None:
    rates = table(clock)
    hits(rates, "a", 10_000)

    clock.advance(2 * WINDOW_S)

    assert not any(one.refused for one in hits(rates, "a", 10))


@pytest.mark.requirement("HT-10")
def test_of_refusals_one_a_minute_is_told(clock: SettableClock) -> None:
    rates = table(clock)
    hits(rates, "a", 10)

    at_once = [rates.hit("a").repeated for _ in range(3)]
    clock.advance(59)
    soon = rates.hit("a").repeated
    clock.advance(2)
    after = [one.repeated for one in hits(rates, "a", 20) if one.refused]

    assert at_once == [False, True, True]
    assert soon
    assert after[:2] == [False, True]


@pytest.mark.requirement("HT-10")
def test_a_hundred_thousand_callers_and_ten_times_as_many_take_the_same_memory(clock: SettableClock) -> None:
    rates = table(clock, entries=1_000)

    for number in range(10_000):
        rates.hit(str(number))

    assert len(rates) <= 1_000


@pytest.mark.requirement("HT-10")
def test_a_flood_of_new_callers_makes_nobody_forgotten_who_goes_on_sending(clock: SettableClock) -> None:
    rates = table(clock, entries=1_000)

    for number in range(10_000):
        rates.hit(str(number))
        if number % 400 == 0:
            rates.hit("noisy")

    assert rates.hit("noisy").refused


@pytest.mark.parametrize("step_s", [-3600, -60, 3600])
def test_a_clock_that_is_set_back_or_forward_locks_nobody_out(clock: SettableClock, step_s: float) -> None:
    rates = table(clock)
    hits(rates, "a", 11)

    clock.advance(step_s)

    assert not rates.hit("a").refused


# Together with other processes.


@pytest.mark.requirement("HT-10")
def test_what_others_have_counted_counts_here(clock: SettableClock) -> None:
    rates = table(clock)
    rates.share()
    rates.hit("a")
    ((key, count),) = rates.changes(10)

    learn(count, window=count.window, sent=1, total=9)

    assert key == "a"
    assert [one.refused for one in hits(rates, "a", 2)] == [False, True]


def test_what_is_learnt_too_late_for_its_window_is_left_out(clock: SettableClock) -> None:
    rates = table(clock)
    rates.share()
    rates.hit("a")
    ((_, count),) = rates.changes(10)
    window = count.window
    clock.advance(2 * WINDOW_S)
    rates.hit("a")

    learn(count, window=window, sent=1, total=1_000)

    assert not rates.hit("a").refused


def test_only_counts_that_have_come_some_way_are_shared_and_each_once(clock: SettableClock) -> None:
    rates = table(clock, quota=100)
    rates.share()
    hits(rates, "a", 4)
    hits(rates, "b", 5)

    taken = [key for key, _ in rates.changes(10)]

    assert taken == ["b"]
    assert rates.changes(10) == []


def test_without_anybody_to_share_with_nothing_is_kept_for_them(clock: SettableClock) -> None:
    rates = table(clock, quota=1)
    rates.hit("a")

    assert rates.changes(10) == []
