"""Shared state for tests: claims to reserve, and our client on a real Redis."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from gateway.clock import Clock, SystemClock
from gateway.metrics import Metrics
from gateway.state.address import RedisAddress, parse_url
from gateway.state.redis_client import SharedRedis
from gateway.state.redis_reservations import RedisReservations
from gateway.state.redis_watch import RedisWatch
from gateway.state.store import Claim


def claim(
    key: str = "a",
    *,
    now: float,
    binding: str = "this",
    lease_s: float = 30.0,
    life_s: float = 600.0,
    repeatable: bool = False,
    request_id: str = "01J0000000000000000000TEST",
) -> Claim:
    """Return a claim on a key; equal short names are equal keys and bindings."""
    return Claim(
        key=hashlib.sha256(key.encode()).hexdigest(),
        binding=hashlib.sha256(binding.encode()).hexdigest(),
        request_id=request_id,
        lease_s=lease_s,
        until=now + life_s,
        repeatable=repeatable,
        answerable=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """Our side of one Redis: the client, who watches it, and reservations in it."""

    redis: SharedRedis
    watch: RedisWatch
    reservations: RedisReservations
    metrics: Metrics


@asynccontextmanager
async def shared_state(
    address: RedisAddress | str, *, prefix: str, clock: Clock | None = None, period_s: float = 0.1
) -> AsyncIterator[SharedState]:
    """Yield our side of a Redis, started; two of them on one prefix are two replicas.

    address: as a URL it gets a timeout that a busy machine keeps.
    """
    known = replace(parse_url(address), timeout_s=10.0) if isinstance(address, str) else address
    clock, metrics = clock or SystemClock(), Metrics()
    redis = SharedRedis(replace(known, prefix=prefix), clock=clock, metrics=metrics)
    watch = RedisWatch(redis, clock=clock, metrics=metrics, period_s=period_s)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(redis)
        await stack.enter_async_context(watch)
        yield SharedState(
            redis=redis,
            watch=watch,
            reservations=RedisReservations(redis, watch, clock=clock),
            metrics=metrics,
        )
