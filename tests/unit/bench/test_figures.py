"""What the bench computes from what it has read."""

import pytest

from tests.bench import table
from tests.bench.comparing import if_calm
from tests.bench.figures import difference, figure, ratio
from tests.bench.load import LoadFailed, Round, at_rate, read_figures
from tests.bench.machine import numbers_of, ticks_of
from tests.bench.rows import LEAST, ROWS, Line, Measured, at_least


def test_one_odd_round_changes_the_spread_and_not_the_figure() -> None:
    found = figure([100.0, 101.0, 400.0])

    assert (found.median, round(found.spread, 2)) == (101.0, 1.49)


def test_a_ratio_compares_rounds_that_ran_beside_each_other() -> None:
    ours, theirs = figure([50.0, 10.0, 60.0]), figure([100.0, 20.0, 100.0])

    assert ratio(ours, theirs).rounds == (0.5, 0.5, 0.6)


def test_rounds_that_have_no_partner_make_no_ratio() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio(figure([1.0, 2.0]), figure([1.0]))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("python", id="plain"),
        pytest.param("tricky) 9 9 9 (name", id="brackets-and-blanks"),
    ],
)
def test_cpu_time_counts_user_system_and_ended_children_whatever_the_process_is_called(name: str) -> None:
    stat = f"42 ({name}) S 1 42 42 0 -1 4194560 100 0 0 0 7 5 3 2 20 0 1 0 12345 1000 50"

    assert ticks_of(stat) == 7 + 5 + 3 + 2


def test_a_process_that_has_ended_meanwhile_used_nothing() -> None:
    assert ticks_of("") == 0


def test_the_figures_of_a_load_are_the_last_line_that_says_so() -> None:
    output = 'Running 4s test\n  Requests/sec: 12\nFIGURES {"requests":48,"p50_ms":1.250}\n'

    assert read_figures(output) == {"requests": 48.0, "p50_ms": 1.25}


def test_a_load_without_figures_is_no_result() -> None:
    with pytest.raises(LoadFailed, match="nothing that can be read"):
        read_figures("Running 4s test\n")


def test_every_rival_has_a_goal() -> None:
    assert {rival for row in ROWS for rival in row.rivals} == set(LEAST)


def test_the_table_says_how_far_rounds_lie_apart_and_which_goal_is_not_reached() -> None:
    line = Line(label="gateway / plain", figure=figure([1.0, 2.0, 3.0]), unit="×", reached=False)
    measured = Measured(row=ROWS[1], lines=(line,), notes=("on one core",))

    text = table.as_text([measured], {"mode": "quick"})

    assert "2.0 ×      ± 50.0 %   goal not reached" in text
    assert "· on one core" in text


def test_of_a_difference_about_nothing_the_table_shows_from_where_to_where_rounds_lie() -> None:
    added = difference(figure([10.0, 11.0, 12.0]), figure([10.5, 10.9, 10.0]))
    line = Line(label="added", figure=added, unit="ms", digits=2)

    text = table.as_text([Measured(row=ROWS[4], lines=(line,))], {})

    assert "0.10 ms     -0.50 to 2.00" in text


def test_a_row_that_was_not_measured_says_why() -> None:
    text = table.as_text([Measured(row=ROWS[2], lines=(), missing="No vault was found.")], {})

    assert "not measured: No vault was found." in text


@pytest.mark.parametrize(
    ("per_s", "expected_ms"),
    [
        pytest.param(300.0, 42.0, id="slow-upstream"),
        pytest.param(4000.0, 1.0, id="fast"),
        pytest.param(5.0, 1.0, id="few"),
    ],
)
def test_connections_and_pauses_of_a_rate_make_that_rate(per_s: float, expected_ms: float) -> None:
    manner = at_rate(per_s, expected_ms=expected_ms)

    assert manner.connections * 1000 / (manner.pause_ms + expected_ms) == pytest.approx(per_s)


@pytest.mark.parametrize(
    ("listed", "meant"),
    [
        pytest.param("0-1\n", [0, 1], id="range"),
        pytest.param("0,4\n", [0, 4], id="list"),
        pytest.param("7\n", [7], id="one"),
    ],
)
def test_lists_of_processors_are_read_as_the_kernel_writes_them(listed: str, meant: list[int]) -> None:
    assert list(numbers_of(listed)) == meant


def _waited(share: float) -> Round:
    return Round(requests=1, seconds=2, cpu_s=1, p50_ms=1, p99_ms=1, rss_mb=1, core_wait_s=2 * share)


def test_of_a_server_whose_core_others_had_no_latency_is_judged() -> None:
    line = Line(label="added: p50", figure=figure([0.5]), unit="ms", reached=True)

    assert if_calm(line, [_waited(0.02)]) == line
    busy = if_calm(line, [_waited(0.4)])
    assert "too busy to judge" in table.as_text([Measured(row=ROWS[4], lines=(busy,))], {})
    assert "goal reached" not in table.as_text([Measured(row=ROWS[4], lines=(busy,))], {})


@pytest.mark.parametrize(
    ("rounds", "said"),
    [
        pytest.param([0.9, 0.9, 0.9], "goal reached", id="all"),
        pytest.param([0.9, 0.8, 0.9], "goal reached, though rounds disagree", id="most"),
        pytest.param([0.9, 0.8, 0.8], "goal not reached, though rounds disagree", id="few"),
    ],
)
def test_a_verdict_says_when_its_rounds_disagree(rounds: list[float], said: str) -> None:
    line = Line(label="durable / off", figure=figure(rounds), unit="×").judged(at_least(0.85))

    text = table.as_text([Measured(row=ROWS[0], lines=(line,))], {})

    assert text.rstrip().endswith(f"   {said}")
