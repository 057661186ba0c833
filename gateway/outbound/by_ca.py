"""One pooled client per private CA, so that a peer with a CA of its own is trusted by that CA and by nothing else."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from gateway.outbound.http import HttpClient
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.tls import client_context


class HttpByCa:
    """Hands out clients, each made when it is first needed; open inside `async with`.

    They live as long as this does: the CAs are the administrators', so there are few.
    """

    def __init__(self, usual: HttpClient) -> None:
        """Prepare. usual: the client for peers that the system's roots vouch for; opened and closed by its owner."""
        self._usual = usual
        self._private: dict[str, PooledHttp] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._private.clear()
        await self._open.aclose()

    async def client(self, ca_pem: str | None) -> HttpClient:
        """Return the client that trusts this CA alone, the usual one for None. Raises ssl.SSLError for a bad CA."""
        if ca_pem is None:
            return self._usual
        found = self._private.get(ca_pem)
        if found is None:
            found = PooledHttp(tls=client_context(ca_pem))
            self._private[ca_pem] = found
            await self._open.enter_async_context(found)
        return found
