"""How many requests somebody may send in a time: counts in this process, in tables that cannot grow beyond a bound."""

import ipaddress
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.clock import Clock

#: Somebody who is refused again and again is told of once in this time, in log and record; metrics count the rest.
TOLD_EVERY_S: Final = 60.0
# A count is worth sharing with the other processes once it is this part of the limit.
_WORTH_SHARING: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many requests in so many seconds."""

    quota: int
    window_s: int


class Standing(NamedTuple):
    """Where somebody stands after a request.

    policy:   the limit itself, as `RateLimit-Policy` names it.
    left:     requests that may follow at once. reset_s: seconds until that grows, and after a refusal until a
              request will be let through.
    refused:  this request was one too many; it does not count.
    repeated: and so was another within the last minute.
    """

    limit: str
    policy: bytes
    left: int
    reset_s: int
    refused: bool = False
    repeated: bool = False


class Count:
    """What one key has used. Times are numbers of windows since the epoch.

    mine, others: requests in this window, let through here and by other processes. shared: the part of `mine` that
                  the others know of. before: all of the window before this one.
    """

    __slots__ = ("before", "mine", "others", "shared", "told_at", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.before = self.mine = self.others = self.shared = 0
        self.told_at = -math.inf


class RateTable:
    """Counts requests by key, in a sliding window: this window's, and the last one's as far as it still overlaps.

    Not a fixed window, in which twice the limit fits around its end, and not a log of every request, whose memory
    grows with the limit. Windows begin at multiples of their length on the wall clock, so that processes agree.

    Whoever is let through moves to the younger of two generations; when that is full it becomes the older one, and
    what is still in the older one then has not been asked for in a long time and is forgotten. So memory is bounded, a
    flood of new keys never takes the place of one that is in use, and no two keys ever share a count.
    """

    def __init__(self, limit: str, rate: Rate, *, clock: Clock, entries: int = 100_000) -> None:
        self.limit = limit
        self.rate = rate
        self._clock = clock
        self._half = entries // 2
        self._young: dict[str, Count] = {}
        self._old: dict[str, Count] = {}
        self._policy = b'"%b";q=%d;w=%d' % (limit.encode("ascii"), rate.quota, rate.window_s)
        self._window, self._end = 0, 0
        self._changed: dict[str, Count] | None = None

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def hit(self, key: str) -> Standing:
        """Count one request, unless it is one too many."""
        quota, length = self.rate.quota, self.rate.window_s
        now = self._clock.wall()
        ahead = self._end - now
        if not 0 < ahead <= length:
            self._window = int(now // length)
            self._end = (self._window + 1) * length
            ahead = self._end - now
        window = self._window
        count = self._young.get(key) or self._revive(key, window)
        if count.window != window:
            _turn(count, window)
        used = count.before * ahead / length + count.mine + count.others
        if used + 1 > quota:
            return self._refuse(count, now, ahead)
        count.mine += 1
        if self._changed is not None and count.mine * _WORTH_SHARING >= quota:
            self._changed[key] = count
        return Standing(self.limit, self._policy, int(quota - used - 1), math.ceil(ahead))

    def _revive(self, key: str, window: int) -> Count:
        count = self._old.pop(key, None) or Count(window)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = count
        return count

    def _refuse(self, count: Count, now: float, ahead: float) -> Standing:
        repeated = now - count.told_at < TOLD_EVERY_S
        if not repeated:
            count.told_at = now
        wait = max(1, math.ceil(_wait_s(self.rate, count, ahead)))
        return Standing(self.limit, self._policy, 0, wait, refused=True, repeated=repeated)

    # What other processes count.

    def share(self) -> None:
        """Note from now on which counts other processes should know."""
        self._changed = {}

    def changes(self, most: int) -> list[tuple[str, Count]]:
        """Return counts that have grown since they were asked for last, the oldest change first."""
        if not self._changed:
            return []
        taken = list(self._changed.items())[:most]
        for key, _ in taken:
            del self._changed[key]
        return taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The tables of one process, in the order in which they are asked; None where there is no limit."""

    address: RateTable | None
    subject: RateTable | None
    rule: RateTable | None

    def tables(self) -> tuple[RateTable, ...]:
        """Return those that there are."""
        return tuple(one for one in (self.address, self.subject, self.rule) if one is not None)


@lru_cache(maxsize=4096)
def counted_as(source: str | None) -> str:
    """Return under which key an address is counted: one subscriber has a whole /64 of IPv6 addresses."""
    if source is None:
        return "local"
    if ":" not in source:
        return source
    network = ipaddress.IPv6Network((ipaddress.IPv6Address(source).packed[:8] + bytes(8), 64))
    return str(network)


def learn(count: Count, *, window: int, sent: int, total: int) -> None:
    """Note what all processes together have counted in a window, once `sent` of ours had been added."""
    if count.window == window:
        count.shared += sent
        count.others = max(0, total - count.shared)


def _turn(count: Count, window: int) -> None:
    count.before = count.mine + count.others if window == count.window + 1 else 0
    count.window = window
    count.mine = count.others = count.shared = 0


def _wait_s(rate: Rate, count: Count, ahead: float) -> float:
    """Return the seconds until one more request fits, if nobody sends any until then."""
    length, quota = rate.window_s, rate.quota
    now_counted = count.mine + count.others
    room = quota - 1 - now_counted
    if room >= 0:
        # What the last window still weighs has to shrink to the room there is.
        return ahead - length * room / max(1, count.before)
    return ahead + length * (1 - (quota - 1) / now_counted)
