"""What listens, put together of the parts: the doors of callers, and the listener for administrators.

A piece of the composition root of its own.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from starlette.routing import Route, Router
from starlette.types import ASGIApp

from gateway.app import Parts, running
from gateway.audit.looking import look_for
from gateway.audit.record import Record
from gateway.doors.admin.access import Gatekeeper
from gateway.doors.admin.documents import audit_document, limits_document
from gateway.doors.admin.door import AdminDoor, Running, admin_router
from gateway.doors.discovery import DiscoveryDoor
from gateway.doors.draining import Draining
from gateway.doors.entrance import Entrance
from gateway.doors.health import health_routes
from gateway.doors.hosts import LOOPBACK, Hosts, allowed_names
from gateway.doors.middleware import Front
from gateway.doors.reception import AccessMembers, Reception, log_access
from gateway.doors.rest import RestDoor
from gateway.doors.routes import door_routes, quick_handlers, short_handlers
from gateway.doors.short_way import ShortWay
from gateway.doors.token_endpoint import TokenDoor
from gateway.identity.identify import VerifyingIdentify
from gateway.listening.admin import ADMIN_REQUESTS, AdminListen, AdminListener
from gateway.listening.protocol import ProtocolLimits
from gateway.listening.server import TlsFiles
from gateway.settings.settings import Settings
from gateway.tracing import NoTracer


def build_app(
    parts: Parts,
    *,
    public_url: Callable[[], str],
    on_failed_start: Callable[[Exception], None] = lambda _fault: None,
    access: Callable[[AccessMembers], None] = log_access,
) -> Front:
    """Return the ASGI application. Its lifespan is `running`, with the admin listener.

    on_failed_start: told why a part could not be started; the server itself learns only that one could not.
    access:          takes the log line of each request.
    """
    rest = RestDoor(parts.exchange, parts.clock)
    token = TokenDoor(parts.exchange, parts.clock)
    discovery = DiscoveryDoor(
        public_url=public_url, version=version("oidc-gateway"), policy=parts.policies.current
    )
    routes = [*door_routes(rest=rest, token=token, discovery=discovery), *_health(parts)]
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
    tracer = parts.telling.tracer
    return Front(
        Router(routes, redirect_slashes=False, lifespan=_lifespan(parts, on_failed_start)),
        reception=reception,
        tracer=tracer,
        # The span of a request must be open until it is seen off, which on the short way comes after everything else.
        short_way=short_way if isinstance(tracer, NoTracer) else None,
    )


def _health(parts: Parts) -> list[Route]:
    return health_routes(
        metrics=parts.metrics,
        draining=parts.draining,
        policy=parts.policies.state,
        keys=parts.upstreams.keys.states,
        view=parts.agreement.view,
        state=parts.sharing.status,
        switches=lambda: parts.sharing.switches.current().readable,
    )


def _lifespan(
    parts: Parts, on_failed_start: Callable[[Exception], None]
) -> Callable[[ASGIApp], AbstractAsyncContextManager[None]]:
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

    return lifespan


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


def admin_listener(parts: Parts) -> AdminListener | None:
    """Return the listener for administrators; None where there is none, or where another worker has it.

    The first worker has it: what it answers about the others they have posted, and files, switches and records are
    the same for all. Whoever replaces it listens in its place.
    """
    admin, seat = parts.settings.admin, parts.settings.seat
    if admin is None or (seat is not None and seat.name != seat.workers[0]):
        return None
    tls = None
    if admin.certificate and admin.key:
        tls = TlsFiles(certificate=admin.certificate, key=admin.key)
    count = parts.metrics.connections_refused
    return AdminListener(
        _admin_front(parts),
        listen=AdminListen(address=admin.address, tls=tls, client_ca=admin.client_ca),
        limits=ProtocolLimits(),
        count_refused=lambda reason: count.labels(reason).inc(),
    )


def _admin_front(parts: Parts) -> Front:
    gatekeeper = Gatekeeper(
        identify=VerifyingIdentify(parts.upstreams.keys, gate=parts.gate.issuer),
        policy=parts.policies.current,
        subject=parts.gate.subject,
        clock=parts.clock,
    )
    # Draining of its own: whoever looks after a gateway that ends must get an answer.
    draining = Draining()
    return Front(
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
    )


def _running(parts: Parts) -> Running:
    settings = parts.settings

    async def stories(text: str) -> list[list[Record]]:
        return await look_for(_audit_directories(settings), text)

    def facts() -> dict[str, object]:
        return {
            "limits": limits_document(settings),
            "audit": audit_document(parts.telling.journal.health(), settings),
        }

    return Running(
        policies=parts.policies,
        keys=parts.upstreams.keys,
        switches=parts.sharing.switches,
        store=parts.sharing.switch_store,
        log=parts.admin_log,
        clock=parts.clock,
        worker=settings.seat.name if settings.seat else None,
        started_at=parts.clock.wall(),
        workers=parts.agreement.statuses,
        facts=facts,
        stories=stories,
        turning=parts.switch_notices.is_recorded,
    )


def _audit_directories(settings: Settings) -> list[Path]:
    """Return where the records of all workers of this gateway are; each writes its own."""
    seat = settings.seat
    if seat is None:
        return [settings.audit.directory]
    folders = (settings.audit.directory.parent / name for name in seat.workers)
    return [folder for folder in folders if folder.is_dir()]
