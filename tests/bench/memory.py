"""Where the memory of a gateway goes: resident at each step of its life, and what Python's own objects take, by module."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from tests.bench.gateways import ROOT
from tests.bench.load import Load, Manner
from tests.bench.machine import rss_mb
from tests.bench.peers import Peer, scratch
from tests.bench.rows import Bench
from tests.bench.stacks import module_of

_PATIENCE_S: Final = 60.0
_MOST: Final = 25
_PRINT_RSS: Final = (
    "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmRSS')][0])"
)
_STEPS: Final = {
    "the interpreter alone": "",
    "and the modules of `serve`": "import gateway.front, gateway.cli.serve, uvicorn, uvloop, httptools; ",
}


def by_step(
    start: Callable[[], AbstractContextManager[Peer]], bench: Bench, *, seconds: int, manner: Manner
) -> list[tuple[str, float]]:
    """Return what is resident, in MB, step by step."""
    found = [(name, _alone_mb(imports)) for name, imports in _STEPS.items()]
    with start() as peer:
        found.append(("ready", rss_mb(peer.process)))
        time.sleep(2)
        found.append(("two seconds later", rss_mb(peer.process)))
        load = Load(bench.supply, bench.cores)
        for part in range(1, 4):
            load.run(peer, seconds, manner)
            found.append((f"after {part * seconds} s of load", rss_mb(peer.process)))
    return found


def _alone_mb(imports: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", imports + _PRINT_RSS], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return int(done.stdout) * 1024 / 1e6


def by_module(
    start: Callable[[Mapping[str, str]], AbstractContextManager[Peer]],
    bench: Bench,
    *,
    seconds: int,
    manner: Manner,
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Return bytes by module when ready, and after load. start: runs a gateway of `traced_memory` with this environment."""
    with _counted(start) as (peer, snapshot):
        ready = snapshot()
        Load(bench.supply, bench.cores).run(peer, seconds, manner)
        return ready, snapshot()


@contextmanager
def _counted(
    start: Callable[[Mapping[str, str]], AbstractContextManager[Peer]],
) -> Iterator[tuple[Peer, Callable[[], Mapping[str, int]]]]:
    with scratch() as folder:
        path = folder / "memory.json"
        with start({"BENCH_MEMORY": str(path)}) as peer:

            def snapshot() -> Mapping[str, int]:
                path.unlink(missing_ok=True)
                os.kill(peer.process, signal.SIGUSR2)
                return _grouped(json.loads(_awaited(path)))

            yield peer, snapshot


def _awaited(path: Path) -> str:
    deadline = time.monotonic() + _PATIENCE_S
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("The gateway did not write down its memory.")
        time.sleep(0.05)
    return path.read_text()


def _grouped(files: Mapping[str, int]) -> Mapping[str, int]:
    grouped: Counter[str] = Counter()
    for file, size in files.items():
        grouped[module_of(file, ROOT)] += size
    return grouped


def table(steps: list[tuple[str, float]], ready: Mapping[str, int], loaded: Mapping[str, int]) -> str:
    """Return both as text."""
    lines = ["Resident, in MB", *(f"{mb:8.1f}  {name}" for name, mb in steps), ""]
    lines += ["Objects that Python counts, in MB, by the module that made them", "   ready  grown under load"]
    largest = sorted(loaded, key=lambda name: -max(loaded[name], ready.get(name, 0)))[:_MOST]
    lines += [
        f"{ready.get(name, 0) / 1e6:8.2f} {(loaded[name] - ready.get(name, 0)) / 1e6:+9.2f}  {name}"
        for name in largest
    ]
    whole, more = sum(ready.values()) / 1e6, (sum(loaded.values()) - sum(ready.values())) / 1e6
    lines.append(f"{whole:8.2f} {more:+9.2f}  together")
    return "\n".join(lines) + "\n"
