"""The composition root: settings become parts, parts become an application. The only module that names every class."""

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import node

from starlette.routing import Router
from starlette.types import ASGIApp

from gateway.admin.reload_record import ReloadRecord
from gateway.audit.administration import AdminLog
from gateway.audit.journal import JsonlJournal
from gateway.audit.reading import find_stories
from gateway.audit.record import Record
from gateway.audit.shipping import Shipper
from gateway.audit.signing import HeadSigner
from gateway.audit.syslog_text import host_name
from gateway.clock import Clock, SystemClock
from gateway.credentials.broker import CredentialBroker
from gateway.credentials.cache import CredentialCache
from gateway.credentials.sts import StsCredentials
from gateway.credentials.vault import VaultCredentials
from gateway.doors.admin import AdminDoor, Running, admin_router
from gateway.doors.admin_access import Gatekeeper
from gateway.doors.admin_documents import audit_document, limits_document
from gateway.doors.admin_listener import ADMIN_REQUESTS, AdminListen, AdminListener
from gateway.doors.callers import Callers
from gateway.doors.discovery import DiscoveryDoor
from gateway.doors.draining import Draining
from gateway.doors.entrance import Entrance
from gateway.doors.health import health_routes
from gateway.doors.hosts import LOOPBACK, Hosts, allowed_names
from gateway.doors.middleware import Front
from gateway.doors.protocol import ProtocolLimits
from gateway.doors.reception import AccessMembers, Reception, log_access
from gateway.doors.rest import RestDoor
from gateway.doors.routes import door_routes, quick_handlers, short_handlers
from gateway.doors.server import TlsFiles
from gateway.doors.short_way import ShortWay
from gateway.doors.token_endpoint import TokenDoor
from gateway.exchange.exchange import Exchange
from gateway.exchange.limits import CallLimits
from gateway.exchange.replay import ReplayGuard
from gateway.exchange.switching import SwitchGate
from gateway.executions.states_calls import StatesCalls
from gateway.executions.stepfunctions import StepFunctions
from gateway.identity.identify import CachingIdentify, VerifyingIdentify
from gateway.identity.jwks import FetchedKeys
from gateway.metrics import Metrics, Shared
from gateway.outbound.addresses import ThreadedLookUp
from gateway.outbound.aws import AwsCalls
from gateway.outbound.aws_endpoints import AwsEndpointData
from gateway.outbound.by_ca import HttpByCa
from gateway.outbound.keyfetch import KeyFetch
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.syslog import SyslogAddress, SyslogWire
from gateway.outbound.tls import client_context
from gateway.outbound.vault import VaultCalls
from gateway.policy.compile import Serving
from gateway.policy.folder import FolderLoad
from gateway.policy.snapshot import AwsEndpoints, Policy
from gateway.policy.watch import WatchedPolicy
from gateway.settings.setting import SettingInvalid
from gateway.settings.settings import Settings
from gateway.sharing import Sharing, running_shared, share
from gateway.state.agreement import Agreement, describing
from gateway.state.board import Board
from gateway.state.file_board import FileBoard
from gateway.state.rates import Rate, Rates, RateTable
from gateway.state.switch_notices import SwitchNotices
from gateway.state.switches import Switches
from gateway.tracing import NoTracer, Tracer

#: How long the first fetch of every issuer's keys may hold up the start, in seconds; a dead issuer stops nothing.
_PREFETCH_S = 5.0
#: For connecting to a syslog receiver, and for every write to it, in seconds.
_SYSLOG_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything a running gateway consists of. Nothing has started yet; `running` starts it."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    tracer: Tracer
    draining: Draining
    http: PooledHttp
    by_ca: HttpByCa
    endpoints: AwsEndpointData
    keys: FetchedKeys
    vault: VaultCredentials
    cache: CredentialCache
    journal: JsonlJournal
    audit_copy: Shipper | None
    policies: WatchedPolicy
    switches: Switches
    sharing: Sharing
    gate: SwitchGate
    switch_notices: SwitchNotices
    admin_log: AdminLog
    callers: Callers
    rates: Rates
    agreement: Agreement
    exchange: Exchange


