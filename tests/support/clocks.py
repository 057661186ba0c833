"""A clock that stands still until a test moves it."""

# A Sunday in November 2026; tests need a moment, not this one.
START_S = 1_795_342_623.0


class SettableClock:
    """Both clocks of `gateway.clock.Clock`, moved together by `advance` and apart by assignment."""

    def __init__(self, wall_s: float = START_S, monotonic_s: float = 1_000.0) -> None:
        self.wall_s = wall_s
        self.monotonic_s = monotonic_s

    def wall(self) -> float:
        return self.wall_s

    def monotonic(self) -> float:
        return self.monotonic_s

    def advance(self, seconds: float) -> None:
        """Let both clocks run on."""
        self.wall_s += seconds
        self.monotonic_s += seconds
