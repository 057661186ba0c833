"""Stops working for a caller who has left. What has an effect already goes on in `exchange`, which shields it."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import TypeVar

from starlette.requests import Request
from starlette.types import Scope

_T = TypeVar("_T")


class CallerLeft(Exception):
    """The connection is gone: nobody reads an answer any more."""


class WholeRequest(Request):
    """A request whose body, `whole`, is all here. Whoever runs its handler cancels it when the caller leaves."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        super().__init__(scope)
        self.whole = body

    async def body(self) -> bytes:
        """Return the body."""
        return self.whole


async def while_present(request: Request, work: Coroutine[object, object, _T]) -> _T:
    """Return what `work` returns; cancel it and raise CallerLeft when the caller disconnects first.

    The request's body must have been read: from then on the server's next message can only be the disconnection.
    """
    if isinstance(request, WholeRequest):
        return await work
    task = asyncio.create_task(work)
    watcher = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise CallerLeft
    finally:
        task.cancel()
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
        # A task keeps its exception, which keeps this frame: with the task in it that is a cycle for every refusal.
        del task, watcher


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
