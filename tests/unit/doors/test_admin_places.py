"""Looking never keeps anybody from turning a switch: it has few places, and nobody queues for one."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import Response

from gateway.doors.admin.places import MOST_LOOKS, MOST_READS, Places
from gateway.errors import ErrorCode, Unavailable
from gateway.listening.admin import ADMIN_REQUESTS


@pytest.mark.requirement("AD-08")
async def test_one_more_is_refused_at_once_and_a_place_comes_back() -> None:
    places = Places(1, "looks")
    go_on = asyncio.Event()

    async def wait(_: Request) -> Response:
        await go_on.wait()
        return Response()

    handler = places.bounded(wait)
    request = Request({"type": "http"})
    first = asyncio.create_task(handler(request))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refusal:
        await handler(request)
    go_on.set()
    await first
    again = await handler(request)

    assert refusal.value.code is ErrorCode.OVERLOADED
    assert again.status_code == 200


@pytest.mark.requirement("AD-08")
async def test_a_place_comes_back_when_its_holder_is_cancelled() -> None:
    places = Places(1, "looks")

    async def wait(_: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    task = asyncio.create_task(places.bounded(wait)(Request({"type": "http"})))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    with places.one():
        pass


@pytest.mark.requirement("AD-08")
def test_places_are_left_for_those_who_change() -> None:
    assert MOST_LOOKS < MOST_READS <= ADMIN_REQUESTS // 2
