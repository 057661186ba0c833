"""What tests/weakened says of the tree is true of it; that the tests notice each weakening is for `scripts/weaken` to see."""

import tomllib

import pytest

from tests.support.copied import ROOT
from tests.support.requirements import LIST
from tests.support.weaken import Weakening, modules_carrying, read_weakenings

WEAKENINGS = read_weakenings()
NUMBERS = tomllib.loads(LIST.read_text("utf-8")).keys()


@pytest.mark.parametrize("weakening", WEAKENINGS, ids=lambda one: "+".join(one.numbers))
def test_a_weakening_changes_one_place_that_is_there(weakening: Weakening) -> None:
    text = (ROOT / weakening.file).read_text("utf-8")

    assert text.count(weakening.old) == 1
    assert weakening.new != weakening.old
    assert weakening.numbers


@pytest.mark.parametrize("weakening", WEAKENINGS, ids=lambda one: "+".join(one.numbers))
def test_a_weakening_names_requirements_and_tests_there_are(weakening: Weakening) -> None:
    assert set(weakening.numbers) <= NUMBERS
    assert all(modules_carrying(number) for number in weakening.numbers)
    assert all((ROOT / name.partition("::")[0]).exists() for name in weakening.tests)
