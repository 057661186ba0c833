"""The picture that the README shows."""

from xml.etree import ElementTree

from tests.bench import picture
from tests.bench.figures import figure
from tests.bench.rows import ROWS, Line, Measured

_HEADER = {"at": "2026-11-22T15:00:00+00:00", "cpu": "Any <CPU> & more", "python": "3.11.7 (GCC)"}


def _line(label: str, value: float) -> Line:
    return Line(label=label, figure=figure([value]), unit="")


def _measured() -> Measured:
    lines = (
        _line("gateway: requests per CPU-second", 9_000),
        _line("gateway: p50", 1),
        _line("plain: requests per CPU-second", 3_000),
        _line("gateway / plain", 3.0),
    )
    return Measured(row=ROWS[1], lines=lines)


def test_the_picture_is_one_document_that_needs_nothing_from_elsewhere() -> None:
    root = ElementTree.fromstring(picture.draw([_measured()], _HEADER))

    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [one for one in root.iter() for name in one.attrib if "href" in name]


def test_bars_are_as_long_as_their_figures_and_the_gateways_stands_out() -> None:
    root = ElementTree.fromstring(picture.draw([_measured()], _HEADER))

    bars = [(one.get("class"), int(one.get("width", "0"))) for one in root.iter() if one.tag.endswith("rect")]
    assert bars == [("ours", 380), ("bar", 127)]


def test_the_picture_says_the_figure_and_the_ratio() -> None:
    drawn = picture.draw([_measured()], _HEADER)

    assert "9,000" in drawn
    assert "3,000   (gateway 3 ×)" in drawn


def test_colours_follow_the_readers_scheme() -> None:
    assert "prefers-color-scheme: dark" in picture.draw([_measured()], _HEADER)


def test_without_a_comparison_there_is_still_a_picture() -> None:
    assert ElementTree.fromstring(picture.draw([], _HEADER)).tag.endswith("svg")
