"""Any order of events leads the store in memory and a real Redis to the same answers."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gateway.clock import Clock, SystemClock
from gateway.errors import Unavailable
from gateway.state.memory import MemoryReservations
from gateway.state.store import Reservation, Reservations, Taken
from tests.support.clocks import SettableClock
from tests.support.redis_server import RedisServer
from tests.support.shared_state import SharedState, claim, shared_state

_LEASE_S = 600
#: A key, a binding, and whether it is repeatable.
RESERVE = st.tuples(st.just("reserve"), st.sampled_from("ab"), st.sampled_from("xy"), st.booleans())
#: What becomes of one of the reservations that were got so far.
SETTLE = st.tuples(st.sampled_from(["begin", "begin", "confirm", "release"]), st.integers(0, 7))
#: Every lease is over.
WAIT = st.just(("wait",))
EVENTS = st.lists(st.one_of(RESERVE, RESERVE, SETTLE, SETTLE, WAIT), max_size=14)
_Event = tuple[object, ...]


@pytest.mark.requirement("TV-43", "TV-44")
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=EVENTS)
@example(
    # Confirmed after the lease of another, who came later and never began, is over too.
    events=[
        ("reserve", "b", "x", False),
        ("wait",),
        ("reserve", "b", "x", False),
        ("wait",),
        ("confirm", 0),
        ("reserve", "b", "x", False),
    ]
)
def test_both_stores_answer_alike(redis: RedisServer, events: list[_Event]) -> None:
    async def both() -> tuple[list[object], list[object]]:
        async with shared_state(redis.url, prefix=f"{uuid4()}:", period_s=60) as state:
            return await told_by_memory(events), await told_by_redis(state, events)

    in_memory, in_redis = asyncio.run(both())

    assert in_redis == in_memory


async def told_by_memory(events: list[_Event]) -> list[object]:
    clock = SettableClock()

    async def wait() -> None:
        clock.advance(_LEASE_S + 1)

    return await told(MemoryReservations(clock), clock, events, wait)


async def told_by_redis(state: SharedState, events: list[_Event]) -> list[object]:
    async def wait() -> None:
        # Nobody moves the clock of Redis, so the leases are moved.
        for name in "ab":
            key = state.redis.key("used", claim(name, now=0).key)
            phase = await state.redis.client.hget(key, "n")
            if phase == b"0":
                await state.redis.client.delete(key)
            elif phase == b"1":
                await state.redis.client.hset(key, "l", "0")

    return await told(state.reservations, SystemClock(), events, wait)


async def told(
    store: Reservations, clock: Clock, events: list[_Event], wait: Callable[[], Awaitable[None]]
) -> list[object]:
    """Let the events happen, and return what the store said to each."""
    got: list[Reservation] = []
    said: list[object] = []
    for number, event in enumerate(events):
        match event:
            case ("reserve", str(key), str(binding), bool(repeatable)):
                wanted = claim(
                    key,
                    now=clock.wall(),
                    binding=binding,
                    repeatable=repeatable,
                    lease_s=_LEASE_S,
                    life_s=1_000_000,
                    request_id=str(number),
                )
                answer = await store.reserve(wanted, deadline=time.monotonic() + 30)
                if isinstance(answer, Reservation):
                    got.append(answer)
                said.append(shown(answer))
            case (str(name), int(which)) if got:
                said.append(await settled(store, name, got[which % len(got)]))
            case ("wait",):
                await wait()
    return said


async def settled(store: Reservations, name: str, one: Reservation) -> object:
    match name:
        case "confirm":
            await store.confirm(one, answer=one.claim.request_id.encode())
        case "release":
            await store.release(one)
        case _:
            try:
                await store.begin(one, deadline=time.monotonic() + 30)
            except Unavailable as refused:
                return refused.code
    return name


def shown(answer: Reservation | Taken) -> object:
    if isinstance(answer, Reservation):
        return "ours"
    return answer.state, answer.same, answer.request_id, answer.answer
