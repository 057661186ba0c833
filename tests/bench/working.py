"""P9: one worker on one core, two on two; and two on one, which shows what their being two costs by itself."""

from collections.abc import Sequence

from tests.bench.comparing import compare, lines_of, over, per_cpu_s, per_s
from tests.bench.figures import figure, ratio
from tests.bench.gateways import Manned, gateway
from tests.bench.load import Manner
from tests.bench.machine import share_a_core
from tests.bench.rows import Bench, Line, Measured, Row, at_least

_LEAST = 1.8
_BUSY = Manner(connections=32)
_ONE, _TWO, _SQUEEZED = "1 worker", "2 workers", "2 workers on 1 core"


def measure(rows: Sequence[Row], bench: Bench) -> tuple[Measured, ...]:
    """Return the row. Raises PeerUnfit, LoadFailed."""
    (row,) = rows
    with (
        gateway(bench.supply, bench.cores, Manned(name=_ONE)) as one,
        gateway(bench.supply, bench.cores, Manned(name=_TWO, workers=2)) as two,
        gateway(bench.supply, bench.cores, Manned(name=_SQUEEZED, workers=2, spread=False)) as squeezed,
    ):
        found = compare([one, two, squeezed], bench, rounds=bench.pick(3, 2), seconds=3, manner=_BUSY)
    by_time = ratio(over(found[_TWO], per_s), over(found[_ONE], per_s))
    worth = ratio(over(found[_TWO], per_cpu_s), over(found[_ONE], per_cpu_s))
    twice = figure([2 * one for one in worth.rounds])
    by_cpu = ratio(over(found[_SQUEEZED], per_cpu_s), over(found[_ONE], per_cpu_s))
    taken = over(found[_TWO], lambda turn: turn.load_cpu_s / turn.seconds * 100)
    apart = bench.cores.apart
    by_clock = Line(label="2 workers / 1: requests per second", figure=by_time, unit="×", digits=2)
    free = Line(label="2 workers / 1: per CPU-second, with two free cores", figure=twice, unit="×", digits=2)
    lines = (
        *(line for name in found for line in lines_of(name, found[name])),
        by_clock.judged(at_least(_LEAST)) if apart else by_clock,
        free if apart else free.judged(at_least(_LEAST)),
        Line(label="2 workers on 1 core / 1: per CPU-second", figure=by_cpu, unit="×", digits=2),
        Line(label="load generator, beside 2 workers", figure=taken, unit="% CPU"),
    )
    return (Measured(row=row, lines=lines, notes=(*_room(bench), "GET /v1/whoami, cold tokens.")),)


def _room(bench: Bench) -> tuple[str, ...]:
    if bench.cores.apart:
        return ("The load generator has a core that neither worker runs on.",)
    notes: tuple[str, ...] = (
        (
            "The load generator runs on one of the two cores, so two workers have less than two, and requests per second cannot "
            "tell whether the goal is reached. What a CPU-second is worth to two workers at once tells what two free cores would give."
        ),
    )
    if share_a_core(bench.cores.load, bench.cores.server):
        notes = (*notes, "The two processors are threads of one core: each is slower while the other works.")
    return notes
