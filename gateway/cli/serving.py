"""One process that serves: the only one, or one of several workers."""

import asyncio
import errno
import gc
import logging
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gateway.app import Parts, assemble
from gateway.cli.logs import LogOutput
from gateway.cli.options import COULD_NOT_RUN
from gateway.doors.reception import log_access
from gateway.errors import ErrorCode, GatewayError
from gateway.front import build_app
from gateway.identity.certificates import ends_at
from gateway.listening.connections import Connections
from gateway.listening.protocol import ProtocolLimits
from gateway.listening.server import CannotServe, GatewayServer, Listen, ShutdownTimes, TlsFiles, run_server
from gateway.listening.strangers import Strangers
from gateway.metrics import Metrics
from gateway.settings.settings import Settings

_log = logging.getLogger(__name__)

#: Between two counts of open descriptors; ten thousand take a few milliseconds.
_COUNT_S: Final = 10.0


def serve_here(
    settings: Settings,
    log: LogOutput,
    *,
    announce: Callable[[str], None],
    server: Callable[..., GatewayServer] = GatewayServer,
) -> int:
    """Serve in this process until a signal comes; return its exit code.

    announce: called with the base URL once connections are accepted.
    server:   the kind of server; a worker's differs.
    Raises CannotServe, or the GatewayError that kept a part from starting.
    """
    # What is loaded by now lives as long as the process: whoever looks for garbage need not look here.
    gc.freeze()
    parts = assemble(settings)
    log.on_drop = parts.metrics.log_dropped.inc
    beginning = _Beginning(settings, parts, announce)
    app = build_app(
        parts,
        public_url=lambda: settings.public_url or beginning.url,
        on_failed_start=beginning.failed,
        access=log.put_access if settings.log == "json" else log_access,
    )
    try:
        return run_server(
            app,
            short_way=app.short_way,
            listen=listen_of(settings),
            draining=parts.draining,
            count_refused=lambda reason: parts.metrics.connections_refused.labels(reason).inc(),
            announce=beginning.succeeded,
            limits=ProtocolLimits(idle_s=settings.idle_s),
            connections=Connections(
                most=settings.max_connections,
                most_each=settings.limits.connections,
                callers=parts.callers,
                on_change=parts.metrics.connections.set,
            ),
            strangers=Strangers(clock=parts.clock, callers=parts.callers, address=parts.rates.address),
            times=ShutdownTimes(serve_on_s=settings.serve_on_s, finish_s=settings.drain_s),
            allow_root=settings.allow_root,
            server=server,
        )
    except CannotServe:
        beginning.raise_what_says_it_better()
        raise


class _Beginning:
    """How the start of the application goes, of which uvicorn tells its caller no more than whether.

    url: where connections are accepted, empty before that.
    """

    def __init__(self, settings: Settings, parts: Parts, announce: Callable[[str], None]) -> None:
        self.url = ""
        self._settings = settings
        self._parts = parts
        self._announce = announce
        self._faults: list[Exception] = []

    def succeeded(self, url: str) -> None:
        """Connections are accepted: set what is measured from now on, and announce it."""
        self.url = url
        metrics = self._parts.metrics
        if self._settings.tls_certificate is not None:
            metrics.certificate_end.set(ends_at(self._settings.tls_certificate.read_text()) or 0)
        metrics.started_at.set(self._parts.clock.wall())
        _count_descriptors(metrics)
        _spare_the_collector()
        self._announce(url)

    def failed(self, fault: Exception) -> None:
        """Keep what a part of the application raised."""
        self._faults.append(fault)
        # It would log the first line of a traceback now; what happened is said later.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    def raise_what_says_it_better(self) -> None:
        """Raise the fault that is meant for people; one that is a bug is logged."""
        for fault in self._faults:
            if isinstance(fault, GatewayError | CannotServe):
                raise fault from None
            _log.critical("a bug of the gateway keeps it from starting", exc_info=fault)


def listen_of(settings: Settings) -> Listen:
    """Return where these settings want to listen."""
    tls = None
    if settings.tls_certificate and settings.tls_key:
        tls = TlsFiles(certificate=settings.tls_certificate, key=settings.tls_key)
    return Listen(host=settings.host, port=settings.port, tls=tls, behind_tls_proxy=settings.behind_tls_proxy)


def _count_descriptors(metrics: Metrics) -> None:
    """Count them now and again and again, as long as the event loop runs."""
    asyncio.get_running_loop().call_later(_COUNT_S, _count_descriptors, metrics)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    metrics.descriptors_most.set(most)
    try:
        count = len(os.listdir("/dev/fd"))  # noqa: PTH208 - no path for each is made
    except OSError as fault:
        if fault.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        count = most  # counting takes one, and there is none
    metrics.descriptors.set(count)


def _spare_the_collector() -> None:
    """Keep the garbage collector from looking again and again through what lives as long as the process.

    Requests make few reference cycles; at Python's own thresholds the collector cost a tenth of a request and most of
    the slowest ones (`scripts/bench --only P1`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyNot:
    """Why a gateway cannot serve. reason: for a person. code: for a machine, where there is one."""

    reason: str
    exit_code: int = COULD_NOT_RUN
    code: ErrorCode | None = None

    def log(self) -> None:
        """Say it in the log too: a terminal is not what everybody reads."""
        _log.critical("could not start", extra={"why": self.reason, "code": self.code})


def why_not(fault: Exception) -> WhyNot:
    """Return why a gateway cannot serve."""
    if isinstance(fault, CannotServe):
        return WhyNot(reason=fault.message, exit_code=fault.exit_code, code=fault.code)
    if isinstance(fault, GatewayError):
        return WhyNot(reason=f"{fault.message} {fault.hint or ''}".strip(), code=fault.code)
    return WhyNot(reason=str(fault))
