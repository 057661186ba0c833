"""An ordinary file is read as the strict reader reads it; every other one is left to that reader."""

import random
from collections.abc import Iterator
from typing import Final

import pytest
import yaml

from gateway.files.bounds import RULES, Bounds, Items
from gateway.files.ordinary import Places, read_ordinary
from gateway.files.source import FindingCode, Severity
from gateway.files.tree import MAX_DEPTH, MAX_STRING, Hopeless, NestedTooDeeply, Tree, TreeBuilder

RULE: Final = """\
  - name: r-{number}
    why: "PAY-{number} deploys of payments"
    issuer: github
    claims:
      repository: acme/payments-{number}
      attempt: {number}
      protected: true
      id: "{number}"
      environment: {{ any_of: [prod, staging] }}
    grants:
      - {{ start: deploy-payments, as: payments-prod }}
      - {{ view: deploy-payments, as: payments-prod }}
"""
TEXT: Final = "format: oidc-gateway/mapping.v1\nrules:\n" + "".join(
    RULE.format(number=one) for one in range(4)
)
#: What edits put into a text, or take from it.
_PIECES: Final = (
    *"\n -:,{}[]&*!\"'#|>%?@0a~",
    "\n  ",
    "  - ",
    "&a ",
    "*a",
    "!!str ",
    "<<: ",
    "yes",
    "1.0",
    "0x1",
    "name: ",
    "rules:",
    "---\n",
    "...\n",
    "раураl",
    '"a b "',
    "[[[[[[[[[1]]]]]]]]]",
)
_LITTLE: Final = Bounds(
    nodes=56, members=4, entries=2, items={"rules": Items(most=2, compulsory=frozenset({"name"}))}
)

_FULL: Final = "a: [[[1, 2], [1, 2]], [[1, 2], [1, 2]]]\n"  # 41 nodes


class Strict:
    """What the strict reader makes of a text, and whether it says anything about it."""

    def __init__(self, text: str, bounds: Bounds) -> None:
        self.findings: list[FindingCode] = []
        self._builder = TreeBuilder(self._report, bounds)
        try:
            self._builder.read(yaml.CSafeLoader(text))
        except (Hopeless, NestedTooDeeply, yaml.YAMLError):
            self.findings.append(FindingCode.FILE_SYNTAX)
        self.data = self._builder.data
        self.nodes = self._builder.nodes
        self.tree = self._builder.root

    def _report(
        self,
        code: FindingCode,
        line: int,
        column: int,
        message: str,
        fix: str,
        severity: Severity = "error",
    ) -> None:
        self.findings.append(code)


def paths(data: object, start: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield start
    parts: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(data, dict):
        parts = iter(data.items())
    elif isinstance(data, list):
        parts = iter(enumerate(data))
    for name, part in parts:
        yield from paths(part, (*start, name))


def all_places(places: Places | Tree, data: object) -> list[tuple[int, int]]:
    known = [*paths(data), ("rules", 99), ("rules", -1), ("rules", 0, "none"), ("none",)]
    return [places.find(path, key=key) for path in known for key in (False, True)]


def agrees(text: str, bounds: Bounds = RULES) -> bool:
    """Say whether a text is ordinary; if it is, what was read must be what the strict reader makes of it."""
    ordinary, strict = read_ordinary(text, bounds), Strict(text, bounds)
    if ordinary is None:
        return False
    assert strict.findings == []
    # Written out, because True == 1 in Python.
    assert repr(ordinary.data) == repr(strict.data)
    assert ordinary.nodes == strict.nodes
    assert strict.tree is not None
    assert all_places(ordinary.places, strict.data) == all_places(strict.tree, strict.data)
    return True


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TEXT, id="rules"),
        pytest.param("format: x\ntests:\n  - { name: a, issuer: b, claims: {} }\n", id="another-list"),
        pytest.param("format: x\nrules: []\n", id="no-items"),
        pytest.param("{format: x, rules: [{name: a, why: b, issuer: c, claims: {}, grants: []}]}", id="flow"),
    ],
)
def test_an_ordinary_file_is_read_at_once_as_the_strict_reader_reads_it(text: str) -> None:
    assert agrees(text)


@pytest.mark.requirement("MP-01")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("just text\n", id="text"),
        pytest.param("- a\n", id="list"),
        pytest.param("a: [\n", id="syntax"),
        pytest.param("a: &b c\n", id="anchor"),
        pytest.param("a: b\nc: &x b\n", id="anchor-at-what-was-seen"),
        pytest.param("&x a: b\n", id="anchor-at-a-key"),
        pytest.param("a: &x [b]\n", id="anchor-at-a-list"),
        pytest.param("a: &x {b: c}\n", id="anchor-at-a-mapping"),
        pytest.param("a: &x b\nc: *x\n", id="alias"),
        pytest.param("a: b\nc: !!str b\n", id="tag"),
        pytest.param("a: !x [b]\n", id="tag-at-a-list"),
        pytest.param("<<: {a: b}\n", id="merge"),
        pytest.param("a: b\na: c\n", id="twice"),
        pytest.param("1: b\n", id="number-as-key"),
        pytest.param("[a]: b\n", id="list-as-key"),
        pytest.param("a: yes\n", id="surprise"),
        pytest.param("a:\n", id="no-value"),
        pytest.param("a: ' b'\n", id="blank-before"),
        pytest.param("a: p\N{CYRILLIC SMALL LETTER A}y\n", id="look-alike"),
        pytest.param(f"a: {'b' * (MAX_STRING + 1)}\n", id="long"),
        pytest.param(f"a: {'[' * (MAX_DEPTH)}b{']' * (MAX_DEPTH)}\n", id="deep"),
        pytest.param("a: b\n---\nc: d\n", id="two-documents"),
        pytest.param("%YAML 1.1\n---\na: b\n", id="directive"),
        pytest.param("rules:\n  - {name: a}\n", id="item-without-a-member"),
        pytest.param("rules: [a]\n", id="item-that-is-text"),
    ],
)
def test_what_is_remarkable_is_left_to_the_strict_reader(text: str) -> None:
    assert not agrees(text)


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(
    ("text", "ordinary"),
    [
        pytest.param("{a: 1, b: 1, c: 1, d: 1}", True, id="members"),
        pytest.param("{a: 1, b: 1, c: 1, d: 1, e: 1}", False, id="one-member-more"),
        pytest.param("a: [1, 2]", True, id="entries"),
        pytest.param("a: [1, 2, 3]", False, id="one-entry-more"),
        pytest.param("rules: [{name: a}, {name: b}]", True, id="items"),
        pytest.param("rules: [{name: a}, {name: b}, {name: c}]", False, id="one-item-more"),
        pytest.param(_FULL + "b: [[x], [x]]", True, id="nodes"),
        pytest.param(_FULL + "b: [[x], [x, x]]", False, id="one-node-more"),
    ],
)
def test_what_is_over_a_bound_is_left_to_the_strict_reader(text: str, ordinary: bool) -> None:
    assert agrees(text, _LITTLE) is ordinary


@pytest.mark.requirement("MP-01", "MP-03")
def test_whatever_an_edit_makes_of_a_file_both_readers_read_the_same() -> None:
    chance = random.Random(3)
    ordinary = 0

    for _ in range(3_000):
        text = TEXT
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(_PIECES) + text[at + chance.choice((0, 0, 1, 5, 40)) :]
        ordinary += agrees(text)

    assert 100 < ordinary < 2_900
