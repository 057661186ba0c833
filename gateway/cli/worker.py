"""A worker: one of several processes that serve on a socket which their supervisor has bound."""

import asyncio
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from socket import socket
from types import FrameType
from typing import Final

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Process

from gateway.cli.confinement import confine
from gateway.cli.logs import configure_logging, writing_in_turn
from gateway.cli.serving import WhyNot, serve_here, why_not
from gateway.errors import GatewayError
from gateway.listening.server import CannotServe, GatewayServer
from gateway.settings.setting import SettingInvalid
from gateway.settings.settings import Seat, Settings

_log = logging.getLogger(__name__)

#: An event loop that has not turned for this long does not count as alive.
_STUCK_S: Final = 10.0
#: What has not answered for this long is killed; a machine that pauses for a moment costs no worker.
_HUNG_S: Final = 30.0
_PING_S: Final = 0.5


class Life:
    """What a worker tells its supervisor of itself: from its event loop, and from a thread that answers pings."""

    def __init__(self, connection: Connection, *, now: Callable[[], float] = time.monotonic) -> None:
        self.leaving = False
        self._now = now
        self._connection = connection
        self._sending = threading.Lock()
        self._serving = False
        self._beat = 0.0

    def serve(self, _url: str) -> None:
        """Note that connections are accepted."""
        self._serving = True

    def beat(self) -> None:
        """Note that the event loop turns."""
        self._beat = self._now()

    def answer(self) -> None:
        """Answer a ping with whether this worker serves; a stuck event loop answers nothing."""
        if not self._serving or self.leaving or self._now() - self._beat < _STUCK_S:
            self._say(self._serving)

    def fail(self, why: WhyNot) -> None:
        """Tell why this worker cannot start; who started it logs that once for all of them."""
        self._say(why)

    def _say(self, word: object) -> None:
        with self._sending:
            self._connection.send(word)


class WorkerServer(GatewayServer):
    """Stops when its supervisor says so or is gone. A second SIGTERM is no other than the first: service managers send
    theirs to the whole group, and who ends everything at once is the supervisor.
    """

    def __init__(self, *arguments: object, life: Life, seat: Seat, **options: object) -> None:
        super().__init__(*arguments, **options)  # type: ignore[arg-type]  # as run_server gives them
        self._life = life
        self._seat = seat

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, and watch over the supervisor's life."""
        await super().startup(sockets)
        supervisor = parent_process()
        if supervisor is not None:
            asyncio.get_running_loop().add_reader(supervisor.sentinel, self._be_orphaned, supervisor.sentinel)

    async def on_tick(self, counter: int) -> bool:
        """Note that the loop turns."""
        self._life.beat()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Stop as any gateway does."""
        self._life.leaving = True
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the graceful end."""
        self.stop()

    def _be_orphaned(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        _log.error("the supervisor is gone; this worker ends")
        # The port is needed by whoever is started instead.
        self._times = replace(self._times, serve_on_s=0)
        self.stop()
        shutil.rmtree(self._seat.runtime, ignore_errors=True)


class WorkerProcess(Process):
    """uvicorn's process, which runs our server and says more than that it lives.

    serving: it accepts connections. fault: why it could not start.
    """

    def __init__(self, config: Config, sockets: list[socket], settings: Settings) -> None:
        self.serving = False
        self.fault: WhyNot | None = None
        self.started_at = 0.0
        self._settings = settings
        self._life: Life | None = None
        self._asked = False
        self._asked_at = -_PING_S
        self._answered_at = 0.0
        super().__init__(config, sockets)

    # In the supervisor.

    def begin(self, *, now: float) -> None:
        """Start the process."""
        self.start()
        self.child_conn.close()  # so that its end is seen here
        self.started_at = self._answered_at = now

    def is_well(self, *, now: float) -> bool:
        """Take what it said, ask again, and say whether it has answered lately."""
        self.listen(now=now)
        try:
            if not self._asked and now - self._asked_at >= _PING_S:
                self.parent_conn.send(b"ping")
                self._asked, self._asked_at = True, now
        except OSError:  # it is dying
            return True
        return now - self._answered_at < _HUNG_S

    def listen(self, *, now: float) -> None:
        """Take what it has said, without waiting."""
        try:
            while self.parent_conn.poll():
                word = self.parent_conn.recv()
                if isinstance(word, WhyNot):
                    self.fault = word
                else:
                    self.serving, self._answered_at, self._asked = word, now, False
        except (OSError, EOFError):
            return

    # In the worker.

    def target(self, sockets: list[socket] | None = None) -> None:
        """Serve; the process ends with what this raises."""
        if not sockets:
            raise ValueError("A worker needs its supervisor's socket.")
        self._life = Life(self.child_conn)
        threading.Thread(target=self.always_pong, name="supervisor", daemon=True).start()
        sys.exit(_work(self._settings, sockets[0], self._life))

    def pong(self) -> None:
        """Answer one ping."""
        self.child_conn.recv()
        if self._life is not None:
            self._life.answer()


def _work(settings: Settings, sock: socket, life: Life) -> int:
    seat = settings.seat
    if seat is None:
        raise ValueError("A worker needs a seat.")
    # A started process may be looked into again, whatever its parent said.
    confine(debuggable=settings.dev)
    sock.settimeout(0)
    with closing(configure_logging(settings.log, "INFO", worker=seat.name)) as log:
        log.turns = writing_in_turn(seat.runtime)
        try:
            server = partial(WorkerServer, life=life, seat=seat, sock=sock)
            return serve_here(settings, log, announce=life.serve, server=server)
        except (SettingInvalid, CannotServe, GatewayError) as fault:
            life.fail(why_not(fault))
            return STARTUP_FAILURE
