"""The rows of the table: what is measured, against whom, and the goal; those to come are named as such."""

from dataclasses import dataclass
from typing import Final

from tests.bench.figures import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. rivals: peers that the gateway is compared with over HTTP. built: whether it can be measured yet."""

    id: str
    what: str
    goal: str
    rivals: tuple[str, ...] = ()
    built: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measured quantity of a row. digits: after the point. reached: None where there is no goal for it."""

    label: str
    figure: Figure
    unit: str
    digits: int = 1
    reached: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A row with its lines. notes: what a reader must know to judge them."""

    row: Row
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


ROWS: Final = (
    Row(id="P1", what="decide only, cold tokens, per CPU-second, vs envoy", goal="≥ 0.7 ×", rivals=("envoy",), built=True),
    Row(id="P2", what="decide only, cold tokens, per CPU-second, vs plain", goal="≥ 2.5 ×", rivals=("plain",), built=True),
    Row(id="P3", what="decide only, vs vault-service and vault-batch", goal="≥ 5 ×, ≥ 3 ×"),
    Row(id="P4", what="full exchange and start, vs boto3-per-credential and boto3-threads", goal="≥ 15 ×, ≥ 5 ×"),
    Row(id="P5", what="latency added over the upstream's own, at half load", goal="p50 ≤ 1 ms, p99 ≤ 5 ms"),
    Row(id="P6", what="2,000 requests in flight, upstream 200 ms", goal="all served, RSS ≤ 250 MB"),
    Row(id="P7", what="more rules: cost of a decision, load, reload", goal="≤ 1.2 ×; 10,000 rules ≤ 1 s", built=True),
    Row(id="P8", what="process start to ready; idle memory", goal="≤ 1 s; ≤ 80 MB", built=True),
    Row(id="P9", what="workers 1 → 2 on two cores", goal="≥ 1.8 ×"),
    Row(id="P10", what="audit durable vs off", goal="≤ 15 % of throughput, ≤ 2 ms at p50"),
    Row(id="P11", what="second call with the same token vs the first", goal="≥ 1.5 ×"),
)  # fmt: skip
#: The least ratio to each rival that reaches the goal.
LEAST: Final = {"envoy": 0.7, "plain": 2.5}
