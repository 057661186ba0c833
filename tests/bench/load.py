"""One round of load: wrk on a core of its own, and what the server's process tree spent on it."""

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.machine import Cores, core_wait_s, cpu_seconds, peak_mb, rss_mb
from tests.bench.peers import Peer
from tests.bench.tokens import Supply

_SCRIPT: Final = Path(__file__).with_name("load.lua")


class LoadFailed(Exception):
    """A round cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How a peer is loaded.

    connections: of wrk, from one thread, so that the order of tokens is that of the file.
    pause_ms:    mean of what a connection waits between two requests, exponentially distributed; 0: always busy.
    tokens:      how many of the supply take turns; None: all of them.
    timeout_s:   after which an answer counts as broken.
    """

    connections: int = 16
    pause_ms: float = 0
    tokens: int | None = None
    timeout_s: int = 10


#: Always busy, from 16 connections.
BUSY: Final = Manner()


def at_rate(per_s: float, *, expected_ms: float) -> Manner:
    """Return a manner that asks so often, at random moments. expected_ms: what an answer takes."""
    pause_ms = max(20.0, expected_ms)
    connections = max(4, round(per_s * (pause_ms + expected_ms) / 1000))
    # wrk counts pauses in whole milliseconds.
    return Manner(connections=connections, pause_ms=max(1.0, connections * 1000 / per_s - expected_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round gave. cpu_s: of the server's process tree; load_cpu_s: of wrk. peak_mb: since the server's start.

    core_wait_s: the server was ready to run and other programs had its core, so its latency is not all its own.
    """

    requests: int
    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    refused: int = 0
    broken: int = 0
    load_cpu_s: float = 0
    peak_mb: float = 0
    core_wait_s: float = 0

    @property
    def per_cpu_s(self) -> float:
        """Return requests per CPU-second of the server."""
        return self.requests / self.cpu_s

    @property
    def per_s(self) -> float:
        """Return requests per second."""
        return self.requests / self.seconds


class Load:
    """Load whose tokens no peer has seen lately: every round goes on where that peer's last one ended.

    A first-in-first-out cache smaller than the supply cannot help, whatever it holds.
    """

    def __init__(self, supply: Supply, cores: Cores) -> None:
        self._supply = supply
        self._cores = cores
        self._sent: dict[tuple[int, int | None], int] = {}  # by process, and by how many tokens take turns

    def run(self, peer: Peer, seconds: int, manner: Manner = BUSY, *, all_served: bool = True) -> Round:
        """Load a peer for so long.

        Raises LoadFailed when nothing was measured, or when an answer was an error or a connection broke; without
        `all_served` those are only counted.
        """
        before, mine, waited = cpu_seconds(peer.process), _children_cpu_s(), core_wait_s(peer.process)
        found = read_figures(self._wrk(peer, seconds, manner))
        cpu_s = cpu_seconds(peer.process) - before
        requests, refused, broken = (int(found[name]) for name in ("requests", "refused", "broken"))
        # Those in flight at the end were sent, too, and one goes to wrk's own look at the script.
        self._sent[peer.process, manner.tokens] = (
            self._sent.get((peer.process, manner.tokens), 0) + requests + manner.connections + 1
        )
        if not requests or not cpu_s or (all_served and (refused or broken)):
            raise LoadFailed(
                f"{peer.name}: of {requests} requests {refused} were refused, {broken} connections broke."
            )
        return Round(
            requests=requests,
            seconds=found["seconds"],
            cpu_s=cpu_s,
            p50_ms=found["p50_ms"],
            p99_ms=found["p99_ms"],
            rss_mb=rss_mb(peer.process),
            refused=refused,
            broken=broken,
            load_cpu_s=_children_cpu_s() - mine,
            peak_mb=peak_mb(peer.process),
            core_wait_s=core_wait_s(peer.process) - waited,
        )

    def _wrk(self, peer: Peer, seconds: int, manner: Manner) -> str:
        command = [*self._cores.pin_load(), "wrk", "-t1", f"-c{manner.connections}", f"-d{seconds}s"]
        command += ["--timeout", f"{manner.timeout_s}s", "-s", str(_SCRIPT), peer.origin, "--"]
        command += [str(self._supply.file), str(manner.tokens or self._supply.count)]
        command += [str(self._sent.get((peer.process, manner.tokens), 0)), f"{manner.pause_ms:g}"]
        command += [peer.ask.head(), peer.ask.body]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + manner.timeout_s + 60
        )
        if done.returncode != 0:
            raise LoadFailed(f"wrk ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout


def _children_cpu_s() -> float:
    # Servers are children, too, but count only once they have ended, which none does during a round.
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_figures(output: str) -> dict[str, float]:
    """Return what the script wrote last. Raises LoadFailed when it wrote nothing."""
    for line in reversed(output.splitlines()):
        if line.startswith("FIGURES "):
            found = json.loads(line.removeprefix("FIGURES "))
            return {name: float(value) for name, value in found.items()}
    raise LoadFailed(f"wrk said nothing that can be read: {output[-300:]!r}")
