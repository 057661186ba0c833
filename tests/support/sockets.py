"""A guard over the whole test run: no test reaches or serves anything beyond this machine."""

import sys
from ipaddress import ip_address


class OutsideCall(BaseException):
    """A test tried to leave the machine. Not an Exception: code under test that expects failing networks must not hide it."""


def refuse_the_outside() -> None:
    """Refuse every connection, listener and name look-up that is not loopback, from now on in this process."""
    sys.addaudithook(_watch)


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.bind", "socket.sendto"}:
        address = arguments[1]
        if isinstance(address, tuple) and not _is_here(address[0]):
            raise OutsideCall(f"{event} {address[0]}: tests stay on 127.0.0.1.")
    elif event == "socket.getaddrinfo" and not _is_here(arguments[0]):
        raise OutsideCall(f"Look-up of {arguments[0]!r}: tests stay on 127.0.0.1.")


def _is_here(host: object) -> bool:
    text = host.decode() if isinstance(host, bytes) else host
    if not isinstance(text, str):
        return text is None
    # `.invalid` never resolves (RFC 6761 section 6.4): names for tests of a look-up that fails.
    if text == "localhost" or text.endswith(".invalid"):
        return True
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False
