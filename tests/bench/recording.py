"""P10: what the durable audit record costs a start."""

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from tests.bench.comparing import (
    compare,
    cpu_line,
    if_calm,
    in_turns,
    lines_of,
    over,
    per_cpu_s,
    per_s,
    waiting,
)
from tests.bench.figures import difference, figure, ratio
from tests.bench.gateways import START, Manned, gateway
from tests.bench.load import Load, Manner, at_rate
from tests.bench.peers import scratch
from tests.bench.rows import Bench, Line, Measured, Row, at_least, at_most
from tests.bench.upstream import upstream

_BUSY = Manner(connections=64)
_LEAST = 0.85
_MOST_P50_MS = 2.0
_SYNCS = 100
_RECORD_BYTES = 1_500


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row. Raises PeerUnfit, LoadFailed."""
    (row,) = rows
    rounds, seconds = bench.pick(5, 2), bench.pick(3, 3)
    without = (sys.executable, "-m", "tests.bench.without_audit", "serve")
    with upstream(bench.cores) as stub:
        kept = Manned(name="durable", ask=START, upstream=stub.url)
        left_out = Manned(name="off", ask=START, upstream=stub.url, program=without)
        with (
            gateway(bench.supply, bench.cores, kept) as durable,
            gateway(bench.supply, bench.cores, left_out) as off,
        ):
            busy = compare([durable, off], bench, rounds=rounds, seconds=seconds, manner=_BUSY)
            load = Load(bench.supply, bench.cores)
            half = at_rate(over(busy["durable"], per_cpu_s).median / 2, expected_ms=4)
            turns = {
                "durable": lambda: load.run(durable, seconds, half),
                "off": lambda: load.run(off, seconds, half),
            }
            calm = in_turns(turns, bench, rounds=rounds)
    through = ratio(over(busy["durable"], per_s), over(busy["off"], per_s))
    by_cpu = ratio(over(busy["durable"], per_cpu_s), over(busy["off"], per_cpu_s))
    middle = {name: over(calm[name], lambda one: one.p50_ms) for name in calm}
    added = difference(middle["durable"], middle["off"])
    lines = (
        *(line for name in busy for line in lines_of(name, busy[name])[:3]),
        Line(label="durable / off: requests per second", figure=through, unit="×", digits=2),
        Line(label="durable / off: requests per CPU-second", figure=by_cpu, unit="×", digits=2).judged(at_least(_LEAST)),
        *(Line(label=f"{name}: p50 at half load", figure=middle[name], unit="ms", digits=2) for name in middle),
        if_calm(Line(label="added by durability: p50 at half load", figure=added, unit="ms", digits=2).judged(at_most(_MOST_P50_MS)), calm["off"]),
        *(cpu_line(f"{name}, half load", calm[name]) for name in calm),
        *(waiting(f"{name}, half load", calm[name]) for name in calm),
        Line(label="this disk: one fsync", figure=figure([_fsync_ms() for _ in range(3)]), unit="ms", digits=2),
    )  # fmt: skip
    notes = (
        f"POST /v1/executions, upstream latency 0, {_BUSY.connections} connections always busy, then half of that rate.",
        (
            "off: the same program with a journal that takes records and keeps none (tests/bench/without_audit.py); the product "
            "itself cannot turn its record off."
        ),
        (
            "durable waits for its core also while the journal's own thread has it, off for other programs alone: whether the machine "
            "was calm enough to judge latency is seen from off."
        ),
        f"The disk is that of the system's temporary folder; an fsync is after {_RECORD_BYTES:,} bytes were appended.",
    )
    return (Measured(row=row, lines=lines, notes=notes),)


def _fsync_ms() -> float:
    with scratch() as folder:
        return _synced_ms(folder / "file")


def _synced_ms(path: Path) -> float:
    took: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(b"x" * _RECORD_BYTES)
            begun = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - begun) * 1000)
    return median(took)