def assemble(settings: Settings, *, clock: Clock | None = None) -> Parts:
    """Put the parts together. Constructors start nothing."""
    clock = clock or SystemClock()
    metrics = Metrics(_shared(settings))
    http = PooledHttp(tls=client_context())
    key_fetch = KeyFetch(look_up=ThreadedLookUp(), metrics=metrics)
    keys = FetchedKeys(fetch=key_fetch.fetch, clock=clock, metrics=metrics)

    async def announce(policy: Policy) -> None:
        await reload_record.note(policy)
        board = switches.current()
        wanted = [one for one in policy.issuers.values() if ("issuer", one.name) not in board.off]
        await keys.prefetch(wanted if board.readable else (), deadline=clock.monotonic() + _PREFETCH_S)

    policies = WatchedPolicy(
        settings.config,
        dev=settings.dev,
        clock=clock,
        metrics=metrics,
        on_change=announce,
        load=FolderLoad(
            settings.config,
            dev=settings.dev,
            clock=clock,
            serving=Serving(workers=settings.workers, shared=settings.state is not None),
        ),
    )
    calls = AwsCalls(http, metrics=metrics, jitter=random.SystemRandom().random)
    data = AwsEndpointData()

    def endpoints() -> AwsEndpoints:
        return policies.current().aws

    cache = CredentialCache(clock=clock, metrics=metrics)
    sts = StsCredentials(calls=calls, data=data, endpoints=endpoints, clock=clock)
    by_ca = HttpByCa(http)
    vault_calls = VaultCalls(by_ca, metrics=metrics, jitter=random.SystemRandom().random)
    vault = VaultCredentials(calls=vault_calls, clock=clock)
    journal = JsonlJournal(
        settings.audit.directory,
        metrics=metrics,
        clock=clock,
        max_bytes=settings.audit.rotate_bytes,
        signer=HeadSigner.load(settings.audit.signing_key) if settings.audit.signing_key else None,
        pledge=settings.audit.pledge,
        copy=(audit_copy := _second_copy(settings, metrics, clock)),
    )
    rates = _rates(settings, clock)
    sharing = share(settings, rates=rates, clock=clock, metrics=metrics)
    switches = sharing.switches
    gate = SwitchGate(switches)
    admin_log = AdminLog(journal, clock, policy=lambda: policies.current().digest)
    reload_record = ReloadRecord(admin_log, policies)
    exchange = Exchange(
        identify=CachingIdentify(VerifyingIdentify(keys, gate=gate.issuer), keys, clock, gate=gate.issuer),
        policies=policies,
        credentials=CredentialBroker(sts=sts, vault=vault, cache=cache),
        executions=StepFunctions(calls=StatesCalls(calls=calls, data=data, endpoints=endpoints), clock=clock),
        journal=journal,
        clock=clock,
        metrics=metrics,
        limits=CallLimits(
            metrics=metrics, subject=rates.subject, rule=rates.rule, waiting=settings.limits.waiting
        ),
        replay=ReplayGuard(sharing.reservations, clock, shared=sharing.shared),
        gate=gate,
    )
    agreement = Agreement(
        (*_boards(settings), *sharing.boards),
        me=_worker_name(settings),
        slots=tuple(f"{seat.family}/{name}" for name in seat.workers) if (seat := settings.seat) else (),
        describe=describing(
            _worker_name(settings),
            policy=policies.state,
            keys=keys.states,
            switches=lambda: switches.current().digest,
            clock=clock,
        ),
        keys_differ=keys.refresh_disputed,
        clock=clock,
        metrics=metrics,
    )
    return Parts(
        settings=settings,
        clock=clock,
        metrics=metrics,
        tracer=_tracer(settings, metrics),
        draining=Draining(),
        http=http,
        by_ca=by_ca,
        endpoints=data,
        keys=keys,
        vault=vault,
        cache=cache,
        journal=journal,
        audit_copy=audit_copy,
        policies=policies,
        switches=switches,
        sharing=sharing,
        gate=gate,
        switch_notices=SwitchNotices(switches, log=admin_log, metrics=metrics),
        admin_log=admin_log,
        callers=Callers(settings.trusted_proxies),
        rates=rates,
        agreement=agreement,
        exchange=exchange,
    )


