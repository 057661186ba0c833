"""When a worker that died is replaced: at once, but not in a loop."""

from typing import Final

#: A worker that lived as long as this has not died of how it starts.
_LIVED_S: Final = 60.0
_FIRST_S: Final = 1.0
_LONGEST_S: Final = 30.0


class Restarts:
    """Counts the deaths of the workers of one seat, and says how long the next one waits."""

    def __init__(self) -> None:
        self._early = 0

    def wait_s(self, *, lived_s: float) -> float:
        """Note a death after so many seconds of life; return the seconds until the next start.

        0 for the first, then 1, 2, 4 and so on up to 30; a life of a minute starts over.
        """
        if lived_s >= _LIVED_S:
            self._early = 0
        self._early += 1
        if self._early == 1:
            return 0.0
        return min(_LONGEST_S, _FIRST_S * 2.0 ** min(self._early - 2, 10))
