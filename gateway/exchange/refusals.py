"""Refusals of callers nobody knows: each in full while they are few, and then counted and told together.

A token that is not verified costs its sender nothing, and its record takes three times the bytes that were sent: whoever
has no key could otherwise fill the disk.
"""

import logging
from dataclasses import replace
from typing import Final

from gateway.audit.record import Journal, Record
from gateway.clock import Clock
from gateway.errors import ErrorCode
from gateway.state.rates import counted_as
from gateway.together import Together

_log = logging.getLogger("gateway.exchange")

_LONGEST: Final = 512


class Refusals:
    """Passes refusals on to the journal so that the number of them is exact there, whatever their number.

    Refusals of one address with one code are told of together.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._together: Together[tuple[str, ErrorCode | None], Record] = Together(self._tell, clock=clock)

    def take(self, record: Record) -> bool:
        """Take one refusal; return whether it is only counted for now, so that the log need not tell of it either."""
        if _is_of_nobody(record) and self._together.take(
            (counted_as(record.source), record.code), _short(record)
        ):
            return True
        self._journal.refuse(record)
        return False

    def finish(self) -> None:
        """Tell of all that was only counted."""
        self._together.finish()

    def _tell(self, last: Record, number: int) -> None:
        self._journal.refuse(replace(last, repeated=number))
        _log.warning(
            "refusals were counted and not told one by one",
            extra={
                "source": last.source,
                "code": last.code,
                "repeated": number,
                "request_id": last.request_id,
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