def _shared(settings: Settings) -> Shared | None:
    seat = settings.seat
    return None if seat is None else Shared(folder=str(seat.runtime / "metrics"), name=seat.name)


def _worker_name(settings: Settings) -> str:
    seat = settings.seat
    return f"{node()}-{settings.port or os.getpid()}/w1" if seat is None else f"{seat.family}/{seat.name}"


def _boards(settings: Settings) -> tuple[Board, ...]:
    """Return where this process and others say what they run on."""
    seat = settings.seat
    return () if seat is None else (FileBoard(seat.runtime / "board", name=seat.name),)


def _rates(settings: Settings, clock: Clock) -> Rates:
    def table(limit: str, rate: Rate | None) -> RateTable | None:
        return None if rate is None else RateTable(limit, rate, clock=clock)

    return Rates(
        address=table("address", settings.limits.address),
        subject=table("subject", settings.limits.subject),
        rule=table("rule", settings.limits.rule),
    )


def _second_copy(settings: Settings, metrics: Metrics, clock: Clock) -> Shipper | None:
    """Return what sends audit records to syslog too; raises SettingInvalid for a CA that cannot be used."""
    wanted = settings.audit.syslog
    if wanted is None:
        return None
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
        settings.audit.directory,
        lambda: SyslogWire.connect(address, tls, timeout_s=_SYSLOG_S),
        metrics=metrics,
        clock=clock,
        host=host_name(socket.gethostname()),
        max_lag_s=wanted.max_lag_s,
        max_message_bytes=wanted.max_message_bytes,
    )


def _entrance(parts: Parts) -> Entrance:
    settings = parts.settings
    names = allowed_names(listen=settings.host, public_url=settings.public_url, hosts=settings.hosts)
    return Entrance(
        metrics=parts.metrics,
        draining=parts.draining,
        max_in_flight=settings.max_concurrency,
        hosts=Hosts(names),
        callers=parts.callers,
        address=parts.rates.address,
    )


def _tracer(settings: Settings, metrics: Metrics) -> Tracer:
    """Return who listens to requests; raises SettingInvalid when that needs what is not installed."""
    if settings.tracing.otlp is None:
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
        otlp_exporter(settings.tracing.otlp),
        metrics=metrics,
        version=version("oidc-gateway"),
        ratio=settings.tracing.ratio,
        follow_callers=settings.tracing.follow_callers,
    )


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Start the parts in the order in which they need each other, and end them in reverse, effects concluded first."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(parts.endpoints.load)
        await stack.enter_async_context(parts.tracer)
        if parts.audit_copy is not None:
            await stack.enter_async_context(parts.audit_copy)  # before the journal, whose last words it sends
        await stack.enter_async_context(parts.journal)
        await stack.enter_async_context(parts.http)
        await stack.enter_async_context(parts.by_ca)
        await stack.enter_async_context(parts.vault)
        await stack.enter_async_context(parts.keys)
        await stack.enter_async_context(parts.cache)

        # Before anything is fetched for an issuer: it may be switched off.
        await stack.enter_async_context(running_shared(parts.sharing))
        await stack.enter_async_context(parts.policies)
        await stack.enter_async_context(parts.switch_notices)
        await stack.enter_async_context(parts.agreement)
        parts.draining.on_leave(parts.exchange.drain)
        stack.push_async_callback(parts.exchange.finish)
        yield


