"""What this process asks outside, put together: issuers for their keys, AWS and Vault.

A piece of the composition root of its own.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.clock import Clock
from gateway.credentials.broker import CredentialBroker
from gateway.credentials.cache import CredentialCache
from gateway.credentials.sts import StsCredentials
from gateway.credentials.vault import VaultCredentials
from gateway.executions.states_calls import StatesCalls
from gateway.executions.stepfunctions import StepFunctions
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
from gateway.policy.snapshot import AwsEndpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstreams:
    """What the exchange calls, and what that stands on. `running_upstreams` starts it."""

    http: PooledHttp
    by_ca: HttpByCa
    endpoints: AwsEndpointData
    keys: FetchedKeys
    vault: VaultCredentials
    cache: CredentialCache
    credentials: CredentialBroker
    executions: StepFunctions


def reach(*, aws: Callable[[], AwsEndpoints], clock: Clock, metrics: Metrics) -> Upstreams:
    """Put together what is asked outside. aws: where the policy in force has AWS. Constructors start nothing."""
    http = PooledHttp(tls=client_context())
    by_ca = HttpByCa(http)
    endpoints = AwsEndpointData()
    calls = AwsCalls(http, metrics=metrics, jitter=random.SystemRandom().random)
    vault_calls = VaultCalls(by_ca, metrics=metrics, jitter=random.SystemRandom().random)
    sts = StsCredentials(calls=calls, data=endpoints, endpoints=aws, clock=clock)
    vault = VaultCredentials(calls=vault_calls, clock=clock)
    cache = CredentialCache(clock=clock, metrics=metrics)
    key_fetch = KeyFetch(look_up=ThreadedLookUp(), metrics=metrics)
    return Upstreams(
        http=http,
        by_ca=by_ca,
        endpoints=endpoints,
        keys=FetchedKeys(fetch=key_fetch.fetch, clock=clock, metrics=metrics),
        vault=vault,
        cache=cache,
        credentials=CredentialBroker(sts=sts, vault=vault, cache=cache),
        executions=StepFunctions(calls=StatesCalls(calls=calls, data=endpoints, endpoints=aws), clock=clock),
    )


@asynccontextmanager
async def running_upstreams(upstreams: Upstreams) -> AsyncIterator[None]:
    """Start it, and end it in reverse."""
    async with AsyncExitStack() as stack:
        await asyncio.to_thread(upstreams.endpoints.load)
        for service in (upstreams.http, upstreams.by_ca, upstreams.vault, upstreams.keys, upstreams.cache):
            await stack.enter_async_context(service)
        yield
