"""The process's log: one event a line, without secrets, and never in the way of the service.

Modules log a fixed text and put what varies into `extra`. Lines are formatted where they are logged and written by a
thread of their own: a reader who is slow or gone costs lines, which are counted, and no time.
"""

import contextlib
import fcntl
import logging
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Literal

from gateway.audit.document import dump, moment
from gateway.audit.safe_text import cut, mask_secrets, one_line
from gateway.doors.reception import AccessMembers
from gateway.errors import GatewayError

Format = Literal["json", "console"]

_OURS: Final = "gateway"
_SOURCE: Final = Path(__file__).resolve().parents[1]
_LIMIT: Final = 2_000
_MOST_ITEMS: Final = 50
_WAITING: Final = 10_000
_CLOSE_S: Final = 2.0
_GATHER_S: Final = 0.01
_TOGETHER: Final = 200
# They print tokens, keys and bodies at DEBUG, some at INFO (boto/botocore#2626); nothing raises them again.
_PINNED: Final = (
    "asyncio", "authlib", "boto3", "botocore", "hvac", "httpcore", "httpx", "httpx2",
    "requests", "s3transfer", "urllib3", "uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error", "watchfiles",
)  # fmt: skip
# Says at every attempt, with a peer's words, what we count and say once.
_SILENCED: Final = "opentelemetry.exporter"
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_OWN_MEMBERS: Final = frozenset({"time", "level", "logger", "message", "exception"})


class LogOutput:
    """Writes lines to a descriptor from a thread of its own, those of a hundredth of a second together.

    dropped:  lines that found no room or no reader.
    on_drop:  told of each of them, from whatever thread.
    turns:    what is entered around each write, where several processes write to the same descriptor.
    worker:   the member `worker` of every line; None where one process writes.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self.dropped = 0
        self.on_drop: Callable[[], None] = lambda: None
        self.turns: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext
        self.worker: str | None = None
        self._descriptor = descriptor
        self._lines: deque[str] = deque()
        # Set once for many lines: waking a thread costs more than formatting a line.
        self._something = threading.Event()
        self._awake = False
        self._ending = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="log-output", daemon=True)
        self._thread.start()

    def put(self, line: str) -> None:
        """Take a line without waiting."""
        if len(self._lines) >= _WAITING:
            self.drop()
            return
        self._lines.append(line)
        if not self._awake:
            self._awake = True
            self._something.set()

    def put_access(self, members: AccessMembers) -> None:
        """Take one request's line, as JSON. Through the library it would cost a tenth of the request.

        members: words of ours and numbers, in which there is nothing to mask.
        """
        head: AccessMembers = {
            "time": moment(time.time()),
            "level": "INFO",
            "logger": "gateway.access",
            "message": "request",
        }
        if self.worker is not None:
            members["worker"] = self.worker
        self.put(dump({**head, **members}))

    def drop(self) -> None:
        """Count a line that nobody will read."""
        self.dropped += 1
        self.on_drop()

    def close(self) -> None:
        """Write what waits; a reader that does not read is left behind after two seconds."""
        if self._thread is None:
            return
        self._ending = True
        self._something.set()
        self._thread.join(_CLOSE_S)
        self._thread = None

    def _run(self) -> None:
        told = 0
        while not self._ending or self._lines:
            self._something.wait()
            if not self._ending:
                time.sleep(_GATHER_S)
            self._something.clear()
            # Before the lines are looked at: whoever puts one from now on sets it again.
            self._awake = False
            while self._lines:
                lines = [self._lines.popleft() for _ in range(min(_TOGETHER, len(self._lines)))]
                notices = [_dropped_line(self.dropped)] if self.dropped > told else []
                told = self.dropped
                self._write_all(notices, lines)

    def _write_all(self, notices: list[str], lines: list[str]) -> None:
        try:
            self._write("\n".join([*notices, *lines, ""]).encode("utf-8", "backslashreplace"))
        except OSError:  # nobody reads any more
            for _ in lines:
                self.drop()

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        with self.turns():
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                except BlockingIOError:  # a pipe that somebody set to non-blocking
                    time.sleep(0.05)


def writing_in_turn(folder: Path) -> Callable[[], AbstractContextManager[None]]:
    """Return what lets one process of those that share the folder write at a time: a pipe mixes long writes."""
    lock = os.open(folder / "log.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @contextlib.contextmanager
    def turn() -> Iterator[None]:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(lock, fcntl.LOCK_UN)

    return turn


class QueueingHandler(logging.Handler):
    """Formats where it is called, so that no object outlives its call, and leaves the writing to the output."""

    def __init__(self, output: LogOutput) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Format and queue; a record that cannot be formatted is counted as dropped."""
        try:
            self._output.put(self.format(record))
        except (TypeError, ValueError, RecursionError):
            self._output.drop()


