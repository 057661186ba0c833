"""P6: very many requests in flight at once, waiting for a slow AWS."""

from collections.abc import Sequence

from tests.bench.comparing import in_turns, over, proven, settle, waiting
from tests.bench.counters import Counters
from tests.bench.gateways import START, Manned, gateway
from tests.bench.load import Load, Manner, Round
from tests.bench.rows import Bench, Line, Measured, Row
from tests.bench.upstream import upstream

_IN_FLIGHT = 2_000
_LATENCY_MS = 200
_MOST_MB = 250.0
_CROWD = Manner(connections=_IN_FLIGHT, timeout_s=30)


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row. Raises PeerUnfit; LoadFailed when nothing at all was answered."""
    (row,) = rows
    seconds = bench.pick(10, 6)
    with (
        upstream(bench.cores) as stub,
        gateway(bench.supply, bench.cores, Manned(ask=START, upstream=stub.url)) as ours,
    ):
        proven([ours], bench)
        load = Load(bench.supply, bench.cores)
        stub.take(_LATENCY_MS)
        before = Counters.read(ours)

        def crowd() -> Round:
            settle(ours)  # callers who left do not end what was begun for them
            return load.run(ours, seconds, _CROWD, all_served=False)

        found = in_turns({"gateway": crowd}, bench, rounds=bench.pick(2, 1))["gateway"]
        refusals = Counters.read(ours).since(before).refused
    refused, broken = over(found, lambda one: one.refused), over(found, lambda one: one.broken)
    memory = over(found, lambda one: one.peak_mb)
    lines = (
        Line(label="requests answered", figure=over(found, lambda one: one.requests), unit="", digits=0),
        Line(label="of these refused", figure=refused, unit="", digits=0, reached=max(refused.rounds) == 0),
        Line(label="broken or timed out", figure=broken, unit="", digits=0, reached=max(broken.rounds) == 0),
        Line(label="requests per second", figure=over(found, lambda one: one.per_s), unit="/s", digits=0),
        Line(label="p50", figure=over(found, lambda one: one.p50_ms / 1000), unit="s", digits=2),
        Line(label="p99", figure=over(found, lambda one: one.p99_ms / 1000), unit="s", digits=2),
        Line(
            label="largest resident memory", figure=memory, unit="MB", reached=max(memory.rounds) <= _MOST_MB
        ),
        waiting("gateway", found),
    )
    notes: tuple[str, ...] = (
        f"{_IN_FLIGHT:,} connections that ask again at once, cold tokens; STS and Step Functions take {_LATENCY_MS} ms each.",
        "What is still in flight at the end of a round is left behind by its callers and counts nowhere.",
    )
    if refusals:
        codes = ", ".join(f"{code} {number:,.0f}" for code, number in sorted(refusals.items()))
        notes = (*notes, f"Refused in all rounds: {codes}.")
    return (Measured(row=row, lines=lines, notes=notes),)
