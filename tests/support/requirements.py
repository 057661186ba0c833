"""Compares the numbers that tests carry with those of tests/requirements.toml."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest

_LIST = Path(__file__).parents[1] / "requirements.toml"


def disagreements(items: Iterable[pytest.Item]) -> list[str]:
    """Name every requirement without a test, and every test whose number is not listed."""
    listed = tomllib.loads(_LIST.read_text())
    carried = {
        str(number): item.nodeid
        for item in items
        for marker in item.iter_markers("requirement")
        for number in marker.args
    }
    untested = [
        f"{number}: no test carries it: {listed[number]['text']}"
        for number in sorted(listed.keys() - carried)
    ]
    unlisted = [
        f"{number}: not in {_LIST.name}, but carried by {carried[number]}"
        for number in sorted(carried.keys() - listed)
    ]
    return untested + unlisted
