"""`scripts/bench`: measures the gateway beside named peers, on this machine, in one run."""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gateway.dev.children import ChildFailed
from gateway.dev.environments import cache_folder
from gateway.dev.vault import HOW_TO_GET_ONE, find_vault
from tests.bench import (
    adding,
    crowding,
    deciding,
    exchanging,
    picture,
    readme,
    recording,
    repeating,
    ruling,
    starting,
    table,
    working,
)
from tests.bench.load import LoadFailed
from tests.bench.machine import cores, description, gateway_version, load_generator
from tests.bench.peers import PeerUnfit
from tests.bench.rows import ROWS, Bench, Measured, Row
from tests.bench.tokens import TokensUnusable, supply
from tests.support.components import missing

_TOKENS: Final = 100_000
_QUICK_TOKENS: Final = 20_000  # five times what the gateway's own cache holds
_INTERRUPTED: Final = 130
_README: Final = Path(__file__).parents[2] / "README.md"
_PICTURE: Final = Path(__file__).with_name("speed.svg")
_Versions = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Rows that are measured together."""

    rows: tuple[str, ...]
    measure: Callable[[Sequence[Row], Bench], tuple[tuple[Measured, ...], _Versions]]


def _alone(
    measure: Callable[[Sequence[Row], Bench], tuple[Measured, ...]],
) -> Callable[[Sequence[Row], Bench], tuple[tuple[Measured, ...], _Versions]]:
    return lambda rows, bench: (measure(rows, bench), {})


_PARTS: Final = (
    _Part(rows=("P1", "P2", "P3"), measure=deciding.measure),
    _Part(rows=("P4",), measure=exchanging.measure),
    _Part(rows=("P5",), measure=_alone(adding.measure)),
    _Part(rows=("P6",), measure=_alone(crowding.measure)),
    _Part(rows=("P7",), measure=_alone(ruling.measure)),
    _Part(rows=("P8",), measure=_alone(starting.measure)),
    _Part(rows=("P9",), measure=_alone(working.measure)),
    _Part(rows=("P10",), measure=_alone(recording.measure)),
    _Part(rows=("P11",), measure=_alone(repeating.measure)),
)


def main(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code: 0 measured, 1 a peer is unfit or a load failed, 2 could not begin."""
    options = _parser().parse_args(arguments)
    if options.list:
        sys.stdout.write(table.listing(ROWS))
        return os.EX_OK
    asked = [name.strip().upper() for name in ",".join(options.only or []).split(",")] if options.only else []
    rows = [row for row in ROWS if not asked or row.id in asked]
    refusal = _why_not(rows, asked)
    if options.readme and asked and readme.is_of_another_machine(_README.read_text(), description()):
        refusal = (
            "the README's figures are of another machine or Python: measure all rows, or leave out --readme"
        )
    if options.readme and options.quick:
        refusal = "what --quick measures is not for the README: leave out --quick or --readme"
    if refusal:
        sys.stderr.write(f"scripts/bench: {refusal}\n")
        return 2
    try:
        folder, failed = _run(rows, options)
    except PeerUnfit as fault:
        sys.stderr.write(f"scripts/bench: {fault}\n")
        return 1
    except TokensUnusable as fault:
        sys.stderr.write(f"scripts/bench: {fault}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("scripts/bench: interrupted, nothing is written\n")
        return _INTERRUPTED
    sys.stderr.write(f"Written to {folder} (table.txt, table.json, table.svg).\n")
    for name in failed:
        sys.stderr.write(f"scripts/bench: {name} could not be measured, see the table\n")
    return 1 if failed else os.EX_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=(
            "Measures the gateway beside named peers on this machine, everything on loopback, and prints a table. "
            "Judge by requests per CPU-second: of all figures it suffers least from what else the machine does."
        ),
        epilog=(
            "All rows take less than ten minutes on an idle machine. Exit codes: 0 measured, 1 a peer judges wrongly, a load failed, "
            "or what a row needs is missing, 2 could not begin, 130 interrupted."
        ),
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="ROW",
        help="measure this row alone, such as P1; repeatable, or P1,P4",
    )
    parser.add_argument("--list", action="store_true", help="list the rows and their goals")
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"{_QUICK_TOKENS:,} tokens instead of {_TOKENS:,}, fewer and shorter rounds",
    )
    parser.add_argument("--full", action="store_true", help="P7 with 100,000 rules, too")
    parser.add_argument(
        "--readme",
        action="store_true",
        help="write the rows measured into README.md, and the picture if P1 to P4 are all among them",
    )
    return parser


