"""Finds records in a journal's files by what an administrator has at hand.

[edge]
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from heapq import merge
from pathlib import Path
from typing import Final

from gateway.audit.files import JournalFile, journal_directories, journal_files
from gateway.audit.recall import DocumentInvalid, to_record
from gateway.audit.record import Record
from gateway.audit.set_aside import declared_void

#: Whoever has given up is noticed after so many lines.
_LINES: Final = 1_024
#: Of more requests than this every line is looked into.
_MOST_NEEDLES: Final = 16


def _for_ever() -> None:
    """Let a look go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A record and where it stands.

    file: its name, with the worker's folder before it where several wrote.
    text: its line as JSON, without the line end.
    """

    file: str
    line: int
    text: str
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a record must have; None does not matter.

    token:     digest of the token or its replay digest, whole or its first 8 hex digits and more: a session's name
               carries eight.
    session:   assumed-role ARN, or its session name; an intent knows only the name.
    execution: execution ARN, or its name; an intent knows only the name.
    rule:      rule id, matched or nearest.
    trace:     id of a trace, 32 hex digits.
    act:       what was done, such as `start` or `switch`.
    """

    request: str | None = None
    token: str | None = None
    session: str | None = None
    execution: str | None = None
    rule: str | None = None
    trace: str | None = None
    act: str | None = None

    def fits(self, record: Record) -> bool:
        """Say whether the record has everything asked for."""
        return (
            self.request in (None, record.request_id)
            and (self.token is None or _is_token(record, self.token))
            and (self.session is None or _is_session(record, self.session))
            and (self.execution is None or _is_execution(record, self.execution))
            and (self.rule is None or self.rule in record.rules)
            and self.trace in (None, record.trace)
            and self.act in (None, record.act)
        )


def read_entries(directory: Path) -> Iterator[Entry]:
    """Yield all records in the order they were written; raises OSError.

    Lines that are no records, or broken, are skipped: finding those is what verification is for.
    """
    yield from _entries(directory, ())


def find(directory: Path, query: Query) -> Iterator[Entry]:
    """Yield the records that fit, in the order they were written; raises OSError."""
    return (entry for entry in _entries(directory, (_needle(query),)) if query.fits(entry.record))


def find_stories(directory: Path, text: str, *, go_on: Callable[[], None] = _for_ever) -> list[list[Entry]]:
    """Return all records of every request that a request or trace id, execution or session ARN or token digest leads to.

    One list per request, in the order the requests began; raises OSError.

    go_on: called again and again; raises what ends a look that takes too long or that nobody waits for any more.
    """
    queries = (
        Query(request=text),
        Query(execution=text),
        Query(session=text),
        Query(token=text),
        Query(trace=text),
    )
    wanted: dict[str, list[Entry]] = {}
    for entry in _entries(directory, (_short(text),), go_on):
        if any(query.fits(entry.record) for query in queries):
            wanted.setdefault(entry.record.request_id, [])
    needles = tuple(_short(request) for request in wanted) if len(wanted) <= _MOST_NEEDLES else ()
    for entry in _entries(directory, needles, go_on) if wanted else ():
        if entry.record.request_id in wanted:
            wanted[entry.record.request_id].append(entry)
    return list(wanted.values())


def _entries(
    directory: Path, needles: tuple[str, ...], go_on: Callable[[], None] = _for_ever
) -> Iterator[Entry]:
    """Yield the records of all workers' journals; those of each stand in the order they were written.

    needles: a line without any of these is passed over; with none of them every line is read.
    """
    looked_for = tuple(needle.encode("ascii") for needle in needles) or (b"",)
    journals = [
        _entries_below(directory, below, looked_for, go_on) for below in journal_directories(directory)
    ]
    return journals[0] if len(journals) == 1 else merge(*journals, key=lambda entry: entry.record.at)


def _entries_below(
    top: Path, directory: Path, needles: tuple[bytes, ...], go_on: Callable[[], None]
) -> Iterator[Entry]:
    go_on()
    files = journal_files(directory)
    void = declared_void(files)
    for file in files:
        aside = void.get(file.name)
        name = file.path.relative_to(top).as_posix()
        yield from _entries_of(file, name, needles, aside.start if aside else None, go_on)


def _entries_of(
    file: JournalFile, name: str, needles: tuple[bytes, ...], end: int | None, go_on: Callable[[], None]
) -> Iterator[Entry]:
    offset = 0
    for number, line in enumerate(file.lines(), start=1):
        if number % _LINES == 1:
            go_on()
        # Behind a declared end stand records that were never acknowledged and that the next file may repeat.
        if offset == end:
            return
        offset += len(line)
        # A look into the bytes costs a thousandth of reading the JSON.
        record = _record(line) if any(needle in line for needle in needles) else None
        if record is not None:
            text = line.decode("ascii", "backslashreplace").rstrip("\n")
            yield Entry(file=name, line=number, text=text, record=record)


def _record(line: bytes) -> Record | None:
    try:
        document = json.loads(line)
        return to_record(document) if isinstance(document, dict) else None
    except (ValueError, DocumentInvalid):
        return None


def _needle(query: Query) -> str:
    asked = [getattr(query, field.name) for field in fields(query)]
    return max((_short(text) for text in asked if text), key=len, default="")


def _short(text: str) -> str:
    """Return the part that every spelling of it in a record contains, as JSON writes it."""
    return json.dumps(text.rpartition("/")[2].rpartition(":")[2])[1:-1]


def _is_token(record: Record, digest: str) -> bool:
    if len(digest) < 8:
        return False
    return any(known is not None and known.startswith(digest) for known in (record.token, record.token_alias))


def _is_session(record: Record, session: str) -> bool:
    if record.issued is not None and session in (record.issued, record.issued.rpartition("/")[2]):
        return True
    # Of a session that nobody knows to be there, only the name was planned; CloudTrail has the whole ARN.
    planned = record.session is not None and record.issued is None
    return planned and session.rpartition("/")[2] == record.session


def _is_execution(record: Record, execution: str) -> bool:
    if record.execution is None:
        return False
    if ":" in execution and ":" in record.execution:
        return execution == record.execution
    return execution.rpartition(":")[2] == record.execution.rpartition(":")[2]
