"""From a place to a connection: name look-up, TCP to whichever address answers first, TLS.

[edge]
"""

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, cast

from aiohappyeyeballs import AddrInfoType, start_connection

from gateway.outbound.addresses import AddressRefused, literal_address, numeric
from gateway.outbound.connection import Connection
from gateway.outbound.http import FailureKind, OutboundFailure
from gateway.outbound.request_bytes import PORTS, Place

# Between attempts at one address and the next; RFC 8305 section 5 recommends it.
_NEXT_ADDRESS_S: Final = 0.25
# AWS moves its front ends with records of 5 to 60 seconds.
_KNOWN_S: Final = 10.0
_MAX_KNOWN: Final = 1_000
_CONNECTING: Final = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.EHOSTUNREACH: "there is no way to its address",
    errno.ENETUNREACH: "there is no way to its address",
    errno.ETIMEDOUT: "no connection in time",
}


class Resolver(Protocol):
    """Where the addresses of a name come from."""

    def resolve(self, host: str, port: int) -> Coroutine[object, object, Sequence[AddrInfoType]]:
        """Return numeric addresses; raises AddressRefused, or OSError when there are none."""
        ...


class SystemResolver:
    """The system's own name look-up, in the event loop's threads."""

    async def resolve(self, host: str, port: int) -> Sequence[AddrInfoType]:
        """Return the addresses of a host; see Resolver."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except UnicodeError as error:
            raise OSError("this is not a host name") from error
        return cast(Sequence[AddrInfoType], found)  # typeshed allows for a build without IPv6


@dataclass(slots=True, kw_only=True)
class _Known:
    until: float
    addresses: deque[AddrInfoType] = field(default_factory=deque)


class Dialler:
    """Makes connections.

    resolver: asked for every host that is not an address itself.
    remember: what a look-up says holds for ten seconds, and several that want it at once share one.
    """

    def __init__(self, *, tls: ssl.SSLContext, resolver: Resolver, remember: bool) -> None:
        self._tls = tls
        self._resolver = resolver
        self._remember = remember
        self._known: dict[str, _Known] = {}
        self._looking: dict[str, asyncio.Task[Sequence[AddrInfoType]]] = {}

    async def dial(self, place: Place) -> Connection:
        """Return a new connection; raises OutboundFailure of kind connect, tls or address. The caller bounds the time."""
        if place.scheme not in PORTS:
            raise _failure(place, "connect", "no connection")
        connected = await self._connect(place, await self._addresses(place))
        try:
            return await self._begin(place, connected)
        except ssl.SSLError:
            connected.close()
            text = "the TLS handshake failed or the certificate is not trusted"
            raise _failure(place, "tls", text) from None
        except OSError as error:
            connected.close()
            raise _not_connected(place, error) from None

    async def _connect(self, place: Place, addresses: Sequence[AddrInfoType]) -> socket.socket:
        try:
            return await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S)
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for some
            self._known.pop(place.origin, None)
            raise _not_connected(place, error) from None

    async def _begin(self, place: Place, connected: socket.socket) -> Connection:
        loop = asyncio.get_running_loop()
        secure = place.scheme == "https"
        _, connection = await loop.create_connection(
            lambda: Connection(place.host, loop),
            sock=connected,
            ssl=self._tls if secure else None,
            # A name may be written with the root's full stop; no certificate has it.
            server_hostname=place.host.removesuffix(".") if secure else None,
        )
        return connection

    async def _addresses(self, place: Place) -> Sequence[AddrInfoType]:
        literal = literal_address(place.host)
        if literal is not None:
            return [numeric(literal, place.port)]
        try:
            if not self._remember:
                return await self._resolver.resolve(place.host, place.port)
            return await self._remembered(place)
        except AddressRefused:
            raise _failure(place, "address", "an address of this host may not be dialled") from None
        except OSError:
            text = "the name has no address, or the name service did not answer"
            raise _failure(place, "connect", text) from None

    async def _remembered(self, place: Place) -> Sequence[AddrInfoType]:
        now = asyncio.get_running_loop().time()
        known = self._known.get(place.origin)
        if known is None or known.until <= now:
            looking = self._looking.get(place.origin) or self._look(place)
            # Whoever leaves does not end what others wait for.
            found = await asyncio.shield(looking)
            known = self._known.setdefault(place.origin, _Known(until=now + _KNOWN_S, addresses=deque(found)))
        addresses = list(known.addresses)
        # The next connection begins with another address, so that all of a peer's are used.
        known.addresses.rotate(-1)
        return addresses

    def _look(self, place: Place) -> "asyncio.Task[Sequence[AddrInfoType]]":
        looking = asyncio.create_task(self._resolver.resolve(place.host, place.port), name="name look-up")
        self._looking[place.origin] = looking
        looking.add_done_callback(lambda done: self._looked(place, done))
        return looking

    def _looked(self, place: Place, done: "asyncio.Task[Sequence[AddrInfoType]]") -> None:
        del self._looking[place.origin]
        self._known.pop(place.origin, None)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        if not done.cancelled():
            done.exception()  # seen, should all who waited have left

    async def close(self) -> None:
        """End look-ups that are under way."""
        looking = list(self._looking.values())
        for one in looking:
            one.cancel()
        await asyncio.gather(*looking, return_exceptions=True)


def _not_connected(place: Place, error: OSError | RuntimeError) -> OutboundFailure:
    number = error.errno if isinstance(error, OSError) else None
    return _failure(place, "connect", _CONNECTING.get(number or 0, "no connection"))


def _failure(place: Place, kind: FailureKind, text: str) -> OutboundFailure:
    return OutboundFailure(kind, f"{place.host}: {text}", sent=False)
