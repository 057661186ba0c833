import asyncio
import logging

import pytest

from gateway.repeating import Repeating
from tests.support.hang import no_hang

_log = logging.getLogger("gateway.test")


class Turns:
    """Steps and the waits between them, one at a time, as the test lets them happen."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.fault: Exception | None = None
        self._let = asyncio.Semaphore(0)
        self._waits = asyncio.Queue[None]()

    async def step(self) -> None:
        self.happened.append("step")
        if self.fault is not None:
            raise self.fault

    async def wait(self) -> None:
        self.happened.append("wait")
        self._waits.put_nowait(None)
        await self._let.acquire()

    async def is_waiting(self) -> None:
        with no_hang():
            await self._waits.get()

    async def go_on(self) -> None:
        self._let.release()
        await self.is_waiting()


def repeating(turns: Turns) -> Repeating:
    return Repeating(turns.step, wait=turns.wait, name="test", log=_log, failed="the step failed")


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [
        pytest.param(False, ["wait", "step", "wait"], id="after a wait"),
        pytest.param(True, ["step", "wait", "step", "wait"], id="at once"),
    ],
)
async def test_steps_and_waits_take_turns(at_once: bool, expected: list[str]) -> None:
    turns = Turns()
    run = repeating(turns)

    run.start(at_once=at_once)
    await turns.is_waiting()
    await turns.go_on()
    await run.end()

    assert turns.happened == expected


async def test_a_step_that_fails_is_logged_and_followed_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    turns = Turns()
    turns.fault = LookupError("a bug")
    run = repeating(turns)

    run.start(at_once=True)
    await turns.is_waiting()
    await turns.go_on()
    await run.end()

    assert turns.happened == ["step", "wait", "step", "wait"]
    assert [record.message for record in caplog.records] == ["the step failed"] * 2
    assert all(record.exc_info and record.exc_info[1] is turns.fault for record in caplog.records)


async def test_a_step_may_be_one_that_waits_for_nothing() -> None:
    turns = Turns()
    steps: list[str] = []
    run = Repeating(
        lambda: steps.append("step"), wait=turns.wait, name="test", log=_log, failed="the step failed"
    )

    run.start(at_once=True)
    await turns.is_waiting()
    await run.end()

    assert steps == ["step"]


async def test_what_never_began_can_end() -> None:
    turns = Turns()

    await repeating(turns).end()

    assert turns.happened == []
