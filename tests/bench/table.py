"""What was measured, as text for people and as JSON for programs."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from tests.bench.rows import Line, Measured, Row


def as_text(measured: Iterable[Measured], header: Mapping[str, object]) -> str:
    """Return the table."""
    parts = ["\n".join(f"{name:<13} {value}" for name, value in header.items())]
    for one in measured:
        title = f"{one.row.id}  {one.row.what}   (goal {one.row.goal})"
        lines = [f"    {_line(line)}" for line in one.lines]
        notes = [f"    · {note}" for note in one.notes]
        parts.append("\n".join([title, *lines, *notes]))
    return "\n\n".join(parts) + "\n"


def _line(line: Line) -> str:
    number = f"{line.figure.median:,.{line.digits}f}"
    reached = {None: "", True: "   goal reached", False: "   goal not reached"}[line.reached]
    return f"{line.label:<46} {number:>10} {line.unit:<6} ± {line.figure.spread * 50:4.1f} %{reached}"


def as_json(measured: Iterable[Measured], header: Mapping[str, object]) -> str:
    """Return the same, with every round."""
    rows = [asdict(one) for one in measured]
    return json.dumps({**header, "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def listing(rows: Iterable[Row]) -> str:
    """Return all rows, those to come marked."""
    return "".join(
        f"{row.id:<4} {row.what:<72} {row.goal}{'' if row.built else '   (not built yet)'}\n" for row in rows
    )


def write(folder: Path, text: str, document: str) -> None:
    """Write both beside each other."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.txt").write_text(text)
    (folder / "table.json").write_text(document)
