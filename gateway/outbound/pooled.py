"""The pooled HTTP client: one call, once, within its deadline and its size."""

import asyncio
import errno
import ssl
from collections.abc import Mapping
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.connector import Connection
from yarl import URL

from gateway.outbound.addresses import AddressRefused
from gateway.outbound.http import Answer, FailureKind, OutboundFailure, Outgoing

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Shorter than the idle limit of AWS's front ends, so that a request seldom meets a connection that is being closed.
_KEEP_ALIVE_S: Final = 10.0
_CONNECTING: Final = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.EHOSTUNREACH: "there is no way to its address",
    errno.ENETUNREACH: "there is no way to its address",
    errno.ETIMEDOUT: "no connection in time",
}


class _Progress:
    """How far a call has come. connected: it has its connection, and from then on its request may reach the peer."""

    __slots__ = ("connected",)

    def __init__(self) -> None:
        self.connected = False


#: Of the call that runs in this task. aiohttp's own tracing would tell too, for a tenth of the cost of a call.
_progress: Final[ContextVar[_Progress]] = ContextVar("progress")


class _NotingConnector(aiohttp.TCPConnector):
    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the library's own signature
    ) -> Connection:
        connection = await super().connect(req, traces, timeout)
        _progress.get().connected = True
        return connection


class PooledHttp:
    """An HttpClient over one connection pool, open inside `async with`.

    No proxy, netrc, cookie or compression, whatever the environment says; no redirect is followed.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext,
        resolver: AbstractResolver | None = None,
        connections: int = 1000,
        reuse: bool = True,
    ) -> None:
        """Prepare the client.

        connections: open at one time; further calls wait inside their `connect_s`.
        reuse:       keep connections and name look-ups for later calls.
        """
        self._tls = tls
        self._resolver = resolver
        self._connections = connections
        self._reuse = reuse
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = _NotingConnector(
            ssl=self._tls,
            resolver=self._resolver,
            use_dns_cache=self._reuse,
            limit=self._connections,
            force_close=not self._reuse,
            keepalive_timeout=_KEEP_ALIVE_S if self._reuse else None,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Content-Type"),
        )
        # aiohttp repeats a GET whose connection broke, and offers no public switch; one call is one request here.
        self._session._retry_connection = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, request: Outgoing, *, deadline: float) -> Answer:
        """Make one call, once; raises OutboundFailure. deadline: the event loop's time."""
        if self._session is None:
            raise RuntimeError("PooledHttp is used outside its `async with`.")
        progress = _Progress()
        _progress.set(progress)
        try:
            async with asyncio.timeout_at(deadline):
                return await self._exchange(self._session, request)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            # `from None`: the library's exceptions carry the URL and the headers we sent.
            raise _failure(error, request.url, sent=progress.connected) from None

    async def _exchange(self, session: aiohttp.ClientSession, request: Outgoing) -> Answer:
        async with session.request(
            request.method,
            URL(request.url, encoded=True),
            headers={"Accept-Encoding": "identity", **request.headers},
            data=request.body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=request.connect_s, ceil_threshold=float("inf")),
        ) as response:
            return await _read(response, request)


async def _read(response: aiohttp.ClientResponse, request: Outgoing) -> Answer:
    host = response.url.host or ""
    headers = _headers(response.headers)
    if response.status in _REDIRECTS:
        response.close()
        raise OutboundFailure("redirect", f"{host} answered with a redirect", sent=True)
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        response.close()
        raise OutboundFailure("encoding", f"{host} compressed its answer unasked", sent=True)
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > request.max_answer_bytes:
            response.close()
            raise OutboundFailure(
                "too_large", f"{host} answered with more than {request.max_answer_bytes} bytes", sent=True
            )
    return Answer(status=response.status, headers=headers, body=bytes(body))


def _headers(received: Mapping[str, str]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in received.items():
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def _failure(error: Exception, url: str, *, sent: bool) -> OutboundFailure:
    host = URL(url, encoded=True).host or ""
    kind, text = _kind(error)
    return OutboundFailure(kind, f"{host}: {text}", sent=sent)


def _kind(error: Exception) -> tuple[FailureKind, str]:
    if isinstance(error, AddressRefused) or isinstance(getattr(error, "os_error", None), AddressRefused):
        return "address", "an address of this host may not be dialled"
    match error:
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls", "the TLS handshake failed or the certificate is not trusted"
        case aiohttp.ConnectionTimeoutError():
            return "connect", "no connection in time"
        case TimeoutError():
            return "timeout", "no complete answer in time"
        case aiohttp.ClientConnectorDNSError():
            return "connect", "the name has no address, or the name service did not answer"
        case aiohttp.ClientConnectorError(errno=number) if number in _CONNECTING:
            return "connect", _CONNECTING[number]
        case aiohttp.ClientConnectorError() | aiohttp.InvalidURL():
            return "connect", "no connection"
        case _:
            return "broken", "the connection broke or the answer is not HTTP"
