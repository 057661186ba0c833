"""The command itself, without measuring anything."""

import pytest

from tests.bench.__main__ import main


def test_help_says_by_which_figure_to_judge(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    assert ended.value.code == 0
    assert "requests per CPU-second" in " ".join(capsys.readouterr().out.split())


def test_list_measures_nothing_and_shows_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        f"P{number}" for number in range(1, 12)
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param("P4", "P4 is not built yet", id="to-come"),
        pytest.param("P99", "there is no row P99", id="unknown"),
    ],
)
def test_a_row_that_cannot_be_measured_is_refused_and_not_left_out(
    row: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--only", "P7", "--only", row]) == 2
    assert said in capsys.readouterr().err
