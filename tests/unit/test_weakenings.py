"""What tests/weakened says of the tree is true of it; that tests notice each weakening is for `scripts/weaken` to see."""

import tomllib
from functools import cache

from tests.support.copied import ROOT
from tests.support.requirements import LIST
from tests.support.weaken import modules_carrying, read_weakenings

WEAKENINGS = read_weakenings()
NUMBERS = tomllib.loads(LIST.read_text("utf-8")).keys()


@cache
def text(file: str) -> str:
    return (ROOT / file).read_text("utf-8")


def test_a_weakening_changes_one_place_that_is_there() -> None:
    stale = [(one.numbers, one.file, one.old) for one in WEAKENINGS if text(one.file).count(one.old) != 1]

    assert stale == []
    assert all(one.new != one.old for one in WEAKENINGS)


def test_a_weakening_names_requirements_and_tests_there_are() -> None:
    named = {number for one in WEAKENINGS for number in one.numbers}
    tests = {name.partition("::")[0] for one in WEAKENINGS for name in one.tests}

    assert named - NUMBERS == set()
    assert all(one.numbers for one in WEAKENINGS)
    assert [number for number in named if not modules_carrying(number)] == []
    assert [name for name in tests if not (ROOT / name).exists()] == []


def test_every_requirement_was_taken_away_once() -> None:
    weakened = {number for one in WEAKENINGS for number in one.numbers}

    assert NUMBERS - weakened == set()
