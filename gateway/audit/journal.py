"""The journal on disk: records in, durable chained lines out.

[edge]
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.audit.document import encode
from gateway.audit.heading import HeadKeeper
from gateway.audit.heads import Pledge, Signer
from gateway.audit.ledger import DirectoryInUse, Ledger
from gateway.audit.place import Mark
from gateway.audit.record import AuditHealth, Record
from gateway.audit.recovery import Interrupted, begin
from gateway.audit.refusals import copy_behind, in_use, unavailable
from gateway.audit.writer import Item, Writer
from gateway.clock import Clock
from gateway.errors import ConfigurationInvalid, ErrorCode
from gateway.metrics import Metrics

_log = logging.getLogger("gateway.audit.journal")

_STOP_S: Final = 10.0
# An outcome is written before its answer leaves, so that `explain` finds it; the answer does not wait for a sick disk.
_CONCLUDE_S: Final = 0.5


class SecondCopy(Protocol):
    """Takes what is durable to another place."""

    def durable(self, mark: Mark) -> None:
        """Be told how far the journal is durable; returns at once, from any thread."""
        ...

    def behind(self) -> bool:
        """Say whether the other place is so far behind that nothing more may be granted."""
        ...


class JsonlJournal:
    """Keeps records in `audit-000001.jsonl` and following files of one directory, which one process holds at a time.

    An intent is acknowledged after fsync; intents that come together share one. Outcomes and refusals wait in memory
    while the disk fails.

    max_bytes:  size at which a file is followed by the next.
    patience_s: longest wait of an intent, whatever its caller's deadline.
    signer:     signs the chain's head as often as `pledge` says; None: nobody does.
    copy:       the second place that records go to; None: there is none.
    fsync:      `os.fsync`; tests pass a slower or a failing one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        metrics: Metrics,
        clock: Clock,
        max_bytes: int = 64 * 1024 * 1024,
        patience_s: float = 5.0,
        signer: Signer | None = None,
        pledge: Pledge | None = None,
        copy: SecondCopy | None = None,
        fsync: Callable[[int], None] = os.fsync,
    ) -> None:
        self._directory = directory
        self._metrics = metrics
        self._clock = clock
        self._patience_s = patience_s
        self._ledger = Ledger(directory, clock=clock, max_bytes=max_bytes, fsync=fsync)
        heads = HeadKeeper(signer, pledge or Pledge(), clock, metrics) if signer else None
        self._copy = copy
        self._writer = Writer(
            self._ledger, metrics, heads=heads, on_durable=copy.durable if copy else lambda _mark: None
        )
        self._interrupted = Interrupted()

    async def __aenter__(self) -> Self:
        """Take the directory and start writing; raises ConfigurationInvalid (`audit_unavailable`)."""
        try:
            unfinished, records = await asyncio.to_thread(begin, self._ledger, self._directory)
        except OSError as fault:
            raise self._unusable(fault) from fault
        self._interrupted = Interrupted(records)
        self._metrics.audit_unresolved.set(len(self._interrupted))
        self._writer.start(asyncio.get_running_loop(), unfinished)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what waits and let go of the directory."""
        await asyncio.to_thread(self._writer.stop, _STOP_S)

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        """Return when the record is durable; raises Unavailable (`audit_unavailable`)."""
        if self._copy is not None and self._copy.behind():
            self._writer.count_failure(record.kind)
            raise copy_behind()
        began = self._clock.monotonic()
        patience = self._patience_s if deadline is None else min(self._patience_s, deadline - began)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        item = self._offer(record, waiter, intends=True)
        if item is None:
            raise unavailable()
        late = loop.call_later(patience, _give_up, waiter)
        try:
            durable = await waiter
        finally:
            item.given_up = True
            late.cancel()
        if not durable:
            self._writer.count_failure(record.kind)
            raise unavailable()
        self._metrics.audit_seconds.observe(self._clock.monotonic() - began)

    async def conclude(self, record: Record) -> None:
        """Take an outcome; waits until it is written where that takes no longer than half a second.

        An outcome that shows the execution of an interrupted call is the end of that story too.
        """
        for found in self._interrupted.found_by(record):
            self._offer(found, None)
            self._metrics.audit_unresolved.set(len(self._interrupted))
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        if self._offer(record, waiter) is None:
            return
        late = loop.call_later(_CONCLUDE_S, _give_up, waiter)
        try:
            await waiter
        finally:
            late.cancel()

    def refuse(self, record: Record) -> None:
        """Take a refusal and return at once."""
        self._offer(record, None)

    def note(self, record: Record) -> None:
        """Take an administrator's act and return at once."""
        self._offer(record, None)

    def health(self) -> AuditHealth:
        """Return how it stands now."""
        return self._writer.health()

    def _offer(
        self, record: Record, waiter: "asyncio.Future[bool] | None", *, intends: bool = False
    ) -> Item | None:
        try:
            body = encode(record)
        except (ValueError, TypeError, RecursionError, OverflowError):
            # Without the exception, whose text may hold a claim's value.
            _log.error("audit record cannot be written as JSON", extra={"request_id": record.request_id})
            (self._writer.count_failure if intends else self._writer.lose)(record.kind)
            return None
        item = Item(kind=record.kind, body=body, request_id=record.request_id, waiter=waiter, intends=intends)
        return item if self._writer.offer(item) else None

    def _unusable(self, fault: OSError) -> ConfigurationInvalid:
        if isinstance(fault, DirectoryInUse):
            return in_use(self._directory)
        reason = fault.strerror or "unknown reason"
        message = f"The audit directory {self._directory} cannot be written: {reason}."
        hint = "The service needs a directory of its own there, and room on the disk."
        return ConfigurationInvalid(ErrorCode.AUDIT_UNAVAILABLE, message, hint=hint)


def _give_up(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)
