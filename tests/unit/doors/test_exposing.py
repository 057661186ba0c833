"""How often the text of /metrics is made."""

import asyncio

import pytest

from gateway.doors.exposing import AT_ONCE, EVERY_S, Exposition
from gateway.metrics import Metrics


class Counting(Metrics):
    """Metrics that know how often they were told."""

    made = 0

    def exposition(self) -> bytes:
        self.made += 1
        return b"%d" % self.made


class Clock:
    """Time that passes when somebody waits."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    async def pause(self, seconds: float) -> None:
        self.at += seconds
        await asyncio.sleep(0)


def exposition_of(metrics: Metrics, clock: Clock) -> Exposition:
    return Exposition(metrics, now=clock.now, pause=clock.pause)


@pytest.mark.requirement("HT-10")
async def test_whoever_asks_for_metrics_without_end_waits_so_that_few_are_made() -> None:
    metrics, clock = Counting(), Clock()
    exposition = exposition_of(metrics, clock)

    for _ in range(110):
        await exposition.text()

    assert metrics.made == 110
    assert clock.at == pytest.approx((110 - AT_ONCE) * EVERY_S)


@pytest.mark.requirement("HT-10")
async def test_all_who_wait_get_the_same_text() -> None:
    metrics = Counting()
    exposition = exposition_of(metrics, Clock())

    flood = await asyncio.gather(*(exposition.text() for _ in range(100)))

    assert set(flood) == {b"1"}


async def test_metrics_that_are_asked_for_now_and_then_are_made_at_once() -> None:
    metrics, clock = Counting(), Clock()
    exposition = exposition_of(metrics, clock)

    answers = []
    for number in range(50):
        clock.at = 2 * number * EVERY_S
        answers.append(await exposition.text())

    assert answers == [b"%d" % number for number in range(1, 51)]
    assert clock.at == 98 * EVERY_S


async def test_who_leaves_takes_the_text_from_nobody() -> None:
    metrics = Counting()
    exposition = exposition_of(metrics, Clock())
    leaving, staying = (asyncio.create_task(exposition.text()) for _ in range(2))
    await asyncio.sleep(0)

    leaving.cancel()

    assert await staying == b"1"
