"""The journal's one thread: takes records from memory to the ledger, many to one fsync.

[edge] The event loop offers records and is answered through their waiters; it never waits for the disk itself.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.audit.document import VERSION, dump
from gateway.audit.heading import HeadKeeper
from gateway.audit.ledger import FileVanished, Ledger
from gateway.audit.place import Mark, Place
from gateway.audit.record import AuditHealth, RecordKind
from gateway.audit.refusals import unavailable
from gateway.audit.unfinished import Unfinished
from gateway.metrics import Metrics

_log = logging.getLogger("gateway.audit.writer")

MAX_WAITING: Final = 4_096
MAX_WAITING_BYTES: Final = 16 * 1024 * 1024
_BATCH: Final = 512
_IDLE_S: Final = (
    0.25  # how soon a moved file is noticed, and outcomes without an intent behind them are durable
)
_PAUSE_S: Final = 0.2  # between attempts while the disk fails, so that a full disk is not hammered


@dataclass(slots=True, kw_only=True, eq=False)
class Item:
    """A record on its way.

    waiter:   answered with True when an intent is durable, when an outcome is written.
    intends:  it comes before an effect, a caller's or an administrator's: it is durable or refused.
    given_up: its caller waits no longer, so what it intends must not be written any more.
    place:    where it was written.
    """

    kind: RecordKind | Literal["journal"]
    body: str
    request_id: str = ""
    waiter: asyncio.Future[bool] | None = field(default=None, repr=False)
    intends: bool = False
    given_up: bool = False
    place: Place | None = None


class Writer:
    """Owns the ledger between `start` and `stop`.

    While the disk fails, intents are refused and outcomes and refusals kept, up to MAX_WAITING; what is lost beyond
    that is counted, logged and noted in the journal.

    heads:      signs the chain's end now and then; None without a key.
    on_durable: told how far the journal is durable, from the thread.
    """

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        *,
        heads: HeadKeeper | None = None,
        on_durable: Callable[[Mark], None] = lambda _mark: None,
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._heads = heads
        self._on_durable = on_durable
        self._unfinished = Unfinished()
        self._changed = threading.Condition()
        self._queue: deque[Item] = deque()
        self._queued_bytes = 0
        self._lost: Counter[str] = Counter()
        self._open = False
        self._waking = False  # of the event loop alone
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        # Of the thread alone: not yet written; written but not yet durable.
        self._kept: list[Item] = []
        self._written: list[Item] = []
        self._failing = False
        self._next_attempt = 0.0

    def start(self, loop: asyncio.AbstractEventLoop, unfinished: Unfinished) -> None:
        """Begin to write to the open ledger; the waiters of all items belong to this loop.

        unfinished: the calls without an end that the first line of every file names.
        """
        self._loop = loop
        self._unfinished = unfinished
        self._open = True
        self._thread = threading.Thread(target=self._run, name="audit-journal", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Write what waits, close the ledger, and return; blocks, but for a sick disk only so long."""
        with self._changed:
            self._open = False
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                _log.error("audit journal did not stop in time", extra={"waiting": len(self._queue)})

    def offer(self, item: Item) -> bool:
        """Take an item, or return False when there is no room or nobody writes; then it is counted as lost.

        Called in the event loop.
        """
        with self._changed:
            full = len(self._queue) >= MAX_WAITING or self._queued_bytes >= MAX_WAITING_BYTES
            if self._open and not full:
                self._queue.append(item)
                self._queued_bytes += len(item.body)
                self._wake_soon()
                return True
        if item.intends:
            self.count_failure(item.kind)  # its call is refused, so nothing is lost
        else:
            self.lose(item.kind)
        return False

    def _wake_soon(self) -> None:
        """Wake the thread once for all that the event loop offers in its present turn: each waking has both wait for the other."""
        if not self._waking and self._loop is not None:
            self._waking = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._waking = False
        with self._changed:
            self._changed.notify()

    def health(self) -> AuditHealth:
        """Return how it stands now, for people who look."""
        return AuditHealth(failing=self._failing, waiting=len(self._queue) + len(self._kept))

    def lose(self, kind: str) -> None:
        """Count a record that will never be written."""
        self.count_failure(kind)
        with self._changed:
            first = not self._lost
            self._lost[kind] += 1
        if first:
            _log.error(
                "audit records are being lost",
                extra={
                    "kind": kind,
                    "directory": str(self._ledger.directory),
                    "hint": "The disk has been away for too long, or is slower than what comes in: look at it, and at who sends "
                    "so many requests. The journal will say how many records of which kind are missing.",
                },
            )

    def count_failure(self, kind: str) -> None:
        """Count a record that could not be written in time."""
        self._metrics.audit_failures.labels(kind=kind).inc()

    def _run(self) -> None:
        _give_way()
        while True:
            fresh, stopping = self._take()
            try:
                self._store(fresh, stopping=stopping)
            except Exception:  # noqa: BLE001 - see below
                # A bug of ours must not end the thread: every later intent would wait in vain.
                _log.exception("audit writer failed")
                self._start_over()
            if stopping and not fresh:
                break
        self._lose_kept(len(self._kept))
        self._last_head()
        self._ledger.close()

    def _start_over(self) -> None:
        items, self._written, self._kept = [*self._written, *self._kept], [], []
        self._fail(items)
        self._lose_kept(len(self._kept))  # one of them may be what failed
        self._ledger.give_up_file("recovered")

    def _take(self) -> tuple[list[Item], bool]:
        with self._changed:
            if not self._queue and self._open:
                self._changed.wait(_IDLE_S)
            fresh = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
            self._queued_bytes -= sum(len(item.body) for item in fresh)
            return fresh, not self._open

    def _store(self, fresh: list[Item], *, stopping: bool) -> None:
        if time.monotonic() < self._next_attempt and not stopping:
            self._fail(fresh)
            return
        if not self._failing:
            self._note_losses()
        self._kept += fresh
        for last_attempt in (False, True):
            try:
                self._write(sync=not fresh or any(item.intends for item in self._kept))
            except OSError as fault:
                # What is not acknowledged goes once more, into a new file.
                self._kept, self._written = [*self._written, *self._kept], []
                if last_attempt:
                    self._disk_failed(fault)
            else:
                self._disk_works()
                return

    def _write(self, *, sync: bool) -> None:
        ledger = self._ledger
        self._renew_file()
        self._kept = [item for item in self._kept if not (item.intends and item.given_up)]
        if self._kept:
            places = ledger.append([item.body for item in self._kept])
            for item, place in zip(self._kept, places, strict=True):
                item.place = place
            self._written += self._kept
            self._kept = []
            self._answer(item.waiter for item in self._written if item.kind == "outcome")
        if sync:
            self._sync()
            self._put_head()

    def _renew_file(self) -> None:
        event = self._ledger.wants_new_file()
        if event is None:
            return
        if event == "deleted":
            self._ledger.give_up_file(event)
            if self._written:
                raise FileVanished("The audit file was deleted before its end was durable.")
        self._sync()
        if event == "rotated":
            self._put_head(now=True)
            self._sync()
        self._ledger.start_file(event)
        self._say_durable()
        if event not in ("rotated", "recovered"):
            _log.warning("audit file was taken away; a new one is in use", extra={"event": event})

    def _sync(self) -> None:
        self._ledger.sync()
        done, self._written = self._written, []
        for kind, count in Counter(item.kind for item in done).items():
            self._metrics.audit_records.labels(kind=kind).inc(count)
        for item in done:
            if item.place is not None:
                self._unfinished.note(item.kind, item.request_id, item.place)
        self._answer(item.waiter for item in done)
        self._say_durable()

    def _say_durable(self) -> None:
        mark = self._ledger.mark()
        if mark is not None:
            self._on_durable(mark)

    def _put_head(self, *, now: bool = False) -> None:
        """Write a signed head behind what is durable, when one is due or wanted now; the next `sync` covers it."""
        if self._heads is None:
            return
        mark = self._ledger.mark()
        if mark is None or not self._heads.is_due(mark, now=now):
            return
        self._ledger.append([self._heads.sign(mark)])
        self._metrics.audit_records.labels(kind="journal").inc()

    def _last_head(self) -> None:
        try:
            self._put_head(now=True)
            self._ledger.sync()
            self._say_durable()
        except OSError as fault:
            _log.error("the last audit head was not written", extra={"reason": fault.strerror or str(fault)})

    def _disk_failed(self, fault: OSError) -> None:
        self._next_attempt = time.monotonic() + _PAUSE_S
        if not self._failing:
            self._failing = True
            _log.error(
                "audit directory cannot be written; grants are refused until it can",
                extra={
                    "directory": str(self._ledger.directory),
                    "reason": fault.strerror or str(fault),
                    "hint": "Look at the space, the mount and the rights of the directory. It is tried again all the time and "
                    "needs no restart.",
                },
            )
        kept, self._kept = self._kept, []
        self._fail(kept)

    def _fail(self, items: list[Item]) -> None:
        """Refuse intents at once; keep outcomes and refusals for later, as many as fit."""
        refused = [item for item in items if item.intends]
        for item in refused:
            if not item.given_up:
                self.count_failure(item.kind)
        self._answer((item.waiter for item in refused), failed=True)
        self._answer(item.waiter for item in items if item.kind == "outcome")
        self._kept += [item for item in items if not item.intends]
        self._lose_kept(len(self._kept) - MAX_WAITING)

    def _lose_kept(self, count: int) -> None:
        """Drop that many records, refusals before outcomes."""
        if count <= 0:
            return
        self._kept.sort(key=lambda item: item.kind == "outcome")  # stable: the oldest refusals come first
        dropped, self._kept = self._kept[:count], self._kept[count:]
        for item in dropped:
            self.lose(item.kind)

    def _disk_works(self) -> None:
        self._next_attempt = 0.0
        if self._failing:
            self._failing = False
            _log.warning("audit directory can be written again")

    def _note_losses(self) -> None:
        """Put a note of what was lost into the journal itself."""
        if not self._lost:
            return
        with self._changed:
            lost, self._lost = self._lost, Counter()
        counts = {f"lost_{kind}": count for kind, count in sorted(lost.items())}
        note = dump({"v": VERSION, "kind": "journal", "event": "lost", **counts})
        self._kept.append(Item(kind="journal", body=note))

    def _answer(self, waiters: "Iterable[asyncio.Future[bool] | None]", *, failed: bool = False) -> None:
        waiting = [waiter for waiter in waiters if waiter is not None]
        if not waiting or self._loop is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(_resolve, waiting, failed)


def _give_way() -> None:
    """Keep this thread, which the disk wakes several times an fsync, from interrupting the event loop on its core each time."""
    # Of the calling thread alone, needs no right, and means nothing where both have a core (sched(7), SCHED_BATCH).
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _resolve(waiters: "list[asyncio.Future[bool]]", failed: bool) -> None:  # noqa: FBT001 - call_soon passes positions
    for waiter in waiters:
        if waiter.done():
            continue
        if failed:
            waiter.set_exception(unavailable())
        else:
            waiter.set_result(True)
