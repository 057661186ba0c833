"""Something asynchronous that lives beside a test that is not."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

_START_S = 10


@contextmanager
def in_background(living: AbstractAsyncContextManager[object]) -> Iterator[None]:
    """Enter it in an event loop of its own, on a thread of its own, until the block ends."""
    ready, loop, end = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def live() -> None:
        async with living:
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(live()), daemon=True)
    thread.start()
    assert ready.wait(_START_S)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(_START_S)
        loop.close()
