"""P9: one worker on one core, two on two."""

from collections.abc import Sequence

from tests.bench.comparing import compare, lines_of, over, per_cpu_s, per_s
from tests.bench.figures import ratio
from tests.bench.gateways import Manned, gateway
from tests.bench.load import Manner
from tests.bench.rows import Bench, Line, Measured, Row

_LEAST = 1.8
_BUSY = Manner(connections=32)


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row. Raises PeerUnfit, LoadFailed."""
    (row,) = rows
    one_name, two_name = "1 worker", "2 workers"
    with (
        gateway(bench.supply, bench.cores, Manned(name=one_name)) as one,
        gateway(bench.supply, bench.cores, Manned(name=two_name, workers=2)) as two,
    ):
        found = compare([one, two], bench, rounds=bench.pick(5, 3), seconds=bench.pick(5, 4), manner=_BUSY)
    by_time = ratio(over(found[two_name], per_s), over(found[one_name], per_s))
    by_cpu = ratio(over(found[two_name], per_cpu_s), over(found[one_name], per_cpu_s))
    taken = over(found[two_name], lambda turn: turn.load_cpu_s / turn.seconds * 100)
    apart = bench.cores.apart
    lines = (
        *lines_of(one_name, found[one_name]),
        *lines_of(two_name, found[two_name]),
        Line(
            label="2 workers / 1: requests per second",
            figure=by_time,
            unit="×",
            digits=2,
            reached=by_time.median >= _LEAST if apart else None,
        ),
        Line(label="2 workers / 1: requests per CPU-second", figure=by_cpu, unit="×", digits=2),
        Line(label="load generator, beside 2 workers", figure=taken, unit="% CPU"),
    )
    return (Measured(row=row, lines=lines, notes=(_room(apart), "GET /v1/whoami, cold tokens.")),)


def _room(apart: bool) -> str:
    if apart:
        return "The load generator has a core that neither worker runs on."
    return (
        "The load generator runs on one of the two cores, so two workers have less than two: requests per second say "
        "nothing about the goal. That a CPU-second gives as much with two workers as with one is what can be seen here."
    )