class Admitted(logging.Filter):
    """Lets through our own records, and others' from WARNING, whatever level somebody set on their loggers."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record is written."""
        return _is_ours(record) or record.levelno >= logging.WARNING


class OfWorker(logging.Filter):
    """Marks each record with the worker that it is from."""

    def __init__(self, worker: str) -> None:
        super().__init__()
        self._worker = worker

    def filter(self, record: logging.LogRecord) -> bool:
        """Mark the record."""
        record.worker = self._worker
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the event's own members."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        members: dict[str, object] = {
            "time": moment(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in _extras(record):
            members[f"{name}_" if name in _OWN_MEMBERS else name] = value
        if record.exc_info and record.exc_info[1] is not None:
            members["exception"] = list(_exceptions(record.exc_info[1]))
        return dump(members)


class ConsoleFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, then name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without its end."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        parts = [f"{at} {record.levelname:<7} {record.name}: {_message(record)}"]
        parts += [f"{name}={value}" for name, value in _extras(record)]
        if record.exc_info and record.exc_info[1] is not None:
            parts += [f"exception={one}" for one in _exceptions(record.exc_info[1])]
        return one_line(" ".join(parts), limit=4 * _LIMIT)


def configure_logging(
    format: Format,  # noqa: A002 - its name for callers
    level: str,
    *,
    descriptor: int = 1,
    worker: str | None = None,
) -> LogOutput:
    """Send every log record of the process to a descriptor, stdout unless told otherwise; close the result at the end.

    level:  of our own loggers, such as `INFO`; all others stay at WARNING.
    worker: the member `worker` of every line, where several processes write.
    """
    output = LogOutput(descriptor)
    output.worker = worker
    handler = QueueingHandler(output)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter())
    handler.addFilter(Admitted())
    if worker is not None:
        handler.addFilter(OfWorker(worker))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(level.upper())
    for name in _PINNED:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)
        library.handlers.clear()
        library.propagate = True
    logging.getLogger(_SILENCED).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)
    # A failed write of the log is nobody's traceback.
    logging.raiseExceptions = False
    output.start()
    return output


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == _OURS or record.name.startswith(f"{_OURS}.")


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        text = str(record.msg)
    if not _is_ours(record):
        # Libraries put the repr of failures into further lines, and values into those.
        text = text.split("\n", 1)[0]
    return cut(mask_secrets(text), _LIMIT)


def _extras(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    for name, value in vars(record).items():
        if name not in _STANDARD and not name.startswith("_"):
            yield name, _plain(value, depth=0)


def _plain(value: object, *, depth: int) -> object:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if value - value == 0 else str(value)  # JSON has neither infinity nor NaN
        case str():
            return cut(mask_secrets(value), _LIMIT)
        case Mapping() if depth < 3:
            items = list(value.items())[:_MOST_ITEMS]
            return {_plain_name(name): _plain(item, depth=depth + 1) for name, item in items}
        case list() | tuple() | set() | frozenset() if depth < 3:
            return [_plain(item, depth=depth + 1) for item in list(value)[:_MOST_ITEMS]]
        case _:
            return f"<{type(value).__name__}>"  # its repr may hold anything


def _plain_name(name: object) -> str:
    return cut(mask_secrets(str(name)), 100)


def _exceptions(fault: BaseException) -> Iterator[str]:
    """Yield each exception of the chain as its class and the places in our code it went through, without a value."""
    seen: set[int] = set()
    current: BaseException | None = fault
    while current is not None and id(current) not in seen and len(seen) < 8:
        seen.add(id(current))
        code = f" {current.code}" if isinstance(current, GatewayError) else ""
        number = f" errno {current.errno}" if isinstance(current, OSError) and current.errno else ""
        places = " < ".join(reversed(list(_places(current.__traceback__))))
        yield f"{type(current).__module__}.{type(current).__qualname__}{code}{number} at {places or 'no code of ours'}"
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _places(trace: TracebackType | None) -> Iterator[str]:
    for frame, line in traceback.walk_tb(trace):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_SOURCE):
            yield f"{path.relative_to(_SOURCE.parent)}:{line} in {frame.f_code.co_name}"


def _dropped_line(count: int) -> str:
    now = moment(time.time())
    return dump(
        {
            "time": now,
            "level": "WARNING",
            "logger": "gateway.cli.logs",
            "message": "log lines were dropped",
            "dropped": count,
        }
    )
