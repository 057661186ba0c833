"""The rows of the table: what is measured, against whom, and the goal."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from tests.bench.figures import Figure
from tests.bench.machine import Cores
from tests.bench.tokens import Supply


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. rivals: peers that the gateway is compared with by requests per CPU-second. wrk: it needs HTTP load."""

    id: str
    what: str
    goal: str
    rivals: tuple[str, ...] = ()
    wrk: bool = True


def at_most(limit: float) -> Callable[[float], bool]:
    """Return what says whether a figure is within its goal."""
    return lambda figure: figure <= limit


def at_least(limit: float) -> Callable[[float], bool]:
    """Return what says whether a figure is as large as its goal."""
    return lambda figure: figure >= limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measured quantity of a row.

    digits: after the point. reached: None where there is no goal for it. busy: there is one, but others used the machine
    too much to judge it. doubtful: some rounds say otherwise.
    """

    label: str
    figure: Figure
    unit: str
    digits: int = 1
    reached: bool | None = None
    busy: bool = False
    doubtful: bool = False

    def judged(self, meets: Callable[[float], bool]) -> "Line":
        """Return the line with the verdict on its median."""
        rounds = {meets(one) for one in self.figure.rounds}
        return replace(self, reached=meets(self.figure.median), doubtful=len(rounds) > 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A row with its lines. notes: what a reader must know to judge them. missing: why there are no lines."""

    row: Row
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    missing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every measurement is given. log: takes a line about how far it is."""

    supply: Supply
    cores: Cores
    quick: bool
    full: bool
    log: Callable[[str], None]

    def pick(self, whole: int, quick: int) -> int:
        """Return the first number, or the second when everything is to be quick."""
        return quick if self.quick else whole


ROWS: Final = (
    Row(id="P1", what="decide only, cold tokens, per CPU-second, vs envoy", goal="≥ 0.7 ×", rivals=("envoy",)),
    Row(id="P2", what="decide only, cold tokens, per CPU-second, vs plain", goal="≥ 2.5 ×", rivals=("plain",)),
    Row(
        id="P3",
        what="decide only, cold tokens, per CPU-second, vs Vault's auth/jwt/login",
        goal="≥ 5 ×, ≥ 3 ×",
        rivals=("vault-service", "vault-batch"),
    ),
    Row(
        id="P4",
        what="full exchange and start, cold tokens, per CPU-second, vs boto3 behind plain's checks",
        goal="≥ 15 ×, ≥ 5 ×",
        rivals=("boto3-per-credential", "boto3-threads"),
    ),
    Row(id="P5", what="latency added over the upstream's own, at half load", goal="p50 ≤ 1 ms, p99 ≤ 5 ms"),
    Row(id="P6", what="2,000 requests in flight, upstream 200 ms, one process", goal="all served, RSS ≤ 250 MB"),
    Row(id="P7", what="more rules: cost of a decision, load, reload under load", goal="≤ 1.2 ×; 10,000 rules ≤ 1 s; p99 unchanged"),
    Row(id="P8", what="process start to ready; idle memory", goal="≤ 1 s; ≤ 80 MB", wrk=False),
    Row(id="P9", what="workers 1 → 2 on two cores", goal="≥ 1.8 ×"),
    Row(id="P10", what="audit durable vs off", goal="≤ 15 % of throughput, ≤ 2 ms at p50"),
    Row(id="P11", what="second call with the same token vs the first, per CPU-second", goal="≥ 1.5 ×"),
)  # fmt: skip
#: The least ratio to each rival that reaches the goal.
LEAST: Final = {
    "envoy": 0.7,
    "plain": 2.5,
    "vault-service": 5.0,
    "vault-batch": 3.0,
    "boto3-per-credential": 15.0,
    "boto3-threads": 5.0,
}
