"""The board of statuses in Redis: one hash, a field for each worker of each replica.

[edge]
"""

import logging
from typing import Final

from redis.asyncio import Redis

from gateway.state.board import Status, read_status, write_status
from gateway.state.redis_client import SharedRedis
from gateway.state.redis_faults import RedisFailed, understood, unexpected
from gateway.state.redis_scripts import POST

_log = logging.getLogger("gateway.state.redis")

#: By Redis's clock, so that nobody vanishes for a clock of his own that is wrong.
_GONE_S: Final = 15.0


class RedisBoard:
    """What every worker of every replica runs on; while there is trouble with Redis, nobody is shown.

    The watch says what is wrong, once: this is asked every second.
    """

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self._key = redis.key("board")

    async def post(self, status: Status) -> None:
        """Replace this process's status."""
        text = write_status(status)
        try:
            await self._redis.script("board", POST, self._key, status.worker, text)
        except RedisFailed as failed:
            _log.debug("shared state: the status of this worker was not posted: %s", failed.fault.what)

    async def read(self) -> tuple[Status, ...]:
        """Return everybody's of the last 15 s, by worker."""
        try:
            found, now_s = await self._redis.run("board", self._all)
            statuses = {name: _read(value, now_s) for name, value in found.items()}
            gone = [name for name, status in statuses.items() if status is None]
            if gone:
                # Names of pods never come back: without this the hash would only grow.
                await self._redis.run("board", lambda client: _remove(client, self._key, gone))
        except RedisFailed as failed:
            _log.debug("shared state: the statuses of others cannot be read: %s", failed.fault.what)
            return ()
        present = (status for status in statuses.values() if status is not None)
        return tuple(sorted(present, key=lambda status: status.worker))

    async def _all(self, client: Redis) -> tuple[dict[bytes, bytes], float]:
        found = await understood("HGETALL", client.hgetall(self._key))
        seconds, micros = await understood("TIME", client.time())
        return {_bytes(name): _bytes(value) for name, value in found.items()}, float(seconds) + float(
            micros
        ) / 1e6


async def _remove(client: Redis, key: str, names: list[bytes]) -> None:
    await client.hdel(key, *names)


def _read(value: bytes, now_s: float) -> Status | None:
    """Return the status, None when it is too old or none that we know; both are removed."""
    posted, _, text = value.partition(b" ")
    if not posted.isdigit() or now_s - int(posted) / 1000 > _GONE_S:
        return None
    return read_status(text)


def _bytes(text: object) -> bytes:
    if not isinstance(text, bytes):
        raise unexpected("HGETALL")
    return text
