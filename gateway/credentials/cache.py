"""Credentials that are wanted again: one running request for all who want the same, kept until shortly before expiry."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from types import TracebackType
from typing import Final, Self

from gateway.clock import Clock
from gateway.credentials.session import AwsCredentials, RoleSession
from gateway.errors import ErrorCode, GatewayError, Unavailable
from gateway.metrics import Metrics
from gateway.policy.rule import Target
from gateway.tracing import span

# What is used under them must begin before AWS calls them expired.
_MARGIN_S: Final = 60.0
# Credentials that leave the gateway are shared by a burst of equal requests, never handed out half used.
_SHARED_S: Final = 30.0

Fetch = Callable[[], Awaitable[AwsCredentials]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialKey:
    """What credentials were asked for; a role or a session that changed makes another key.

    token: digest of the whole compact token, signature included.
    """

    token: str
    target: Target
    session: RoleSession
    region: str

    def __hash__(self) -> int:
        # Equality compares all of it; the token alone tells nearly all of them apart, and is hashed already.
        return hash(self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    credentials: AwsCredentials = field(repr=False)
    until: float  # monotonic


class CredentialCache:
    """A bounded cache with one flight per key, open inside `async with`.

    A flight belongs to nobody: a caller who leaves does not end it, and each who waits keeps a deadline of their own.
    A failure is told to everybody who waits and then forgotten.
    """

    def __init__(self, *, clock: Clock, metrics: Metrics, entries: int = 4096, flights: int = 4096) -> None:
        """Prepare. flights: requests running at one time; one more is refused at once (`overloaded`)."""
        self._clock = clock
        self._count = cache(metrics.credentials.labels)
        self._entries = entries
        self._flights = flights
        self._kept: OrderedDict[CredentialKey, _Kept] = OrderedDict()
        self._running: dict[CredentialKey, asyncio.Task[AwsCredentials | GatewayError]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = list(self._running.values())
        for flight in running:
            flight.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._kept.clear()

    async def obtain(
        self,
        key: CredentialKey,
        fetch: Fetch,
        *,
        deadline: float,
        instead_of: AwsCredentials | None,
    ) -> AwsCredentials:
        """Return what is kept, what a running flight brings, or what a new flight brings.

        deadline:   the event loop's time.
        instead_of: a triple that AWS calls expired: it is forgotten, whoever comes first renews it for all.
        Raises whatever the flight raised, and Unavailable (`deadline_exceeded`, `overloaded`).
        """
        with span("credentials") as told:
            kept = self._find(key, instead_of)
            flight = self._running.get(key)
            result = "cached" if kept else "shared" if flight else "fetched"
            self._count(result).inc()
            told.say(result=result, target=key.target.name)
            return kept or await _landed(flight or self._take_off(key, fetch), deadline)

    def _find(self, key: CredentialKey, instead_of: AwsCredentials | None) -> AwsCredentials | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        expired = instead_of is not None and instead_of.access_key_id == kept.credentials.access_key_id
        if expired or kept.until <= self._clock.monotonic():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return kept.credentials

    def _take_off(self, key: CredentialKey, fetch: Fetch) -> asyncio.Task[AwsCredentials | GatewayError]:
        if len(self._running) >= self._flights:
            raise Unavailable(
                ErrorCode.OVERLOADED,
                "Too many credentials are being asked for at this moment.",
                retry_after_s=1,
            )
        flight = asyncio.create_task(self._fly(key, fetch), name="credential flight")
        self._running[key] = flight
        flight.add_done_callback(lambda done: self._land(key, done))
        return flight

    async def _fly(self, key: CredentialKey, fetch: Fetch) -> AwsCredentials | GatewayError:
        try:
            credentials = await fetch()
        except GatewayError as error:
            # Returned, not raised: nobody may be left to hear it, and many may be.
            return error
        self._keep(key, credentials)
        return credentials

    def _land(self, key: CredentialKey, flight: asyncio.Task[AwsCredentials | GatewayError]) -> None:
        del self._running[key]
        if not flight.cancelled():
            flight.exception()  # seen, so that a bug is reported by those who wait and not by the garbage collector

    def _keep(self, key: CredentialKey, credentials: AwsCredentials) -> None:
        left = credentials.expires_at - self._clock.wall()
        useful = min(left, _SHARED_S) if key.session.handed_out else left - _MARGIN_S
        if useful <= 0:
            return
        now = self._clock.monotonic()
        self._kept[key] = _Kept(credentials=credentials, until=now + useful)
        self._kept.move_to_end(key)
        while len(self._kept) > self._entries or next(iter(self._kept.values())).until <= now:
            self._kept.popitem(last=False)


async def _landed(flight: asyncio.Task[AwsCredentials | GatewayError], deadline: float) -> AwsCredentials:
    await _ended(flight, deadline)
    if not flight.done():
        raise Unavailable(
            ErrorCode.DEADLINE_EXCEEDED, "The credentials did not come in time.", retry_after_s=5
        )
    if flight.cancelled():
        raise Unavailable(ErrorCode.DRAINING, "The gateway is shutting down.", retry_after_s=1)
    outcome = flight.result()
    if isinstance(outcome, GatewayError):
        # The same error for everybody who waits, without the frames of those who heard it before.
        raise outcome.with_traceback(None)
    return outcome


async def _ended(flight: asyncio.Task[AwsCredentials | GatewayError], deadline: float) -> None:
    """Wait for the flight until the deadline; who leaves meanwhile leaves it alone."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    late = loop.call_at(deadline, wake)
    flight.add_done_callback(wake)
    try:
        await waiter
    finally:
        late.cancel()
        flight.remove_done_callback(wake)
