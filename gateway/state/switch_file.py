"""The file that says what is switched off: read with suspicion, replaced as a whole.

[edge]
"""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from gateway.errors import ErrorCode, Unavailable
from gateway.files.source import OTHERS_WRITE, is_trusted_owner
from gateway.state.switch_document import (
    MAX_BYTES,
    SwitchesInvalid,
    board_of,
    decode,
    encode,
    switched_off,
    switched_on,
)
from gateway.state.switches import Switch, SwitchBoard

_MODE: Final = 0o600
_LOCK_ATTEMPTS: Final = 50
_LOCK_PAUSE_S: Final = 0.1


class SwitchesUnreadable(Exception):
    """The file cannot be believed. The message names it and says why; hint: what to do about it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class SwitchFile:
    """One file of switches, and whoever turns them. Implements SwitchStore; every write is atomic and durable.

    may_be_absent: nothing is off until the file exists for the first time; else, and from then on, its absence is an
                   error, as somebody may have moved it. That it existed a mark beside it says, to gateways that start
                   later and to commands, so that all of them answer alike.
    """

    def __init__(self, path: Path, *, may_be_absent: bool) -> None:
        self._path = path
        self.may_be_absent = may_be_absent
        self._mark = path.with_name(f".{path.name}.was-there")
        self._marked = False

    def __str__(self) -> str:
        return str(self._path)

    def load(self) -> SwitchBoard | None:
        """Return what the file says, None when there is none; raises SwitchesUnreadable."""
        try:
            # A FIFO would make the opening wait for somebody who writes.
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as fault:
            raise SwitchesUnreadable(
                f"{self._path} cannot be opened: {fault.strerror}.",
                hint="The user of the gateway must be able to read it, and all folders above it.",
            ) from fault
        try:
            self._judge(os.fstat(descriptor))
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return decode(file.read(MAX_BYTES + 1))
        except OSError as fault:
            raise SwitchesUnreadable(
                f"{self._path} cannot be read: {fault.strerror}.", hint=self._anew()
            ) from fault
        except SwitchesInvalid as fault:
            raise SwitchesUnreadable(
                f"{self._path} is no file of switches: {fault}", hint=self._anew()
            ) from fault
        finally:
            os.close(descriptor)

    def has_vanished(self) -> bool:
        """Say of a file that does not exist whether that is an error."""
        return not self.may_be_absent or os.path.lexists(self._mark)

    def remember(self) -> None:
        """Leave the mark that the file exists; a folder that takes none stops nothing."""
        if not self.may_be_absent or self._marked:
            return
        with contextlib.suppress(OSError):
            descriptor = os.open(self._mark, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
            try:
                _belong(descriptor, self._mark.parent)
            finally:
                os.close(descriptor)
            self._marked = True

    async def read(self) -> SwitchBoard:
        """Return what is off, read now; raises Unavailable."""
        return await asyncio.to_thread(self._read)

    async def turn_off(self, switch: Switch) -> bool:
        """Switch off; False when it was off already. Raises Unavailable."""
        before, after = await asyncio.to_thread(self._change, lambda board: switched_off(board, switch))
        return before is not after

    async def turn_on(self, switch: Switch) -> Switch | None:
        """Switch on again; returns how it was switched off. Raises Unavailable."""
        before, _ = await asyncio.to_thread(self._change, lambda board: switched_on(board, switch))
        return before.off.get((switch.kind, switch.name))

    async def create(self) -> bool:
        """Write a file in which nothing is off; False when there is a file already, whatever it holds."""
        return await asyncio.to_thread(self._create)

    def _judge(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise SwitchesUnreadable(f"{self._path} is not a file.", hint=self._anew())
        if status.st_mode & OTHERS_WRITE:
            mode = stat.S_IMODE(status.st_mode)
            raise SwitchesUnreadable(
                f"{self._path} can be written by others than its owner (mode {mode:04o}).",
                hint=f"See whether what it says is still right, then run: chmod go-w {self._quoted()}",
            )
        if not is_trusted_owner(status.st_uid):
            raise SwitchesUnreadable(
                f"{self._path} belongs to user {status.st_uid}, who is neither root nor the user of this process.",
                hint="See whether what it says is still right, then give it to the user of the gateway (chown).",
            )

    def _read(self) -> SwitchBoard:
        try:
            found = self.load()
        except SwitchesUnreadable as fault:
            raise _unavailable(str(fault), fault.hint) from fault
        if found is not None:
            return found
        if not self.has_vanished():
            return board_of()
        gone = self.missing()
        raise _unavailable(str(gone), f"Every gateway refuses everything meanwhile. {gone.hint}")

    def missing(self) -> SwitchesUnreadable:
        """Return what is said of a file that has vanished."""
        return SwitchesUnreadable(
            f"{self._path} does not exist{', and did before' if self.may_be_absent else ''}.",
            hint=f"Put it back; when nothing was off, write a new one: {self._init()}",
        )

    def _anew(self) -> str:
        path = self._quoted()
        return (
            "Put back a copy of it. When nothing was off, move it away and write a new one: "
            f"mv {path} {path}.broken && {self._init()}"
        )

    def _init(self) -> str:
        return f"oidc-gateway switch init --switches {self._quoted()}"

    def _quoted(self) -> str:
        return shlex.quote(str(self._path))

    def _change(self, change: Callable[[SwitchBoard], SwitchBoard]) -> tuple[SwitchBoard, SwitchBoard]:
        try:
            with self._locked():
                before = self._read()
                after = change(before)
                if after is not before:
                    self._write(encode(after))
                return before, after
        except SwitchesInvalid as fault:
            raise _unavailable(str(fault), "Nothing was changed.") from fault
        except OSError as fault:
            raise self._unwritable(fault) from fault

    def _create(self) -> bool:
        try:
            with self._locked():
                if os.path.lexists(self._path):
                    return False
                self._write(encode(board_of()))
                return True
        except OSError as fault:
            raise self._unwritable(fault) from fault

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold off everybody else who turns a switch; readers need no lock, because a file is replaced at once."""
        real = _real(self._path)
        name = real.with_name(f".{real.name}.lock")
        descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
        try:
            _belong(descriptor, real.parent)
            for attempt in range(_LOCK_ATTEMPTS):
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if attempt == _LOCK_ATTEMPTS - 1:
                        raise _unavailable(
                            f"Somebody else is writing {self._path}.", "Try again in a moment."
                        ) from None
                    time.sleep(_LOCK_PAUSE_S)
            yield
        finally:
            os.close(descriptor)

    def _write(self, data: bytes) -> None:
        if len(data) > MAX_BYTES:
            raise SwitchesInvalid(f"The file would be longer than {MAX_BYTES:,} bytes.")
        real = _real(self._path)
        draft = real.with_name(f".{real.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _keep_mode(file.fileno(), real)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(real)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
        _make_durable(real.parent)
        self.remember()

    def _unwritable(self, fault: OSError) -> Unavailable:
        return _unavailable(
            f"{self._path} cannot be written: {fault.strerror}.",
            "Turn switches as the user of the gateway or as root; the folder must exist.",
        )


def _real(path: Path) -> Path:
    # A link stays a link: what it leads to is replaced.
    return Path(os.path.realpath(path))


def _keep_mode(descriptor: int, before: Path) -> None:
    """Give a new file the mode and owner of the one before it, where there is one."""
    try:
        status = before.stat()
    except FileNotFoundError:
        _belong(descriptor, before.parent)
        return
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode) & ~OTHERS_WRITE)
    if os.geteuid() == 0:
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _belong(descriptor: int, folder: Path) -> None:
    """Let what root makes belong to the owner of the folder: the gateway, which is not root, must read it."""
    if os.geteuid() == 0:
        status = folder.stat()
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _make_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(message: str, hint: str) -> Unavailable:
    return Unavailable(ErrorCode.SWITCHES_UNAVAILABLE, message, hint=hint)
