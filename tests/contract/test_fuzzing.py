"""The fuzzer itself: it runs, it is bounded, it finds, and every target takes its own seeds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzzing import __main__ as fuzzing
from tests.fuzzing.targets import TARGETS, PromiseBroken, fuzz_arn, fuzz_json, seeds
from tests.support.arn_oracle import machine_of, role_of, session_of
from tests.support.components import skip_without

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_takes_what_it_starts_from(target: str) -> None:
    given = list(seeds(target))

    for seed in given:
        TARGETS[target](seed)

    assert given


def test_the_command_knows_every_target() -> None:
    assert set(fuzzing.NAMES) == set(TARGETS)


def test_a_quick_look_that_reads_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzzing.targets.parse_json_object", lambda _, **__: {"a": 2})

    with pytest.raises(PromiseBroken):
        fuzz_json(b'{"a": 1}')


@pytest.mark.parametrize(
    "text",
    [
        "arn:aws:iam::111122223333:role//name",
        "arn:aws:iam::111122223333:role/path/",
        "arn:aws:iam:eu-west-1:111122223333:role/name",
        "arn:aws:iam::11112222333:role/name",
        "arn:aws:sts::111122223333:assumed-role/name/s",
        "arn:aws:states:eu-west-1:111122223333:stateMachine:name:1:2",
        "arn:aws:states:eu-west-1:111122223333:stateMachine:name:",
    ],
)
def test_both_opinions_refuse_what_is_almost_an_arn(text: str) -> None:
    fuzz_arn(text.encode())

    assert not [second for second in (role_of, session_of, machine_of) if second(text)]


def test_an_arn_that_is_taken_apart_otherwise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.arn_oracle.role_of", lambda _: ("aws", "111122223333", "", "another"))

    with pytest.raises(PromiseBroken):
        fuzz_arn(b"arn:aws:iam::111122223333:role/name")


@pytest.mark.requirement("TV-48")
@skip_without("atheris")
def test_a_few_seconds_of_fuzzing_break_no_promise() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", "--seconds", "2"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )

    head, *rows, last = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert head.split() == ["target", "runs", "new", "inputs", "edges", "findings"]
    assert [row.split()[0] for row in rows] == list(fuzzing.NAMES)
    # What the fuzzer does not see into, it does not find anything in: a pattern's matching is one edge.
    assert all(int(row.split()[3].replace(",", "")) > 50 for row in rows), done.stdout
    assert last.startswith("Nothing found: ")


#: In the place of a fuzzer.
FINDS = """\
import sys
prefix = next(one for one in sys.argv if one.startswith("-artifact_prefix=")).partition("=")[2]
open(f"{prefix}crash-1", "w").close()
print("#17\\tNEW    cov: 9 ft: 9")
sys.exit(77)
"""


@pytest.fixture
def findings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder for findings, of this test alone; and atheris counts as there."""
    monkeypatch.setattr(fuzzing, "_FOUND", tmp_path / "fuzz-findings")
    monkeypatch.setattr(fuzzing, "missing", lambda *_: None)
    monkeypatch.setattr(fuzzing, "packages", lambda *_: tmp_path)
    return tmp_path / "fuzz-findings"


def test_a_finding_is_kept_told_and_no_success(
    findings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzzing, "_PROGRAM", FINDS)

    status = fuzzing.main(["arn"])

    row, last = capsys.readouterr().out.splitlines()[-2:]
    assert (status, row.split()) == (1, ["arn", "17", "0", "9", "1"])
    assert last == "arn broke a promise: the input is in fuzz-findings/, the fuzzer's words in arn.log."
    assert {path.name for path in findings.iterdir()} == {"arn-crash-1", "arn.log"}


def test_a_fuzzer_that_does_not_run_is_no_success(
    findings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzzing, "_PROGRAM", "print('it is broken')")

    status = fuzzing.main(["arn"])

    assert status == 1
    assert "arn did not run to its end: fuzz-findings/arn.log says why." in capsys.readouterr().out
    assert (findings / "arn.log").read_text() == "it is broken\n"


def test_the_fuzzers_own_lines_are_shown_when_asked_for(
    findings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "#5 DONE cov: 7 ft: 7\nstat::number_of_executed_units: 5\n"
    monkeypatch.setattr(fuzzing, "_PROGRAM", f"print({said!r}, end='')")

    quiet = (fuzzing.main(["arn"]), capsys.readouterr().out)
    loud = (fuzzing.main(["arn", "--verbose"]), capsys.readouterr().out)

    assert (quiet[0], "stat::" in quiet[1], loud[0], said in loud[1]) == (0, False, 0, True)
    assert not findings.exists()
