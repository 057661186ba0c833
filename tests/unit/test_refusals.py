"""Refusals of callers nobody knows: a flood of them fills no disk, and their number stays exact."""

import asyncio
from dataclasses import replace

import pytest

from gateway.audit.record import Record
from gateway.errors import ErrorCode
from gateway.exchange.refusals import Refusals
from gateway.together import ENTRIES, IN_FULL, TOGETHER_S
from tests.support.clocks import SettableClock
from tests.support.hang import no_hang
from tests.support.records import REFUSAL

FORGED = replace(
    REFUSAL,
    code=ErrorCode.TOKEN_SIGNATURE_INVALID,
    principal=None,
    principal_digest=None,
    claims=(),
    checks=(),
)


class Kept:
    """A journal that keeps refusals in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.together = asyncio.Event()

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        raise AssertionError("A refusal has no intent.")

    async def conclude(self, record: Record) -> None:
        raise AssertionError("A refusal has no outcome.")

    def refuse(self, record: Record) -> None:
        self.records.append(record)
        if record.repeated:
            self.together.set()

    @property
    def told_of(self) -> int:
        return sum(record.repeated or 1 for record in self.records)


@pytest.fixture
def journal() -> Kept:
    return Kept()


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def refusals(journal: Kept, clock: SettableClock) -> Refusals:
    return Refusals(journal, clock)


@pytest.mark.requirement("AU-08")
async def test_of_a_flood_the_first_have_records_and_one_tells_how_many_followed(
    refusals: Refusals, journal: Kept
) -> None:
    quiet = [refusals.take(replace(FORGED, request_id=f"req-{number}")) for number in range(500)]

    refusals.finish()

    assert quiet == [False] * IN_FULL + [True] * (500 - IN_FULL)
    assert len(journal.records) == IN_FULL + 1
    assert (journal.records[-1].request_id, journal.records[-1].repeated) == ("req-499", 480)
    assert journal.told_of == 500


@pytest.mark.requirement("AU-08")
async def test_a_new_minute_tells_of_the_last_one_and_begins_anew(
    refusals: Refusals, journal: Kept, clock: SettableClock
) -> None:
    for _ in range(IN_FULL + 5):
        refusals.take(FORGED)
    clock.advance(TOGETHER_S)

    quiet = refusals.take(FORGED)

    assert not quiet
    assert [record.repeated for record in journal.records[-2:]] == [5, None]


@pytest.mark.requirement("AU-08")
async def test_a_flood_that_stops_is_told_of_after_a_minute(
    refusals: Refusals, journal: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.together.TOGETHER_S", 0.01)
    for _ in range(IN_FULL + 4):
        refusals.take(FORGED)

    with no_hang():
        await journal.together.wait()

    assert [record.repeated for record in journal.records[-2:]] == [None, 4]


@pytest.mark.requirement("AU-08")
async def test_addresses_and_codes_are_counted_apart_but_not_the_addresses_of_one_subscriber(
    refusals: Refusals, journal: Kept
) -> None:
    for number in range(IN_FULL):
        refusals.take(replace(FORGED, source=f"2001:db8::{number:x}"))

    quiet = [
        refusals.take(replace(FORGED, source="2001:db8::ffff")),
        refusals.take(replace(FORGED, source="2001:db8:0:1::1")),
        refusals.take(replace(FORGED, source="2001:db8::1", code=ErrorCode.TOKEN_EXPIRED)),
    ]

    assert quiet == [True, False, False]
    assert len(journal.records) == IN_FULL + 2


@pytest.mark.requirement("AU-08")
@pytest.mark.parametrize(
    "record", [REFUSAL, replace(FORGED, code=ErrorCode.INTERNAL_ERROR)], ids=["verified", "a-bug-of-ours"]
)
async def test_refusals_of_somebody_known_and_bugs_are_always_told_one_by_one(
    refusals: Refusals, journal: Kept, record: Record
) -> None:
    quiet = [refusals.take(record) for _ in range(3 * IN_FULL)]

    assert not any(quiet)
    assert journal.records == [record] * (3 * IN_FULL)


@pytest.mark.requirement("AU-08")
async def test_from_however_many_addresses_memory_is_bounded_and_the_number_exact(
    refusals: Refusals, journal: Kept
) -> None:
    long = replace(FORGED, user_agent="x" * 10_000)
    for _ in range(IN_FULL + 3):
        refusals.take(replace(long, source="192.0.2.1"))

    for number in range(ENTRIES):
        refusals.take(replace(FORGED, source=f"10.0.{number // 256}.{number % 256}"))

    [together] = [record for record in journal.records if record.repeated]
    assert (together.source, together.repeated, together.user_agent) == ("192.0.2.1", 3, None)
    assert journal.told_of == IN_FULL + 3 + ENTRIES
