"""Starts real Redis servers on loopback: one that tests share, and private ones to be stopped, filled and locked."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.dev.children import LOOPBACK, START_S, ChildFailed, free_port

HOW_TO_GET_ONE = (
    "redis-server is not installed; run apt-get install redis-server, or scripts/components as root"
)
_ATTEMPTS = 3


def find_redis() -> str | None:
    """Return the path of a Redis or Valkey server, None when there is none."""
    return shutil.which("redis-server") or shutil.which("valkey-server")


@dataclass(slots=True, kw_only=True)
class RedisServer:
    """One server of ours. options: of its command line. users: lines of its ACL file, none for an open server."""

    port: int
    folder: Path
    options: Sequence[str] = ()
    users: Sequence[str] = ()
    tls: bool = False
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"{'rediss' if self.tls else 'redis'}://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start it, with the data that it wrote before; returns once it listens. Raises ChildFailed."""
        acl = self.folder / "users.acl"
        acl.write_text("".join(f"{line}\n" for line in self.users))
        command = [find_redis() or "redis-server", "--bind", LOOPBACK, "--dir", str(self.folder)]
        if self.users:
            command += ["--aclfile", str(acl)]
        command += ["--port", "0", "--tls-port", str(self.port)] if self.tls else ["--port", str(self.port)]
        # Without --save it would write its data when it ends; only --appendonly yes keeps any.
        command += ["--save", "", "--loglevel", "warning", *self.options]
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise ChildFailed(f"redis-server ended.\n{(self.folder / 'output').read_text()[-2000:]}")
            try:
                socket.create_connection((LOOPBACK, self.port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
                continue
            return
        raise ChildFailed("redis-server did not listen in time.")

    def stop(self) -> None:
        """End it and wait."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Keep it from doing anything, with every connection left as it is."""
        process = self._process
        if process is None:
            raise ChildFailed("redis-server does not run.")
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def say(self, *words: str) -> str:
        """Send one command, as redis-cli does, and return what it answers to it."""
        with socket.create_connection((LOOPBACK, self.port), timeout=5) as connection:
            parts = [word.encode() for word in words]
            lines = [b"*%d" % len(parts)]
            for part in parts:
                lines += [b"$%d" % len(part), part]
            connection.sendall(b"\r\n".join([*lines, b""]))
            return connection.recv(65_536).decode()


@contextmanager
def running_redis(
    *options: str, users: Sequence[str] = (), tls: bool = False, port: int | None = None
) -> Iterator[RedisServer]:
    """Yield a server that ends with the block. options: such as `--maxmemory 3mb`, word by word."""
    folder = Path(tempfile.mkdtemp(prefix="oidc-gateway-redis-"))
    server = RedisServer(port=port or free_port(), folder=folder, options=options, users=users, tls=tls)
    try:
        _start(server, fixed=port is not None)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _start(server: RedisServer, *, fixed: bool) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            server.start()
        except ChildFailed:
            # Between our look and its start another program may have taken the port.
            if fixed or attempt + 1 == _ATTEMPTS:
                raise
            server.stop()
            server.port = free_port()
        else:
            return
