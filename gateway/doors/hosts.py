"""Under which names the gateway answers (HTTP's `Host`). Pure."""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

#: Names of this machine to itself.
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Hosts:
    """The names that a request may ask for; ports do not count.

    A port is what port-forwarding, a NodePort and a load balancer change on the way, while no attack needs another
    one: what the name keeps out is a web page whose own name was made to resolve to this address, and links made of it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(canonical_host(name) for name in names)
        # Callers send few different values; whoever sends many pays for reading each.
        self._allows = lru_cache(maxsize=256)(self._judge)

    def allows(self, value: bytes) -> bool:
        """Say whether a request with this `Host` is meant for us."""
        return self._allows(value)

    def _judge(self, value: bytes) -> bool:
        return canonical_host(_without_port(value.decode("latin-1").strip(" \t"))) in self.names


def allowed_names(*, listen: str, public_url: str | None, hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the names of a gateway: of its public URL, of the address it listens on, of this machine, and those listed."""
    names = [*LOOPBACK, *hosts]
    if not is_wildcard(listen):
        names.append(listen)
    if public_url is not None and (host := urlsplit(public_url).hostname):
        names.append(host)
    return tuple(names)


def is_wildcard(host: str) -> bool:
    """Say whether listening there means every address of the machine, so that none of them is its name."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return host == ""


def canonical_host(name: str) -> str:
    """Return the one spelling by which names and addresses are compared."""
    bare = name.removeprefix("[").removesuffix("]")
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        # `example.com.` is the same name, written out to the root.
        return name.lower().removesuffix(".")


def _without_port(value: str) -> str:
    if value.startswith("["):
        name, bracket, rest = value.partition("]")
        return f"{name}]" if bracket and _is_port(rest) else ""
    name, colon, port = value.partition(":")
    return name if _is_port(colon + port) else ""


def _is_port(text: str) -> bool:
    digits = text[1:]
    return text == "" or (text[0] == ":" and digits.isascii() and (digits == "" or digits.isdigit()))
