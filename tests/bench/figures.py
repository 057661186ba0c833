"""Figures over several rounds: the median, and how far the rounds lie apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured quantity. spread: half of what lies between the smallest and the largest round; 0.05 is 5 % of the median."""

    median: float
    spread: float
    rounds: tuple[float, ...]


def figure(rounds: Sequence[float]) -> Figure:
    """Return the figure of at least one round."""
    middle = median(rounds)
    spread = (max(rounds) - min(rounds)) / 2 / abs(middle) if middle else 0.0
    return Figure(median=middle, spread=spread, rounds=tuple(rounds))


def ratio(ours: Figure, theirs: Figure) -> Figure:
    """Return ours by theirs, round by round: what slowed the machine for a while slowed both."""
    return figure([mine / other for mine, other in zip(ours.rounds, theirs.rounds, strict=True)])


def difference(ours: Figure, theirs: Figure) -> Figure:
    """Return ours less theirs, round by round."""
    return figure([mine - other for mine, other in zip(ours.rounds, theirs.rounds, strict=True)])
