"""One request to a gateway's admin listener: over a unix socket, or over TCP with or without TLS."""

import http.client
import json
import os
import socket
import ssl
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.outbound.tls import client_context
from gateway.secret import Secret

_TIMEOUT_S: Final = 30.0
_MOST_BYTES: Final = 64 * 1024 * 1024
_UNIX: Final = "unix:"
#: What a gateway says of addresses that it does not have. We ask for those of the admin listener alone.
_NO_ADDRESS: Final = "There is nothing at this address."
#: Of `struct ucred`: pid, uid, gid (unix(7), SO_PEERCRED).
_CREDENTIALS: Final = struct.Struct("3i")


class NotAsked(Exception):
    """The gateway could not be asked. The message says why, for a terminal."""


class Refused(Exception):
    """The gateway refused. document: its problem document, or what came instead of one."""

    def __init__(self, status: int, document: Mapping[str, object]) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or f"It answered {status}."))
        self.document = document


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to reach a listener.

    to:         `unix:/PATH`, `https://HOST:PORT`, or `http://` and a loopback address where the listener has no TLS.
    token:      sent as bearer token; None: none is.
    ca:         PEM file of the only CA that may have signed its certificate; None: the system's.
    certificate, key: PEM files of the client's own; the key may stand in the certificate's file.
    """

    to: str
    token: Secret | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def ask(access: Access, method: str, path: str, body: object = None) -> dict[str, object]:
    """Send one request and return the answer's object; raises Refused and NotAsked."""
    connection = _connection(access)
    headers = {"Accept": "application/json"}
    if access.token is not None:
        headers["Authorization"] = f"Bearer {access.token.reveal()}"
    content = None
    if body is not None:
        content, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    try:
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        status, data = answer.status, answer.read(_MOST_BYTES)
    except ssl.SSLError as fault:
        raise NotAsked(
            f"{access.to} was not reached over TLS: {fault.reason or fault}. {_tls_advice(access)}"
        ) from None
    except http.client.RemoteDisconnected:
        raise NotAsked(
            f"{access.to} was not reached: it closed the connection without an answer. {_cut_advice(access)}"
        ) from None
    except ConnectionResetError as fault:
        raise NotAsked(f"{access.to} was not reached: {fault.strerror}. {_cut_advice(access)}") from None
    except (ConnectionRefusedError, FileNotFoundError) as fault:
        raise NotAsked(
            f"{access.to} was not reached: {fault.strerror}. Does the gateway run, with `admin.listen` there? "
            "One whose first worker is being replaced listens again within seconds: try again."
        ) from None
    except OSError as fault:
        raise NotAsked(f"{access.to} was not reached: {fault.strerror or fault}.") from None
    except http.client.HTTPException:
        raise NotAsked(f"What answers at {access.to} is no gateway.") from None
    finally:
        connection.close()
    return _document(access, status, data)


def _tls_advice(access: Access) -> str:
    if access.ca is None:
        return "Name the CA of its certificate with --ca FILE; without it only the system's CAs count."
    return f"--ca must be the CA of its certificate, which must name the host. {_cut_advice(access)}"


def _cut_advice(access: Access) -> str:
    """Say why a listener may close a connection before it has answered."""
    if access.to.startswith("http:"):
        return "Where `admin` has `tls`, write https:// and name its CA with --ca FILE."
    if access.to.startswith("https:") and access.certificate is None:
        return "Where `admin.tls` has `client_ca`, it asks for a certificate of yours: --cert FILE, and --key FILE."
    if access.to.startswith("https:"):
        return "--cert must be signed by its `admin.tls.client_ca`."
    return "Its log may say why."


def _document(access: Access, status: int, data: bytes) -> dict[str, object]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise NotAsked(f"What answers at {access.to} is no gateway.")
    if status == http.client.NOT_FOUND and str(document.get("detail")).startswith(_NO_ADDRESS):
        raise NotAsked(
            f"What answers at {access.to} is not the admin listener; the public address answers no administrator. "
            "`admin.listen` in gateway.yaml says where it is."
        )
    if status >= http.client.BAD_REQUEST:
        raise Refused(status, document)
    return document


def _connection(access: Access) -> http.client.HTTPConnection:
    if access.to.startswith(_UNIX):
        return _UnixConnection(access.to.removeprefix(_UNIX))
    scheme, host, port = _parts(access.to)
    if scheme == "http":
        # A token would be sent in the clear; the listener itself is on loopback only.
        if host not in {"127.0.0.1", "::1"}:
            raise NotAsked(
                f"{access.to} would send a token in the clear to wherever the name leads; "
                f"write http://127.0.0.1:{port} or http://[::1]:{port}, as `admin.listen` does."
                if host == "localhost"
                else f"{access.to} is not on this machine; use https."
            )
        return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=_tls(access))


def _parts(address: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _no_address(address) from None
    if host is None or port is None or parts.scheme not in {"http", "https"} or parts.path.strip("/"):
        raise _no_address(address)
    return parts.scheme, host, port


def _no_address(address: str) -> NotAsked:
    return NotAsked(
        f"{address} is no address: write unix:/PATH, https://127.0.0.1:PORT or, where `admin` has no `tls`, http://127.0.0.1:PORT."
    )


def _tls(access: Access) -> ssl.SSLContext:
    try:
        context = client_context(access.ca.read_text("utf-8") if access.ca else None)
        if access.certificate is not None:
            context.load_cert_chain(access.certificate, access.key)
    except (OSError, ValueError) as fault:
        raise NotAsked(f"The certificates cannot be used: {fault}.") from None
    return context


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket that belongs to this user: another's could collect tokens."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        """Connect, and look who listens."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)
        peer = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        owner = _CREDENTIALS.unpack(peer)[1]
        if owner not in {0, os.geteuid()}:
            raise NotAsked(f"Another user (uid {owner}) listens at unix:{self._path}.")
