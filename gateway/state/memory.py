"""Reservations inside one process: the default, for a gateway that runs once and alone."""

import heapq
import secrets
from dataclasses import dataclass
from typing import Final, Literal

from gateway.clock import Clock
from gateway.state.refusals import lease_over, store_full, too_late
from gateway.state.store import MAX_ANSWER_BYTES, Claim, Reservation, Taken

#: Entries whose life ends within the same seconds are dropped together.
_BUCKET_S: Final = 10


@dataclass(slots=True, kw_only=True)
class _Entry:
    """One key.

    ends_at:    wall seconds before which it is not forgotten.
    lives_to:   monotonic seconds before which it is not either: a wall clock that jumps ahead and back again must not make
                a used token good.
    taken_over: by its present owner, from an interrupted call that may have done something.
    """

    claim: Claim
    owner: str
    since: float
    lease_ends_at: float
    ends_at: float
    lives_to: float
    taken_over: bool = False
    done: bool = False
    answer: bytes | None = None


class MemoryReservations:
    """Reservations that end with the process, bounded in number; a full store refuses and evicts nothing alive."""

    def __init__(self, clock: Clock, *, max_entries: int = 200_000) -> None:
        self._clock = clock
        self._max_entries = max_entries
        self._entries: dict[str, _Entry] = {}
        self._buckets: dict[int, set[str]] = {}
        self._ends: list[int] = []  # a heap of the buckets' numbers: few, however many entries there are

    def __len__(self) -> int:
        return len(self._entries)

    async def reserve(self, claim: Claim, *, deadline: float) -> Reservation | Taken:
        """Take the key; see `Reservations`. No await stands between look and take, so one call wins."""
        now = self._clock.wall()
        self._forget()
        reservation = Reservation(claim=claim, owner=secrets.token_hex(16))
        entry = self._living(claim.key)
        if entry is None:
            self._take(reservation, now)
            return reservation
        taken = _taken(entry, claim, now)
        if taken.state != "interrupted" or not taken.same or not claim.repeatable:
            return taken
        entry.owner, entry.claim, entry.taken_over = reservation.owner, claim, True
        entry.since, entry.lease_ends_at = now, now + claim.lease_s
        return reservation

    async def begin(self, reservation: Reservation, *, deadline: float) -> None:
        """Note that what follows may have an effect; see `Reservations`."""
        entry = self._own(reservation)
        if entry is None or min(entry.lease_ends_at, reservation.claim.until) <= self._clock.wall():
            raise lease_over()
        self._file(entry, reservation.claim.until)

    async def confirm(self, reservation: Reservation, *, answer: bytes | None) -> None:
        """Keep the key until `until`; see `Reservations`."""
        if self._living(reservation.claim.key) is None:
            # Its lease was over before it began, which its holder must not let happen: better late than forgotten.
            self._remember(reservation, self._clock.wall())
        entry = self._own(reservation)
        if entry is None:
            return
        entry.done = True
        entry.answer = answer if answer is not None and len(answer) <= MAX_ANSWER_BYTES else None
        self._file(entry, reservation.claim.until)

    async def release(self, reservation: Reservation) -> None:
        """Free the key; see `Reservations`."""
        entry = self._own(reservation)
        if entry is None:
            return
        if entry.taken_over:
            # This call did nothing; the one before it may have.
            entry.lease_ends_at = self._clock.wall()
            return
        self._drop(entry)

    def _living(self, key: str) -> _Entry | None:
        """Return what is held under a key; what is over is as good as gone."""
        entry = self._entries.get(key)
        if entry is not None and self._is_over(entry):
            self._drop(entry)
            return None
        return entry

    def _own(self, reservation: Reservation) -> _Entry | None:
        entry = self._entries.get(reservation.claim.key)
        if entry is None or entry.done or entry.owner != reservation.owner:
            return None
        return entry

    def _take(self, reservation: Reservation, now: float) -> None:
        claim = reservation.claim
        if claim.until <= now:
            raise too_late()
        if len(self._entries) >= self._max_entries:
            raise store_full()
        self._remember(reservation, now)

    def _remember(self, reservation: Reservation, now: float) -> None:
        claim = reservation.claim
        lease_ends_at = now + claim.lease_s
        entry = _Entry(
            claim=claim,
            owner=reservation.owner,
            since=now,
            lease_ends_at=lease_ends_at,
            ends_at=lease_ends_at,
            lives_to=self._clock.monotonic() + claim.lease_s,
        )
        self._entries[claim.key] = entry
        self._into_bucket(entry)

    def _file(self, entry: _Entry, until: float) -> None:
        self._out_of_bucket(entry)
        entry.ends_at = until
        entry.lives_to = self._clock.monotonic() + until - self._clock.wall()
        self._into_bucket(entry)

    def _drop(self, entry: _Entry) -> None:
        del self._entries[entry.claim.key]
        self._out_of_bucket(entry)

    def _into_bucket(self, entry: _Entry) -> None:
        number = _bucket(entry)
        if number not in self._buckets:
            self._buckets[number] = set()
            heapq.heappush(self._ends, number)
        self._buckets[number].add(entry.claim.key)

    def _out_of_bucket(self, entry: _Entry) -> None:
        # An emptied bucket stays until its time has come: there are few, and the heap knows its number.
        self._buckets[_bucket(entry)].discard(entry.claim.key)

    def _forget(self) -> None:
        now = self._clock.monotonic()
        while self._ends and (self._ends[0] + 1) * _BUCKET_S <= now:
            for key in self._buckets.pop(heapq.heappop(self._ends)):
                entry = self._entries[key]
                if self._is_over(entry):
                    del self._entries[key]
                else:  # the wall clock was set back meanwhile
                    entry.lives_to = now + entry.ends_at - self._clock.wall()
                    self._into_bucket(entry)

    def _is_over(self, entry: _Entry) -> bool:
        return entry.ends_at <= self._clock.wall() and entry.lives_to <= self._clock.monotonic()


def _bucket(entry: _Entry) -> int:
    return int(entry.lives_to // _BUCKET_S)


def _taken(entry: _Entry, claim: Claim, now: float) -> Taken:
    same = entry.claim.binding == claim.binding
    left_s = entry.lease_ends_at - now
    state: Literal["running", "interrupted", "done"] = "running" if left_s > 0 else "interrupted"
    if entry.done:
        state, left_s = "done", 0.0
    return Taken(
        state=state,
        same=same,
        request_id=entry.claim.request_id,
        since=entry.since,
        left_s=max(left_s, 0.0),
        answer=entry.answer if same else None,
    )
