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


@pytest.mark.requirement("HT-10")
async def test_whoever_asks_for_metrics_without_end_gets_the_last_ones_again() -> None:
    metrics, now = Counting(), [0.0]
    exposition = Exposition(metrics, now=lambda: now[0])

    flood = await asyncio.gather(*(exposition.text() for _ in range(100)))
    now[0] += EVERY_S
    later = [await exposition.text() for _ in range(2)]

    assert metrics.made == AT_ONCE + 2  # the very first one is always made
    assert flood[-1] == b"%d" % (AT_ONCE + 1)
    assert later == [b"%d" % (AT_ONCE + 2)] * 2


async def test_metrics_that_are_asked_for_now_and_then_are_those_of_now() -> None:
    metrics, now = Counting(), [0.0]
    exposition = Exposition(metrics, now=lambda: now[0])

    answers = []
    for _ in range(50):
        answers.append(await exposition.text())
        now[0] += 2 * EVERY_S

    assert answers == [b"%d" % number for number in range(1, 51)]
