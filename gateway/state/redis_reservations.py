"""Reservations in Redis: one key for each, one script for each step, whatever the number of workers and replicas.

[edge]
"""

import logging
import secrets
from collections import deque
from collections.abc import Mapping
from typing import Final, Literal

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.state.redis_client import SharedRedis
from gateway.state.redis_faults import RedisFailed, RedisFault
from gateway.state.redis_scripts import BEGIN, CONFIRM, RELEASE, RESERVE, Script
from gateway.state.redis_survey import MAX_CLOCK_OFFSET_S
from gateway.state.redis_watch import RedisWatch
from gateway.state.refusals import lease_over, store_full, store_unavailable, too_late
from gateway.state.store import MAX_ANSWER_BYTES, Claim, Reservation, Taken

_log = logging.getLogger("gateway.state.redis")

_MAX_OFFSET_MS: Final = str(round(MAX_CLOCK_OFFSET_S * 1000))
#: Reservations that nobody answers for, remembered until Redis is back; of more the leases have to end by themselves.
_MOST_GIVEN_UP: Final = 1_000
_STATES: Final[Mapping[bytes, Literal["running", "interrupted", "done"]]] = {
    b"running": "running",
    b"interrupted": "interrupted",
    b"done": "done",
}


class RedisReservations:
    """Reservations that all who use the same Redis and prefix share; no token and no credential is stored."""

    def __init__(self, redis: SharedRedis, watch: RedisWatch, *, clock: Clock) -> None:
        self._redis = redis
        self._watch = watch
        self._clock = clock
        self._given_up: deque[Reservation] = deque(maxlen=_MOST_GIVEN_UP)
        watch.when_well(self._let_go)

    async def reserve(self, claim: Claim, *, deadline: float) -> Reservation | Taken:
        """Take the key; see `Reservations`."""
        if self._watch.fault is not None:
            raise _refusal(self._watch.fault)
        reservation = Reservation(claim=claim, owner=secrets.token_hex(16))
        arguments = (
            reservation.owner,
            claim.binding,
            claim.request_id,
            _ms(claim.lease_s),
            _ms(claim.until),
            "1" if claim.repeatable else "0",
            _ms(self._clock.wall()),
            _MAX_OFFSET_MS,
        )
        was_sent = self._redis.down is None
        try:
            answer = await self._redis.script(
                "reserve", RESERVE, self._key(claim), *arguments, deadline=deadline
            )
        except RedisFailed as failed:
            # A Redis that stalls may carry it out later: then whoever was refused would be in his own way.
            if was_sent and failed.fault.reason in {"timeout", "unreachable"}:
                self._given_up.append(reservation)
            raise _refusal(failed.fault) from None
        return _read(answer, reservation)

    async def begin(self, reservation: Reservation, *, deadline: float) -> None:
        """Note that what follows may have an effect; see `Reservations`."""
        claim = reservation.claim
        try:
            answer = await self._redis.script(
                "begin", BEGIN, self._key(claim), reservation.owner, _ms(claim.until), deadline=deadline
            )
        except RedisFailed as failed:
            raise _refusal(failed.fault) from None
        if answer != b"ok":
            raise lease_over()

    async def confirm(self, reservation: Reservation, *, answer: bytes | None) -> None:
        """Keep the key until `until`; see `Reservations`."""
        claim = reservation.claim
        kept = () if answer is None or len(answer) > MAX_ANSWER_BYTES else (answer,)
        await self._end(
            "confirm",
            CONFIRM,
            claim,
            reservation.owner,
            _ms(claim.until),
            claim.binding,
            claim.request_id,
            *kept,
        )

    async def release(self, reservation: Reservation) -> None:
        """Free the key; see `Reservations`."""
        if not await self._end("release", RELEASE, reservation.claim, reservation.owner):
            self._given_up.append(reservation)

    async def _let_go(self) -> None:
        """Free what was given up while Redis was away; raises RedisFailed. Nothing was done under it, and the owner is
        one reservation's own: it cannot be anybody else's that is freed.
        """
        while self._given_up:
            reservation = self._given_up[0]
            key = self._key(reservation.claim)
            await self._redis.script("release", RELEASE, key, reservation.owner, even_if_down=True)
            if self._given_up and self._given_up[0] is reservation:
                self._given_up.popleft()

    async def _end(self, operation: str, script: Script, claim: Claim, *arguments: str | bytes) -> bool:
        """Say whether Redis did it."""
        try:
            # Even while Redis counts as away: it may be back by now, and this is the last word on the key.
            await self._redis.script(operation, script, self._key(claim), *arguments, even_if_down=True)
        except RedisFailed as failed:
            _log.warning(
                "shared state: a reservation stays as it is, %s failed: %s",
                operation,
                failed.fault.what,
                extra={"request_id": claim.request_id, "reason": failed.fault.reason},
            )
            return False
        return True

    def _key(self, claim: Claim) -> str:
        return self._redis.key("used", claim.key)


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))


def _refusal(fault: RedisFault) -> Unavailable:
    return store_full() if fault.reason == "full" else store_unavailable()


def _read(answer: object, reservation: Reservation) -> Reservation | Taken:
    match answer:
        case [b"ours", *_]:
            return reservation
        case [b"late" | b"clock", *_]:
            raise too_late()
        case [
            (b"running" | b"interrupted" | b"done") as state,
            bytes(same),
            bytes(request),
            bytes(since),
            bytes(left),
            *rest,
        ]:
            stored = rest[0] if rest else None
            return Taken(
                state=_STATES[state],
                same=same == b"1",
                request_id=request.decode("utf-8", "replace"),
                since=float(since) / 1000,
                left_s=float(left) / 1000,
                answer=stored if isinstance(stored, bytes) else None,
            )
    # Somebody else wrote under our key.
    raise store_unavailable()
