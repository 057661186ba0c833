"""The journal's files: one directory held by one process, one file written at a time, a chain over all of them.

[edge] Blocking; used from the journal's writer thread alone.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from gateway.audit.chain import START, LineBroken, seal, unseal
from gateway.audit.document import VERSION, dump, moment
from gateway.audit.files import highest_number, journal_files
from gateway.audit.place import Mark, Place
from gateway.clock import Clock

Event = Literal["started", "rotated", "moved", "deleted", "changed", "recovered"]


def is_held(directory: Path) -> bool:
    """Say whether a process writes to this directory now. Who holds nothing yet learns early; `Ledger.open` decides."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as fault:
        return isinstance(fault, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


class DirectoryInUse(OSError):
    """Another process writes to this directory."""


class FileVanished(OSError):
    """The file was deleted while it was written to, and with it what was not yet acknowledged."""


class Ledger:
    """Appends sealed lines and makes them durable. Nothing here is acknowledged before `sync` returns.

    After an OSError of `append` or `sync` the end of the file is unknown: everything since the last `sync` counts as
    never written, and `wants_new_file` asks for a file that says so. Nothing that was written is ever cut off.

    max_bytes: size at which a file is followed by the next.
    fsync:     `os.fsync`, or a slower one.
    carried:   what the first line of every file says is open, so that nobody has to read the files before it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        max_bytes: int,
        fsync: Callable[[int], None] = os.fsync,
    ) -> None:
        self.carried: Callable[[], list[dict[str, object]]] = list
        self._directory = directory
        self._clock = clock
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._boot = os.urandom(8).hex()
        self._chain: str | None = None
        self._held: int | None = None  # the directory, locked
        self._file: int | None = None
        self._path = directory  # of the file, and which device and inode that is
        self._inode = (0, 0)
        self._name: str | None = None
        self._number = 0
        self._size = self._synced_size = 0
        self._head = self._synced_head = START
        self._void: dict[str, int] = {}  # file name → offset from which it counts as never written
        self._reason: Event | None = None

    def open(self) -> None:
        """Take the directory and find what an earlier run left, then `start_file`; raises OSError, DirectoryInUse."""
        self._hold_directory()
        try:
            self._recall()
        except BaseException:
            self.close()
            raise

    @property
    def directory(self) -> Path:
        """Return where the files are."""
        return self._directory

    def mark(self) -> Mark | None:
        """Return how far the journal is durable, None while no file is open."""
        if self._file is None or self._name is None or self._chain is None:
            return None
        return Mark(
            chain=self._chain,
            boot=self._boot,
            file=self._name,
            size=self._synced_size,
            head=self._synced_head,
        )

    def wants_new_file(self) -> Event | None:
        """Say why the next line must go to a new file, None when it need not."""
        if self._reason is None and self._file is not None:
            self._reason = self._replaced()
        if self._reason is None and self._synced_size >= self._max_bytes:
            return "rotated"
        return self._reason

    def start_file(self, event: Event) -> None:
        """Begin the next file with a line that links it to the chain and says why; raises OSError."""
        self._close_file()
        self._reason = event
        self._hold_directory()
        previous, number = self._name, max(self._number, highest_number(self._directory)) + 1
        name = f"audit-{number:06}.jsonl"
        self._chain = self._chain or os.urandom(8).hex()
        opening = {
            "v": VERSION,
            "kind": "journal",
            "event": event,
            "chain": self._chain,
            "file": name,
            "previous": previous,
            "set_aside": self._set_asides(),
            "open": self.carried(),
        }
        self._create(name, dump(opening))
        self._name, self._number, self._reason = name, number, None
        self._void.clear()

    def append(self, bodies: Sequence[str]) -> list[Place]:
        """Write records behind the chain, as JSON objects on one line each; return where each stands. Raises OSError."""
        if self._file is None or self._name is None:
            raise FileVanished("There is no open audit file.")
        now, head, end = moment(self._clock.wall()), self._head, self._size
        lines, places = [], []
        for body in bodies:
            line, head = seal(body, head, boot=self._boot, written_at=now)
            lines.append(line)
            places.append(Place(file=self._name, start=end, seq=head.seq))
            end += len(line)
        data = b"".join(lines)
        try:
            _write_all(self._file, data)
        except OSError:
            self._forget_unsynced("recovered")
            raise
        self._size = end
        self._head = head
        return places

    def sync(self) -> None:
        """Make everything written durable; raises OSError, FileVanished when the file is no longer there."""
        if self._file is None or self._size == self._synced_size:
            return
        try:
            self._fsync(self._file)
        except OSError:
            self._forget_unsynced("recovered")
            raise
        if os.fstat(self._file).st_nlink == 0:
            self._forget_unsynced("deleted")
            raise FileVanished("The audit file was deleted while it was written to.")
        self._synced_size, self._synced_head = self._size, self._head

    def give_up_file(self, reason: Event) -> None:
        """Count everything since the last `sync` as never written; the next line goes to a new file."""
        self._forget_unsynced(reason)

    def close(self) -> None:
        """Let go of file and directory."""
        self._close_file()
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _hold_directory(self) -> None:
        """Lock the directory that the path names now; it may have been moved or deleted since."""
        if self._held is not None:
            if _leads_to(self._directory, self._held):
                return
            os.close(self._held)
            self._held = None
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        held = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as busy:
            os.close(held)
            raise DirectoryInUse("Another process writes to this audit directory.") from busy
        self._held = held

    def _recall(self) -> None:
        """Find the last whole record that an earlier run left, and what lies behind it."""
        for file in reversed(journal_files(self._directory)):
            end, last, head = 0, 0, None
            for line in file.lines():
                try:
                    link = unseal(line)
                    self._chain = self._chain or (_chain(link.text) if end == 0 else None)
                    end += len(line)
                    head, last = link.head, end
                except LineBroken:
                    end += len(line)
                    # A broken line in the midst is for `verify` to report; only an unfinished end is set aside.
                    last = end if line.endswith(b"\n") else last
            if end > last:
                self._void[file.name] = last
            self._name = self._name or file.name
            if head is not None:
                self._head = self._synced_head = head
                return

    def _create(self, name: str, opening: str) -> None:
        path = self._directory / name
        line, head = seal(opening, self._head, boot=self._boot, written_at=moment(self._clock.wall()))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(path, flags, 0o600)
        try:
            os.fchmod(file, 0o600)
            _write_all(file, line)
            self._fsync(file)
            self._path, self._inode = path, _identity(os.fstat(file))
            if self._held is not None:
                os.fsync(self._held)  # else the file's name may be gone after a power cut
        except OSError:
            os.close(file)
            self._discard(path)
            raise
        self._file, self._size, self._synced_size = file, len(line), len(line)
        self._head = self._synced_head = head

    def _discard(self, path: Path) -> None:
        """Remove a file whose first line could not be written; nothing in it was acknowledged."""
        try:
            path.unlink()
        except OSError:
            self._void[path.name] = 0

    def _set_asides(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for name, start in self._void.items():
            try:
                with (self._directory / name).open("rb") as file:
                    file.seek(start)
                    rest = file.read()
            except FileNotFoundError:
                continue
            if rest:
                digest = hashlib.sha256(rest).hexdigest()
                found.append({"file": name, "start": start, "bytes": len(rest), "digest": digest})
        return found

    def _replaced(self) -> Event | None:
        """Say whether the path still leads to the file that is being written, unchanged by others."""
        if self._file is None:
            return None
        try:
            named = self._path.stat()
        except FileNotFoundError:
            named = None
        # One question where nothing has happened: between two of them the event loop takes the interpreter's lock.
        if named is None or _identity(named) != self._inode:
            return "deleted" if os.fstat(self._file).st_nlink == 0 else "moved"
        return "changed" if named.st_size != self._size else None

    def _forget_unsynced(self, reason: Event) -> None:
        if self._name is not None and self._file is not None:
            self._void[self._name] = self._synced_size
        self._close_file()
        self._head = self._synced_head
        self._reason = reason

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _chain(opening: bytes) -> str | None:
    """Return the chain's id that the first line of a file names; files of older releases name none."""
    chain = json.loads(opening).get("chain")
    return chain if isinstance(chain, str) and re.fullmatch("[0-9a-f]{16}", chain) else None


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return _identity(path.stat()) == _identity(os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
