"""What every store of reservations does, asked of the one in memory and of a real Redis alike."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import pytest

from gateway.clock import SystemClock
from gateway.errors import ErrorCode, Unavailable
from gateway.state.memory import MemoryReservations
from gateway.state.store import MAX_ANSWER_BYTES, Claim, Reservation, Reservations, Taken
from tests.support.redis_server import RedisServer
from tests.support.shared_state import claim, shared_state


@dataclass(slots=True, kw_only=True)
class Store:
    """One store, and a second view of it as another worker has it."""

    mine: Reservations
    theirs: Reservations


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    if request.param == "memory":
        alone = MemoryReservations(SystemClock())
        yield Store(mine=alone, theirs=alone)
        return
    server: RedisServer = request.getfixturevalue("redis")
    prefix = f"{uuid4()}:"
    async with shared_state(server.url, prefix=prefix) as one, shared_state(server.url, prefix=prefix) as two:
        yield Store(mine=one.reservations, theirs=two.reservations)


async def reserve(store: Reservations, wanted: Claim) -> Reservation | Taken:
    return await store.reserve(wanted, deadline=time.monotonic() + 5)


async def own(store: Reservations, wanted: Claim, *, began: bool = False) -> Reservation:
    """Reserve what is free."""
    got = await reserve(store, wanted)
    assert isinstance(got, Reservation)
    if began:
        await begin(store, got)
    return got


async def begin(store: Reservations, reservation: Reservation) -> None:
    await store.begin(reservation, deadline=time.monotonic() + 5)


async def taken(store: Reservations, wanted: Claim) -> Taken:
    """Reserve what is somebody else's."""
    got = await reserve(store, wanted)
    assert isinstance(got, Taken)
    return got


def wanted(**members: Any) -> Claim:
    return claim(now=time.time(), **members)


async def lease_over(store: Reservations, like: Claim) -> Taken | Reservation:
    """Wait until the lease of whoever holds the key is over, and return what another call then gets."""
    while True:
        got = await reserve(store, like)
        if isinstance(got, Reservation) or got.state != "running":
            return got
        await asyncio.sleep(got.left_s)


@pytest.mark.requirement("TV-43")
async def test_of_a_hundred_calls_at_once_one_gets_the_key(store: Store) -> None:
    this = wanted()
    asked = (reserve(side, this) for _ in range(50) for side in (store.mine, store.theirs))

    answers = await asyncio.gather(*asked)

    assert Counter(type(answer) for answer in answers) == {Reservation: 1, Taken: 99}


@pytest.mark.requirement("TV-43")
async def test_a_running_call_is_told_to_the_second_with_its_request_id(store: Store) -> None:
    this = wanted(request_id="01FIRST")
    await own(store.mine, this)

    second = await taken(store.theirs, replace(this, request_id="01SECOND"))

    assert (second.state, second.same, second.request_id) == ("running", True, "01FIRST")
    assert 0 < second.left_s <= 30
    assert abs(second.since - time.time()) < 60


@pytest.mark.requirement("TV-44")
async def test_another_request_under_the_same_key_is_told_apart(store: Store) -> None:
    first = await own(store.mine, wanted(), began=True)
    await store.mine.confirm(first, answer=b'{"url":"/v1/executions/a"}')

    other = await taken(store.theirs, wanted(binding="something else"))

    assert (other.state, other.same, other.answer) == ("done", False, None)


@pytest.mark.requirement("TV-44")
async def test_what_confirm_stored_is_there_for_who_wants_the_same(store: Store) -> None:
    first = await own(store.mine, wanted(), began=True)

    await store.mine.confirm(first, answer=b'{"url":"/v1/executions/a"}')

    again = await taken(store.theirs, wanted())
    assert (again.state, again.same, again.answer) == ("done", True, b'{"url":"/v1/executions/a"}')


async def test_an_answer_too_long_to_keep_leaves_the_key_taken(store: Store) -> None:
    first = await own(store.mine, wanted(), began=True)

    await store.mine.confirm(first, answer=b"x" * (MAX_ANSWER_BYTES + 1))

    again = await taken(store.theirs, wanted())
    assert (again.state, again.answer) == ("done", None)


