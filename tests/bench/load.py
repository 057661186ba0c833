"""One round of load: wrk on a core of its own, and what the server's process tree spent on it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.machine import Cores, cpu_seconds, rss_mb
from tests.bench.peers import Peer
from tests.bench.tokens import Supply

#: Connections that wrk keeps busy, from one thread, so that the order of tokens is that of the file.
CONNECTIONS: Final = 16
_SCRIPT: Final = Path(__file__).with_name("cold.lua")


class LoadFailed(Exception):
    """A round cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round gave. cpu_s: of the server's process tree."""

    requests: int
    seconds: float
    cpu_s: float
    p50_ms: float
    p99_ms: float
    rss_mb: float


class ColdLoad:
    """Load whose tokens no peer has seen lately: every round goes on where that peer's last one ended.

    A first-in-first-out cache smaller than the supply cannot help, whatever it holds.
    """

    def __init__(self, supply: Supply, cores: Cores) -> None:
        self._supply = supply
        self._cores = cores
        self._sent: dict[str, int] = {}

    def run(self, peer: Peer, seconds: int) -> Round:
        """Load a peer for so long. Raises LoadFailed when an answer was not 200 or a connection broke."""
        before = cpu_seconds(peer.process)
        found = read_figures(self._wrk(peer, seconds))
        cpu_s = cpu_seconds(peer.process) - before
        requests = int(found["requests"])
        # Those in flight at the end were sent, too, and one goes to wrk's own look at the script.
        self._sent[peer.name] = self._sent.get(peer.name, 0) + requests + CONNECTIONS + 1
        if found["refused"] or found["broken"] or not requests or not cpu_s:
            raise LoadFailed(
                f"{peer.name}: of {requests} requests {found['refused']:g} were refused, "
                f"{found['broken']:g} connections broke."
            )
        return Round(
            requests=requests,
            seconds=found["seconds"],
            cpu_s=cpu_s,
            p50_ms=found["p50_ms"],
            p99_ms=found["p99_ms"],
            rss_mb=rss_mb(peer.process),
        )

    def _wrk(self, peer: Peer, seconds: int) -> str:
        command = [
            *self._cores.pin_load(),
            "wrk",
            "-t1",
            f"-c{CONNECTIONS}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
        ]
        command += ["-s", str(_SCRIPT), peer.origin, "--"]
        command += [str(self._supply.file), str(self._sent.get(peer.name, 0)), peer.path]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
        if done.returncode != 0:
            raise LoadFailed(f"wrk ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return done.stdout


def read_figures(output: str) -> dict[str, float]:
    """Return what the script wrote last. Raises LoadFailed when it wrote nothing."""
    for line in reversed(output.splitlines()):
        if line.startswith("FIGURES "):
            found = json.loads(line.removeprefix("FIGURES "))
            return {name: float(value) for name, value in found.items()}
    raise LoadFailed(f"wrk said nothing that can be read: {output[-300:]!r}")
