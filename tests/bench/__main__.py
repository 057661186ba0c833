"""`scripts/bench`: measures the gateway beside named peers, on this machine, in one run."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.dev.children import ChildFailed
from gateway.dev.environments import cache_folder
from tests.bench import deciding, ruling, starting, table
from tests.bench.load import LoadFailed
from tests.bench.machine import Cores, cores, description
from tests.bench.peers import PeerUnfit
from tests.bench.rows import ROWS, Measured, Row
from tests.bench.tokens import supply
from tests.support.components import missing

_TOKENS: Final = 100_000
_QUICK_TOKENS: Final = 20_000  # twice what the gateway's own cache holds


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 measured, 1 a peer is unfit or a load failed, 2 could not begin."""
    options = _parser().parse_args(arguments)
    if options.list:
        sys.stdout.write(table.listing(ROWS))
        return os.EX_OK
    rows = [row for row in ROWS if row.built and (not options.only or row.id in options.only)]
    refusal = _why_not(rows, options.only or [])
    if refusal:
        sys.stderr.write(f"scripts/bench: {refusal}\n")
        return 2
    try:
        folder = _run(rows, quick=options.quick, full=options.full)
    except (PeerUnfit, LoadFailed, ChildFailed, starting.StartFailed) as fault:
        sys.stderr.write(f"scripts/bench: {fault}\n")
        return 1
    sys.stderr.write(f"Written to {folder} (table.txt, table.json).\n")
    return os.EX_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=(
            "Measures the gateway beside named peers on this machine, everything on loopback, and prints a table. "
            "Judge by requests per CPU-second: of all figures it suffers least from what else the machine does."
        ),
        epilog="Exit codes: 0 measured, 1 a peer judges wrongly or a load failed, 2 could not begin.",
    )
    parser.add_argument(
        "--only", action="append", metavar="ROW", help="measure this row alone, such as P1; repeatable"
    )
    parser.add_argument("--list", action="store_true", help="list the rows and their goals")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{_QUICK_TOKENS:,} tokens instead of {_TOKENS:,}, fewer and shorter rounds",
    )
    parser.add_argument("--full", action="store_true", help="P7 with 100,000 rules, too")
    return parser


def _why_not(rows: Sequence[Row], asked: Sequence[str]) -> str | None:
    """Say what stands in the way of measuring these rows, None when nothing does."""
    known = {row.id: row for row in ROWS}
    for name in asked:
        if name not in known:
            return f"there is no row {name}; --list shows all"
        if not known[name].built:
            return f"{name} is not built yet"
    if not Path("/proc/self/stat").exists() or shutil.which("taskset") is None:
        return "CPU time is read from /proc and servers are bound to a core with taskset: this needs Linux"
    rivals = {rival for row in rows for rival in row.rivals}
    if rivals and shutil.which("wrk") is None:
        return "wrk is missing; get it with: sudo apt-get install wrk"
    return missing("tools") if "envoy" in rivals else None


def _run(rows: Sequence[Row], *, quick: bool, full: bool) -> Path:
    at = datetime.now(UTC)
    begun = time.monotonic()
    found, versions = _measure(rows, cores(), quick=quick, full=full)
    header: dict[str, object] = {
        "at": at.isoformat(timespec="seconds"),
        "mode": "quick" if quick else "whole",
        **description(),
        "peers": "; ".join(f"{name} {version}" for name, version in versions.items()),
        "spread": "± half of what lies between the smallest and the largest round",
        "took_s": round(time.monotonic() - begun),
    }
    text = table.as_text(found, header)
    sys.stdout.write(text)
    folder = cache_folder() / "bench" / at.strftime("%Y%m%dT%H%M%SZ")
    table.write(folder, text, table.as_json(found, header))
    return folder


def _measure(
    rows: Sequence[Row], places: Cores, *, quick: bool, full: bool
) -> tuple[tuple[Measured, ...], dict[str, str]]:
    os.sched_setaffinity(0, {places.server, places.load})
    tokens = supply(cache_folder() / "bench", _QUICK_TOKENS if quick else _TOKENS, log=_say)
    found: dict[str, Measured] = {}
    versions: dict[str, str] = {}
    if deciding_rows := [row for row in rows if row.rivals]:
        rounds, seconds = (5, 4) if quick else (7, 8)
        measured, told = deciding.measure(
            deciding_rows, tokens, places, rounds=rounds, seconds=seconds, log=_say
        )
        found |= {one.row.id: one for one in measured}
        versions |= told
    for row in rows:
        if row.id == "P7":
            many = (10_000, 100_000) if full else (10_000,)
            found[row.id] = ruling.measure(row, tokens.jwks, many=many, log=_say)
        elif row.id == "P8":
            found[row.id] = starting.measure(row, tokens.jwks, places, rounds=3 if quick else 7)
    return tuple(found[row.id] for row in rows), versions


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
