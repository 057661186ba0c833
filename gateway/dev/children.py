"""Starts server programs on loopback that end with us, and waits until they answer."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOOPBACK = "127.0.0.1"
START_S = 30.0  # a busy machine needs several seconds for what takes one on an idle machine
_STOP_S = 10.0
_ATTEMPTS = 3
_TETHER = Path(__file__).with_name("tether.py")


class ChildFailed(Exception):
    """A program did not come up; the message says which, and ends with the last lines it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """How to start one program that serves HTTP.

    name:        for messages.
    command:     argument list for the port that it shall listen on and a scratch folder that is removed afterwards.
    environment: its whole environment besides PATH, HOME and TMPDIR; ours is not handed down, it may hold real AWS keys.
    health:      path that answers 200 once the program is ready.
    """

    name: str
    command: Callable[[int, Path], Sequence[str]]
    environment: Callable[[int], Mapping[str, str]]
    health: str


@contextmanager
def running(server: Server, *, workdir: Path | None = None, port: int | None = None) -> Iterator[int]:
    """Start the program, yield its port once it is ready, and stop it with all that it started.

    workdir: where its scratch folder is made; the system's temporary folder when None.
    port:    where it shall listen; a free one when None. Raises ChildFailed.
    """
    if port is not None and not is_free(port):
        # Otherwise whoever listens there could answer the health check in its place.
        raise ChildFailed(f"{server.name} cannot listen on port {port}: another program does.")
    process, port = _start(server, workdir, port)
    try:
        yield port
    finally:
        _stop(process)


def _start(server: Server, workdir: Path | None, fixed: int | None) -> tuple["subprocess.Popen[bytes]", int]:
    for attempt in range(_ATTEMPTS):
        port = fixed or free_port()
        scratch = Path(tempfile.mkdtemp(prefix=f"oidc-gateway-{server.name}-", dir=workdir))
        process = _spawn(server, port, scratch)
        try:
            _wait_until_ready(server, process, port, scratch)
        except ChildFailed:
            _stop(process)
            # Between our look and its start another program may have taken the port.
            if attempt + 1 == _ATTEMPTS:
                raise
        except BaseException:
            _stop(process)
            raise
        else:
            return process, port
    raise AssertionError("unreachable: the last attempt raises")


def _spawn(server: Server, port: int, scratch: Path) -> "subprocess.Popen[bytes]":
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(scratch), "TMPDIR": str(scratch)}
    with (scratch / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_TETHER), str(scratch), *server.command(port, scratch)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=scratch,
            env=environment | dict(server.environment(port)),
            start_new_session=True,  # Ctrl-C in the terminal is for us; we stop the program when we are done with it
        )


def _wait_until_ready(server: Server, process: "subprocess.Popen[bytes]", port: int, scratch: Path) -> None:
    deadline = time.monotonic() + START_S
    # Read through a handle of our own: the scratch folder is gone when the program ends early.
    with (scratch / "output").open("rb") as output:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise ChildFailed(
                    f"{server.name} ended with status {process.returncode}.\n{_tail(output.read())}"
                )
            if answers(port, server.health):
                return
            time.sleep(0.03)
        raise ChildFailed(f"{server.name} did not answer within {START_S:.0f} s.\n{_tail(output.read())}")


def answers(port: int, path: str) -> bool:
    """Say whether a loopback server answers 200 to a GET right now."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    """Say whether we could listen on a loopback port right now; 0 stands for any."""
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # connections of an earlier run may linger
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _tail(output: bytes) -> str:
    return "\n".join(output.decode(errors="replace").splitlines()[-15:])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
