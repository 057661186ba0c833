"""The AWS edges as `app` puts them together, pointed at one base URL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.clock import Clock, SystemClock
from gateway.credentials.session import AwsCredentials
from gateway.credentials.sts import StsCredentials
from gateway.executions.states_calls import StatesCalls
from gateway.executions.stepfunctions import StepFunctions
from gateway.metrics import Metrics
from gateway.outbound.aws import AwsCalls
from gateway.outbound.aws_endpoints import AwsEndpointData
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.tls import client_context
from gateway.policy.snapshot import AwsEndpoints
from gateway.secret import Secret

REGION = "eu-west-1"
DATA = AwsEndpointData()
TLS = client_context()


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """What was put together."""

    calls: AwsCalls
    sts: StsCredentials
    executions: StepFunctions
    metrics: Metrics


@asynccontextmanager
async def aws_at(url: str, *, emulator: bool = False, clock: Clock | None = None) -> AsyncIterator[Aws]:
    """Yield the edges with this URL as STS and Step Functions of our Region; pauses before repetitions are none."""
    clock = clock or SystemClock()
    metrics = Metrics()
    endpoints = AwsEndpoints(region=REGION, sts={REGION: url}, states={REGION: url}, emulator=emulator)
    async with PooledHttp(tls=TLS) as http:
        calls = AwsCalls(http, metrics=metrics, jitter=lambda: 0.0)
        states = StatesCalls(calls=calls, data=DATA, endpoints=lambda: endpoints)
        yield Aws(
            calls=calls,
            sts=StsCredentials(calls=calls, data=DATA, endpoints=lambda: endpoints, clock=clock),
            executions=StepFunctions(calls=states, clock=clock),
            metrics=metrics,
        )


def within(seconds: float) -> float:
    """Return the deadline that is this many seconds away."""
    return asyncio.get_running_loop().time() + seconds


def held(key_id: str = "ASIATESTTESTTEST0001", *, expires_at: float = 4_000_000_000) -> AwsCredentials:
    """Return credentials that nobody would take."""
    return AwsCredentials(
        access_key_id=key_id,
        secret_access_key=Secret("a-secret-that-signs"),
        session_token=Secret("a-session-token"),
        expires_at=expires_at,
        identity="arn:aws:sts::111122223333:assumed-role/deployer/deployer.00000000.00000000",
    )
