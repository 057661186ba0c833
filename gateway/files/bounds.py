"""How much of a YAML file is read before it is given up, by its format.

A file's length says little about its cost: eight mebibytes hold an ordinary 27,000 rules, or two million empty lists that
take a hundred times their bytes once they are values with places, and again once each is a mistake. So what is read is
counted while it is read, and what is over a bound is neither read on nor kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

#: What a list or mapping counts, where a key, text or number counts one: it takes four times their memory and time.
COLLECTION_NODES: Final = 4
#: Keys and values of one file. Ordinary rules count 46 in 310 bytes, so that 8 MiB of them have 1,250,000.
MAX_NODES: Final = 1_500_000
#: Of all files of rules of one team: 100,000 rules that count 60 each, and have 670 bytes each.
MAX_TEAM_NODES: Final = 6_000_000
MAX_TEAM_BYTES: Final = 64 * 1024 * 1024
#: Of all files of tests of one team: 8,000 tests of a kilobyte each.
MAX_TESTS_BYTES: Final = 8 * 1024 * 1024
#: Mistakes of one file, after which it is taken for something else than what it should be.
MAX_MISTAKES: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """A list below the top of a file. most: its items; compulsory: members that each has."""

    most: int
    compulsory: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What one file may hold at most.

    nodes:   its keys and values, lists and mappings counted as COLLECTION_NODES.
    members: of one mapping; entries: of one list, those of `items` left out.
    items:   the long lists, by their names.
    """

    nodes: int = MAX_NODES
    members: int = 100_000
    entries: int = 100_000
    items: Mapping[str, Items] = field(default_factory=dict)

    def within(self, nodes: int) -> "Bounds":
        """Return the same with no more than so many keys and values."""
        return replace(self, nodes=min(self.nodes, nodes))


CENTRAL: Final = Bounds()
# Of members and entries the formats take half at most; up to here a finding says which list is too long, and by what.
RULES: Final = Bounds(
    members=1_000,
    entries=10_000,
    items={"rules": Items(most=100_000, compulsory=frozenset({"name", "why", "issuer", "claims", "grants"}))},
)
TESTS: Final = Bounds(
    members=1_000,
    entries=10_000,
    items={"tests": Items(most=1_000, compulsory=frozenset({"name", "issuer", "claims"}))},
)
