"""The README's table of figures."""

import pytest

from tests.bench.figures import figure
from tests.bench.readme import is_of_another_machine, refreshed
from tests.bench.rows import ROWS, Line, Measured, at_least

_HEADER = {"at": "2026-11-22T15:00:00+00:00", "cores": 2, "cpu": "AMD EPYC", "python": "3.11.7 (PGO)"}
_README = "before\n| P1 | old |\n| P2 | old |\nafter | P1 |\n"


def _line(label: str, value: float, *, reached: bool | None) -> Line:
    return Line(label=label, figure=figure([value]), unit="×", digits=2, reached=reached)


def test_only_rows_that_were_measured_change() -> None:
    lines = (_line("gateway / envoy", 0.71, reached=True), _line("gateway: p50", 1, reached=None))

    text = refreshed(_README, [Measured(row=ROWS[0], lines=lines)], _HEADER)

    changed = f"| P1 | {ROWS[0].what} | ≥ 0.7 × | envoy 0.71 × | yes | 2026-11-22 |"
    assert text == f"before\n{changed}\n| P2 | old |\nafter | P1 |\n"


def test_a_row_that_could_not_be_measured_keeps_its_last_figure() -> None:
    assert refreshed(_README, [Measured(row=ROWS[0], lines=(), missing="no envoy")], _HEADER) == _README


def test_what_a_busy_machine_hides_is_not_called_reached() -> None:
    hidden = Line(label="added: p50", figure=figure([9.0]), unit="ms", busy=True)
    seen = _line("some", 1, reached=True)

    alone = refreshed(_README, [Measured(row=ROWS[0], lines=(hidden,))], _HEADER)
    beside = refreshed(_README, [Measured(row=ROWS[0], lines=(seen, hidden))], _HEADER)

    assert "| cannot be seen here |" in alone
    assert "| yes; the rest cannot be seen here |" in beside


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        pytest.param([True, True], "yes", id="all"),
        pytest.param([True, False], "in part", id="some"),
        pytest.param([False, False], "no", id="none"),
        pytest.param([None], "cannot be seen here", id="no-judgement"),
    ],
)
def test_the_verdict_is_that_of_all_goals_of_a_row(reached: list[bool | None], said: str) -> None:
    lines = tuple(_line("some", 1, reached=one) for one in reached)

    assert f"| {said} |" in refreshed(_README, [Measured(row=ROWS[0], lines=lines)], _HEADER)


def test_the_readme_says_whose_figures_they_are() -> None:
    text = refreshed("Last figures, on 64 cores (other), Python 3.9:\n", [], _HEADER)

    assert (
        text == "Last figures, on 2 cores (AMD EPYC) that other programs used as well, Python 3.11.7 (PGO):\n"
    )
    assert not is_of_another_machine(text, _HEADER)
    assert is_of_another_machine(text, {**_HEADER, "cores": 4})


def test_a_goal_that_rounds_disagree_on_is_told_with_its_spread() -> None:
    line = Line(label="durable / off", figure=figure([0.8, 0.9, 1.0]), unit="×", digits=2).judged(
        at_least(0.85)
    )

    text = refreshed(_README, [Measured(row=ROWS[0], lines=(line,))], _HEADER)

    assert "| durable / off 0.90 × (± 11.1 %) | yes, though rounds disagree |" in text
