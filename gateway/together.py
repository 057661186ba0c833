"""What comes again and again: each is told by itself while there are few, those that follow are counted and told together."""

import asyncio
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from gateway.clock import Clock

#: So many with one key are told of each by itself; those that follow within the time are told of together.
IN_FULL: Final = 20
TOGETHER_S: Final = 60.0
#: Keys that are remembered; who was first is told of and forgotten to make room.
ENTRIES: Final = 1_000

_Key = TypeVar("_Key", bound=Hashable)
_Thing = TypeVar("_Thing")


@dataclass(slots=True)
class _Seen(Generic[_Thing]):
    """What has one key. since: monotonic seconds. more: how many are not told of yet; last: the last of them."""

    since: float
    number: int = 0
    more: int = 0
    last: _Thing | None = None
    timer: asyncio.TimerHandle | None = None


class Together(Generic[_Key, _Thing]):
    """Counts so that the number told is exact, whatever it is, and memory bounded. Needs a running event loop.

    tell: takes the last of those that were only counted, and how many they were.
    """

    def __init__(self, tell: Callable[[_Thing, int], None], *, clock: Clock) -> None:
        self._tell_of = tell
        self._clock = clock
        self._seen: dict[_Key, _Seen[_Thing]] = {}

    def take(self, key: _Key, thing: _Thing) -> bool:
        """Take one more; return whether it is only counted for now, so that nobody need tell of it by itself."""
        seen = self._current(key)
        seen.number += 1
        if seen.number <= IN_FULL:
            return False
        if seen.timer is None:
            seen.timer = asyncio.get_running_loop().call_later(TOGETHER_S, self._tell, key)
        seen.more += 1
        seen.last = thing
        return True

    def finish(self) -> None:
        """Tell of all that was only counted."""
        for key in list(self._seen):
            self._tell(key)

    def _current(self, key: _Key) -> _Seen[_Thing]:
        now = self._clock.monotonic()
        seen = self._seen.get(key)
        if seen is not None and now - seen.since < TOGETHER_S:
            return seen
        self._tell(key)
        if len(self._seen) >= ENTRIES:
            self._tell(next(iter(self._seen)))
        seen = self._seen[key] = _Seen(now)
        return seen

    def _tell(self, key: _Key) -> None:
        seen = self._seen.pop(key, None)
        if seen is None or seen.last is None:
            return
        if seen.timer is not None:
            seen.timer.cancel()
        self._tell_of(seen.last, seen.more)
