"""The switch board in Redis: one document under one key, replaced only by who has read what it replaces.

[edge]
"""

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from redis.asyncio import Redis

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.repeating import Repeating, every
from gateway.state.redis_client import SharedRedis
from gateway.state.redis_faults import RedisFailed, RedisFault, unexpected
from gateway.state.redis_scripts import REPLACE
from gateway.state.refusals import switches_unavailable
from gateway.state.switch_document import (
    SwitchesInvalid,
    board_of,
    decode,
    encode,
    switched_off,
    switched_on,
    unreadable,
)
from gateway.state.switches import Switch, SwitchBoard

_log = logging.getLogger("gateway.state.switches")

_PERIOD_S: Final = 1.0
#: A board that was read longer ago than this counts as unreadable.
_STALE_S: Final = 5.0
#: Somebody else turned a switch between our look and our change; after this many times we say so.
_ATTEMPTS: Final = 8


class RedisSwitches:
    """What is off, for the exchange (`current`, polled in the background) and for administrators (the others).

    Redis that lost the document gets it back from whoever still knows it: what was off must not come on by a restart.
    """

    def __init__(self, redis: SharedRedis, *, clock: Clock, period_s: float = _PERIOD_S) -> None:
        self._redis = redis
        self._clock = clock
        self._key = redis.key("switches")
        self._polling = Repeating(
            self._poll,
            wait=every(period_s),
            name="redis-switches",
            log=_log,
            failed="switches: a look at Redis failed unexpectedly",
        )
        self._board = unreadable()
        self._document: bytes | None = None
        self._read_at = float("-inf")
        self._trouble: str | None = None

    async def __aenter__(self) -> Self:
        """Read once, then in the background; a Redis that is away stops nothing, but everything counts as off."""
        await self._poll()
        self._polling.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        await self._polling.end()

    def current(self) -> SwitchBoard:
        """Return what is off now; see `Switches`."""
        if self._clock.monotonic() - self._read_at > _STALE_S:
            return unreadable()
        return self._board

    async def read(self) -> SwitchBoard:
        """Return what is off, read now; raises Unavailable (`switches_unavailable`)."""
        return (await self._fetch())[1]

    async def turn_off(self, switch: Switch) -> bool:
        """Switch off; see `SwitchStore`."""
        before = await self._change(lambda board: switched_off(board, switch))
        return (switch.kind, switch.name) not in before.off

    async def turn_on(self, switch: Switch) -> Switch | None:
        """Switch on; see `SwitchStore`."""
        before = await self._change(lambda board: switched_on(board, switch))
        return before.off.get((switch.kind, switch.name))

    async def _poll(self) -> None:
        try:
            document, board = await self._fetch()
            if not document and self._document:
                await self._give_back(self._document)
                return
        except Unavailable:
            return
        self._document, self._board, self._read_at = document, board, self._clock.monotonic()

    async def _give_back(self, document: bytes) -> None:
        """Write again what Redis has lost; the board that we hold stays in force meanwhile."""
        try:
            await self._redis.script("switches", REPLACE, self._key, b"", document)
        except RedisFailed as failed:
            self._say(
                f"the switches are gone from Redis and cannot be written again: {failed.fault.what}",
                self._advice(failed.fault),
            )
            return
        _log.error("switches: the key %s was gone from Redis and has been written again", self._key)
        self._read_at = self._clock.monotonic()

    async def _change(self, change: Callable[[SwitchBoard], SwitchBoard]) -> SwitchBoard:
        """Apply a change to what is there; return what was there before."""
        for _ in range(_ATTEMPTS):
            document, board = await self._fetch()
            try:
                wanted = change(board)
            except SwitchesInvalid as fault:
                raise switches_unavailable(str(fault)) from None
            if wanted == board or await self._replace(document, encode(wanted)):
                return board
        raise switches_unavailable("Others are turning switches at the same moment.")

    async def _replace(self, known: bytes, wanted: bytes) -> bool:
        try:
            replaced = await self._redis.script("switches", REPLACE, self._key, known, wanted)
            if not isinstance(replaced, int):
                raise unexpected("EVALSHA")
        except RedisFailed as failed:
            raise self._unavailable("turned", failed.fault) from None
        return replaced == 1

    async def _fetch(self) -> tuple[bytes, SwitchBoard]:
        try:
            document = await self._redis.run("switches", self._get)
            # Nobody ever switched anything off; an empty text on the other hand is no document.
            board = board_of() if document is None else decode(document)
        except RedisFailed as failed:
            raise self._unavailable("read", failed.fault) from None
        except SwitchesInvalid as fault:
            what = f"the key {self._key} holds no switches: {str(fault).removesuffix('.')}"
            # A gateway that read them before gives them back to a Redis that has lost them.
            hint = f"delete it (DEL {self._key}): a gateway that runs writes what it read last, without one nothing is off"
            self._say(what, hint)
            raise switches_unavailable(f"In Redis {what}.", as_sentence(hint)) from None
        self._trouble = None
        return document or b"", board

    async def _get(self, client: Redis) -> bytes | None:
        found: object = await client.get(self._key)
        if found is not None and not isinstance(found, bytes):
            raise unexpected("GET")
        return found

    def _unavailable(self, verb: str, fault: RedisFault) -> Unavailable:
        self._say(fault.what, self._advice(fault))
        return switches_unavailable(
            f"The switches in {self._redis.address} cannot be {verb}: {fault.what.removesuffix('.')}.",
            as_sentence(self._advice(fault)),
        )

    def _advice(self, fault: RedisFault) -> str:
        return fault.advice_at(self._redis.address.scheme)

    def _say(self, what: str, advice: str) -> None:
        if what != self._trouble:
            self._trouble = what
            _log.error(
                "switches: %s; everything they could switch off is off after %d s; %s", what, _STALE_S, advice
            )


def as_sentence(advice: str) -> str:
    """Return an advice as a sentence. A setting at its beginning gets no capital: it is written as the files write it."""
    first = advice.partition(" ")[0]
    return f"{advice if '.' in first else advice[0].upper() + advice[1:]}."
