"""The composition root: settings become parts, parts become an application. The only module that names every class."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from starlette.routing import Router
from starlette.types import ASGIApp

from gateway.audit.journal import JsonlJournal
from gateway.clock import Clock, SystemClock
from gateway.credentials.broker import CredentialBroker
from gateway.credentials.cache import CredentialCache
from gateway.credentials.sts import StsCredentials
from gateway.credentials.vault import VaultCredentials
from gateway.doors.discovery import DiscoveryDoor
from gateway.doors.draining import Draining
from gateway.doors.health import health_routes
from gateway.doors.middleware import Front
from gateway.doors.rest import RestDoor
from gateway.doors.routes import door_routes
from gateway.doors.token_endpoint import TokenDoor
from gateway.exchange.exchange import Exchange
from gateway.exchange.replay import ReplayGuard
from gateway.executions.states_calls import StatesCalls
from gateway.executions.stepfunctions import StepFunctions
from gateway.identity.identify import CachingIdentify, VerifyingIdentify
from gateway.identity.jwks import FetchedKeys
from gateway.metrics import Metrics
from gateway.outbound.addresses import ThreadedLookUp
from gateway.outbound.aws import AwsCalls
from gateway.outbound.aws_endpoints import AwsEndpointData
from gateway.outbound.by_ca import HttpByCa
from gateway.outbound.keyfetch import KeyFetch
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.tls import client_context
from gateway.outbound.vault import VaultCalls
from gateway.policy.compile import Serving
from gateway.policy.folder import FolderLoad
from gateway.policy.snapshot import AwsEndpoints, Policy
from gateway.policy.watch import WatchedPolicy
from gateway.settings import SettingInvalid, Settings
from gateway.state.memory import MemoryReservations
from gateway.tracing import NoTracer, Tracer

#: How long the first fetch of every issuer's keys may hold up the start, in seconds; a dead issuer stops nothing.
_PREFETCH_S = 5.0


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
    policies: WatchedPolicy
    exchange: Exchange


def assemble(settings: Settings, *, clock: Clock | None = None) -> Parts:
    """Put the parts together. Constructors start nothing."""
    clock = clock or SystemClock()
    metrics = Metrics()
    http = PooledHttp(tls=client_context())
    key_fetch = KeyFetch(look_up=ThreadedLookUp(), metrics=metrics)
    keys = FetchedKeys(fetch=key_fetch.fetch, clock=clock, metrics=metrics)

    async def prefetch(policy: Policy) -> None:
        await keys.prefetch(policy.issuers.values(), deadline=clock.monotonic() + _PREFETCH_S)

    policies = WatchedPolicy(
        settings.config,
        dev=settings.dev,
        clock=clock,
        metrics=metrics,
        on_change=prefetch,
        load=FolderLoad(
            settings.config,
            dev=settings.dev,
            clock=clock,
            serving=Serving(workers=settings.workers, shared=False),
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
        settings.audit_directory, metrics=metrics, clock=clock, max_bytes=settings.audit_rotate_bytes
    )
    exchange = Exchange(
        identify=CachingIdentify(VerifyingIdentify(keys), keys, clock),
        policies=policies,
        credentials=CredentialBroker(sts=sts, vault=vault, cache=cache),
        executions=StepFunctions(calls=StatesCalls(calls=calls, data=data, endpoints=endpoints), clock=clock),
        journal=journal,
        clock=clock,
        metrics=metrics,
        replay=ReplayGuard(MemoryReservations(clock), clock, shared=False),
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
        policies=policies,
        exchange=exchange,
    )


def _tracer(settings: Settings, metrics: Metrics) -> Tracer:
    """Return who listens to requests; raises SettingInvalid when that needs what is not installed."""
    wanted = settings.tracing
    if wanted is None:
        return NoTracer()
    try:
        # Here, because the extra need not be installed.
        from gateway.outbound.otlp import OtlpTracer, otlp_exporter  # noqa: PLC0415
    except ModuleNotFoundError as fault:
        raise SettingInvalid(
            f"server.tracing.otlp is set, but {fault.name} is not installed. Run: pip install 'oidc-gateway[otel]'"
        ) from fault
    return OtlpTracer(
        otlp_exporter(wanted.otlp),
        metrics=metrics,
        version=version("oidc-gateway"),
        ratio=wanted.ratio,
        follow_callers=wanted.follow_callers,
    )


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Start the parts in the order in which they need each other, and end them in reverse, effects concluded first."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(parts.endpoints.load)
        await stack.enter_async_context(parts.tracer)
        await stack.enter_async_context(parts.journal)
        await stack.enter_async_context(parts.http)
        await stack.enter_async_context(parts.by_ca)
        await stack.enter_async_context(parts.vault)
        await stack.enter_async_context(parts.keys)
        await stack.enter_async_context(parts.cache)

        await stack.enter_async_context(parts.policies)
        parts.draining.on_leave(parts.exchange.drain)
        stack.push_async_callback(parts.exchange.finish)
        yield


def build_app(
    parts: Parts,
    *,
    public_url: Callable[[], str],
    on_failed_start: Callable[[Exception], None] = lambda _fault: None,
) -> ASGIApp:
    """Return the ASGI application. Its lifespan is `running`.

    on_failed_start: told why a part could not be started; the server itself learns only that one could not.
    """
    rest = RestDoor(parts.exchange, parts.clock)
    token = TokenDoor(parts.exchange, parts.clock)
    discovery = DiscoveryDoor(
        public_url=public_url, version=version("oidc-gateway"), policy=parts.policies.current
    )
    health = health_routes(
        metrics=parts.metrics, draining=parts.draining, policy=parts.policies.state, keys=parts.keys.states
    )

    @asynccontextmanager
    async def lifespan(_: ASGIApp) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(running(parts))
            except Exception as fault:
                on_failed_start(fault)
                raise
            yield

    routes = [*door_routes(rest=rest, token=token, discovery=discovery), *health]
    return Front(
        Router(routes, redirect_slashes=False, lifespan=lifespan),
        metrics=parts.metrics,
        draining=parts.draining,
        clock=parts.clock,
        max_in_flight=parts.settings.max_concurrency,
        tracer=parts.tracer,
    )
