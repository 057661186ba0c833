"""P11: an agent that calls again with the same token."""

from collections.abc import Sequence

from tests.bench.comparing import in_turns, lines_of, over, per_cpu_s, proven
from tests.bench.figures import ratio
from tests.bench.gateways import gateway
from tests.bench.load import Load, Manner, Round
from tests.bench.rows import Bench, Line, Measured, Row, at_least

_TOKENS = 1_000  # less than the cache of verified tokens holds
_AGAIN = Manner(tokens=_TOKENS)
_LEAST = 1.5


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row. Raises PeerUnfit, LoadFailed."""
    (row,) = rows
    seconds = bench.pick(4, 3)
    with gateway(bench.supply, bench.cores) as ours:
        proven([ours], bench)
        load = Load(bench.supply, bench.cores)

        def again() -> Round:
            load.run(ours, 1, _AGAIN)  # the first time of each, which is not counted
            return load.run(ours, seconds, _AGAIN)

        load.run(ours, 2)
        turns = {
            "first": lambda: load.run(ours, seconds),
            "second": again,
        }
        found = in_turns(turns, bench, rounds=bench.pick(3, 2))
    times = ratio(over(found["second"], per_cpu_s), over(found["first"], per_cpu_s))
    lines = (
        *lines_of("first", found["first"]),
        *lines_of("second", found["second"]),
        Line(label="second / first", figure=times, unit="×", digits=2).judged(at_least(_LEAST)),
    )
    notes = (f"GET /v1/whoami. first: cold tokens. second: {_TOKENS:,} tokens in turns, each called before.",)
    return (Measured(row=row, lines=lines, notes=notes),)
