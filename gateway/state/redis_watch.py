"""Watches Redis: is it there, may used tokens be entrusted to it, do the clocks agree. Says so once per change.

[edge]
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

from redis.asyncio import Redis

from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.repeating import Repeating
from gateway.state.redis_client import SharedRedis
from gateway.state.redis_faults import (
    REASONS,
    RedisFailed,
    RedisFault,
    may_be_tls,
    understood,
    unexpected,
)
from gateway.state.redis_scripts import RELEASE, RESERVE
from gateway.state.redis_survey import MAX_CLOCK_OFFSET_S, Survey, survey_of

_log = logging.getLogger("gateway.state.redis")

_PERIOD_S: Final = 2.0
_RETRY_S: Final = 0.5
_PAUSE_S: Final = 0.05
#: Between two tries of what a reservation needs, while all is well.
_TRY_PERIOD_S: Final = 30.0
#: A fault of TLS stands this long for those that it may look like at the next probe.
_TLS_STANDS_S: Final = 30.0
#: What is wrong is said again after this time.
_REPEAT_S: Final = 300.0


class RedisWatch:
    """Probes in the background; `fault` is what keeps reservations from being made, None when nothing does."""

    def __init__(
        self, redis: SharedRedis, *, clock: Clock, metrics: Metrics, period_s: float = _PERIOD_S
    ) -> None:
        self._redis = redis
        self._clock = clock
        self._metrics = metrics
        self._period_s = period_s
        self._probing = Repeating(
            self.probe,
            wait=self._wait,
            name="redis-watch",
            log=_log,
            failed="shared state: a probe failed unexpectedly",
        )
        self._survey: Survey | None = None
        self._marker: str | None = None
        self._tried_at = float("-inf")
        self._said_at = float("-inf")
        self._tls_at = float("-inf")
        self._when_well: Callable[[], Awaitable[None]] | None = None
        for reason in REASONS:
            metrics.state_failures.labels(reason)
        self.fault: RedisFault | None = RedisFault(reason="unreachable", what="Redis was not asked yet")

    async def __aenter__(self) -> Self:
        """Probe once, then in the background; a Redis that is away stops nothing."""
        await self.probe()
        self._probing.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self._probing.end()

    def when_well(self, act: Callable[[], Awaitable[None]]) -> None:
        """Have this done after every probe that found nothing wrong; it may raise RedisFailed."""
        self._when_well = act

    def status(self) -> str:
        """Return `ok`, or the reason why reservations are refused; for health."""
        fault = self._redis.down or self.fault
        return "ok" if fault is None else fault.reason

    async def _wait(self) -> None:
        wait_s = self._period_s if self.fault is None else min(_RETRY_S, self._period_s)
        self._redis.went_down.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._redis.went_down.wait()
        except TimeoutError:
            return
        # Something failed just now: look at once, but never in a tight loop.
        self._tried_at = float("-inf")
        await asyncio.sleep(_PAUSE_S if self.fault is None else wait_s)

    async def probe(self) -> None:
        """Look once, and note what was found."""
        try:
            survey = await self._look()
            self._redis.is_up()
            await self._compare(survey)
            found = self._judge(survey) or await self._try()
            if found is None and self._when_well is not None:
                await self._when_well()
        except RedisFailed as failed:
            found = self._named(failed.fault)
        self._note(found)

    def _named(self, found: RedisFault) -> RedisFault:
        """Return the fault under its best name: one cause must not be said as another from probe to probe."""
        now, before = self._clock.monotonic(), self.fault
        if found.reason == "tls":
            self._tls_at = now
            return found
        lately = now - self._tls_at <= _TLS_STANDS_S
        if before is None or before.reason != "tls" or not lately or not may_be_tls(found):
            return found
        self._redis.is_down(before)
        return before

    async def _look(self) -> Survey:
        async def ask(client: Redis) -> Survey:
            before = self._clock.wall()
            seconds, micros = await understood("TIME", client.time())
            after = self._clock.wall()
            info = await understood("INFO", client.info())
            return survey_of(info, float(seconds) + float(micros) / 1e6 - (before + after) / 2)

        survey = await self._redis.run("probe", ask, even_if_down=True)
        self._metrics.state_clock_offset.set(survey.offset_s)
        return survey

    def _judge(self, survey: Survey) -> RedisFault | None:
        if survey.old:
            return RedisFault(
                reason="version", what=f"Redis is of version {survey.version[:20] or 'unknown'}"
            )
        if survey.replica:
            return RedisFault(reason="readonly", what="Redis is a replica")
        if survey.evicts:
            policy = survey.eviction or "unknown"
            return RedisFault(reason="evicting", what=f"Redis has the maxmemory-policy {policy[:40]}")
        if abs(survey.offset_s) > MAX_CLOCK_OFFSET_S:
            ours = self._clock.wall()
            return RedisFault(
                reason="clock",
                what=f"the clocks differ: {_shown(ours)} here, {_shown(ours + survey.offset_s)} at Redis",
            )
        return None

    async def _try(self) -> RedisFault | None:
        """Reserve and release a key of our own: nothing else tells whether the user may, and whether there is room."""
        now = self._clock.monotonic()
        if self.fault is None and now - self._tried_at < _TRY_PERIOD_S:
            return None
        owner, wall_ms = secrets.token_hex(16), round(self._clock.wall() * 1000)
        key = self._redis.key("probe", owner)
        until = str(wall_ms + 60_000 + round(MAX_CLOCK_OFFSET_S * 1000))
        arguments = (owner, "probe", "probe", "10000", until, "0", str(wall_ms), "60000")
        reserved = await self._redis.script("probe", RESERVE, key, *arguments, even_if_down=True)
        released = await self._redis.script("probe", RELEASE, key, owner, even_if_down=True)
        if not isinstance(reserved, list) or not isinstance(released, bytes):
            raise unexpected("EVALSHA")
        self._tried_at = now
        return None

    async def _compare(self, survey: Survey) -> None:
        """Notice a Redis that lost what it was told: the marker it had is gone, by a restart or by FLUSHALL."""
        if self._judge(survey) is not None:
            return
        marker = await self._redis.run("probe", self._mark, even_if_down=True)
        restarted = self._survey is not None and self._survey.run_id != survey.run_id
        if self._marker is not None and marker != self._marker:
            self._metrics.state_failures.labels("data_lost").inc()
            how = "was started again and" if restarted else "runs on, but"
            fault = RedisFault(reason="data_lost", what=f"Redis {how} has lost its data")
            _log.error("shared state: %s; %s", fault.what, fault.advice, extra={"reason": fault.reason})
        elif restarted:
            _log.warning("shared state: Redis was started again, or another took its place, with its data")
        self._survey, self._marker = survey, marker

    async def _mark(self, client: Redis) -> str:
        """Return the marker; where there is none write one, which every other replica finds and misses its own."""
        key = self._redis.key("marker")
        found = await client.get(key)
        if found is None:
            await client.set(key, secrets.token_hex(16), nx=True)
            found = await client.get(key)
        return found.decode("ascii", "replace") if isinstance(found, bytes) else str(found)

    def _note(self, found: RedisFault | None) -> None:
        before, self.fault = self.fault, found
        now = self._clock.monotonic()
        if found is None:
            if before is not None:
                _log.info("shared state: %s answers, all is well", self._redis.address)
            return
        if before is None or before.reason != found.reason or now - self._said_at >= _REPEAT_S:
            self._said_at = now
            _log.error(
                "shared state: %s (%s); %s",
                found.what,
                self._redis.address,
                found.advice_at(self._redis.address.scheme),
                extra={"reason": found.reason},
            )


def _shown(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")
