"""Several workers behind one socket: started together, replaced when they die, ended together."""

import fcntl
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from platform import node
from shutil import rmtree
from socket import socket
from typing import Final

from uvicorn import Config
from uvicorn.supervisors.multiprocess import Multiprocess

from gateway.cli.logs import LogOutput, writing_in_turn
from gateway.cli.restarts import Restarts
from gateway.cli.serving import WhyNot, listen_of
from gateway.cli.worker import WorkerProcess
from gateway.listening.server import CannotServe, base_url, bind, refuse_root, tls_context
from gateway.metrics import Metrics, Shared, make_room
from gateway.settings.settings import Seat, Settings

_log = logging.getLogger(__name__)

_TURN_S: Final = 0.1
#: Beyond the times of the settings: what a journal may need to write its last lines, and a Vault to answer.
_SPARE_S: Final = 20.0
_FOLDERS: Final = ("metrics", "board")


def supervise(settings: Settings, log: LogOutput, *, announce: Callable[[str], None]) -> int:
    """Run the workers until a signal comes, and return the exit code of the process.

    announce: called once with the base URL, as soon as all of them serve.
    Raises CannotServe when the first ones cannot start.
    """
    refuse_root(os.geteuid(), allow_root=settings.allow_root)
    listen = listen_of(settings)
    if listen.tls:
        tls_context(listen.tls)  # says what is wrong once, and before anything starts
    with closing(bind(listen)) as sock, _runtime() as runtime:
        log.turns = writing_in_turn(runtime)
        url = base_url(listen.host, sock, tls=listen.tls is not None)
        settings = replace(settings, port=sock.getsockname()[1])
        return Supervisor(settings, sock, runtime, announce=lambda: announce(url)).supervise()


