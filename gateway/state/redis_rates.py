"""Tells processes what the others have counted, once a second, through Redis.

[edge]
"""

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Self

from limits.aio.storage import RedisStorage
from redis.asyncio import Redis

from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.repeating import Repeating, every
from gateway.state.rates import Count, RateTable, learn
from gateway.state.redis_client import SharedRedis
from gateway.state.redis_faults import RedisFailed, understood

_log = logging.getLogger("gateway.state.rates")

_EVERY_S: Final = 1.0
# Of each table in a turn: a flood from many addresses must not become one on Redis.
_MOST: Final = 500
_AT_ONCE: Final = 8


class SharedRates:
    """Adds this process's counts to those of all, and learns the sums.

    A request never waits for this: it is judged by what is known here, which is a second old at most for counts that
    have reached a twentieth of their limit. While Redis is away every process goes by its own counts alone.
    """

    def __init__(
        self, shared: SharedRedis, tables: Iterable[RateTable], *, clock: Clock, metrics: Metrics
    ) -> None:
        self._shared = shared
        self._tables = tuple(tables)
        self._clock = clock
        self._metrics = metrics
        self._sharing = Repeating(
            self._share_or_count,
            wait=every(_EVERY_S),
            name="redis-rates",
            log=_log,
            failed="rates could not be shared",
        )

    async def __aenter__(self) -> Self:
        """Begin to share."""
        for table in self._tables:
            table.share()
        self._sharing.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop sharing."""
        await self._sharing.end()

    async def share_once(self) -> None:
        """Exchange what has changed since the last time; never raises for trouble with Redis."""
        storage = self._storage()
        for table in self._tables:
            changes = table.changes(_MOST)
            for start in range(0, len(changes), _AT_ONCE):
                if not await self._exchange(storage, table, changes[start : start + _AT_ONCE]):
                    return

    async def _share_or_count(self) -> None:
        try:
            await self.share_once()
        except Exception:
            self._metrics.rates_unshared.inc()
            raise

    async def _exchange(
        self, storage: RedisStorage, table: RateTable, changes: Sequence[tuple[str, Count]]
    ) -> bool:
        length = table.rate.window_s

        async def one(key: str, count: Count) -> None:
            window, sent = count.window, count.mine - count.shared
            name = f"{table.limit}:{length}:{window}:{_name(key)}"
            total = await understood("INCRBY", storage.incr(name, 2 * length, sent))
            learn(count, window=window, sent=sent, total=total)

        async def several(_: Redis) -> None:
            await asyncio.gather(*(one(key, count) for key, count in changes))

        try:
            await self._shared.run("rates", several)
        except RedisFailed:
            self._metrics.rates_unshared.inc()
            return False
        return True

    def _storage(self) -> RedisStorage:
        return RedisStorage(
            "redis://",
            implementation="redispy",
            key_prefix=self._shared.key("rates"),
            connection_pool=self._shared.client.connection_pool,  # type: ignore[arg-type]  # typed as plain options
        )


def _name(key: str) -> str:
    # Neither addresses nor subjects stand in Redis.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
