"""Reservations in memory: bounded, and nothing alive is ever given up for something new."""

from dataclasses import replace

import pytest

from gateway.errors import ErrorCode, Unavailable
from gateway.state.memory import MemoryReservations
from gateway.state.store import Claim, Reservation, Taken
from tests.support.clocks import SettableClock
from tests.support.hang import no_hang
from tests.support.shared_state import claim

FOREVER = float("inf")


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


async def reserve(store: MemoryReservations, wanted: Claim, *, began: bool = False) -> Reservation | Taken:
    got = await store.reserve(wanted, deadline=FOREVER)
    if began:
        assert isinstance(got, Reservation)
        await store.begin(got, deadline=FOREVER)
    return got


@pytest.mark.requirement("TV-42")
async def test_a_full_store_refuses_what_is_new_and_keeps_what_it_has(clock: SettableClock) -> None:
    store = MemoryReservations(clock, max_entries=3)
    claims = [claim(str(number), now=clock.wall()) for number in range(4)]
    for one in claims[:3]:
        await reserve(store, one, began=True)

    with pytest.raises(Unavailable) as refused:
        await reserve(store, claims[3])

    assert refused.value.code is ErrorCode.REPLAY_STORE_FULL
    assert [isinstance(await reserve(store, one), Taken) for one in claims[:3]] == [True] * 3


@pytest.mark.requirement("TV-42")
async def test_a_full_store_has_room_again_when_entries_are_over(clock: SettableClock) -> None:
    store = MemoryReservations(clock, max_entries=2)
    await reserve(store, claim("begun", now=clock.wall(), life_s=60), began=True)
    await reserve(store, claim("abandoned", now=clock.wall(), lease_s=30, life_s=3600))

    clock.advance(70)

    for name in ("new", "newer"):
        assert isinstance(await reserve(store, claim(name, now=clock.wall())), Reservation)


async def test_what_is_released_leaves_nothing_behind(clock: SettableClock) -> None:
    store = MemoryReservations(clock, max_entries=1)
    for number in range(1000):
        got = await reserve(store, claim(str(number), now=clock.wall()), began=True)
        assert isinstance(got, Reservation)
        await store.release(got)

    assert len(store) == 0


@pytest.mark.requirement("TV-42")
async def test_an_entry_is_alive_to_the_last_moment_of_its_time(clock: SettableClock) -> None:
    store = MemoryReservations(clock)
    this = claim(now=clock.wall(), life_s=600)
    await reserve(store, this, began=True)

    clock.advance(599.999)
    before = await reserve(store, this)
    clock.advance(0.001)
    after = await reserve(store, replace(this, until=clock.wall() + 600))

    assert isinstance(before, Taken)
    assert isinstance(after, Reservation)


async def test_a_lease_that_is_over_before_it_begins_does_not_begin(clock: SettableClock) -> None:
    store = MemoryReservations(clock)
    got = await reserve(store, claim(now=clock.wall(), lease_s=30))
    assert isinstance(got, Reservation)

    clock.advance(30)

    with pytest.raises(Unavailable, match="took longer than its reservation lasts"):
        await store.begin(got, deadline=FOREVER)


async def test_forgetting_costs_the_same_however_much_is_remembered(clock: SettableClock) -> None:
    store = MemoryReservations(clock, max_entries=200_000)
    for number in range(100_000):
        await reserve(store, claim(str(number), now=clock.wall(), lease_s=100 + number % 3000))

    with no_hang():
        for _ in range(31_000):
            clock.advance(0.1)
            await reserve(store, claim("one", now=clock.wall(), lease_s=0.05))

    assert len(store) < 1000


@pytest.mark.requirement("F-14")
@pytest.mark.parametrize(
    "jumps", [(86_400, -86_400), (-86_400, 86_400)], ids=["ahead and back", "back and ahead"]
)
async def test_a_wall_clock_that_is_set_and_set_right_again_makes_no_used_token_good(
    clock: SettableClock, jumps: tuple[float, float]
) -> None:
    store = MemoryReservations(clock)
    used = claim("used", now=clock.wall(), life_s=300)
    await reserve(store, used, began=True)

    for jump_s in jumps:
        clock.wall_s += jump_s
        await reserve(store, claim(f"another-{jump_s}", now=clock.wall(), life_s=300), began=True)
        # Looked for while the clock is wrong, it must not be dropped for being over by that clock.
        assert isinstance(await reserve(store, used), Taken)
        clock.advance(20)

    assert isinstance(await reserve(store, used), Taken)


@pytest.mark.requirement("F-14")
async def test_a_wall_clock_that_is_set_back_keeps_what_could_be_good_again_and_then_forgets_it(
    clock: SettableClock,
) -> None:
    store = MemoryReservations(clock, max_entries=1)
    await reserve(store, claim("used", now=clock.wall(), life_s=300), began=True)
    clock.wall_s -= 3_600
    clock.advance(400)

    with pytest.raises(Unavailable):
        await reserve(store, claim("too early", now=clock.wall()))

    clock.advance(3_600)
    assert isinstance(await reserve(store, claim("in time", now=clock.wall())), Reservation)
