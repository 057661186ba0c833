"""P1 and P2: requests per CPU-second of servers that verify a token and decide, loaded in turns."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

from tests.bench.figures import Figure, figure, ratio
from tests.bench.load import CONNECTIONS, ColdLoad, Round
from tests.bench.machine import Cores
from tests.bench.peers import PEERS, RULES, Peer, prove
from tests.bench.rows import LEAST, Line, Measured, Row
from tests.bench.tokens import Supply

_WARM_UP_S = 2
_NOTES = (
    f"gateway: GET /v1/whoami, which verifies the token, judges it by {RULES} rules and answers with what it holds.",
    "The gateway writes its access log to a file; envoy and plain write none and answer a few bytes.",
    f"Tokens are cold: no server sees one again before every other; {CONNECTIONS} connections, kept alive, always busy.",
    "Ratios are medians of each round's own; p50 and p99 are of a saturated server.",
)


def measure(
    rows: Iterable[Row],
    supply: Supply,
    cores: Cores,
    *,
    rounds: int,
    seconds: int,
    log: Callable[[str], None],
) -> tuple[tuple[Measured, ...], Mapping[str, str]]:
    """Return the rows, and the versions of the peers. Raises PeerUnfit before any load, LoadFailed after."""
    wanted = tuple(rows)
    names = list(dict.fromkeys(["gateway", *(rival for row in wanted for rival in row.rivals)]))
    with ExitStack() as stack:
        peers = [stack.enter_context(PEERS[name](supply, cores)) for name in names]
        for peer in peers:
            log(f"{peer.name} {peer.version}: refuses a wrong {', '.join(prove(peer, supply))}")
        found = _in_turns(peers, ColdLoad(supply, cores), rounds=rounds, seconds=seconds, log=log)
    measured = tuple(_row(row, found, supply.count) for row in wanted)
    return measured, {peer.name: peer.version for peer in peers}


def _in_turns(
    peers: list[Peer], load: ColdLoad, *, rounds: int, seconds: int, log: Callable[[str], None]
) -> dict[str, list[Round]]:
    for peer in peers:
        load.run(peer, _WARM_UP_S)
    found: dict[str, list[Round]] = {peer.name: [] for peer in peers}
    for number in range(rounds):
        for peer in peers:
            found[peer.name].append(load.run(peer, seconds))
        told = ", ".join(f"{name} {_per_cpu_s(got[-1]):,.0f}" for name, got in found.items())
        log(f"round {number + 1} of {rounds}, per CPU-second: {told}")
    return found


def _per_cpu_s(one: Round) -> float:
    return one.requests / one.cpu_s


def _row(row: Row, found: Mapping[str, list[Round]], tokens: int) -> Measured:
    lines: list[Line] = []
    ours = _figure(found["gateway"], _per_cpu_s)
    for name in ("gateway", *row.rivals):
        lines += _lines(name, found[name])
    for rival in row.rivals:
        times = ratio(ours, _figure(found[rival], _per_cpu_s))
        reached = times.median >= LEAST[rival]
        lines.append(Line(label=f"gateway / {rival}", figure=times, unit="×", digits=2, reached=reached))
    return Measured(row=row, lines=tuple(lines), notes=(*_NOTES, f"{tokens:,} distinct tokens."))


def _lines(name: str, rounds: list[Round]) -> list[Line]:
    return [
        Line(
            label=f"{name}: requests per CPU-second", figure=_figure(rounds, _per_cpu_s), unit="/s", digits=0
        ),
        Line(label=f"{name}: CPU a request", figure=_figure(rounds, _cpu_us), unit="µs"),
        Line(label=f"{name}: requests per second", figure=_figure(rounds, _per_s), unit="/s", digits=0),
        Line(label=f"{name}: p50", figure=_figure(rounds, lambda one: one.p50_ms), unit="ms", digits=2),
        Line(label=f"{name}: p99", figure=_figure(rounds, lambda one: one.p99_ms), unit="ms", digits=2),
        Line(label=f"{name}: resident memory", figure=_figure(rounds, lambda one: one.rss_mb), unit="MB"),
    ]


def _per_s(one: Round) -> float:
    return one.requests / one.seconds


def _cpu_us(one: Round) -> float:
    return one.cpu_s / one.requests * 1e6


def _figure(rounds: list[Round], of: Callable[[Round], float]) -> Figure:
    return figure([of(one) for one in rounds])
