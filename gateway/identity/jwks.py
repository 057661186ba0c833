"""Issuers' keys over the network: fetched once for all who wait, refreshed in the background, kept when stale."""

import asyncio
import logging
import math
import random
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

from gateway.clock import Clock
from gateway.errors import ErrorCode, TokenRejected, Unavailable
from gateway.identity.discovery import KeyFetchError
from gateway.identity.holding import Change, EmptyKeySetError, Holding
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.identity.jwk import DropReason, VerificationKey
from gateway.identity.keys import KeyFault, KeySet, KeySetState
from gateway.identity.retrieval import Fetch, Retrieval
from gateway.metrics import Metrics
from gateway.repeating import Repeating

_log = logging.getLogger(__name__)

_LONGEST_WAIT_S: Final = 6.0
_RUNNING_FETCHES: Final = 4
_TICK_S: Final = 5.0
_MAX_HOLDINGS: Final = 128  # twice as many as there may be issuers, so that a reload can overlap


def _jitter() -> float:
    return random.SystemRandom().uniform(0.9, 1.1)


class FetchedKeys:
    """Implements `Keys`. An async context manager: inside it key sets are refreshed in the background.

    No lock is held over the network: a fetch runs in a task of its own, one per issuer and four in all; who needs an
    unknown key waits for that task until an own deadline, and a known key never waits.
    """

    def __init__(
        self, *, fetch: Fetch, clock: Clock, metrics: Metrics, jitter: Callable[[], float] = _jitter
    ) -> None:
        self._retrieve = Retrieval(fetch=fetch, clock=clock)
        self._clock = clock
        self._metrics = metrics
        self._jitter = jitter
        # By value: a reload that leaves an issuer alone keeps its keys, another URL or CA starts empty (KS-28).
        self._holdings: dict[tuple[str, KeyLocation], Holding] = {}
        self._fetching: dict[int, asyncio.Task[None]] = {}  # by id of the holding
        self._running = asyncio.Semaphore(_RUNNING_FETCHES)
        self._ticker = Repeating(
            self.refresh_due,
            wait=lambda: asyncio.sleep(_TICK_S),
            name="issuer-keys-refresh",
            log=_log,
            failed="keys could not be refreshed",
        )

    async def __aenter__(self) -> Self:
        self._ticker.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._ticker.end()
        tasks = list(self._fetching.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def known(self, issuer: TrustedIssuer, key_id: str | None) -> VerificationKey | None:
        """Return the key if it is at hand; never waits, never fetches."""
        held = self._usable(self._holding(issuer))
        return None if held is None else held.find(key_id)

    async def find(self, issuer: TrustedIssuer, key_id: str | None, *, deadline: float) -> VerificationKey:
        """Return the key, after at most one bounded fetch. Raises TokenRejected or Unavailable."""
        holding = self._holding(issuer)
        held = self._usable(holding)
        if held is not None and (key := held.find(key_id)) is not None:
            return key
        task = self._attempt_if_allowed(holding)
        if task is not None:
            await self._wait(task, deadline)
            held = self._usable(holding)
        if held is None:
            cool_down_s = holding.cool_down_s(now=self._clock.monotonic())
            raise _keys_unavailable(retry_after_s=max(1, math.ceil(cool_down_s)))
        key = held.find(key_id)
        if key is None:
            raise _key_missing(held, key_id)
        return key

    def version(self, issuer: TrustedIssuer) -> str:
        """Return the version of the key set in use; empty when there is none."""
        held = self._usable(self._holding(issuer))
        return "" if held is None else held.version

    def states(self) -> tuple[KeySetState, ...]:
        """Return one state for each issuer asked for or prefetched."""
        now = self._clock.monotonic()
        return tuple(holding.state(now=now) for holding in self._holdings.values())

    async def prefetch(self, issuers: Iterable[TrustedIssuer], *, deadline: float) -> None:
        """Make these the issuers whose keys are kept, and try to fetch those not yet held.

        Returns when each was tried or the deadline (monotonic) has passed; an issuer that is down stops nothing.
        """
        wanted = {(issuer.issuer, issuer.keys): self._holding(issuer) for issuer in issuers}
        self._holdings = wanted
        missing = [holding for holding in wanted.values() if self._usable(holding) is None]
        tasks = [task for holding in missing if (task := self._attempt_if_allowed(holding)) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=max(0.0, deadline - self._clock.monotonic()))

    def refresh_due(self) -> None:
        """Start the background refresh of every key set that is due. Called every few seconds by the ticker."""
        now = self._clock.monotonic()
        for holding in self._holdings.values():
            if holding.is_due(now=now) and id(holding) not in self._fetching:
                self._start(holding)

    def refresh_disputed(self, issuers: Iterable[str]) -> None:
        """Start a refresh of the key sets, by issuer name, of which other workers hold another version.

        Not more often than a caller with an unknown key could: each worker fetches once in a cool-down.
        """
        wanted = frozenset(issuers)
        for holding in self._holdings.values():
            if holding.issuer.name in wanted:
                self._attempt_if_allowed(holding)

    def _holding(self, issuer: TrustedIssuer) -> Holding:
        place = (issuer.issuer, issuer.keys)
        holding = self._holdings.get(place)
        if holding is None:
            if len(self._holdings) >= _MAX_HOLDINGS:
                del self._holdings[next(iter(self._holdings))]
            holding = self._holdings[place] = Holding(issuer=issuer)
            if issuer.keys.static_jwks is not None:
                failure = self._take(holding, issuer.keys.static_jwks.encode(), fresh_s=math.inf)
                holding.fault = failure.fault if failure else None
                self._publish_count(holding)
        holding.issuer = issuer  # its name may have changed
        return holding

    def _usable(self, holding: Holding) -> KeySet | None:
        return holding.usable(now=self._clock.monotonic())

    def _attempt_if_allowed(self, holding: Holding) -> asyncio.Task[None] | None:
        """Return the running attempt, a new one, or None while the cool-down lasts."""
        running = self._fetching.get(id(holding))
        if running is not None or holding.is_static:
            return running
        if holding.cool_down_s(now=self._clock.monotonic()) > 0:
            return None
        return self._start(holding)

    def _start(self, holding: Holding) -> asyncio.Task[None]:
        task = asyncio.create_task(self._attempt(holding), name="issuer-keys-fetch")
        self._fetching[id(holding)] = task
        return task

    async def _wait(self, task: asyncio.Task[None], deadline: float) -> None:
        # The fetch is not the caller's: who leaves or runs out of time does not end it for the others.
        left = min(deadline - self._clock.monotonic(), _LONGEST_WAIT_S)
        done, _ = await asyncio.wait({task}, timeout=max(0.0, left))
        if not done:
            raise _keys_unavailable(retry_after_s=1)

    async def _attempt(self, holding: Holding) -> None:
        try:
            failure = await self._try(holding)
        finally:
            del self._fetching[id(holding)]
        fault = failure.fault if failure else None
        holding.conclude(fault, now=self._clock.monotonic(), jitter=self._jitter())
        self._report_attempt(holding, failure)

    async def _try(self, holding: Holding) -> KeyFetchError | None:
        try:
            async with self._running:
                retrieved = await self._retrieve(holding.issuer)
            failure = self._take(holding, retrieved.data, fresh_s=retrieved.fresh_s)
            if failure is not None:
                failure.url = retrieved.url
            return failure
        except KeyFetchError as failure:
            return failure
        except Exception as bug:  # noqa: BLE001 - a task of nobody's: a bug is logged here and must not end refreshing
            _log.error(
                "issuer_keys_bug", extra={"issuer": holding.issuer.name, "exception": type(bug).__name__}
            )
            return KeyFetchError(KeyFault.INTERNAL, "The gateway itself failed.")

    def _take(self, holding: Holding, data: bytes, *, fresh_s: float) -> KeyFetchError | None:
        try:
            change = holding.take(data, fresh_s=fresh_s, now=self._clock.monotonic(), jitter=self._jitter())
        except EmptyKeySetError as empty:
            self._report_dropped(holding, empty.fetched)
            return empty
        except KeyFetchError as failure:
            return failure
        self._metrics.issuer_keys_age.labels(holding.issuer.name).set(self._clock.wall())
        self._report_dropped(holding, change.fetched)
        _report_change(holding, change)
        return None

    def _report_attempt(self, holding: Holding, failure: KeyFetchError | None) -> None:
        name = holding.issuer.name
        self._metrics.key_fetches.labels(name, failure.fault if failure else "ok").inc()
        self._publish_count(holding)
        if failure is not None:
            _log.warning(
                "issuer_keys_fetch_failed",
                extra={
                    "issuer": name,
                    "fault": str(failure.fault),
                    "url": failure.url or holding.source,
                    "reason": str(failure),
                    "failures": holding.failures,
                },
            )

    def _publish_count(self, holding: Holding) -> None:
        held = self._usable(holding)
        count = 0 if held is None else held.size
        self._metrics.issuer_keys.labels(holding.issuer.name).set(count)

    def _report_dropped(self, holding: Holding, fetched: KeySet) -> None:
        name = holding.issuer.name
        for drop in fetched.dropped:
            self._metrics.keys_dropped.labels(name, drop.reason).inc()
            if drop.reason is DropReason.PRIVATE:
                _log.error(
                    "issuer_published_private_key", extra={"issuer": name, "thumbprint": drop.thumbprint}
                )
        if fetched.ambiguous:
            _log.error("issuer_key_ids_ambiguous", extra={"issuer": name, "count": len(fetched.ambiguous)})


def _report_change(holding: Holding, change: Change) -> None:
    if not change.added and not change.removed:
        return
    _log.log(
        logging.WARNING if change.replaced_all else logging.INFO,
        "issuer_keys_replaced" if change.replaced_all else "issuer_keys_changed",
        extra={
            "issuer": holding.issuer.name,
            "source": holding.source,
            "added": sorted(change.added),
            "removed": sorted(change.removed),
        },
    )


def _key_missing(held: KeySet, key_id: str | None) -> TokenRejected:
    if key_id in held.ambiguous:
        return TokenRejected(
            ErrorCode.TOKEN_KEY_AMBIGUOUS,
            "The issuer publishes several keys under the key id that the token names.",
            hint="The identity provider's administrator has to give each key an id of its own.",
        )
    return TokenRejected(
        ErrorCode.TOKEN_KEY_UNKNOWN,
        "The issuer does not publish the key that the token names.",
        hint="Request a new token; new keys of an issuer are looked for at most once a minute.",
    )


def _keys_unavailable(*, retry_after_s: int) -> Unavailable:
    return Unavailable(
        ErrorCode.KEYS_UNAVAILABLE,
        "The keys of the token's issuer cannot be fetched right now.",
        hint="The same request may succeed later.",
        retry_after_s=retry_after_s,
    )
