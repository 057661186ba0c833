"""A connection to a syslog receiver: TLS (RFC 5425), TCP with octet counting (RFC 6587), or a local socket.

[edge] Blocking; used from the audit shipper's thread alone. Syslog has no answers, so what the peer's kernel has taken is
the most that can be known.
"""

import errno
import fcntl
import re
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Final, Literal, Self

_ADDRESS: Final = re.compile(r"(tls|tcp)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})|unix:(/.+)")
_TIOCOUTQ: Final = 0x5411  # Linux: bytes that the other side has not taken


class SyslogAddressInvalid(ValueError):
    """The text is no address of a receiver; the message says what one looks like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogAddress:
    """Where a receiver listens. host, port: of `tls` and `tcp`; path: of `unix`."""

    kind: Literal["tls", "tcp", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        """Return it as settings name it."""
        if self.kind == "unix":
            return f"unix:{self.path}"
        return f"{self.kind}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that a setting names; raises SyslogAddressInvalid."""
        found = _ADDRESS.fullmatch(text)
        if found is None or (found[3] and not 0 < int(found[3]) < 65_536):
            raise SyslogAddressInvalid("must be tls://HOST:PORT, tcp://HOST:PORT or unix:/PATH")
        if found[4]:
            return cls(kind="unix", path=found[4])
        return cls(kind="tls" if found[1] == "tls" else "tcp", host=found[2].strip("[]"), port=int(found[3]))


class SyslogWire:
    """One open connection. `send` and the look-ups raise OSError when it is lost."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._is_stream = connection.type == socket.SOCK_STREAM

    @classmethod
    def connect(cls, address: SyslogAddress, tls: ssl.SSLContext | None, *, timeout_s: float) -> Self:
        """Connect; raises OSError. timeout_s: for connecting, and for every single write later.

        tls: for a `tls` address; it verifies certificate and host name.
        """
        if address.kind == "unix":
            return cls(_local(address.path, timeout_s))
        plain = socket.create_connection((address.host, address.port), timeout=timeout_s)
        try:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if address.kind == "tcp":
                return cls(plain)
            return cls(_secured(plain, tls, address.host))
        except BaseException:
            plain.close()
            raise

    def send(self, messages: list[bytes]) -> int:
        """Send messages, framed as the transport wants it; return how many bytes that were."""
        if not self._is_stream:
            for message in messages:
                self._connection.send(message)
            return sum(map(len, messages))
        data = b"".join(b"%d %b" % (len(message), message) for message in messages)
        self._connection.sendall(data)
        return len(data)

    def untaken(self) -> int:
        """Return how many bytes of all that was sent the other side's kernel has not taken."""
        answer = fcntl.ioctl(self._connection.fileno(), _TIOCOUTQ, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])

    def check(self) -> None:
        """Raise ConnectionError when the other side has closed; what it may have said is ignored."""
        before = self._connection.gettimeout()
        self._connection.settimeout(0)
        try:
            if self._connection.recv(4096) == b"" and self._is_stream:
                raise ConnectionResetError(errno.ECONNRESET, "The receiver closed the connection")
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        finally:
            self._connection.settimeout(before)

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()


def _secured(plain: socket.socket, tls: ssl.SSLContext | None, host: str) -> ssl.SSLSocket:
    if tls is None:
        raise ValueError("An address of kind tls needs what verifies its certificate.")
    return tls.wrap_socket(plain, server_hostname=host)


def _local(path: str, timeout_s: float) -> socket.socket:
    """Connect to a local socket of either kind: `/dev/log` is one of datagrams, receivers may offer a stream."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        connection = socket.socket(socket.AF_UNIX, kind)
        connection.settimeout(timeout_s)
        try:
            connection.connect(path)
        except OSError as fault:
            connection.close()
            if fault.errno != errno.EPROTOTYPE or kind is socket.SOCK_STREAM:
                raise
        else:
            return connection
    raise OSError(errno.EPROTOTYPE, "No socket of that kind", path)