@contextmanager
def _runtime() -> Iterator[Path]:
    """Make the folder that the workers share, closed to others, and remove it in the end."""
    try:
        runtime = Path(tempfile.mkdtemp(prefix="oidc-gateway-"))
        for name in _FOLDERS:
            (runtime / name).mkdir(mode=0o700)
        held = os.open(runtime, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        # Whoever tidies /tmp leaves a folder alone that is locked (systemd-tmpfiles, tmpfiles.d(5)).
        fcntl.flock(held, fcntl.LOCK_SH)
    except OSError as fault:
        raise CannotServe(
            "Several workers need a folder for temporary files: "
            f"{fault.strerror}. Set TMPDIR to one that can be written."
        ) from None
    try:
        yield runtime
    finally:
        os.close(held)
        rmtree(runtime, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class _Place:
    """A worker's place, and who has it: nobody before `due`."""

    seat: Seat
    process: WorkerProcess | None = None
    due: float = 0.0
    restarts: Restarts = field(default_factory=Restarts)


class Supervisor(Multiprocess):
    """uvicorn's supervisor with our promises: it tells once why workers cannot start, waits before it replaces one that
    dies again and again, ends gracefully with 0, and at once with the second signal. SIGHUP and all others do nothing.
    """

    def __init__(
        self, settings: Settings, sock: socket, runtime: Path, *, announce: Callable[[], None]
    ) -> None:
        # Workers make their own application; of this value they take only that no logging is set up.
        super().__init__(Config("", workers=settings.workers, log_config=None), [sock])
        self._settings = settings
        self._runtime = runtime
        self._announce = announce
        self._announced = False
        self._ending_by = 0
        names = tuple(f"w{number}" for number in range(1, settings.workers + 1))
        family = f"{node()}-{settings.port}"
        self._places = [
            _Place(seat=Seat(name=name, workers=names, family=family, runtime=runtime)) for name in names
        ]
        make_room(str(runtime / "metrics"), "supervisor")
        self._metrics = Metrics(Shared(folder=str(runtime / "metrics"), name="supervisor"))
        self._metrics.forget_gauges("supervisor")  # it has none of its own
        for name in names:
            self._metrics.worker_restarts.labels(name)  # `increase` sees no step from nothing to one

    def supervise(self) -> int:
        """Run until a signal comes; return the exit code. Raises CannotServe when the first workers cannot start."""
        try:
            while not self.should_exit.is_set():
                self.keep_subprocess_alive()
                wait([one.process.process.sentinel for one in self._places if one.process], _TURN_S)
                self.handle_signals()
            return self._end()
        finally:
            self._kill_all()

    def keep_subprocess_alive(self) -> None:
        """Start who is due, replace who died, kill who hangs, and say when everybody serves."""
        now = time.monotonic()
        for place in self._places:
            if place.process is None:
                if now >= place.due:
                    self._start(place)
            elif place.process.exitcode is not None:
                self._bury(place, place.process)
            elif not place.process.is_well(now=now):
                _log.error("worker hangs and is killed", extra={"worker": place.seat.name})
                place.process.process.kill()
        if not self._announced and all(place.process and place.process.serving for place in self._places):
            self._announced = True
            self._announce()

    def handle_signals(self) -> None:
        """Begin to end with the first SIGTERM or SIGINT."""
        while self.signal_queue:
            number = self.signal_queue.pop(0)
            if number in (signal.SIGTERM, signal.SIGINT):
                self._ending_by = number
                self.should_exit.set()
                return

    def _start(self, place: _Place) -> None:
        seat = place.seat
        audit = self._settings.audit
        settings = replace(
            self._settings, seat=seat, audit=replace(audit, directory=audit.directory / seat.name)
        )
        process = WorkerProcess(self.config, self.sockets, settings)
        # Ctrl-C reaches the whole group of processes, a closed terminal too; only the supervisor heeds them.
        heedless = (signal.SIGINT, signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_BLOCK, heedless)
        try:
            make_room(str(self._runtime / "metrics"), seat.name)
            process.begin(now=time.monotonic())
        except OSError as fault:
            # No process, no memory, no disk: as if it had died at once.
            _log.error("worker could not be started", extra={"worker": seat.name, "errno": fault.errno})
            if not self._announced:
                raise CannotServe(f"Worker {seat.name} could not be started: {fault.strerror}.") from None
            place.due = time.monotonic() + place.restarts.wait_s(lived_s=0.0)
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, heedless)
        place.process = process

    def _bury(self, place: _Place, process: WorkerProcess) -> None:
        now, seat = time.monotonic(), place.seat
        process.listen(now=now)
        process.join()
        process.parent_conn.close()
        place.process = None
        self._metrics.forget_gauges(seat.name)
        (self._runtime / "board" / f"{seat.name}.json").unlink(missing_ok=True)
        if not self._announced:
            why = process.fault or WhyNot(reason=_ended(seat.name, process.exitcode))
            raise CannotServe(why.reason, exit_code=why.exit_code, code=why.code)
        self._metrics.worker_restarts.labels(seat.name).inc()
        wait_s = place.restarts.wait_s(lived_s=now - process.started_at)
        place.due = now + wait_s
        _log.error(
            "worker died and is replaced",
            extra={
                "worker": seat.name,
                "pid": process.pid,
                "exit_code": process.exitcode,
                "why": process.fault.reason if process.fault else None,
                "wait_s": wait_s,
            },
        )

    def _end(self) -> int:
        """Let all finish; return 0 if they did."""
        for sock in self.sockets:
            sock.close()  # the workers have it too; who stops accepting last closes the port
        times = self._settings
        _log.info("ending workers", extra={"serve_on_s": times.serve_on_s, "finish_s": times.drain_s})
        left = [place.process for place in self._places if place.process]
        for process in left:
            process.process.terminate()
        until = time.monotonic() + times.serve_on_s + times.drain_s + _SPARE_S
        while (alive := [one for one in left if one.exitcode is None]) and time.monotonic() < until:
            wait([one.process.sentinel for one in alive], _TURN_S)
            self._heed_second_signal()
        self._kill_all()
        bad = [one.pid for one in left if one.serving and one.exitcode]
        _log.info("stopped", extra={"bad_workers": len(bad)})
        return 1 if bad else 0

    def _heed_second_signal(self) -> None:
        for number in self.signal_queue:
            if number in (signal.SIGTERM, signal.SIGINT):
                sys.stderr.write(f"Second {signal.Signals(number).name}: ending at once.\n")
                sys.stderr.flush()
                self._kill_all()
                rmtree(self._runtime, ignore_errors=True)
                os._exit(128 + number)

    def _kill_all(self) -> None:
        for place in self._places:
            if place.process is not None and place.process.exitcode is None:
                place.process.process.kill()
                place.process.join()


def _ended(name: str, exit_code: int | None) -> str:
    how = f"by signal {-exit_code}" if exit_code is not None and exit_code < 0 else f"with code {exit_code}"
    return f"Worker {name} ended {how} before it could serve; the log may say why."