def build_app(
    parts: Parts,
    *,
    public_url: Callable[[], str],
    on_failed_start: Callable[[Exception], None] = lambda _fault: None,
    access: Callable[[AccessMembers], None] = log_access,
) -> Front:
    """Return the ASGI application. Its lifespan is `running`.

    on_failed_start: told why a part could not be started; the server itself learns only that one could not.
    access:          takes the log line of each request.
    """
    rest = RestDoor(parts.exchange, parts.clock)
    token = TokenDoor(parts.exchange, parts.clock)
    discovery = DiscoveryDoor(
        public_url=public_url, version=version("oidc-gateway"), policy=parts.policies.current
    )
    health = health_routes(
        metrics=parts.metrics,
        draining=parts.draining,
        policy=parts.policies.state,
        keys=parts.keys.states,
        view=parts.agreement.view,
        state=parts.sharing.status,
    )

    @asynccontextmanager
    async def lifespan(_: ASGIApp) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(running(parts))
                if (listener := admin_listener(parts)) is not None:
                    await stack.enter_async_context(listener)
            except Exception as fault:
                on_failed_start(fault)
                raise
            yield

    routes = [*door_routes(rest=rest, token=token, discovery=discovery), *health]
    reception = Reception(
        metrics=parts.metrics,
        draining=parts.draining,
        clock=parts.clock,
        entrance=_entrance(parts),
        access=access,
    )
    short_way = ShortWay(
        reception=reception,
        handlers=short_handlers(rest=rest, token=token),
        quick=quick_handlers(rest=rest),
    )
    return Front(
        Router(routes, redirect_slashes=False, lifespan=lifespan),
        reception=reception,
        tracer=parts.tracer,
        # The span of a request must be open until it is seen off, which on the short way comes after everything else.
        short_way=short_way if isinstance(parts.tracer, NoTracer) else None,
    )


def admin_listener(parts: Parts) -> AdminListener | None:
    """Return the listener for administrators; None where there is none, or where another worker has it.

    The first worker has it: what it answers about the others they have posted, and files, switches and records are
    the same for all. Whoever replaces it listens in its place.
    """
    admin, seat = parts.settings.admin, parts.settings.seat
    if admin is None or (seat is not None and seat.name != seat.workers[0]):
        return None
    gatekeeper = Gatekeeper(
        identify=VerifyingIdentify(parts.keys, gate=parts.gate.issuer),
        policy=parts.policies.current,
        subject=parts.gate.subject,
        clock=parts.clock,
    )
    count = parts.metrics.connections_refused
    tls = None
    if admin.certificate and admin.key:
        tls = TlsFiles(certificate=admin.certificate, key=admin.key)
    # Draining of its own: whoever looks after a gateway that ends must get an answer.
    draining = Draining()
    return AdminListener(
        Front(
            admin_router(AdminDoor(_running(parts), gatekeeper)),
            reception=Reception(
                metrics=parts.metrics,
                draining=draining,
                clock=parts.clock,
                styles={},
                entrance=Entrance(
                    metrics=parts.metrics,
                    draining=draining,
                    max_in_flight=ADMIN_REQUESTS,
                    hosts=Hosts(LOOPBACK),
                ),
                listener="admin",
            ),
        ),
        listen=AdminListen(address=admin.address, tls=tls, client_ca=admin.client_ca),
        limits=ProtocolLimits(),
        count_refused=lambda reason: count.labels(reason).inc(),
    )


def _running(parts: Parts) -> Running:
    settings = parts.settings

    async def stories(text: str) -> list[list[Record]]:
        found = [
            await asyncio.to_thread(find_stories, folder, text) for folder in _audit_directories(settings)
        ]
        return [[entry.record for entry in story] for several in found for story in several]

    def facts() -> dict[str, object]:
        return {
            "limits": limits_document(settings),
            "audit": audit_document(parts.journal.health(), settings),
        }

    return Running(
        policies=parts.policies,
        keys=parts.keys,
        switches=parts.switches,
        store=parts.sharing.switch_store,
        log=parts.admin_log,
        clock=parts.clock,
        worker=settings.seat.name if settings.seat else None,
        started_at=parts.clock.wall(),
        workers=parts.agreement.statuses,
        facts=facts,
        stories=stories,
    )


def _audit_directories(settings: Settings) -> list[Path]:
    """Return where the records of all workers of this gateway are; each writes its own."""
    seat = settings.seat
    if seat is None:
        return [settings.audit.directory]
    folders = (settings.audit.directory.parent / name for name in seat.workers)
    return [folder for folder in folders if folder.is_dir()]
