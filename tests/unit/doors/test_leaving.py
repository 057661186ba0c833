"""Work for a caller is done while the caller is there, and leaves nothing behind for the garbage collector."""

import asyncio
import gc
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.types import Message

from gateway.doors.leaving import CallerLeft, while_present


class Refused(Exception):
    """What the work ends with."""


@pytest.fixture
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def caller(*, stays: bool) -> Request:
    async def receive() -> Message:
        if stays:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    return Request({"type": "http", "headers": []}, receive)


async def refuse() -> None:
    await asyncio.sleep(0)
    raise Refused


async def test_a_refusal_leaves_no_cycle_that_only_the_collector_would_find(collector_off: None) -> None:
    for _ in range(10):
        with pytest.raises(Refused):
            await while_present(caller(stays=True), refuse())

    await asyncio.sleep(0)
    assert [one for one in gc.get_objects() if isinstance(one, Refused)] == []


async def test_work_for_a_caller_who_left_is_cancelled() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(CallerLeft):
        await while_present(caller(stays=False), work())

    await ended.wait()
