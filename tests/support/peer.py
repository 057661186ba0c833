"""A scripted HTTP peer on loopback, for faults that no real component can be asked for. It counts what reaches it."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it arrived. headers: names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


#: What the peer does with one request; after it returns the connection stays open for the next one.
Reply = Callable[[Received, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """Plays its replies one after the other, the last one for ever; open inside `async with`.

    received: every request, in order; heard: set by the first; connections: how many were accepted.
    port: 0 takes a free one.
    """

    def __init__(
        self, *replies: Reply, tls: ssl.SSLContext | None = None, host: str = LOOPBACK, port: int = 0
    ) -> None:
        self._replies = replies
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.received: list[Received] = []
        self.heard = asyncio.Event()
        self.connections = 0
        self.host = host
        self.port = port

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self.host, self.port, ssl=self._tls, backlog=1000
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while (request := await _read(reader)) is not None:
                self.received.append(request)
                self.heard.set()
                reply = self._replies[min(len(self.received), len(self._replies)) - 1]
                await reply(request, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.strip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method=method, target=target, headers=headers, body=body)


def answers(body: bytes | str = b"", *, status: int = 200, **headers: str) -> Reply:
    """Answer at once. headers: `content_type="text/xml"`."""
    content = body.encode() if isinstance(body, str) else body

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        named = {"content_length": str(len(content)), **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
        writer.write(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode() + content)
        await writer.drain()

    return reply


def stays_silent() -> Reply:
    """Read the request and never answer."""

    async def reply(_: Received, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    return reply


def cuts_the_connection() -> Reply:
    """Read the request, then reset the connection: the caller cannot know what was done."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()
        raise ConnectionResetError

    return reply


def drips(pause_s: float = 0.05) -> Reply:
    """Begin a good answer and go on one byte at a time, for ever."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(pause_s)

    return reply


def pours() -> Reply:
    """Answer with a body that never ends."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"x" * 1024 + b"\r\n")
            await writer.drain()

    return reply


def raw(data: bytes) -> Reply:
    """Write exactly these bytes and close."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        writer.close()

    return reply


async def closed_port() -> int:
    """Return a loopback port on which nothing listens."""
    server = await asyncio.start_server(lambda _reader, _writer: None, LOOPBACK, 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
