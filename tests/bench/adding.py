"""P5: what the gateway adds to the time that STS and Step Functions take themselves, at half of what it can do."""

from collections.abc import Sequence

from tests.bench.comparing import cpu_line, if_calm, in_turns, over, proven, waiting
from tests.bench.counters import Counters
from tests.bench.figures import difference, figure
from tests.bench.gateways import START, Manned, gateway
from tests.bench.load import Load, Manner, Round, at_rate
from tests.bench.rows import Bench, Line, Measured, Row, at_most
from tests.bench.upstream import upstream

_LATENCY_MS = 20
_SATURATE = Manner(connections=32)
_MOST_P50_MS = 1.0
_MOST_P99_MS = 5.0


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row. Raises PeerUnfit, LoadFailed."""
    (row,) = rows
    durable_ms: list[float] = []
    rounds, seconds = bench.pick(3, 2), bench.pick(5, 4)
    with (
        upstream(bench.cores) as stub,
        gateway(bench.supply, bench.cores, Manned(ask=START, upstream=stub.url)) as ours,
    ):
        proven([ours], bench)
        load = Load(bench.supply, bench.cores)
        load.run(ours, 2, _SATURATE)
        # By CPU time: what it could do if its core were its own; by the clock: where others take some of it.
        full = load.run(ours, seconds, _SATURATE)
        half = min(full.per_cpu_s, full.per_s) / 2
        stub.take(_LATENCY_MS)
        manner = at_rate(half, expected_ms=2 * _LATENCY_MS + 2)

        def through() -> Round:
            before = Counters.read(ours)
            one = load.run(ours, seconds, manner)
            durable_ms.append(Counters.read(ours).since(before).durable_ms)
            return one

        turns = {
            "upstream alone": lambda: load.run(stub.peer, seconds, manner),
            "gateway": through,
        }
        found = in_turns(turns, bench, rounds=rounds)
    lines = []
    for name, most, of in (
        ("p50", _MOST_P50_MS, lambda one: one.p50_ms),
        ("p99", _MOST_P99_MS, lambda one: one.p99_ms),
    ):
        whole, alone = over(found["gateway"], of), over(found["upstream alone"], of)
        added = difference(whole, alone)
        lines += [
            Line(label=f"upstream alone: {name}", figure=alone, unit="ms", digits=2),
            Line(label=f"gateway and upstream: {name}", figure=whole, unit="ms", digits=2),
            if_calm(
                Line(label=f"added: {name}", figure=added, unit="ms", digits=2).judged(at_most(most)),
                found["gateway"],
            ),
        ]
    rate = over(found["gateway"], lambda one: one.per_s)
    lines += [
        Line(label="requests per second", figure=rate, unit="/s", digits=0),
        cpu_line("gateway, half load", found["gateway"]),
        Line(label="until the intent was durable, mean", figure=figure(durable_ms), unit="ms", digits=2),
        waiting("gateway", found["gateway"]),
    ]
    notes = (
        f"STS and Step Functions take {_LATENCY_MS} ms each; alone means one request to the stub that takes twice that.",
        (
            f"{half:,.0f} requests per second were aimed at, half of what was reached, at random moments from "
            f"{manner.connections} connections."
        ),
        "The added time holds the disk's: the intent is durable before STS is asked. p99 is that of the whole machine.",
    )
    return (Measured(row=row, lines=tuple(lines), notes=notes),)
