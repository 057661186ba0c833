"""The command itself, without measuring anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from tests.bench.__main__ import _PARTS, _Part, main
from tests.bench.load import LoadFailed
from tests.bench.rows import ROWS, Measured, Row


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


def test_a_row_that_does_not_exist_is_refused_and_not_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "P7", "--only", "P99"]) == 2
    assert "there is no row 'P99'" in capsys.readouterr().err


@pytest.mark.parametrize("asked", [["--only", "p7,P99"], ["--only", "P7, p99 "]], ids=["comma", "blanks"])
def test_rows_may_be_named_in_one_word(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked) == 2
    assert "there is no row 'P99'" in capsys.readouterr().err


def test_a_row_without_a_name_is_no_wish_for_all_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", ""]) == 2
    assert "there is no row ''" in capsys.readouterr().err


def test_what_is_measured_quickly_is_not_written_into_the_readme(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--readme"]) == 2
    assert "leave out --quick or --readme" in capsys.readouterr().err


def test_a_cache_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(taken))

    assert main(["--only", "P8"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def without_vault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bench.__main__.find_vault", lambda: None)
    monkeypatch.setattr("tests.bench.__main__.shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr("tests.bench.__main__.missing", lambda _: None)


@pytest.mark.usefixtures("without_vault")
def test_a_row_that_was_asked_for_and_lacks_a_component_says_how_to_get_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--only", "P3"]) == 2
    assert "P3: No vault was found" in (said := capsys.readouterr().err)
    assert "scripts/vault" in said


@pytest.mark.usefixtures("without_vault")
def test_without_a_component_the_other_rows_are_measured_and_its_own_says_why_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tests.bench.__main__.supply", lambda *_, **__: None)
    monkeypatch.setattr("tests.bench.__main__._PARTS", ())

    assert main([]) == 1
    written = capsys.readouterr()
    assert "not measured: No vault was found" in written.out
    assert "P3 could not be measured" in written.err


@pytest.mark.usefixtures("without_vault")
def test_a_row_that_fails_costs_the_others_nothing_and_shows_in_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> NoReturn:
        raise LoadFailed("gateway: 3 connections broke.")

    def works(rows: Sequence[Row], _: object) -> tuple[tuple[Measured, ...], dict[str, str]]:
        return tuple(Measured(row=row, lines=(), notes=("measured",)) for row in rows), {}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("tests.bench.__main__.supply", lambda *_, **__: None)
    parts = (_Part(rows=("P5",), measure=fails), _Part(rows=("P6",), measure=works))
    monkeypatch.setattr("tests.bench.__main__._PARTS", parts)

    assert main(["--only", "P5", "--only", "P6"]) == 1
    written = capsys.readouterr().out
    assert "not measured: gateway: 3 connections broke." in written
    assert "· measured" in written


def test_every_row_is_measured_by_exactly_one_part() -> None:
    assert [name for part in _PARTS for name in part.rows] == [row.id for row in ROWS]
