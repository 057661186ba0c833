"""Runs the application on a socket until it is told to stop, and lets it stop without cutting anybody off."""

import asyncio
import errno
import logging
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
import uvloop
from starlette.types import ASGIApp

from gateway.doors.draining import Draining
from gateway.doors.short_way import ShortWay
from gateway.errors import ErrorCode
from gateway.listening.connections import Connections
from gateway.listening.protocol import GuardedProtocol, ProtocolLimits
from gateway.listening.strangers import Strangers
from gateway.secret import is_open_to_others
from gateway.settings.loopback import is_loopback

_log = logging.getLogger(__name__)

#: sysexits.h: the machine is set up wrongly.
EX_CONFIG = 78
COULD_NOT_RUN = 2
_BACKLOG = 2048


class CannotServe(Exception):
    """The server cannot start.

    message: what is wrong and what to do, for a terminal. exit_code: of the process. code: a machine's word, if there is one.
    """

    def __init__(
        self, message: str, *, exit_code: int = COULD_NOT_RUN, code: ErrorCode | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of the certificate chain and of its key; the key is closed to others."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where to listen.

    port:             0 takes a free one.
    behind_tls_proxy: somebody else ends TLS in front of us; needed beyond loopback without `tls`.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    tls: TlsFiles | None = None
    behind_tls_proxy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownTimes:
    """Seconds between SIGTERM and the end.

    serve_on_s: readiness is off and load balancers take note, everything is still served.
    finish_s:   for requests under way after that; what then still runs is answered `draining`.
    """

    serve_on_s: float = 5.0
    finish_s: int = 25


def run_server(
    app: ASGIApp,
    *,
    listen: Listen,
    draining: Draining,
    count_refused: Callable[[str], None],
    announce: Callable[[str], None],
    limits: ProtocolLimits | None = None,
    connections: Connections | None = None,
    strangers: Strangers | None = None,
    short_way: ShortWay | None = None,
    times: ShutdownTimes | None = None,
    allow_root: bool = False,
    server: "Callable[..., GatewayServer] | None" = None,
) -> int:
    """Serve until a signal comes, and return the exit code of the process.

    announce:      called once with the base URL as soon as connections are accepted.
    count_refused: takes the reason of every connection that a limit closed.
    server:        GatewayServer, or what makes a kind of it from the same arguments.
    SIGTERM or SIGINT ends it gracefully with 0; a second one ends the process on the spot.
    Raises CannotServe when it cannot start.
    """
    refuse_root(os.geteuid(), allow_root=allow_root)
    allow_descriptors()
    serving = (server or GatewayServer)(
        app,
        listen=listen,
        draining=draining,
        count_refused=count_refused,
        announce=announce,
        limits=limits or ProtocolLimits(),
        connections=connections,
        strangers=strangers,
        short_way=short_way,
        times=times or ShutdownTimes(),
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving.serve())
    return 0


def refuse_root(user_id: int, *, allow_root: bool) -> None:
    """Raise CannotServe (exit code 78) for uid 0 unless that was asked for."""
    if user_id == 0 and not allow_root:
        raise CannotServe(
            "Refusing to run as root. Start as another user, or pass --allow-root.", exit_code=EX_CONFIG
        )


def allow_descriptors() -> None:
    """Let the process open as many sockets and files as the system lets it; the usual soft limit of 1,024 is for select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def bind(listen: Listen) -> socket.socket:
    """Return a socket that listens on the address; raises CannotServe in plain words."""
    refuse_clear_text(listen)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as fault:
        raise CannotServe(f"Cannot listen on {listen.host}: {fault.strerror}.") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # Another process may be bound to the address without listening yet; listening tells.
        sock.listen(_BACKLOG)
    except OSError as fault:
        sock.close()
        raise _bind_fault(fault, listen) from None
    sock.settimeout(0)
    return sock


def base_url(host: str, sock: socket.socket, *, tls: bool) -> str:
    """Return the URL under which a socket that is bound to this host is reached."""
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{shown}:{sock.getsockname()[1]}"


def refuse_clear_text(listen: Listen) -> None:
    """Raise CannotServe where tokens could be overheard: beyond loopback, without TLS here or in front."""
    if not (is_loopback(listen.host) or listen.tls or listen.behind_tls_proxy):
        raise CannotServe(
            f"Listening on {listen.host} without TLS would send tokens in the clear. Set server.tls, or "
            "server.behind_tls_proxy: true if something in front ends TLS."
        )


def _bind_fault(fault: OSError, listen: Listen) -> CannotServe:
    place = f"{listen.host} port {listen.port}"
    match fault.errno:
        case errno.EADDRINUSE:
            return CannotServe(f"{place} is in use. Stop what listens there, or choose another port.")
        case errno.EACCES:
            return CannotServe(f"{place} needs a privilege. Choose a port from 1024 on.")
        case errno.EADDRNOTAVAIL:
            return CannotServe(f"{listen.host} is not an address of this machine.")
        case _:
            return CannotServe(f"Cannot listen on {place}: {fault.strerror}.")


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Return the server's TLS settings: 1.2 or later, HTTP/1.1; raises CannotServe for unusable or open files."""
    try:
        status = files.key.stat()
    except OSError as fault:
        raise CannotServe(f"The TLS key {files.key} cannot be read: {fault.strerror}.") from None
    if is_open_to_others(status.st_mode, status.st_uid, us=os.geteuid()):
        raise CannotServe(f"The TLS key {files.key} is open to others. Run: chmod 0600 {files.key}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.certificate, files.key)
    except (OSError, ValueError) as fault:
        raise CannotServe(
            f"The TLS certificate {files.certificate} and key {files.key} cannot be used together: {fault}."
        ) from None
    return context


class GatewayServer(uvicorn.Server):
    """uvicorn's server with our protocol, our sockets and our way to stop.

    Bound on construction (raises CannotServe), so that a wrong port is known before anything else starts.
    `stop` may be called from any thread.

    sock: already listening, where somebody else has bound it.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        listen: Listen,
        draining: Draining,
        count_refused: Callable[[str], None],
        announce: Callable[[str], None],
        limits: ProtocolLimits,
        times: ShutdownTimes,
        connections: Connections | None = None,
        strangers: Strangers | None = None,
        short_way: ShortWay | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="on",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=times.finish_s,
            )
        )
        self._tls = tls_context(listen.tls) if listen.tls else None
        self._socket = sock or bind(listen)
        self._host = listen.host
        self._draining = draining
        self._count_refused = count_refused
        self._announce = announce
        self._limits = limits
        self._connections = connections or Connections()
        self._strangers = strangers or Strangers()
        self._short_way = short_way
        self._times = times

    @property
    def url(self) -> str:
        """The base URL, with the port that was really taken."""
        return base_url(self._host, self._socket, tls=self._tls is not None)

    def close(self) -> None:
        """Give the port back; only for a server that is never started."""
        self._socket.close()

    def stop(self) -> None:
        """Begin the graceful end."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept connections and say so."""
        url = self.url
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            self._socket.close()
            raise CannotServe("The gateway could not start; its log says why.")
        server = await asyncio.get_running_loop().create_server(
            self._make_protocol,
            sock=self._socket,
            ssl=self._tls,
            backlog=_BACKLOG,
            # Their defaults, 60 s and 30 s, would undo the limits of the protocol.
            ssl_handshake_timeout=self._limits.first_byte_s if self._tls else None,
            ssl_shutdown_timeout=self._limits.linger_s if self._tls else None,
        )
        self.servers = [server]
        self.started = True
        await self.on_tick(0)
        self._announce(url)

    def _make_protocol(self) -> GuardedProtocol:
        return GuardedProtocol(
            self.config,
            self.server_state,
            self.lifespan.state,
            limits=self._limits,
            connections=self._connections,
            strangers=self._strangers,
            short_way=self._short_way,
            count_refused=self._count_refused,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on for as long as load balancers need to notice, then stop accepting and let requests finish."""
        times = self._times
        _log.info("draining", extra={"serve_on_s": times.serve_on_s, "finish_s": times.finish_s})
        self._draining.leave()
        loop = asyncio.get_running_loop()
        until = loop.time() + times.serve_on_s
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(1.0, left))
            await self.on_tick(0)
        _log.info("refusing", extra={"finish_s": times.finish_s, "requests": len(self.server_state.tasks)})
        self._draining.refuse()
        await super().shutdown(sockets)
        self._strangers.finish()
        _log.info("stopped")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin the graceful end; the second signal is the end.

        Unlike uvicorn's this does not raise the signal again afterwards: a graceful end is a success. The second
        one takes no more turns of the event loop, which may be what hangs; records are durable without it.
        """
        if self.should_exit:
            sys.stderr.write(f"Second {signal.Signals(sig).name}: ending at once.\n")
            sys.stderr.flush()
            os._exit(128 + sig)
        self.stop()
