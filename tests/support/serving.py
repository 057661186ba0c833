"""A real server on a free loopback port, in a thread of its own, for tests that speak HTTP byte by byte."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import uvloop
from starlette.types import ASGIApp

from gateway.doors.draining import Draining
from gateway.listening.protocol import ProtocolLimits
from gateway.listening.server import GatewayServer, Listen, ShutdownTimes, TlsFiles


@dataclass(slots=True)
class Serving:
    """A running server. refused: reasons of closed connections, counted."""

    port: int
    url: str
    refused: Counter[str]
    draining: Draining
    open_sockets: list[socket.socket] = field(default_factory=list)

    def connect(self, tls: ssl.SSLContext | None = None) -> socket.socket:
        """Return a connected socket that the end of the test closes."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        if tls is not None:
            sock = tls.wrap_socket(sock)
        self.open_sockets.append(sock)
        return sock

    def exchange(self, request: bytes) -> bytes:
        """Send bytes and return everything that comes back until the server closes."""
        sock = self.connect()
        sock.sendall(request)
        return read_all(sock)


@contextlib.contextmanager
def serving(app: ASGIApp, limits: ProtocolLimits, *, tls: TlsFiles | None = None) -> Iterator[Serving]:
    """Serve `app` with these limits until the block ends."""
    refused: Counter[str] = Counter()
    ready = threading.Event()
    draining = Draining()

    def count(reason: str) -> None:
        refused[reason] += 1

    server = GatewayServer(
        app,
        listen=Listen(port=0, tls=tls),
        draining=draining,
        count_refused=count,
        announce=lambda _: ready.set(),
        limits=limits,
        times=ShutdownTimes(serve_on_s=0, finish_s=5),
    )
    url = server.url

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if not ready.wait(10):
        raise TimeoutError("The server did not start.")
    running = Serving(int(url.rsplit(":", 1)[1]), url, refused, draining)
    try:
        yield running
    finally:
        for sock in running.open_sockets:
            sock.close()
        server.stop()
        thread.join(10)


def read_all(sock: socket.socket) -> bytes:
    """Return what the server sends until it closes; a reset ends it too."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(65536):
            received += data
    return bytes(received)


def read_answer(sock: socket.socket) -> tuple[int, bytes]:
    """Return status and body of one answer that declares its length, leaving the connection open."""
    received = bytearray()
    while b"\r\n\r\n" not in received:
        data = sock.recv(65536)
        if not data:
            raise EOFError(bytes(received))
        received += data
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields[b"content-length"]):
        body += sock.recv(65536)
    return int(head.split(b" ")[1]), body
