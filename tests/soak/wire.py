"""Requests as bytes on sockets of our own, each with a number, and what became of every one of them."""

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

HOST = "127.0.0.1"
AGENT = "soak/"
_PATIENCE_S = 40.0
#: unanswered: the gateway neither answered nor closed, for longer than anything of its takes.
Ending = Literal["under way", "answered", "disconnected", "unanswered"]


@dataclass(slots=True, kw_only=True)
class Sent:
    """One request. kind: what it was for. status and code: of the answer; 0 and "" when there was none.

    request_id: as the answer says it; "" where the gateway had none for it. ended_at: monotonic seconds.
    """

    number: int
    kind: str
    ending: Ending
    status: int = 0
    code: str = ""
    stage: str = ""
    request_id: str = ""
    seconds: float = 0.0
    ended_at: float = 0.0
    crowded: bool = False
    body: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Wire:
    """The gateway's port. sent: every request that was begun, in no order. crowded: slow sockets hang meanwhile."""

    port: int
    sent: list[Sent] = field(default_factory=list)
    crowded: bool = False
    slow_opened: int = 0
    slow_closed: int = 0
    _numbers: int = 0

    async def request(
        self,
        kind: str,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: object = None,
        raw_body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        leaves: bool = False,
    ) -> Sent:
        """Send one request on a connection of its own. leaves: with a reset, once it is sent, without an answer."""
        self._numbers += 1
        number = self._numbers
        content = raw_body if raw_body is not None else b"" if body is None else json.dumps(body).encode()
        fields = {"Host": HOST, "User-Agent": f"{AGENT}{number}", "Connection": "close", **(headers or {})}
        if token is not None:
            fields["Authorization"] = f"Bearer {token}"
        if content:
            fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **fields}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        data = f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + content
        began = time.monotonic()
        found = Sent(number=number, kind=kind, ending="under way", crowded=self.crowded)
        self.sent.append(found)
        patience = asyncio.timeout(_PATIENCE_S)
        try:
            async with patience:
                await self._exchange(data, found, leaves=leaves)
        except (OSError, EOFError):
            # A timeout, too, is an OSError.
            found.ending = "unanswered" if patience.expired() else "disconnected"
        found.ended_at = time.monotonic()
        found.seconds = found.ended_at - began
        return found

    async def _exchange(self, data: bytes, found: Sent, *, leaves: bool) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            writer.write(data)
            await writer.drain()
            if leaves:
                reset_on_close(writer)
                found.ending = "disconnected"
                return
            _read(await reader.read(-1), found)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def hang(self, until: float) -> None:
        """Open a connection and send a header of it byte by byte, again and again, as slowly as one can, until then."""
        while time.monotonic() < until:
            self.slow_opened += 1
            with contextlib.suppress(OSError, TimeoutError):
                await self._hang_once()
            self.slow_closed += 1

    async def _hang_once(self) -> None:
        reader, writer = await asyncio.open_connection(HOST, self.port)
        try:
            for letter in b"GET /v1/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: " + b"x" * 600:
                writer.write(bytes([letter]))
                await writer.drain()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        if not await reader.read(1024):
                            return
            raise AssertionError("A connection that sends a header for ever was never closed.")
        finally:
            reset_on_close(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def count(self, **wanted: object) -> int:
        """Return how many requests have these members."""
        return sum(all(getattr(one, name) == value for name, value in wanted.items()) for one in self.sent)

    def codes(self) -> Counter[str]:
        """Return how often each code was answered."""
        return Counter(one.code for one in self.sent if one.code)


def reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Let the connection end with RST in place of FIN."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _read(answer: bytes, found: Sent) -> None:
    head, separator, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if not separator or len(body) < int(fields.get("content-length", "0")):
        raise EOFError
    found.ending, found.status = "answered", int(first.split(" ")[1])
    found.request_id = fields.get("x-request-id", "")
    if "json" in fields.get("content-type", ""):
        found.body = json.loads(body)
        found.code = str(found.body.get("code", "")) if found.status >= 400 else ""
        found.stage = str(found.body.get("stage", ""))
