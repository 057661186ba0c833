"""Compares the numbers that tests carry with those of tests/requirements.toml."""

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

LIST = Path(__file__).parents[1] / "requirements.toml"


class MarkedTest(Protocol):
    """What the comparison needs of a collected test; a `pytest.Item` is one."""

    @property
    def nodeid(self) -> str:
        """Name the test."""
        ...

    def iter_markers(self, name: str | None = None) -> Iterator[pytest.Mark]:
        """Yield the markers of this name, its own and those of its class and module."""
        ...


def numbers_of(test: MarkedTest) -> set[str]:
    """Return the numbers that the test carries."""
    return {str(number) for marker in test.iter_markers("requirement") for number in marker.args}


def disagreements(tests: Iterable[MarkedTest], requirements: Path = LIST) -> list[str]:
    """Name every requirement without a test, and every number of a test that is not listed."""
    listed = tomllib.loads(requirements.read_text())
    carried = {number: test.nodeid for test in tests for number in numbers_of(test)}
    untested = [
        f"{number}: no test carries it: {listed[number]['text']}"
        for number in sorted(listed.keys() - carried)
    ]
    unlisted = [
        f"{number}: not in {requirements.name}, but carried by {carried[number]}"
        for number in sorted(carried.keys() - listed)
    ]
    return untested + unlisted
