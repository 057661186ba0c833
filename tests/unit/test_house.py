"""The order of the house: imports point one way, the world is touched in few places, and importing does nothing."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import house
from tests.support.house import EDGES, ORDER, OWNERS, Source, read_house

GATEWAY = Path(__file__).parents[2] / "gateway"

RULES = [
    pytest.param(house.wrong_way, id="imports point left along the order"),
    pytest.param(house.borrowed, id="a name is imported from the module that defines it"),
    pytest.param(house.misplaced, id="a library is used only by its owner"),
    pytest.param(house.reached_edges, id="only composition imports an edge"),
    pytest.param(house.undocumented, id="every module says what it owns"),
    pytest.param(house.effects, id="importing has no effect"),
    pytest.param(
        house.dangerous,
        id="nothing rests on an assertion, and no data becomes code",
        marks=pytest.mark.requirement("DE-04", "DE-06"),
    ),
]


@pytest.fixture(scope="module")
def sources() -> tuple[Source, ...]:
    return read_house(GATEWAY)


@pytest.mark.parametrize("breaches", RULES)
def test_the_house_is_in_order(
    breaches: Callable[[tuple[Source, ...]], list[str]], sources: tuple[Source, ...]
) -> None:
    assert breaches(sources) == []


def test_every_part_has_its_place_and_every_place_its_part(sources: tuple[Source, ...]) -> None:
    parts = {source.name.split(".")[1] for source in sources if "." in source.name} - {"__main__"}

    assert parts <= set(ORDER)


def test_every_named_edge_is_there(sources: tuple[Source, ...]) -> None:
    assert EDGES - {source.name for source in sources} == set()


def source(name: str, text: str) -> Source:
    return Source(name=name, tree=ast.parse(text))


RULE = source("gateway.policy.rule", "class Rule: ...")
FETCH = source("gateway.outbound.pooled", "def fetch(): ...")


@pytest.mark.parametrize(
    ("breaches", "culprit"),
    [
        pytest.param(
            house.wrong_way,
            source("gateway.errors", "from gateway.policy.rule import Rule"),
            id="to-the-right",
        ),
        pytest.param(house.wrong_way, source("gateway.app", "from .policy import rule"), id="relative"),
        pytest.param(house.wrong_way, source("gateway.app", "import gateway.helpers"), id="no-place"),
        pytest.param(
            house.wrong_way,
            source("gateway.errors", "def late():\n    from gateway.policy import rule"),
            id="inside-a-function",
        ),
        pytest.param(
            house.borrowed,
            source("gateway.app", "from gateway.policy.rule import Other"),
            id="not-defined-there",
        ),
        pytest.param(
            house.borrowed, source("gateway.app", "from gateway.policy import Rule"), id="from-the-package"
        ),
        pytest.param(house.misplaced, source("gateway.policy.decide", "import uvicorn"), id="library"),
        pytest.param(
            house.misplaced, source("gateway.policy.decide", "from uvicorn.config import X"), id="part-of-it"
        ),
        pytest.param(
            house.misplaced, source("gateway.doors.rest", "from urllib import request"), id="dotted-library"
        ),
        pytest.param(
            house.reached_edges,
            source("gateway.doors.rest", "from gateway.outbound.pooled import fetch"),
            id="edge-from-a-door",
        ),
        pytest.param(
            house.reached_edges,
            source("gateway.credentials.sts", "from gateway.audit.journal import X"),
            id="edge-from-another-part-s-edge",
        ),
        pytest.param(house.undocumented, source("gateway.app", "x = 1"), id="silent-module"),
        pytest.param(
            house.effects, source("gateway.app", "import boto3\nclient = boto3.client('sts')"), id="client"
        ),
        pytest.param(
            house.effects,
            source("gateway.app", "from threading import Lock\nlocks: list[Lock] = [Lock()]"),
            id="lock-in-a-list",
        ),
        pytest.param(house.effects, source("gateway.app", "configure()"), id="call"),
        pytest.param(house.dangerous, source("gateway.app", "def check(x):\n    assert x"), id="assertion"),
        pytest.param(house.dangerous, source("gateway.app", "import pickle"), id="pickle"),
        pytest.param(house.dangerous, source("gateway.app", "x = lambda t: eval(t)"), id="eval"),
        pytest.param(
            house.dangerous, source("gateway.app", "import yaml\nx = yaml.load"), id="loader of tags"
        ),
        pytest.param(
            house.dangerous, source("gateway.app", "from yaml import UnsafeLoader"), id="unsafe loader"
        ),
    ],
)
def test_a_breach_of_the_order_is_found(
    breaches: Callable[[tuple[Source, ...]], list[str]], culprit: Source
) -> None:
    found = breaches((RULE, FETCH, culprit))

    assert [line for line in found if line.startswith(culprit.name)]


def test_no_owner_of_a_library_is_misspelt(sources: tuple[Source, ...]) -> None:
    names = {source.name for source in sources}

    unknown = {owner for owners in OWNERS.values() for owner in owners} - names

    assert unknown == set()
