"""What a run of the process does about the calls that the end of an earlier one interrupted.

[edge]
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from gateway.audit.document import VERSION, dump, encode
from gateway.audit.files import journal_files
from gateway.audit.ledger import Ledger
from gateway.audit.record import Record
from gateway.audit.unfinished import Unfinished, can_be_found, interrupted, read_record, read_unfinished

_log = logging.getLogger("gateway.audit.recovery")

_MOST_LOGGED: Final = 20
_AT_ONCE: Final = 64


class Interrupted:
    """Interrupted calls whose execution may still be found, by the execution's name."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._by_name: dict[str, list[Record]] = {}
        for record in records:
            self._by_name.setdefault(_name(record), []).append(record)

    def __len__(self) -> int:
        return sum(map(len, self._by_name.values()))

    def found_by(self, outcome: Record) -> tuple[Record, ...]:
        """Return the records that close what this outcome shows: the same caller's execution of the same workflow."""
        if (
            not self._by_name
            or outcome.kind != "outcome"
            or outcome.code is not None
            or outcome.status is None
        ):
            return ()
        waiting = self._by_name.get(_name(outcome), [])
        mine = [one for one in waiting if _whose(one) == _whose(outcome)]
        if mine:
            others = [one for one in waiting if one not in mine]
            self._by_name[_name(outcome)] = others
        return tuple(_found(one, outcome) for one in mine)


def begin(ledger: Ledger, directory: Path) -> tuple[Unfinished, tuple[Record, ...]]:
    """Open the ledger, begin a file, and close every call that an earlier run left open; durable on return.

    Returns what the journal's next files carry on, and the interrupted calls whose execution may be found later.
    Raises OSError.
    """
    ledger.open()
    try:
        unfinished = read_unfinished(journal_files(directory))
        ledger.carried = unfinished.places
        ledger.start_file("started")
        return unfinished, _close(ledger, directory, unfinished)
    except BaseException:
        ledger.close()
        raise


def _close(ledger: Ledger, directory: Path, unfinished: Unfinished) -> tuple[Record, ...]:
    files = journal_files(directory)
    known: list[Record] = []
    for request_id, place in list(unfinished.unresolved.items()):
        record = read_record(files, place)
        if record is not None and can_be_found(record):
            known.append(record)
        else:
            del unfinished.unresolved[request_id]
    ends: list[Record] = []
    for request_id, place in list(unfinished.open.items()):
        record = read_record(files, place)
        if record is None:
            unfinished.unreadable += 1
            del unfinished.open[request_id]
        else:
            ends.append(interrupted(record))
    _write(ledger, unfinished, ends)
    return tuple(known) + tuple(filter(can_be_found, ends))


def _write(ledger: Ledger, unfinished: Unfinished, ends: Sequence[Record]) -> None:
    if not ends and not unfinished.unreadable:
        return
    for start in range(0, len(ends), _AT_ONCE):
        some = ends[start : start + _AT_ONCE]
        for record, place in zip(some, ledger.append([encode(record) for record in some]), strict=True):
            unfinished.note("unknown", record.request_id, place, lasting=can_be_found(record))
    counts = {"closed": len(ends), "unreadable": unfinished.unreadable}
    ledger.append([dump({"v": VERSION, "kind": "journal", "event": "interrupted", **counts})])
    ledger.sync()
    unfinished.unreadable = 0
    named = [{"request_id": one.request_id, "execution": one.execution} for one in ends[:_MOST_LOGGED]]
    _log.warning("an earlier process ended in the midst of calls", extra={**counts, "calls": named})


def _name(record: Record) -> str:
    return (record.execution or "").rpartition(":")[2]


def _whose(record: Record) -> tuple[str | None, str | None]:
    """Return whose execution of what it is; by the digest, because a record's texts may be cut."""
    return record.principal_digest, record.object


def _found(waiting: Record, outcome: Record) -> Record:
    return replace(
        waiting,
        kind="found",
        at=outcome.at,
        execution=outcome.execution,
        existed=outcome.existed,
        status=outcome.status,
        found_by=outcome.request_id,
    )
