"""The files and directories of a journal by their names.

[edge]
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"audit-([0-9]{6,9})\.jsonl")
_WORKER: Final = re.compile(r"w([1-9][0-9]{0,3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFile:
    """One file of a journal, as verification and look-up read it."""

    path: Path

    @property
    def name(self) -> str:
        """Return its name without the directory."""
        return self.path.name

    def lines(self) -> Iterator[bytes]:
        """Yield its lines with their ends; the last may lack one."""
        with self.path.open("rb") as file:
            yield from file


def journal_files(directory: Path) -> list[JournalFile]:
    """Return the files of a journal in the order they were written; raises OSError."""
    found = [(_number(path.name), path) for path in directory.iterdir()]
    return [JournalFile(path=path) for number, path in sorted(found) if number]


def journal_directories(directory: Path) -> list[Path]:
    """Return the directories that hold a journal each: this one, then `w1`, `w2` … of its workers; raises OSError."""
    paths = list(directory.iterdir())
    workers = [
        (int(found[1]), path) for path in paths if (found := _WORKER.fullmatch(path.name)) and path.is_dir()
    ]
    own = [directory] if not workers or any(_number(path.name) for path in paths) else []
    return own + [path for _, path in sorted(workers)]


def highest_number(directory: Path) -> int:
    """Return the number of the last file, 0 without one; raises OSError."""
    return max((_number(path.name) for path in directory.iterdir()), default=0)


def _number(name: str) -> int:
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0
