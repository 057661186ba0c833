"""Notices that a folder changed: by the file system's events, and by looking where it sends none.

[edge]
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final

from watchfiles import awatch

from gateway.files.looking import Look, look

_log = logging.getLogger("gateway.compiling.changes")

_STEP_MS: Final = 30  # quiet time after a change, so that a file written in two halves is read once
_DEBOUNCE_MS: Final = 200  # but never wait longer than this for quiet
# Network file systems and some bind mounts send no events, and a watch that is just being set up misses some: so the
# folder is also looked at, as often as costs at most 2 % of a core.
_TICK_MS: Final = 400


async def changes(folder: Path, before: Look, stop: asyncio.Event) -> AsyncGenerator[None]:
    """Yield each time the folder may have changed since `before` or the last time; ends with `stop`.

    A folder that is gone, or stands under its name anew, is followed all the same.
    """
    failing = False
    while not stop.is_set():
        try:
            async for changed in _ticks(folder, stop):
                failing = False
                if not changed and not before.is_due:
                    continue
                now = await asyncio.to_thread(look, folder)
                if changed or now != before:
                    yield
                moved, before = now.identity != before.identity, now
                if moved:
                    break  # the watch is on the folder that stood here before
        except (OSError, RuntimeError, ExceptionGroup):
            if not failing:
                failing = True
                _log.warning(
                    "folder cannot be watched; it is looked at instead", extra={"folder": str(folder)}
                )
            await asyncio.sleep(_TICK_MS / 1000)
            now = await _look_again(folder, before)
            if now != before:
                yield
            before = now


async def _look_again(folder: Path, before: Look) -> Look:
    """Look, or return what was seen before while no thread can be had for it: the watch goes on all the same."""
    try:
        return await asyncio.to_thread(look, folder)
    except RuntimeError:
        return before


async def _ticks(folder: Path, stop: asyncio.Event) -> AsyncIterator[bool]:
    """Yield True after a change, False when it is time to look without one; raises OSError, RuntimeError."""
    watched = awatch(
        folder,
        watch_filter=None,  # a ConfigMap changes through the hidden link `..data`
        debounce=_DEBOUNCE_MS,
        step=_STEP_MS,
        stop_event=stop,
        rust_timeout=_TICK_MS,
        yield_on_timeout=True,
    )
    async with contextlib.aclosing(watched):
        async for changed in watched:
            yield bool(changed)
