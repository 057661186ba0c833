"""What was measured, as text for people and as JSON for programs."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from tests.bench.rows import Line, Measured, Row

_LARGEST_SHARE: Final = 100


def as_text(measured: Iterable[Measured], header: Mapping[str, object]) -> str:
    """Return the table."""
    parts = ["\n".join(f"{name:<13} {value}" for name, value in header.items())]
    for one in measured:
        title = f"{one.row.id}  {one.row.what}   (goal {one.row.goal})"
        lines = [f"    {_line(line)}" for line in one.lines]
        if one.missing:
            lines = [f"    not measured: {one.missing}"]
        notes = [f"    · {note}" for note in one.notes]
        parts.append("\n".join([title, *lines, *notes]))
    return "\n\n".join(parts) + "\n"


def _line(line: Line) -> str:
    number = f"{line.figure.median:,.{line.digits}f}"
    return f"{line.label:<50} {number:>10} {line.unit:<6} {apart(line)}{_verdict(line)}"


def _verdict(line: Line) -> str:
    if line.busy:
        return "   machine too busy to judge"
    if line.reached is None:
        return ""
    said = "goal reached" if line.reached else "goal not reached"
    return f"   {said}{', though rounds disagree' if line.doubtful else ''}"


def apart(line: Line) -> str:
    """Say how far rounds lie apart; of what is about nothing, such as a small difference, a share would say nothing."""
    if line.figure.spread * 100 <= _LARGEST_SHARE:
        return f"± {line.figure.spread * 100:4.1f} %"
    least, most = min(line.figure.rounds), max(line.figure.rounds)
    return f"{least:,.{line.digits}f} to {most:,.{line.digits}f}"


def as_json(measured: Iterable[Measured], header: Mapping[str, object]) -> str:
    """Return the same, with every round."""
    rows = [asdict(one) for one in measured]
    return json.dumps({**header, "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def listing(rows: Iterable[Row]) -> str:
    """Return all rows with their goals."""
    return "".join(f"{row.id:<4} {row.what:<90} {row.goal}\n" for row in rows)


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files beside each other."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
