"""What a folder looks like without opening a file: enough to notice that something in it changed."""

import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.files.turns import step

_LOOK_SHARE: Final = 50  # looking again and again costs at most 2 % of a core
_DEEPEST: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a folder looks like without opening a file; equal ones mean that nothing changed in between.

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


def look(folder: Path, only: Iterable[str] | None = None) -> Look:
    """Look at names, sizes, times and links of everything in the folder; never fails.

    only: names of files and folders that matter; nothing else is looked at.
    """
    began, digest = time.monotonic(), hashlib.sha256()
    entries = _entries(folder, 0) if only is None else _some(folder, only)
    for entry in entries:
        digest.update(entry.encode("utf-8", "surrogatepass"))
    try:
        status = folder.stat()
    except OSError:
        return Look(identity=None, digest="", at=began, cost_s=0.0)
    digest.update(f"{status.st_mode} {status.st_uid}".encode())
    now = time.monotonic()
    identity = (status.st_dev, status.st_ino)
    return Look(identity=identity, digest=digest.hexdigest(), at=now, cost_s=now - began)


def _some(folder: Path, names: Iterable[str]) -> Iterator[str]:
    for name in sorted(names):
        yield from _entry(f"{folder}/{name}", hidden=False, depth=0)


def _entries(folder: str | Path, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name, entry.path) for entry in found)
    except OSError:
        yield f"{folder} unreadable\n"
        return
    for name, path in entries:
        yield from _entry(path, hidden=name.startswith("."), depth=depth)


def _entry(path: str, *, hidden: bool, depth: int) -> Iterator[str]:
    step()
    try:
        # Through links: what a ConfigMap's file names lead to changes, the names do not.
        status = os.stat(path)  # noqa: PTH116 - ten thousand of them: a Path each would double the time
    except (OSError, ValueError):
        yield f"{path} dangling\n"
        return
    mode = f"{status.st_mode} {status.st_uid}"
    if stat.S_ISDIR(status.st_mode):
        yield f"{path} {mode}\n"
        if depth < _DEEPEST and not hidden:
            yield from _entries(path, depth + 1)
    else:
        yield f"{path} {mode} {status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n"
