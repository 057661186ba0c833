"""Where this process says what it does, put together by the settings: journal, its second copy, and traces.

A piece of the composition root of its own.
"""

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from gateway.audit.journal import JsonlJournal
from gateway.audit.shipping import Shipper
from gateway.audit.signing import HeadSigner
from gateway.audit.syslog_text import host_name
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.outbound.syslog import SyslogAddress, SyslogWire
from gateway.outbound.tls import client_context
from gateway.settings.setting import SettingInvalid
from gateway.settings.settings import AuditSettings, SyslogSettings, TracingSettings
from gateway.tracing import NoTracer, Tracer

#: For connecting to a syslog receiver, and for every write to it, in seconds.
_SYSLOG_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """`running_telling` starts it. copy: sends the records to syslog too; None: nobody does."""

    journal: JsonlJournal
    copy: Shipper | None
    tracer: Tracer


def tell(audit: AuditSettings, tracing: TracingSettings, *, clock: Clock, metrics: Metrics) -> Telling:
    """Put together what tells; raises SettingInvalid. Constructors start nothing."""
    copy = _second_copy(audit, audit.syslog, metrics, clock) if audit.syslog else None
    journal = JsonlJournal(
        audit.directory,
        metrics=metrics,
        clock=clock,
        max_bytes=audit.rotate_bytes,
        signer=HeadSigner.load(audit.signing_key) if audit.signing_key else None,
        pledge=audit.pledge,
        copy=copy,
    )
    return Telling(journal=journal, copy=copy, tracer=_tracer(tracing, metrics))


@asynccontextmanager
async def running_telling(telling: Telling) -> AsyncIterator[None]:
    """Start it, and end it in reverse."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(telling.tracer)
        if telling.copy is not None:
            await stack.enter_async_context(telling.copy)  # before the journal, whose last words it sends
        await stack.enter_async_context(telling.journal)
        yield


def _second_copy(audit: AuditSettings, wanted: SyslogSettings, metrics: Metrics, clock: Clock) -> Shipper:
    """Return what sends audit records to syslog too; raises SettingInvalid for a CA that cannot be used."""
    address = SyslogAddress.parse(wanted.to)
    tls = None
    if address.kind == "tls":
        try:
            tls = client_context(wanted.ca_file.read_text() if wanted.ca_file else None)
        except (OSError, ValueError) as fault:
            why = isinstance(fault, OSError) and fault.strerror
            raise SettingInvalid(
                f"audit.syslog.ca_file {wanted.ca_file} cannot be used: {why or 'it is no PEM text'}."
            ) from fault
    return Shipper(
        audit.directory,
        lambda: SyslogWire.connect(address, tls, timeout_s=_SYSLOG_S),
        metrics=metrics,
        clock=clock,
        host=host_name(socket.gethostname()),
        receiver=str(address),
        max_lag_s=wanted.max_lag_s,
        max_message_bytes=wanted.max_message_bytes,
    )


def _tracer(tracing: TracingSettings, metrics: Metrics) -> Tracer:
    """Return who listens to requests; raises SettingInvalid when that needs what is not installed."""
    if tracing.otlp is None:
        return NoTracer()
    try:
        # Here, because the extra need not be installed.
        from gateway.outbound.otlp import OtlpTracer, otlp_exporter  # noqa: PLC0415
    except ModuleNotFoundError as fault:
        missing = (fault.name or "opentelemetry").partition(".")[0]
        raise SettingInvalid(
            f"server.tracing.otlp is set, but {missing} is not installed. Run: pip install 'oidc-gateway[otel]'"
        ) from fault
    return OtlpTracer(
        otlp_exporter(tracing.otlp),
        metrics=metrics,
        version=version("oidc-gateway"),
        ratio=tracing.ratio,
        follow_callers=tracing.follow_callers,
    )
