"""Refusals of callers nobody knows: each in full while they are few, and then counted and told together.

A token that is not verified costs its sender nothing, and its record takes three times the bytes that were sent: whoever
has no key could otherwise fill the disk.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Final

from gateway.audit.record import Journal, Record
from gateway.clock import Clock
from gateway.errors import ErrorCode
from gateway.state.rates import counted_as

_log = logging.getLogger("gateway.exchange")

#: So many refusals of one address with one code have a record each; those that follow within the time share one.
IN_FULL: Final = 20
TOGETHER_S: Final = 60.0
#: Addresses and codes that are remembered; who was first is told of and forgotten to make room.
ENTRIES: Final = 1_000
_LONGEST: Final = 512

_Key = tuple[str, ErrorCode | None]


@dataclass(slots=True)
class _Seen:
    """Refusals with one key. since: monotonic seconds. more: how many are not told of yet; last: the last of them."""

    since: float
    number: int = 0
    more: int = 0
    last: Record | None = None
    timer: asyncio.TimerHandle | None = None


class Refusals:
    """Passes refusals on to the journal so that the number of them is exact there, whatever their number."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._seen: dict[_Key, _Seen] = {}

    def take(self, record: Record) -> bool:
        """Take one refusal; return whether it is only counted for now, so that the log need not tell of it either."""
        if not _is_of_nobody(record):
            self._journal.refuse(record)
            return False
        key = (counted_as(record.source), record.code)
        seen = self._current(key)
        seen.number += 1
        if seen.number <= IN_FULL:
            self._journal.refuse(record)
            return False
        if seen.timer is None:
            seen.timer = asyncio.get_running_loop().call_later(TOGETHER_S, self._tell, key)
        seen.more += 1
        seen.last = _short(record)
        return True

    def finish(self) -> None:
        """Tell of all that was only counted."""
        for key in list(self._seen):
            self._tell(key)

    def _current(self, key: _Key) -> _Seen:
        now = self._clock.monotonic()
        seen = self._seen.get(key)
        if seen is not None and now - seen.since < TOGETHER_S:
            return seen
        self._tell(key)
        if len(self._seen) >= ENTRIES:
            self._tell(next(iter(self._seen)))
        seen = self._seen[key] = _Seen(now)
        return seen

    def _tell(self, key: _Key) -> None:
        seen = self._seen.pop(key, None)
        if seen is None or seen.last is None:
            return
        if seen.timer is not None:
            seen.timer.cancel()
        self._journal.refuse(replace(seen.last, repeated=seen.more))
        _log.warning(
            "refusals were counted and not told one by one",
            extra={
                "source": seen.last.source,
                "code": seen.last.code,
                "repeated": seen.more,
                "request_id": seen.last.request_id,
            },
        )


def _short(record: Record) -> Record:
    """Return the record without what a caller may make long: so many of them are kept for a while."""
    agent, asked = record.user_agent or "", record.object or ""
    if len(agent) <= _LONGEST and len(asked) <= _LONGEST:
        return record
    return replace(record, user_agent=None, object=None)


def _is_of_nobody(record: Record) -> bool:
    """Say whether no signature was verified; a bug of ours is told of each time."""
    return not record.claims and record.principal is None and record.code is not ErrorCode.INTERNAL_ERROR
