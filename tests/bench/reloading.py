"""The part of P7 that callers notice: latency while changed files are read again under load."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from tests.bench.comparing import if_calm, in_turns, over, proven, settle, waiting
from tests.bench.configuration import RULES_A_FILE, write_mapping
from tests.bench.figures import ratio
from tests.bench.gateways import Manned, gateway
from tests.bench.load import Load, LoadFailed, Round, at_rate
from tests.bench.peers import Peer
from tests.bench.rows import Bench, Line, at_most
from tests.bench.tokens import Supply

_EVERY_S: Final = 2.0
_MOST_TIMES: Final = 1.2
NOTES: Final = (
    (
        f"Under load: a gateway at half of what a CPU-second gives (GET /v1/whoami); a file of {RULES_A_FILE} rules changes every "
        f"{_EVERY_S:.0f} s, or none does. Unchanged means at most {_MOST_TIMES} ×, which is what rounds differ by themselves."
    ),
)


def lines(bench: Bench, *, rules: int) -> list[Line]:
    """Return latency with and without reloads. Raises PeerUnfit, LoadFailed."""
    rounds, seconds = bench.pick(3, 2), 4
    folders: list[Path] = []
    manned = Manned(rules=rules, on_config=folders.append)
    with gateway(bench.supply, bench.cores, manned) as ours:
        proven([ours], bench)
        load = Load(bench.supply, bench.cores)
        load.run(ours, 2)
        half = at_rate(load.run(ours, seconds).per_cpu_s / 2, expected_ms=1)

        def calm() -> Round:
            return load.run(ours, seconds, half)

        def changing() -> Round:
            with _changing(folders[-1], _policy(ours, bench.supply), lambda: _policy(ours, bench.supply)):
                one = load.run(ours, seconds, half)
            settle(ours)  # a reload that is still under way would weigh on the next round
            return one

        found = in_turns({"calm": calm, "reloading": changing}, bench, rounds=rounds)
    p99 = {name: over(found[name], lambda one: one.p99_ms) for name in found}
    times = ratio(p99["reloading"], p99["calm"])
    label = f"{rules:,} rules, under load"
    return [
        waiting(label, found["calm"]),
        Line(label=f"{label}: p99 without reloads", figure=p99["calm"], unit="ms", digits=2),
        Line(label=f"{label}: p99 with reloads", figure=p99["reloading"], unit="ms", digits=2),
        if_calm(
            Line(label=f"{label}: p99 with / without", figure=times, unit="×", digits=2).judged(
                at_most(_MOST_TIMES)
            ),
            found["calm"],
        ),
    ]


_changes: Final = count(1)


@contextmanager
def _changing(folder: Path, before: str, now: Callable[[], str]) -> Iterator[None]:
    """Change a file again and again; raises LoadFailed when the gateway took no notice."""
    over_now = threading.Event()

    def change() -> None:
        while not over_now.wait(_EVERY_S):
            write_mapping(
                folder, 1, range(RULES_A_FILE, 2 * RULES_A_FILE), why=f"BENCH-1, change {next(_changes)}"
            )

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
        if now() == before:
            raise LoadFailed("The gateway did not reload the files that changed under load.")
    finally:
        over_now.set()
        thread.join()


def _policy(peer: Peer, supply: Supply) -> str:
    connection = http.client.HTTPConnection(peer.origin.removeprefix("http://"), timeout=10)
    headers, _ = peer.ask.filled(supply.good(), 0)
    try:
        connection.request(peer.ask.method, peer.ask.path, headers=headers)
        return str(json.loads(connection.getresponse().read())["policy"])
    finally:
        connection.close()
