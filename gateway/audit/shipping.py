"""Sends what is durable to a syslog receiver too: everything, in order, at least once, over restarts of both.

[edge] A thread of its own. It reads the journal's files behind the writer and remembers in `shipped.json` how far the
receiver has them.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.audit.place import Mark
from gateway.audit.shipped import Shipped
from gateway.audit.syslog_text import to_message
from gateway.audit.tail import Cursor, Line, Tail
from gateway.clock import Clock
from gateway.metrics import Metrics

_log = logging.getLogger("gateway.audit.shipping")

_IDLE_S: Final = 0.25
_SAVE_S: Final = 1.0
# What the receiver's kernel has taken may be lost with the receiver; this long it has to read it.
_SETTLE_S: Final = 2.0
_STALLED_S: Final = 30.0
_END_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 15.0
_HINT: Final = (
    "Check that the receiver runs and listens there (audit.syslog.to), and the network between; for tls:// that it speaks "
    "TLS, and that audit.syslog.ca_file is the CA of its certificate, which names the host. Nothing is lost: records wait "
    "in audit.directory, and grants go on until audit.syslog.max_lag is over."
)


class Wire(Protocol):
    """An open connection to the receiver. All but `close` raise OSError when it is lost."""

    def send(self, messages: list[bytes]) -> int:
        """Send messages; return how many bytes that were."""
        ...

    def untaken(self) -> int:
        """Return how many of those bytes the other side has not taken."""
        ...

    def check(self) -> None:
        """Raise OSError when the other side has closed."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """A batch under way. end: bytes sent on this connection up to its end; at: monotonic time."""

    cursor: Cursor
    end: int
    at: float


class Shipper:
    """Open inside `async with`, around the journal: so it gets the journal's last words too.

    connect:           opens a connection; raises OSError. receiver: where to, for the log.
    max_lag_s:         age of the oldest record that was not sent, from which `behind`; None: it never is.
    max_message_bytes: longer records are sent in short.
    settle_s:          how long the receiver has to read what its kernel took. end_s: to send what is left at the end.
    """

    def __init__(
        self,
        directory: Path,
        connect: Callable[[], Wire],
        *,
        metrics: Metrics,
        clock: Clock,
        host: str = "-",
        receiver: str = "-",
        max_lag_s: float | None = 3_600.0,
        max_message_bytes: int = 8_192,
        settle_s: float = _SETTLE_S,
        end_s: float = _END_S,
    ) -> None:
        self._directory = directory
        self._connect = connect
        self._metrics = metrics
        self._clock = clock
        self._host = host
        self._receiver = receiver
        self._max_lag_s = max_lag_s
        self._max_message_bytes = max_message_bytes
        self._settle_s = settle_s
        self._end_s = end_s
        self._changed = threading.Condition()
        self._mark: Mark | None = None
        self._ending_at: float | None = None
        self._thread: threading.Thread | None = None
        self._waiting_since: float | None = None  # when the oldest record that was not sent was written
        self._told_behind = False
        # Of the thread alone.
        self._settled: Cursor | None = None
        self._shipped = Shipped(directory)
        self._saved_at = 0.0
        self._failures = 0

    async def __aenter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="audit-shipper", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send what is left, for a few seconds; the next run goes on where this one ends."""
        with self._changed:
            self._ending_at = self._clock.monotonic() + self._end_s
            self._changed.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, self._end_s + 1)

    def durable(self, mark: Mark) -> None:
        """Be told how far the journal is durable; returns at once, from any thread."""
        with self._changed:
            grew = self._mark is None or mark.head.seq > self._mark.head.seq
            self._mark = mark
            if grew and self._waiting_since is None:
                self._waiting_since = self._clock.wall()
            self._changed.notify()

    def behind(self) -> bool:
        """Say whether the receiver is so far behind that nothing more may be granted."""
        since = self._waiting_since
        lag = 0.0 if since is None else self._clock.wall() - since
        is_behind = self._max_lag_s is not None and lag > self._max_lag_s
        if is_behind and not self._told_behind:
            _log.error(
                "the second copy of the audit record is too far behind; grants are refused until it is not",
                extra={
                    "receiver": self._receiver,
                    "lag_s": round(lag),
                    "max_lag_s": self._max_lag_s,
                    "hint": "Mend the receiver; audit.syslog.max_lag is how old a record may be that it does not have.",
                },
            )
        if self._told_behind and not is_behind:
            _log.warning("the second copy of the audit record has caught up; grants go on")
        self._told_behind = is_behind
        return is_behind

    def _run(self) -> None:
        while self._mark is None:
            if self._ending_at is not None:
                return
            self._wait(_IDLE_S)
        self._settled = self._shipped.read(self._mark)
        while not self._is_over():
            try:
                with closing(self._connect()) as wire:
                    _log.info("audit records go to the second copy")
                    self._ship(wire)
                    return
            except OSError as fault:
                self._failed(fault)
            except Exception:  # noqa: BLE001 - a bug of ours must not end the copy for good
                _log.exception("audit shipper failed")
                self._pause()

    def _ship(self, wire: Wire) -> None:
        """Send until told to end; raises OSError when the connection is lost."""
        tail = Tail(self._directory, self._settled)
        try:
            under_way: deque[_Sent] = deque()
            total, level = 0, False
            while not self._is_over():
                if level and self._ending_at is not None and self._mark and tail.is_level(self._mark):
                    break
                lines = tail.read(self._mark) if self._mark else []
                if lines:
                    total += wire.send([self._message(line) for line in lines])
                    under_way.append(_Sent(cursor=lines[-1].behind, end=total, at=self._clock.monotonic()))
                    self._count(lines)
                untaken = wire.untaken()
                self._settle(under_way, total - untaken)
                if not lines:
                    self._level(tail)
                    wire.check()
                    level = untaken == 0
                    self._wait(_IDLE_S if not level or self._ending_at is None else 0)
            if level and under_way:
                # An orderly end: the connection lives, and its other side has taken everything.
                self._settled = under_way[-1].cursor
        finally:
            tail.close()
            self._save(now=True)

    def _message(self, line: Line) -> bytes:
        return to_message(line.text, host=self._host, max_bytes=self._max_message_bytes)

    def _count(self, lines: Sequence[Line]) -> None:
        self._failures = 0
        self._metrics.audit_copied.inc(len(lines))
        with self._changed:
            # Something younger may wait; how old it is shows when it is read, at once.
            self._waiting_since = lines[-1].written_at
        self._show_lag(lines[-1].seq)

    def _level(self, tail: Tail) -> None:
        """Note that nothing waits to be sent."""
        with self._changed:
            if self._mark is None or tail.is_level(self._mark):
                self._waiting_since = None
        self._show_lag(None)

    def _show_lag(self, sent: int | None) -> None:
        mark, since = self._mark, self._waiting_since
        records = 0 if mark is None or sent is None else max(0, mark.head.seq - sent)
        self._metrics.audit_copy_lag_records.set(records)
        self._metrics.audit_copy_lag_seconds.set(0 if since is None else max(0.0, self._clock.wall() - since))

    def _settle(self, under_way: "deque[_Sent]", taken: int) -> None:
        now = self._clock.monotonic()
        while under_way and under_way[0].end <= taken and now - under_way[0].at >= self._settle_s:
            self._settled = under_way.popleft().cursor
        if under_way and now - under_way[0].at > _STALLED_S + self._settle_s:
            raise TimeoutError("The receiver takes nothing any more.")
        self._save()

    def _failed(self, fault: OSError) -> None:
        self._metrics.audit_copy_failures.inc()
        if self._failures == 0:
            _log.warning(
                "the second copy of the audit record cannot be written; it is tried again",
                extra={
                    "receiver": self._receiver,
                    "reason": fault.strerror or str(fault) or type(fault).__name__,
                    "hint": _HINT,
                },
            )
        self._wait_from_settled()
        self._pause()

    def _wait_from_settled(self) -> None:
        """Note how old the oldest record is that will have to be sent again."""
        tail = Tail(self._directory, self._settled)
        try:
            lines = tail.read(self._mark) if self._mark else []
        except OSError:
            return
        finally:
            tail.close()
        with self._changed:
            self._waiting_since = lines[0].written_at if lines else self._waiting_since
        self._show_lag(lines[0].seq - 1 if lines else None)

    def _pause(self) -> None:
        self._failures += 1
        left = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10))
        until = self._clock.monotonic() + left
        while self._clock.monotonic() < until and self._ending_at is None:
            self._wait(_IDLE_S)
            since = self._waiting_since
            self._metrics.audit_copy_lag_seconds.set(0 if since is None else self._clock.wall() - since)
        if self._ending_at is not None:
            self._wait(_IDLE_S)

    def _wait(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait(seconds)

    def _is_over(self) -> bool:
        return self._ending_at is not None and self._clock.monotonic() >= self._ending_at

    def _save(self, *, now: bool = False) -> None:
        due = now or self._clock.monotonic() - self._saved_at >= _SAVE_S
        if self._settled is not None and self._mark is not None and due:
            self._shipped.save(self._mark.chain, self._settled)
            self._saved_at = self._clock.monotonic()
