"""The comparisons as a picture: an SVG that needs nothing and reads on light and on dark pages."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.rows import Measured

_MEASURE: Final = ": requests per CPU-second"
_GROUPS: Final = (
    ("Verify a token and decide", ("P1", "P2", "P3")),
    ("Verify, decide, exchange at STS, start the execution", ("P4",)),
)
_WIDTH: Final = 720
_LEFT: Final = 160
_LONGEST: Final = 380
_ROW: Final = 24
_STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .small { font-size: 11px; fill: #59636e }
.bar { fill: #8c959f } .ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .small { fill: #9198a1 } .bar { fill: #656c76 } .ours { fill: #4493f8 } }"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    name: str
    per_cpu_s: float
    times: float | None


def draw(measured: Iterable[Measured], header: Mapping[str, object]) -> str:
    """Return the picture of those comparisons that were measured."""
    by_id = {one.row.id: one for one in measured}
    parts, y = [], 20
    for title, rows in _GROUPS:
        bars = _bars([by_id[name] for name in rows if name in by_id])
        if bars:
            parts.append(_text(8, y, title, "title"))
            parts += _drawn(bars, y + 10)
            y += 10 + _ROW * len(bars) + 26
    about = f"Requests per CPU-second, medians; {str(header['at'])[:10]}, {header['cpu']}, {str(header['python']).split(' ')[0]}"
    parts.append(_text(8, y, about, "small"))
    height = y + 12
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="Requests per CPU-second of the gateway and its peers">\n<style>{_STYLE}</style>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _bars(measured: Sequence[Measured]) -> list[_Bar]:
    found: dict[str, float] = {}
    times: dict[str, float] = {}
    for one in measured:
        for line in one.lines:
            if line.label.startswith("gateway / "):
                times[line.label.removeprefix("gateway / ")] = line.figure.median
            elif line.label.endswith(_MEASURE) and not line.label.startswith("stub"):
                found[line.label.removesuffix(_MEASURE)] = line.figure.median
    bars = [_Bar(name=name, per_cpu_s=value, times=times.get(name)) for name, value in found.items()]
    return sorted(bars, key=lambda bar: -bar.per_cpu_s)


def _drawn(bars: Sequence[_Bar], top: int) -> list[str]:
    most = max(bar.per_cpu_s for bar in bars)
    parts = []
    for at, bar in enumerate(bars):
        y = top + at * _ROW
        width = max(1, round(bar.per_cpu_s / most * _LONGEST))
        kind = "ours" if bar.times is None else "bar"
        parts.append(_text(8, y + 15, bar.name))
        parts.append(
            f'<rect class="{kind}" x="{_LEFT}" y="{y + 3}" width="{width}" height="{_ROW - 8}" rx="2"/>'
        )
        parts.append(_text(_LEFT + width + 6, y + 15, _value(bar)))
    return parts


def _value(bar: _Bar) -> str:
    number = f"{bar.per_cpu_s:,.0f}"
    return number if bar.times is None else f"{number}   (gateway {bar.times:.2g} ×)"


def _text(x: int, y: int, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{attribute}>{escape(text)}</text>'
