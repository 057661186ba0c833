"""How many connections may be open: in all, and from one address. Pure."""

from collections.abc import Callable
from typing import Final, Literal

from gateway.doors.callers import Callers
from gateway.state.rates import counted_as

#: Connections beyond the limit on which health and metrics alone are answered, so that who watches still sees.
RESERVE: Final = 64

#: `crowded`: only health and metrics are answered on it. The others close it: too many in all, or from this address.
Place = Literal["free", "crowded", "full", "address_full"]


class Connections:
    """Counts the open connections of one process.

    most:      in all. most_each: from one address, None for no limit; listed proxies have none.
    on_change: told the number of open ones.
    """

    def __init__(
        self,
        *,
        most: int = 10_000,
        most_each: int | None = None,
        callers: Callers | None = None,
        on_change: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._most = most
        self._most_each = most_each
        self._callers = callers or Callers()
        self._on_change = on_change
        self._by_key: dict[str, int] = {}
        self.open = 0

    def enter(self, peer: str | None) -> tuple[Place, str | None]:
        """Take a place; returns which, and what to give to `leave`, None when there is nothing to leave."""
        key = self._key(peer)
        place = self._place(key)
        if place in {"full", "address_full"}:
            return place, None
        self.open += 1
        self._by_key[key] = self._by_key.get(key, 0) + 1
        self._on_change(self.open)
        return place, key

    def leave(self, key: str) -> None:
        """Give a place back."""
        self.open -= 1
        self._on_change(self.open)
        left = self._by_key[key] - 1
        if left:
            self._by_key[key] = left
        else:
            del self._by_key[key]

    def _key(self, peer: str | None) -> str:
        source = self._callers.source(peer, ())
        return "proxy" if source is not None and self._callers.is_trusted(source) else counted_as(source)

    def _place(self, key: str) -> Place:
        if self.open >= self._most + RESERVE:
            return "full"
        if self._most_each is not None and key != "proxy" and self._by_key.get(key, 0) >= self._most_each:
            return "address_full"
        return "crowded" if self.open >= self._most else "free"
