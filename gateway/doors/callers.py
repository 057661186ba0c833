"""Where a request comes from: the peer, or whom a proxy that we trust says it speaks for. Pure."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Callers:
    """Reads `X-Forwarded-For`, and only from peers on the list; `Forwarded` (RFC 7239) is not read.

    One of the two had to be chosen: load balancers write the older field, and reading both would let a caller
    slip in the one that the proxy passes on unread.

    trusted_proxies: networks in CIDR notation, or addresses. Raises ValueError for anything else.
    """

    def __init__(self, trusted_proxies: Iterable[str] = ()) -> None:
        self._trusted: tuple[_Network, ...] = tuple(
            ipaddress.ip_network(one, strict=False) for one in trusted_proxies
        )
        self._normal = lru_cache(maxsize=4096)(normal_address)
        self.is_trusted = lru_cache(maxsize=4096)(self._judge)

    def source(self, peer: str | None, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return the caller's address, None for a peer without one, as on a Unix socket."""
        if not peer:
            return None
        source = self._normal(peer) or peer
        if not self._trusted or not self.is_trusted(source):
            return source
        fields = [value for name, value in headers if name == b"x-forwarded-for"]
        for hop in reversed(b",".join(fields).split(b",")):
            address = self._normal(_bare(hop.decode("latin-1").strip(" \t")))
            if address is None:
                # Nothing to the left of what cannot be read was vouched for by anybody.
                return source
            source = address
            if not self.is_trusted(source):
                return source
        return source

    def _judge(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted)


def normal_address(text: str) -> str | None:
    """Return the one spelling of an address, None when it is none; an IPv4 address inside IPv6 is the IPv4 address."""
    try:
        address: _Address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def _bare(hop: str) -> str:
    """Return the address of a hop without its port, which some load balancers add."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    host, colon, port = hop.rpartition(":")
    return host if colon and ":" not in host and port.isdigit() else hop
