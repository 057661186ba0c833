"""Peers loaded in turns, so that what else the machine does meets all of them; and the lines that come of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tests.bench.figures import Figure, figure, ratio
from tests.bench.load import BUSY, Load, Manner, Round
from tests.bench.machine import cpu_seconds
from tests.bench.peers import Peer, prove
from tests.bench.rows import LEAST, Bench, Line, Measured, Row, at_least

_WARM_UP_S = 2
_MOST_WAITED = 0.1  # of the time
_SETTLE_S = 0.5
_PATIENCE_S = 20.0
Rounds = Mapping[str, Sequence[Round]]
Turn = Callable[[], Round]


def proven(peers: Sequence[Peer], bench: Bench) -> None:
    """Raise PeerUnfit when one of them lets in a bad token or refuses a good one."""
    for peer in peers:
        kinds = prove(peer, bench.supply)
        bench.log(f"{peer.name} {peer.version}: refuses {', '.join(kinds)}")


def compare(
    peers: Sequence[Peer], bench: Bench, *, rounds: int, seconds: int, manner: Manner = BUSY
) -> Rounds:
    """Load each as hard as it goes after warming it up, in turns. Raises PeerUnfit before any load, LoadFailed after."""
    proven(peers, bench)
    load = Load(bench.supply, bench.cores)
    for peer in peers:
        load.run(peer, _WARM_UP_S, manner)
    turns = {peer.name: _turn(load, peer, seconds, manner) for peer in peers}
    return in_turns(turns, bench, rounds=rounds)


def _turn(load: Load, peer: Peer, seconds: int, manner: Manner) -> Turn:
    return lambda: load.run(peer, seconds, manner)


def in_turns(turns: Mapping[str, Turn], bench: Bench, *, rounds: int) -> Rounds:
    """Take every turn once a round."""
    found: dict[str, list[Round]] = {name: [] for name in turns}
    for number in range(rounds):
        for name, turn in turns.items():
            found[name].append(turn())
        told = ", ".join(f"{name} {got[-1].per_cpu_s:,.0f}" for name, got in found.items())
        bench.log(f"round {number + 1} of {rounds}, per CPU-second: {told}")
    return found


def settle(peer: Peer) -> None:
    """Wait until a server has nothing to do: what a round leaves behind would weigh on the next."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        before = cpu_seconds(peer.process)
        time.sleep(_SETTLE_S)
        if cpu_seconds(peer.process) - before < _SETTLE_S / 10:
            return


def over(rounds: Sequence[Round], of: Callable[[Round], float]) -> Figure:
    """Return the figure of one quantity."""
    return figure([of(one) for one in rounds])


def per_cpu_s(one: Round) -> float:
    """Return the figure to judge by."""
    return one.per_cpu_s


def per_s(one: Round) -> float:
    """Return what a machine with nothing else to do would be judged by."""
    return one.per_s


def lines_of(name: str, rounds: Sequence[Round]) -> list[Line]:
    """Return all that is known of one peer."""
    return [
        Line(label=f"{name}: requests per CPU-second", figure=over(rounds, per_cpu_s), unit="/s", digits=0),
        cpu_line(name, rounds),
        Line(label=f"{name}: requests per second", figure=over(rounds, per_s), unit="/s", digits=0),
        Line(label=f"{name}: p50", figure=over(rounds, lambda one: one.p50_ms), unit="ms", digits=2),
        Line(label=f"{name}: p99", figure=over(rounds, lambda one: one.p99_ms), unit="ms", digits=2),
        Line(label=f"{name}: resident memory", figure=over(rounds, lambda one: one.rss_mb), unit="MB"),
        *([waiting(name, rounds)] if any(one.core_wait_s for one in rounds) else []),
    ]


def cpu_line(name: str, rounds: Sequence[Round]) -> Line:
    """Return what a request costs in this manner of load: alone, it costs more than in a crowd."""
    return Line(
        label=f"{name}: CPU a request", figure=over(rounds, lambda one: 1e6 / one.per_cpu_s), unit="µs"
    )


def if_calm(line: Line, rounds: Sequence[Round]) -> Line:
    """Return a line about time without its verdict where the server waited too long for its core to have one."""
    waited = over(rounds, lambda one: one.core_wait_s / one.seconds).median
    return line if waited <= _MOST_WAITED else replace(line, reached=None, doubtful=False, busy=True)


def waiting(name: str, rounds: Sequence[Round]) -> Line:
    """Return how much of the time others had the server's core while it wanted it: what makes latency useless.

    Of the main thread alone, which in a gateway is the one that serves.
    """
    share = over(rounds, lambda one: one.core_wait_s / one.seconds * 100)
    return Line(label=f"{name}: waited for its core", figure=share, unit="%")


def versus(row: Row, found: Rounds, notes: Sequence[str]) -> Measured:
    """Return a row that compares the gateway with its rivals by what a CPU-second is worth."""
    lines = [line for name in ("gateway", *row.rivals) for line in lines_of(name, found[name])]
    ours = over(found["gateway"], per_cpu_s)
    for rival in row.rivals:
        times = ratio(ours, over(found[rival], per_cpu_s))
        line = Line(label=f"gateway / {rival}", figure=times, unit="×", digits=2)
        lines.append(line.judged(at_least(LEAST[rival])))
    return Measured(row=row, lines=tuple(lines), notes=tuple(notes))
