"""`scripts/profile`: shows where the time and the memory of the hot path go, in a running gateway under load."""

import argparse
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from gateway.dev.children import ChildFailed
from gateway.dev.environments import cache_folder
from tests.bench import memory, stacks
from tests.bench.ask import Ask
from tests.bench.gateways import ROOT, SERVE, START, WHOAMI, Manned, gateway
from tests.bench.load import Load, LoadFailed, Manner
from tests.bench.machine import cores
from tests.bench.peers import Peer
from tests.bench.rows import Bench
from tests.bench.tokens import TokensUnusable, supply
from tests.bench.upstream import upstream

_TOKENS: Final = 20_000
_INTERRUPTED: Final = 130
_RATE_HZ: Final = 250
_LONGEST_S: Final = 600
_SPY: Final = Path(sys.executable).with_name("py-spy")
_ROADS: Final[Mapping[str, Ask]] = {"whoami": WHOAMI, "start": START}
_BUSY: Final = Manner(connections=32)
_TRACED: Final = (sys.executable, "-m", "tests.bench.traced_memory", "serve")
_SAMPLED: Final = """\
Samples are of wall time, C code and calls of the kernel included. asyncio/runners is uvloop: its own C code, and the
loop while it has nothing to do or another thread has its core. Other threads that wait are left out here, not in the
flame graph.
"""
_LIMITS: Final = """\
py-spy reads another process's memory, which the system may forbid:
  Linux, kernel.yama.ptrace_scope 1 or more   run scripts/profile as root, or: sudo sysctl kernel.yama.ptrace_scope=0
  Docker, Podman                              docker run --cap-add SYS_PTRACE …
  Kubernetes                                  securityContext: { capabilities: { add: [SYS_PTRACE] } }
Where none of these can be had, --memory works: it needs no such right.
"""


class ProfileFailed(Exception):
    """Nothing was sampled; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    road: str
    seconds: int
    native: bool
    folder: Path


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 profiled, 1 a load or py-spy failed, 2 could not begin, 130 interrupted."""
    options = _parser().parse_args(arguments)
    if not Path("/proc/self/stat").exists() or shutil.which("taskset") is None or shutil.which("wrk") is None:
        sys.stderr.write("scripts/profile: needs Linux, taskset and wrk (Debian: apt-get install wrk)\n")
        return 2
    folder = options.out or cache_folder() / "profile" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tokens = supply(cache_folder() / "bench", _TOKENS, log=_say)
    except (OSError, TokensUnusable) as fault:
        sys.stderr.write(f"scripts/profile: {fault}\n")
        return 2
    wish = _Wish(road=options.road, seconds=options.seconds, native=options.native, folder=folder)
    places = cores()
    os.sched_setaffinity(0, {places.server, places.load})
    bench = Bench(supply=tokens, cores=places, quick=True, full=False, log=_say)
    try:
        text = (_memory if options.memory else _time)(wish, bench)
    except (ProfileFailed, LoadFailed, ChildFailed) as fault:
        sys.stderr.write(f"scripts/profile: {fault}\n")
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    sys.stdout.write(text)
    sys.stderr.write(f"Written to {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}\n")
    return os.EX_OK


def _seconds(text: str) -> int:
    seconds = int(text) if text.isdecimal() else 0
    if not 1 <= seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {_LONGEST_S}")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/profile",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Shows where the time (or with --memory the memory) of a call goes: starts the gateway and a stub of AWS on\n"
            "loopback, loads it with cold tokens, samples it with py-spy, and writes a table and a flame graph."
        ),
        epilog=f"{_LIMITS}\nExit codes: 0 profiled, 1 the load or py-spy failed, 2 could not begin.",
    )
    parser.add_argument(
        "road",
        nargs="?",
        choices=sorted(_ROADS),
        default="start",
        help="whoami: verify and decide. start (default): the whole exchange and a StartExecution",
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=10, metavar="N", help="how long each sampling takes (10)"
    )
    parser.add_argument(
        "--native", action="store_true", help="sample C code, too: slower, and names need debug symbols"
    )
    parser.add_argument("--memory", action="store_true", help="memory by step and by module instead of time")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="where to write (a folder in the user's cache)"
    )
    return parser


@contextmanager
def _running(
    wish: _Wish, bench: Bench, more: Mapping[str, str] | None = None, *, program: Sequence[str] = SERVE
) -> Iterator[Peer]:
    ask = _ROADS[wish.road]
    with upstream(bench.cores) if ask is START else nullcontext() as stub:
        manned = Manned(ask=ask, upstream=stub.url if stub else None, program=program, environment=more or {})
        with gateway(bench.supply, bench.cores, manned) as peer:
            yield peer


def _time(wish: _Wish, bench: Bench) -> str:
    raw, drawn = wish.folder / "stacks.txt", wish.folder / "flame.svg"
    with _running(wish, bench) as peer:
        alone = Load(bench.supply, bench.cores).run(peer, 4, _BUSY)
        with _loaded(peer, bench, seconds=2 * wish.seconds + 6):
            # Twice, because py-spy writes one form at a time.
            _sample(peer, wish, "raw", raw)
            _sample(peer, wish, "flamegraph", drawn)
    found = stacks.at_work(stacks.read(raw.read_text(), root=ROOT))
    if not found:
        raise ProfileFailed(f"py-spy saw nothing.\n{_LIMITS}")
    cpu_us = 1e6 / alone.per_cpu_s
    text = f"{wish.road}: {cpu_us:,.0f} µs CPU a call before sampling began.\n{_SAMPLED}" + stacks.table(
        found, cpu_us=cpu_us
    )
    (wish.folder / "table.txt").write_text(text)
    return text


@contextmanager
def _loaded(peer: Peer, bench: Bench, *, seconds: int) -> Iterator[None]:
    """Load beside what is done inside; raises LoadFailed when that failed."""
    faults: list[LoadFailed] = []

    def load() -> None:
        try:
            Load(bench.supply, bench.cores).run(peer, seconds, _BUSY)
        except LoadFailed as fault:
            faults.append(fault)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if faults:
        raise faults[0]


def _sample(peer: Peer, wish: _Wish, form: str, path: Path) -> None:
    command = [str(_SPY), "record", "--pid", str(peer.process), "--duration", str(wish.seconds)]
    command += ["--rate", str(_RATE_HZ), "--full-filenames", "--format", form, "--output", str(path)]
    command += [*(["--native"] if wish.native else []), *(["--function"] if form == "raw" else [])]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=wish.seconds + 60,
    )
    if done.returncode != 0 or not path.exists():
        raise ProfileFailed(f"py-spy ended with {done.returncode}: {done.stderr.strip()[-300:]}\n{_LIMITS}")


def _memory(wish: _Wish, bench: Bench) -> str:
    def started(environment: Mapping[str, str]) -> AbstractContextManager[Peer]:
        return _running(wish, bench, environment, program=_TRACED)

    steps = memory.by_step(
        partial(_running, wish, bench), bench, seconds=max(1, wish.seconds // 3), manner=_BUSY
    )
    ready, loaded = memory.by_module(started, bench, seconds=wish.seconds, manner=_BUSY)
    text = f"{wish.road}\n" + memory.table(steps, ready, loaded)
    (wish.folder / "memory.txt").write_text(text)
    return text


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
