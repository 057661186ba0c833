"""The fuzzer itself: it runs, it is bounded, it finds, and every target takes its own seeds."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzzing import __main__ as fuzzing
from tests.fuzzing.targets import TARGETS, PromiseBroken, fuzz_json, seeds
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


@pytest.mark.requirement("TV-48")
@skip_without("atheris")
@pytest.mark.parametrize("target", ["signed", "mapping"])
def test_a_few_seconds_of_fuzzing_break_no_promise(target: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzzing", "--seconds", "5", target],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=180,
        check=False,
        errors="replace",
    )

    assert done.returncode == 0, done.stdout[-5_000:]
    assert "stat::number_of_executed_units" in done.stdout
