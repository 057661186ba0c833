"""The README's table of figures: a row of it for each row that was measured; others stay as they are."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from tests.bench.rows import Line, Measured
from tests.bench.table import apart

_MACHINE: Final = re.compile(r"^Last figures, on .*$", re.MULTILINE)
_ROW: Final = re.compile(r"^\| (P\d+) \|.*$", re.MULTILINE)


def refreshed(text: str, measured: Iterable[Measured], header: Mapping[str, object]) -> str:
    """Return the README with the rows of its table that were measured written anew."""
    rows = {one.row.id: row_of(one, header) for one in measured if one.missing is None}
    text = _MACHINE.sub(lambda _: machine(header), text)
    return _ROW.sub(lambda found: rows.get(found[1], found[0]), text)


def machine(header: Mapping[str, object]) -> str:
    """Return the line that says whose figures they are."""
    return f"Last figures, on {header['cores']} cores ({header['cpu']}) that other programs used as well, Python {header['python']}:"


def is_of_another_machine(text: str, header: Mapping[str, object]) -> bool:
    """Say whether a README's figures are of another machine, so that some new ones must not stand among them."""
    return machine(header) not in text


def row_of(one: Measured, header: Mapping[str, object]) -> str:
    """Return a row: what, goal, what came of it, whether the goal is reached, when."""
    judged = [line for line in one.lines if line.reached is not None or line.busy]
    told = judged or [line for line in one.lines if line.unit == "×"]
    cells = (
        one.row.id,
        one.row.what,
        one.row.goal,
        "; ".join(_told(line) for line in told),
        _verdict(judged),
        str(header["at"])[:10],
    )
    return f"| {' | '.join(cells)} |"


def _told(line: Line) -> str:
    unit = f" {line.unit}" if line.unit else ""
    # A spread that is 0, as that of nothing refused, says nothing.
    spread = f" ({apart(line).strip()})" if line.figure.spread else ""
    return f"{line.label.removeprefix('gateway / ')} {line.figure.median:,.{line.digits}f}{unit}{spread}"


def _verdict(judged: list[Line]) -> str:
    if not judged or all(line.busy for line in judged):
        return "cannot be seen here"
    missed = sum(line.reached is False for line in judged)
    sure = "yes" if not missed else "no" if missed == len(judged) else "in part"
    if any(line.doubtful for line in judged):
        sure = f"{sure}, though rounds disagree"
    return f"{sure}; the rest cannot be seen here" if any(line.busy for line in judged) else sure
