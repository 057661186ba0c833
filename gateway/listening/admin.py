"""The administrators' own listener, beside the public one: its socket, its server, and whom the transport knows.

[edge]
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from starlette.types import ASGIApp
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.doors.admin.access import Peer
from gateway.identity.certificates import names_of
from gateway.listening.connections import Connections
from gateway.listening.protocol import GuardedProtocol, ProtocolLimits
from gateway.listening.server import CannotServe, Listen, TlsFiles, bind, tls_context
from gateway.listening.strangers import Strangers

_log = logging.getLogger(__name__)

_BACKLOG: Final = 64
_MOST_CONNECTIONS: Final = 64
#: Requests of administrators served at once.
ADMIN_REQUESTS: Final = 16
_FINISH_S: Final = 5.0
#: Until the first byte of a connection: who asks sends it at once, and any process of this machine can connect to a port.
_FIRST_BYTE_S: Final = 1.0
_HANDSHAKE_S: Final = 3.0
_UNIX: Final = "unix:"
#: Of `struct ucred`: pid, uid, gid (unix(7), SO_PEERCRED).
_CREDENTIALS: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminListen:
    """Where to listen for administrators.

    address:   `unix:/PATH`, `127.0.0.1:PORT` or `[::1]:PORT`, as the files' shape has it.
    client_ca: PEM file of the CAs whose clients may connect; then every client needs a certificate.
    """

    address: str
    tls: TlsFiles | None = None
    client_ca: Path | None = None

    @property
    def path(self) -> Path | None:
        """Return the path of the unix socket; None for a TCP address."""
        return Path(self.address.removeprefix(_UNIX)) if self.address.startswith(_UNIX) else None


class AdminListener:
    """Serves `app` to administrators while it is entered; no other listener serves it.

    Bound on entering (raises CannotServe). On leaving it accepts no more and gives what is under way five seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        listen: AdminListen,
        limits: ProtocolLimits,
        count_refused: Callable[[str], None],
    ) -> None:
        self._listen = listen
        self._limits = replace(limits, first_byte_s=_FIRST_BYTE_S)
        self._idle: dict[AdminProtocol, None] = {}
        self._count_refused = count_refused
        self._config = Config(
            app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._state = ServerState()
        self._places = Connections(most=_MOST_CONNECTIONS)
        self._strangers = Strangers()
        self._server: asyncio.Server | None = None
        self._clock: asyncio.Task[None] | None = None
        self._inode: tuple[int, int] | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen, and say where."""
        loop = asyncio.get_running_loop()
        path = self._listen.path
        if path is not None:
            sock = bind_unix(path)
            self._inode = _inode(path)
            self._server = await loop.create_unix_server(self._protocol, sock=sock, backlog=_BACKLOG)
            address = self._listen.address
        else:
            tls = admin_tls(self._listen)
            host, _, port = self._listen.address.rpartition(":")
            sock = bind(Listen(host=host.strip("[]"), port=int(port), tls=self._listen.tls))
            self._server = await loop.create_server(
                self._protocol,
                sock=sock,
                ssl=tls,
                backlog=_BACKLOG,
                ssl_handshake_timeout=_HANDSHAKE_S if tls else None,
                ssl_shutdown_timeout=self._limits.linger_s if tls else None,
            )
            address = f"{'https' if tls else 'http'}://{host}:{sock.getsockname()[1]}"
        self._clock = asyncio.create_task(self._tell_the_time(), name="admin-listener")
        _log.info("listening for administrators", extra={"address": address})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop accepting, let requests finish, and take the socket's file away."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FINISH_S):
                while self._state.connections or self._state.tasks:  # noqa: ASYNC110  # sets of another library
                    await asyncio.sleep(0.05)
        for task in list(self._state.tasks):
            task.cancel()
        if self._clock is not None:
            self._clock.cancel()
        self._strangers.finish()
        path = self._listen.path
        # Only our own: a replacement may listen there already.
        if path is not None and self._inode is not None and _inode(path) == self._inode:
            path.unlink(missing_ok=True)

    def _protocol(self) -> "AdminProtocol":
        return AdminProtocol(
            self._config,
            self._state,
            {},
            limits=self._limits,
            count_refused=self._count_refused,
            strangers=self._strangers,
            connections=self._places,
            make_way=self._make_way,
            idle=self._idle,
        )

    def _make_way(self) -> None:
        """Close the oldest connection without a request, where the places are taken: else who only connects has them."""
        if self._places.open >= _MOST_CONNECTIONS:
            for oldest in self._idle:
                oldest.give_way()
                return

    async def _tell_the_time(self) -> None:
        while True:
            self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
            await asyncio.sleep(1.0)


class AdminProtocol(GuardedProtocol):
    """The public listener's protocol, with the same limits, which knows who is at the other end.

    make_way: called before a connection takes its place. idle: those on which no request is under way, the oldest first.
    """

    def __init__(
        self,
        *arguments: Any,
        make_way: Callable[[], None],
        idle: "dict[AdminProtocol, None]",
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._make_way = make_way
        self._idle = idle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, unless it comes over a unix socket from another user: that one is closed unread."""
        peer = peer_of(transport)
        self.app_state = {**self.app_state, "peer": peer}
        self._make_way()
        super().connection_made(transport)
        self._idle[self] = None
        # The socket's mode keeps others out as well; but a directory, a copy or an inherited descriptor may let one in.
        if peer.uid is not None and peer.uid != os.geteuid():
            self._count_refused("other_user")
            self._dropping = True
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Note that a request is under way: what it asks for decides how long the connection stays."""
        self._idle.pop(self, None)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Note that none is any more."""
        super().on_response_complete()
        if self._place is not None:
            self._idle[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._idle.pop(self, None)
        super().connection_lost(exc)

    def give_way(self) -> None:
        """Close, and leave the place at once: the loop says only later that the connection is lost."""
        self._idle.pop(self, None)
        if self._place is not None:
            self._places.leave(self._place)
            self._place = None
        self._count_refused("made_way")
        self._dropping = True
        self.transport.abort()


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return whom the kernel, or the TLS handshake, vouches for."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        found = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return Peer(uid=_CREDENTIALS.unpack(found)[1])
    tls: Any = transport.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls is not None else None
    return Peer(names=names_of(certificate) if certificate else ())


def bind_unix(path: Path) -> socket.socket:
    """Return a socket that listens at this path with mode 0600; raises CannotServe in plain words.

    A socket that nobody listens on any more is replaced; anything else at the path stays, and is said.
    """
    _judge_directory(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode comes with the file: a moment later would be a moment in which others may connect.
    mask = os.umask(0o177)
    try:
        _remove_stale(path)
        sock.bind(str(path))
        sock.listen(_BACKLOG)
    except OSError as fault:
        sock.close()
        raise CannotServe(f"Cannot listen on unix:{path}: {fault.strerror or fault}.") from None
    except CannotServe:
        sock.close()
        raise
    finally:
        os.umask(mask)
    sock.settimeout(0)
    return sock


def _judge_directory(path: Path) -> None:
    try:
        # One folder, for a volume that everybody may write: the socket then stands in one of our own.
        path.parent.mkdir(mode=0o700, exist_ok=True)
        status = path.parent.stat()
    except OSError as fault:
        raise CannotServe(
            f"Cannot listen on unix:{path}: {path.parent} cannot be used: {fault.strerror}."
        ) from None
    others_write = stat.S_IMODE(status.st_mode) & 0o022 and not status.st_mode & stat.S_ISVTX
    if others_write or status.st_uid not in {0, os.geteuid()}:
        raise CannotServe(
            f"Others could replace the socket unix:{path}, because they may write {path.parent}. "
            f"Run: chmod go-w {path.parent}"
        )


def _remove_stale(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode) or status.st_uid != os.geteuid():
        raise CannotServe(f"{path} exists and is no socket of ours. Remove it, or listen elsewhere.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise CannotServe(f"unix:{path} is in use. Stop the gateway that listens there, or listen elsewhere.")


def admin_tls(listen: AdminListen) -> ssl.SSLContext | None:
    """Return the TLS settings; raises CannotServe for files that cannot be used."""
    if listen.tls is None:
        return None
    context = tls_context(listen.tls)
    if listen.client_ca is not None:
        try:
            context.load_verify_locations(cafile=listen.client_ca)
        except OSError as fault:
            raise CannotServe(
                f"The client CA {listen.client_ca} cannot be used: {fault.strerror or fault}."
            ) from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _inode(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
