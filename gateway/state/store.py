"""Reservations: each key is somebody's once. Values, and what a store of them must do."""

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

#: A longer answer is not kept: the key stays taken, and whoever repeats the request learns only that.
MAX_ANSWER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a call wants to reserve, complete before it acts.

    key:        what may be used once; 64 hex digits, never anything a caller wrote.
    binding:    digest of the whole canonical request: two calls of one binding want the same.
    request_id: of the call, for the operators of whoever comes second.
    lease_s:    how long the call may take before it counts as interrupted.
    until:      wall seconds up to which the key must be remembered; nothing may act on it afterwards.
    repeatable: an interrupted call may be done again by one of the same binding (a STANDARD start: the execution's
                name keeps it from happening twice).
    answerable: whoever repeats the request gets its answer; of every other none is kept, because it is most of an entry.
    """

    key: str
    binding: str
    request_id: str
    lease_s: float
    until: float
    repeatable: bool
    answerable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """A key that is ours. It ends in `confirm` or `release`, or by itself when its lease is over before `begin`.

    owner: 32 hex digits of chance, so that only its holder can end it.
    """

    claim: Claim
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The key is somebody else's.

    state:      `running` within its lease; `interrupted`: it began to act and its lease ran out without a word;
                `done`: confirmed.
    same:       it wanted the same: its binding is ours.
    request_id: of the call that has it. since: wall seconds at which it was reserved, by the store's clock.
    left_s:     of its lease; 0 unless running.
    answer:     what `confirm` stored; None when nothing was stored, or it wanted something else. Never a credential.
    """

    state: Literal["running", "interrupted", "done"]
    same: bool
    request_id: str
    since: float
    left_s: float = 0.0
    answer: bytes | None = field(default=None, repr=False)


class Reservations(Protocol):
    """A store of reservations. A live entry is never evicted.

    A reservation that did not `begin` frees its key when its lease is over, because nothing was done. One that began
    and was neither confirmed nor released keeps it until `until`; only a repeatable claim of the same binding gets it.
    """

    async def reserve(self, claim: Claim, *, deadline: float) -> Reservation | Taken:
        """Take the key, atomically: of any number of calls at once one gets it.

        A repeatable claim gets an interrupted key of the same binding; it then stays interrupted when that call
        ends in `release`, because the first may have done something. deadline: monotonic seconds. Raises Unavailable (`replay_store_unavailable`, `replay_store_full`).
        """
        ...

    async def begin(self, reservation: Reservation, *, deadline: float) -> None:
        """Note that what follows may have an effect; raises Unavailable, also when the lease is over."""
        ...

    async def confirm(self, reservation: Reservation, *, answer: bytes | None) -> None:
        """Keep the key until `until`. Never raises: an entry that cannot be reached stays as it began.

        answer: at most MAX_ANSWER_BYTES.
        """
        ...

    async def release(self, reservation: Reservation) -> None:
        """Free the key, because nothing was done. Never raises: an entry that cannot be reached stays as it is."""
        ...
