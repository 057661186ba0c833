"""A stand-in for STS and Step Functions that answers at once or after a set time, and checks nothing. Loopback only.

Run as `python -m tests.bench.upstream_program PORT`. `GET /latency/MS` sets how long both take; `GET /both` takes as long
as the two calls of one start, so that a load generator can measure what is not the gateway's.
"""

import asyncio
import sys
import time
from email.utils import formatdate
from typing import Final, cast
from urllib.parse import unquote_plus

import uvloop

from tests.bench.tokens import AUDIENCE, ISSUER, SUBJECT

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"
_SESSION_S: Final = 900
_SESSION_TOKEN: Final = "x" * 800  # AWS's own are longer than most tokens
_STS: Final = (
    '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>'
    f"<SubjectFromWebIdentityToken>{SUBJECT}</SubjectFromWebIdentityToken><Audience>{AUDIENCE}</Audience>"
    "<AssumedRoleUser><Arn>arn:aws:sts::%s:assumed-role/%s/%s</Arn><AssumedRoleId>AROAEXAMPLEEXAMPLE12:%s</AssumedRoleId>"
    "</AssumedRoleUser><Credentials><AccessKeyId>ASIA%016d</AccessKeyId>"
    "<SecretAccessKey>example/secret/of/the/stub/of/sts/000000</SecretAccessKey>"
    f"<SessionToken>{_SESSION_TOKEN}</SessionToken><Expiration>%s</Expiration></Credentials>"
    f"<Provider>{ISSUER}</Provider></AssumeRoleWithWebIdentityResult><ResponseMetadata>"
    "<RequestId>00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>"
)


class Upstream:
    """What all connections share."""

    def __init__(self) -> None:
        self.latency_s = 0.0
        self.sessions = 0
        self._second = 0
        self.date = b""
        self.expiration = ""

    def tick(self) -> float:
        """Return the time, and bring what is written once a second up to date."""
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self.date = formatdate(now, usegmt=True).encode()
            self.expiration = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + _SESSION_S))
        return now


class Connection(asyncio.Protocol):
    """One connection; keeps it, as AWS does."""

    def __init__(self, shared: Upstream) -> None:
        self._shared = shared
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where answers go."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is no subclass

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._received += data
        while (end := self._received.find(_END)) >= 0:
            head = bytes(self._received[:end])
            whole = end + len(_END) + _length(head)
            if len(self._received) < whole:
                return
            body = bytes(self._received[end + len(_END) : whole])
            del self._received[:whole]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        shared = self._shared
        if head.startswith(b"POST"):
            answer = _sts(body, shared) if body.startswith(b"Action=") else _started(body, shared)
            self._later(answer, shared.latency_s)
        elif head.startswith(b"GET /both"):
            self._later(_http(b"{}", shared), shared.latency_s, 2)
        else:
            if head.startswith(b"GET /latency/"):
                shared.latency_s = int(head.split(b" ")[1].rpartition(b"/")[2]) / 1000
            self._send(_http(b"{}", shared))

    def _later(self, answer: bytes, wait_s: float, calls: int = 1) -> None:
        """Answer after the time of so many calls, waited for one after the other."""
        if not wait_s:
            self._send(answer)
        elif calls > 1:
            asyncio.get_running_loop().call_later(wait_s, self._later, answer, wait_s, calls - 1)
        else:
            asyncio.get_running_loop().call_later(wait_s, self._send, answer)

    def _send(self, answer: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(answer)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(_LENGTH)
    return int(lower[at + len(_LENGTH) :].split(b"\r", 1)[0]) if at >= 0 else 0


def _sts(body: bytes, shared: Upstream) -> bytes:
    shared.tick()
    shared.sessions += 1
    fields = dict(pair.split("=", 1) for pair in body.decode().split("&"))
    account, _, role = unquote_plus(fields["RoleArn"]).split(":", 4)[4].partition(":role/")
    name = unquote_plus(fields["RoleSessionName"])
    return _http(
        (_STS % (account, role, name, name, shared.sessions, shared.expiration)).encode(), shared, b"text/xml"
    )


def _started(body: bytes, shared: Upstream) -> bytes:
    now = shared.tick()
    machine, name = _text(body, b"stateMachineArn"), _text(body, b"name")
    execution = machine.replace(b":stateMachine:", b":execution:") + b":" + name
    answer = b'{"executionArn":"%s","startDate":%.3f}' % (execution, now)
    return _http(answer, shared, b"application/x-amz-json-1.0")


def _text(body: bytes, member: bytes) -> bytes:
    # Cheaper than reading the JSON, whose other texts hold no such member: this program must not be the bottleneck.
    return body.split(b'"%s"' % member, 1)[1].split(b'"', 2)[1]


def _http(body: bytes, shared: Upstream, kind: bytes = b"application/json") -> bytes:
    if not shared.date:
        shared.tick()
    return b"HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        shared.date,
        kind,
        len(body),
        body,
    )


async def _serve(port: int) -> None:
    shared = Upstream()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(shared), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
