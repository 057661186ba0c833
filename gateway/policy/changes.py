"""Notices that a folder changed: by the file system's events, and by looking where it sends none.

[edge]
"""

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchfiles import awatch

_log = logging.getLogger("gateway.policy.changes")

_STEP_MS: Final = 30  # quiet time after a change, so that a file written in two halves is read once
_DEBOUNCE_MS: Final = 200  # but never wait longer than this for quiet
# Network file systems and some bind mounts send no events, and a watch that is just being set up misses some: so the
# folder is also looked at, as often as costs at most 2 % of a core.
_TICK_MS: Final = 400
_LOOK_SHARE: Final = 50
_DEEPEST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a folder looks like without opening a file.

    identity: which folder stands under the name; None: there is none.
    at:       monotonic seconds; cost_s: how long looking took.
    """

    identity: tuple[int, int] | None
    digest: str
    at: float = field(compare=False)
    cost_s: float = field(compare=False)

    @property
    def is_due(self) -> bool:
        """Say whether it is time for the next look."""
        return time.monotonic() >= self.at + _LOOK_SHARE * self.cost_s


def look(folder: Path) -> Look:
    """Look at names, sizes, times and links of everything in the folder; never fails."""
    began, digest = time.monotonic(), hashlib.sha256()
    for entry in _entries(folder, 0):
        digest.update(entry.encode("utf-8", "surrogateescape"))
    try:
        status = folder.stat()
    except OSError:
        return Look(identity=None, digest="", at=began, cost_s=0.0)
    now = time.monotonic()
    identity = (status.st_dev, status.st_ino)
    return Look(identity=identity, digest=digest.hexdigest(), at=now, cost_s=now - began)


def _entries(folder: Path, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        yield f"{folder} unreadable\n"
        return
    for entry in entries:
        try:
            # Through links: what a ConfigMap's file names lead to changes, the names do not.
            status = entry.stat()
            is_folder = entry.is_dir()
        except OSError:
            yield f"{entry.path} dangling\n"
            continue
        mode = f"{status.st_mode} {status.st_uid}"
        if is_folder:
            yield f"{entry.path} {mode}\n"
            if depth < _DEEPEST and not entry.name.startswith("."):
                yield from _entries(Path(entry.path), depth + 1)
        else:
            yield f"{entry.path} {mode} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n"


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
            now = await asyncio.to_thread(look, folder)
            if now != before:
                yield
            before = now


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