@pytest.mark.requirement("TV-43")
async def test_a_reservation_that_did_not_begin_frees_its_key_when_its_lease_is_over(store: Store) -> None:
    late = await own(store.mine, wanted(lease_s=0.05))

    got = await lease_over(store.theirs, wanted())

    assert isinstance(got, Reservation)
    with pytest.raises(Unavailable) as refused:
        await begin(store.mine, late)
    assert refused.value.code is ErrorCode.REPLAY_STORE_UNAVAILABLE


@pytest.mark.requirement("TV-43", "TV-44")
@pytest.mark.parametrize(
    ("binding", "repeatable"),
    [
        pytest.param("this", False, id="not repeatable"),
        pytest.param("something else", True, id="another request"),
    ],
)
async def test_an_interrupted_call_keeps_its_key(store: Store, binding: str, repeatable: bool) -> None:
    await own(store.mine, wanted(lease_s=0.05), began=True)

    got = await lease_over(store.theirs, wanted(binding=binding, repeatable=repeatable))

    assert isinstance(got, Taken)
    assert (got.state, got.left_s) == ("interrupted", 0)


@pytest.mark.requirement("TV-44")
async def test_an_interrupted_call_is_taken_over_by_one_repeatable_call_that_wants_the_same(
    store: Store,
) -> None:
    this = wanted(lease_s=0.05, repeatable=True)
    first = await own(store.mine, this, began=True)

    second = await lease_over(store.theirs, replace(this, lease_s=30))

    assert isinstance(second, Reservation)
    await store.mine.confirm(first, answer=b"{}")  # too late: the key is the second's
    third = await taken(store.mine, this)
    assert third.state == "running"
    await begin(store.theirs, second)
    await store.theirs.confirm(second, answer=b'{"second":true}')
    assert (await taken(store.mine, this)).answer == b'{"second":true}'


@pytest.mark.requirement("TV-44")
async def test_who_took_over_and_did_nothing_does_not_free_what_the_first_may_have_done(store: Store) -> None:
    this = wanted(lease_s=0.05, repeatable=True)
    await own(store.mine, this, began=True)
    second = await lease_over(store.theirs, replace(this, lease_s=30))
    assert isinstance(second, Reservation)

    await store.theirs.release(second)

    assert (await taken(store.mine, wanted())).state == "interrupted"


@pytest.mark.parametrize("began", [False, True], ids=["before it begins", "after it began"])
async def test_release_frees_the_key_for_anybody(store: Store, began: bool) -> None:
    first = await own(store.mine, wanted(), began=began)

    await store.mine.release(first)

    assert isinstance(await reserve(store.theirs, wanted(binding="something else")), Reservation)


async def test_only_its_owner_ends_a_reservation(store: Store) -> None:
    first = await own(store.mine, wanted())
    stranger = replace(first, owner="0" * 32)

    await store.theirs.release(stranger)
    await store.theirs.confirm(stranger, answer=b"{}")

    assert (await taken(store.theirs, wanted())).state == "running"
    with pytest.raises(Unavailable):
        await begin(store.theirs, stranger)


async def test_what_is_done_is_not_released(store: Store) -> None:
    first = await own(store.mine, wanted(), began=True)
    await store.mine.confirm(first, answer=None)

    await store.mine.release(first)

    assert (await taken(store.theirs, wanted())).state == "done"


@pytest.mark.requirement("TV-42")
@pytest.mark.parametrize("end", ["begun", "confirmed"])
async def test_a_key_is_remembered_until_its_time_and_not_longer(store: Store, end: str) -> None:
    first = await own(store.mine, wanted(life_s=1), began=True)
    if end == "confirmed":
        await store.mine.confirm(first, answer=b"{}")

    remembered_at = first.claim.until
    while isinstance(await reserve(store.theirs, wanted()), Taken):
        remembered_at = time.time()
        await asyncio.sleep(0.02)

    assert time.time() >= first.claim.until
    assert remembered_at < first.claim.until + 60


@pytest.mark.requirement("TV-42")
async def test_a_claim_that_is_over_already_gets_nothing(store: Store) -> None:
    with pytest.raises(Unavailable) as refused:
        await reserve(store.mine, wanted(life_s=-1))

    assert refused.value.code is ErrorCode.REPLAY_STORE_UNAVAILABLE


async def test_many_keys_do_not_disturb_each_other(store: Store) -> None:
    claims = [wanted(key=str(number)) for number in range(500)]

    answers = await asyncio.gather(*(reserve(store.mine, one) for one in claims))

    assert all(isinstance(answer, Reservation) for answer in answers)
