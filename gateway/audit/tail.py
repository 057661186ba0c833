"""Reads a journal's durable lines in order, from where an earlier reader stopped.

[edge]
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

from gateway.audit.files import JournalFile, journal_files
from gateway.audit.place import Mark
from gateway.audit.set_aside import declared_void

_log = logging.getLogger("gateway.audit.shipping")

_AT_ONCE: Final = 256 * 1024
_LONGEST_LINE: Final = 16 * 1024 * 1024
_FRONT: Final = re.compile(rb'\{"seq":([0-9]{1,18}),.{0,120}?"written_at":"([0-9T:.-]+)Z"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """A place between two lines: everything before it was read. seq: the last number before it."""

    file: str
    offset: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line, with its end. written_at: wall seconds. behind: the place after it."""

    text: bytes
    seq: int
    written_at: float
    behind: Cursor


class Tail:
    """Holds at most one file open, so that one that is moved away is still read to its end."""

    def __init__(self, directory: Path, cursor: Cursor | None) -> None:
        """Prepare. cursor: None begins with the oldest file."""
        self._directory = directory
        self._cursor = cursor
        self._file: BinaryIO | None = None

    def is_level(self, mark: Mark) -> bool:
        """Say whether everything up to the mark was read."""
        cursor = self._cursor
        return cursor is not None and (cursor.file, cursor.offset) == (mark.file, mark.size)

    def read(self, mark: Mark) -> list[Line]:
        """Return the next lines that are durable, none when there are no more; raises OSError."""
        while True:
            if self._file is None and not self._open(mark):
                return []
            lines = list(self._lines(mark))
            if lines or self._cursor is None or self._cursor.file == mark.file:
                return lines
            self._leave(mark)

    def close(self) -> None:
        """Let go of the open file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self, mark: Mark) -> bool:
        files = self._known(mark)
        cursor = self._cursor
        if cursor is not None:
            later = [file for file in files if _order(file.name) >= _order(cursor.file)]
            if (not later or later[0].name != cursor.file) and _order(cursor.file) < _order(mark.file):
                _log.error("an audit file is gone before it was sent", extra={"file": cursor.file})
            files = later
        if not files:
            return False
        first = files[0]
        if cursor is None or cursor.file != first.name:
            self._cursor = Cursor(file=first.name, offset=0, seq=cursor.seq if cursor else 0)
        self._file = first.path.open("rb")
        return True

    def _leave(self, mark: Mark) -> None:
        """Go on with the next file; this one is finished."""
        self.close()
        cursor = self._cursor
        if cursor is None:
            return
        later = [file for file in self._known(mark) if _order(file.name) > _order(cursor.file)]
        name = later[0].name if later else mark.file
        self._cursor = Cursor(file=name, offset=0, seq=cursor.seq)

    def _known(self, mark: Mark) -> list[JournalFile]:
        return [file for file in journal_files(self._directory) if _order(file.name) <= _order(mark.file)]

    def _lines(self, mark: Mark) -> Iterator[Line]:
        cursor, file = self._cursor, self._file
        if cursor is None or file is None:
            return
        room = self._end(mark) - cursor.offset
        if room <= 0:
            return
        file.seek(cursor.offset)
        data = file.read(min(room, _AT_ONCE))
        if b"\n" not in data and len(data) < room:
            data += file.read(min(room, _LONGEST_LINE) - len(data))
        for content in data.split(b"\n")[:-1]:
            text = content + b"\n"
            front = _FRONT.match(text)
            seq = int(front[1]) if front else cursor.seq
            at = datetime.fromisoformat(f"{front[2].decode('ascii')}+00:00").timestamp() if front else 0.0
            cursor = Cursor(file=cursor.file, offset=cursor.offset + len(text), seq=seq)
            self._cursor = cursor
            yield Line(text=text, seq=seq, written_at=at, behind=cursor)

    def _end(self, mark: Mark) -> int:
        cursor, file = self._cursor, self._file
        if cursor is None or file is None:
            return 0
        if cursor.file == mark.file:
            return mark.size
        void = declared_void(self._known(mark)).get(cursor.file)
        file.seek(0, 2)
        return void.start if void is not None else file.tell()


def _order(name: str) -> tuple[int, str]:
    return len(name), name