def _why_not(rows: Sequence[Row], asked: Sequence[str]) -> str | None:
    """Say what stands in the way of measuring at all, or of a row that was asked for; None when nothing does."""
    known = {row.id for row in ROWS}
    for name in asked:
        if name not in known:
            return f"there is no row {name!r}; --list shows all"
    if not Path("/proc/self/stat").exists() or shutil.which("taskset") is None:
        return "CPU time is read from /proc and servers are bound to a core with taskset: this needs Linux"
    faults = [f"{row.id}: {fault}" for row in rows if (fault := _lacking(row)) is not None]
    return faults[0] if faults and (asked or len(faults) == len(rows)) else None


def _lacking(row: Row) -> str | None:
    """Say what a row needs and this machine lacks, with what brings it."""
    if row.wrk and shutil.which("wrk") is None:
        return "wrk is missing; get it with: sudo apt-get install wrk"
    if "envoy" in row.rivals and (fault := missing("tools")):
        return fault
    if any(rival.startswith("vault") for rival in row.rivals) and find_vault() is None:
        return HOW_TO_GET_ONE
    return None


def _run(rows: Sequence[Row], options: argparse.Namespace) -> tuple[Path, tuple[str, ...]]:
    """Return where the table is, and the rows that failed. Raises PeerUnfit: then nothing else counts either."""
    at = datetime.now(UTC)
    begun = time.monotonic()
    about = description()
    found, versions = _measure(rows, quick=options.quick, full=options.full)
    peers = "; ".join(f"{name} {version}" for name, version in versions.items() if name != "gateway")
    header: dict[str, object] = {
        "at": at.isoformat(timespec="seconds"),
        "mode": "quick" if options.quick else "whole",
        **about,
        "gateway": gateway_version(),
        **({"peers": peers} if peers else {}),
        "load": load_generator(),
        "spread": "± half of what lies between the smallest and the largest round",
        "took_s": round(time.monotonic() - begun),
    }
    text = table.as_text(found, header)
    sys.stdout.write(text)
    drawn = picture.draw(found, header)
    folder = cache_folder() / "bench" / at.strftime("%Y%m%dT%H%M%SZ")
    table.write(folder, {"table.txt": text, "table.json": table.as_json(found, header), "table.svg": drawn})
    if options.readme:
        _README.write_text(readme.refreshed(_README.read_text(), found, header))
        if all(any(one.row == row and one.lines for one in found) for row in ROWS if row.rivals):
            _PICTURE.write_text(drawn)
    return folder, tuple(one.row.id for one in found if one.missing)


def _measure(rows: Sequence[Row], *, quick: bool, full: bool) -> tuple[tuple[Measured, ...], dict[str, str]]:
    places = cores()
    os.sched_setaffinity(0, {places.server, places.load})
    tokens = supply(cache_folder() / "bench", _QUICK_TOKENS if quick else _TOKENS, log=_say)
    bench = Bench(supply=tokens, cores=places, quick=quick, full=full, log=_say)
    found: dict[str, Measured] = {}
    versions: dict[str, str] = {}
    for part in _PARTS:
        able = [row for row in rows if row.id in part.rows and _lacking(row) is None]
        if able:
            _say(f"Measuring {', '.join(row.id for row in able)}.")
            measured, told = _tried(part, able, bench)
            found |= {one.row.id: one for one in measured}
            versions |= told
    found |= {
        row.id: Measured(row=row, lines=(), missing=_lacking(row)) for row in rows if row.id not in found
    }
    return tuple(found[row.id] for row in rows), versions


def _tried(part: _Part, rows: Sequence[Row], bench: Bench) -> tuple[tuple[Measured, ...], _Versions]:
    """Measure, or say in the rows why that failed: the others are worth their time all the same."""
    try:
        return part.measure(rows, bench)
    except (LoadFailed, ChildFailed, starting.StartFailed) as fault:
        bench.log(str(fault))
        return tuple(Measured(row=row, lines=(), missing=str(fault)) for row in rows), {}


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
