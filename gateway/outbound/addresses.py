"""Which addresses an issuer's keys may be fetched from, and a resolver that lets nothing else be dialled."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohappyeyeballs import AddrInfoType

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
#: From a host name and a port to the texts of its addresses; raises OSError.
LookUp = Callable[[str, int], Awaitable[Sequence[str]]]

# What `is_global` of Python 3.11 calls global although it is not, or leads elsewhere: protocol assignments, the
# former 6to4 relays, and multicast.
_NEVER_V4: Final = tuple(map(IPv4Network, ("192.0.0.0/24", "192.88.99.0/24", "224.0.0.0/4")))
# Only global unicast is left after this: IPv4-mapped and -compatible forms, NAT64 and site-local lie outside.
_UNICAST_V6: Final = IPv6Network("2000::/3")
# 6to4 carries any IPv4 address inside; Teredo likewise; 3fff::/20 is for documentation.
_NEVER_V6: Final = tuple(map(IPv6Network, ("2002::/16", "2001::/32", "3fff::/20")))
_LOOK_UPS: Final = 8


class AddressRefused(OSError):
    """The name or literal leads to an address that must not be dialled. The text names the host, never the address."""


def is_public(address: Address) -> bool:
    """Say whether an address belongs to the public Internet, and not to us, our neighbours or a tunnel to them."""
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _NEVER_V4)
    return (
        address in _UNICAST_V6
        and address.is_global
        and address.scope_id is None
        and not any(address in network for network in _NEVER_V6)
    )


def may_dial(address: Address, allowed: Sequence[Network]) -> bool:
    """Say whether an address is public or inside a network that the administrators allow by name."""
    return is_public(address) or any(address in network for network in allowed)


def networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Return the CIDR networks; raises ValueError for a text that is none."""
    return tuple(ip_network(text) for text in texts)


def literal_address(host: str) -> Address | None:
    """Return the address when the host of a URL is written as one, else None."""
    with contextlib.suppress(ValueError):
        return ip_address(host.removeprefix("[").removesuffix("]"))
    return None


class CheckedResolver:
    """Looks a name up once and returns numeric addresses only when every one of them may be dialled.

    The connection goes to what was checked: there is no second look-up that could answer differently.
    """

    def __init__(self, allowed: Sequence[Network], look_up: LookUp) -> None:
        self._allowed = allowed
        self._look_up = look_up

    async def resolve(self, host: str, port: int) -> list[AddrInfoType]:
        """Return the addresses of a host; raises AddressRefused, or OSError when there are none."""
        found = [ip_address(text) for text in await self._look_up(host, port)]
        if not found:
            raise OSError(f"{host} has no address")
        # One bad address among good ones is refused too: such a name is a mistake or an attack.
        if not all(may_dial(address, self._allowed) for address in found):
            raise AddressRefused(f"{host} leads to an address that is not public")
        return [numeric(address, port) for address in found]


def numeric(address: Address, port: int) -> AddrInfoType:
    """Return what is dialled, as `getaddrinfo` writes it: a number, which nobody looks up again."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (str(address), port)


class ThreadedLookUp:
    """The system's name look-up in a few threads of its own.

    A resolver that hangs cannot be cancelled. In the event loop's shared pool it would starve everybody's look-ups;
    here it delays at most other issuers' key fetches. Daemon threads do not delay the end of the process.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_LOOK_UPS)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host as texts; raises OSError."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def work() -> None:
            try:
                found: list[str] | OSError = _system_addresses(host, port)
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle, answer, found)

        try:
            threading.Thread(target=work, name="issuer-look-up", daemon=True).start()
        except RuntimeError as error:
            self._free.release()
            raise OSError("no thread is left for a name look-up") from error
        return await answer

    def _settle(self, answer: asyncio.Future[list[str]], found: list[str] | OSError) -> None:
        # Here and not when the waiter leaves: the thread is busy until the system answers.
        self._free.release()
        if answer.done():
            return
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)


def _system_addresses(host: str, port: int) -> list[str]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a host name") from error
    return [str(row[4][0]) for row in rows]
