"""Which calls have an intent and no end yet: kept while the journal is written, found again after a crash.

[edge]
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.audit.chain import LineBroken, unseal
from gateway.audit.files import JournalFile
from gateway.audit.place import Place
from gateway.audit.recall import DocumentInvalid, to_record
from gateway.audit.record import Record

#: Calls remembered of each kind; beyond that the oldest is forgotten, and stays as it stands in the journal.
MAX_REMEMBERED: Final = 10_000
# The journal writes these members first and in this order; no text of a caller can look like them.
_FRONT: Final = re.compile(
    rb'\{"seq":([0-9]+),[^{}\\]*"v":1,"kind":"(intent|outcome|refused|unknown|found)","request_id":"([^"\\]+)"'
)


@dataclass(slots=True, kw_only=True)
class Unfinished:
    """Calls without an end, by request id.

    open:       intents without an outcome. unresolved: interrupted calls whose execution nobody has seen since.
    unreadable: records that an earlier run left open and that are not where they were.
    """

    open: dict[str, Place] = field(default_factory=dict)
    unresolved: dict[str, Place] = field(default_factory=dict)
    unreadable: int = 0

    def note(self, kind: str, request_id: str, place: Place, *, lasting: bool = False) -> None:
        """Take a record that is durable. lasting: an `unknown` whose execution can still be found."""
        match kind:
            case "intent":
                self.open[request_id] = place
            case "outcome" | "refused":
                self.open.pop(request_id, None)
            case "unknown":
                self.open.pop(request_id, None)
                if lasting:
                    self.unresolved[request_id] = place
            case "found":
                self.unresolved.pop(request_id, None)
        for kept in (self.open, self.unresolved):
            if len(kept) > MAX_REMEMBERED:
                del kept[next(iter(kept))]

    def places(self) -> list[dict[str, object]]:
        """Return all of it for the first line of a file: then no earlier file has to be read after a crash."""
        return [
            {"file": place.file, "start": place.start, "seq": place.seq}
            for place in (*self.open.values(), *self.unresolved.values())
        ]


def read_unfinished(files: Sequence[JournalFile]) -> Unfinished:
    """Return what an earlier run left open; raises OSError. Reads the last file whose first line is whole, and later ones."""
    found = Unfinished()
    first = next((at for at in reversed(range(len(files))) if _opening(files[at]) is not None), 0)
    by_name = {file.name: file for file in files}
    for place in _places(_opening(files[first]) if files else None):
        line = _line(by_name.get(place.file), place)
        found.unreadable += not _take(found, line, place)
    for file in files[first:]:
        start = 0
        for line in file.lines():
            _take(found, line, Place(file=file.name, start=start, seq=0))
            start += len(line)
    return found


def read_record(files: Iterable[JournalFile], place: Place) -> Record | None:
    """Return the record at a place, None when it is not there (any more)."""
    line = _line(next((file for file in files if file.name == place.file), None), place)
    try:
        return to_record(json.loads(line))
    except (ValueError, DocumentInvalid):
        return None


def interrupted(record: Record) -> Record:
    """Return the end of a call during which the process ended: what it was to do, and that no more is known."""
    return replace(record, kind="unknown")


def can_be_found(record: Record) -> bool:
    """Say whether the call was about an execution with a name that a later call may look up."""
    return record.act in ("start", "stop") and None not in (record.execution, record.principal_digest)


def _take(found: Unfinished, line: bytes, place: Place) -> bool:
    front = _FRONT.match(line[:600])
    if front is None:
        return False
    try:
        unseal(line)
    except LineBroken:
        return False
    kind, request_id = front[2].decode("ascii"), front[3].decode("ascii")
    found.note(kind, request_id, replace(place, seq=int(front[1])), lasting=True)
    return True


def _opening(file: JournalFile) -> Mapping[str, object] | None:
    try:
        document = json.loads(unseal(next(iter(file.lines()), b"")).text)
    except (LineBroken, ValueError):
        return None
    return document if document.get("kind") == "journal" else None


def _places(opening: Mapping[str, object] | None) -> Iterable[Place]:
    listed = opening.get("open") if opening else None
    for item in listed if isinstance(listed, list) else ():
        try:
            yield Place(file=str(item["file"]), start=int(item["start"]), seq=int(item["seq"]))
        except (KeyError, TypeError, ValueError):
            continue


def _line(file: JournalFile | None, place: Place) -> bytes:
    if file is None:
        return b""
    try:
        with file.path.open("rb") as opened:
            opened.seek(place.start)
            return opened.readline()
    except OSError:
        return b""
