"""Grants filed so that the cost of a decision does not depend on the number of rules."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.policy.claims import actor_depth, find_claim
from gateway.policy.rule import AwsRole, Condition, Grant, Operator, Rule, VaultRole, Verb

#: How a token's claim is taken apart before it is looked up.
Shape = Literal["scalar", "items", "scopes"]
Key = tuple[type, Hashable]
Place = tuple[str, Shape, Key]

#: So many rules may be compared with one token without anybody noticing the time.
_FEW = 16

_SHAPES: Mapping[Operator, Shape] = {
    Operator.EQUALS: "scalar",
    Operator.ANY_OF: "scalar",
    Operator.CONTAINS: "items",
    Operator.CONTAINS_ANY: "items",
    Operator.CONTAINS_ALL: "items",
    Operator.SCOPE: "scopes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """One grant of one rule.

    places: where it is filed: under the rule's most selective condition; empty: nowhere.
    actors: how many actors of the token's chain the rule's conditions describe.
    """

    rule: Rule
    grant: Grant
    places: "tuple[Place, ...]"
    actors: int


class Drawer:
    """The grants of one issuer for one verb and object, filed by each rule's most selective condition.

    claims: the claims that entries are filed under; few, whatever the number of rules.
    """

    __slots__ = ("_by_claim", "_loose", "claims", "forms", "targets")

    def __init__(self, entries: Iterable[Filed]) -> None:
        kept = tuple(entries)
        by_claim: dict[tuple[str, Shape], dict[Key, list[Filed]]] = defaultdict(lambda: defaultdict(list))
        for entry in kept:
            for claim, shape, key in entry.places:
                by_claim[claim, shape][key].append(entry)
        self._by_claim = {
            where: {key: tuple(found) for key, found in keys.items()} for where, keys in by_claim.items()
        }
        self._loose = tuple(entry for entry in kept if not entry.places)
        self.claims = tuple(dict.fromkeys(claim for claim, _ in self._by_claim))
        self.targets = frozenset(entry.grant.target.name for entry in kept)
        self.forms = frozenset(entry.grant.form for entry in kept)

    def candidates(self, members: Mapping[str, object]) -> Iterator[Filed]:
        """Yield every entry that these claims could satisfy, each once. The others certainly fail."""
        yield from self._loose
        seen: set[int] = set()
        for (claim, shape), keys in self._by_claim.items():
            for key in _keys_of(find_claim(members, claim), shape):
                for entry in keys.get(key, ()):
                    if id(entry) not in seen:
                        seen.add(id(entry))
                        yield entry


_EMPTY = Drawer(())


class GrantIndex:
    """All grants: by issuer, verb and object, and by issuer alone for the question what a token holds.

    The object is the workflow's name; for `obtain` the target's name and, filed a second time where AWS
    credentials are obtained, its IAM role's ARN.
    """

    __slots__ = ("_by_issuer", "_by_object")

    def __init__(
        self, by_object: Mapping[tuple[str, Verb, str], Drawer], by_issuer: Mapping[str, Drawer]
    ) -> None:
        self._by_object = by_object
        self._by_issuer = by_issuer

    @classmethod
    def build(cls, rules: Iterable[Rule]) -> "GrantIndex":
        """File the grants of all rules."""
        by_object: dict[tuple[str, Verb, str], list[Filed]] = defaultdict(list)
        by_issuer: dict[str, list[Filed]] = defaultdict(list)
        written = [(rule, [tuple(_places(one)) for one in rule.conditions]) for rule in rules]
        frequency = Counter(place for _, found in written for places in found for place in places)
        for rule, found in written:
            places = _filing_places(rule, found, frequency)
            actors = max((actor_depth(one.claim) for one in rule.conditions), default=0)
            for grant in rule.grants:
                entry = Filed(rule=rule, grant=grant, places=places, actors=actors)
                for issuer in rule.issuers:
                    by_issuer[issuer].append(entry)
                    for name in _objects(grant):
                        by_object[issuer, grant.verb, name].append(entry)
        return cls(
            {where: Drawer(entries) for where, entries in by_object.items()},
            {issuer: Drawer(entries) for issuer, entries in by_issuer.items()},
        )

    def drawer(self, issuer: str, verb: Verb, name: str) -> Drawer | None:
        """Return the grants of an issuer for a verb and an object, None when there are none at all."""
        return self._by_object.get((issuer, verb, name))

    def of_issuer(self, issuer: str) -> Drawer:
        """Return all grants of an issuer."""
        return self._by_issuer.get(issuer, _EMPTY)


def _objects(grant: Grant) -> tuple[str, ...]:
    if grant.workflow is not None:
        return (grant.workflow.name,)
    match grant.target:
        case AwsRole(name=name, arn=arn):
            return (name, str(arn))
        case VaultRole(name=name, aws=engine) if engine is not None and grant.form == "aws-credentials":
            return (name, str(engine.arn))
        case VaultRole(name=name):
            return (name,)


def _places(condition: Condition) -> Iterator[Place]:
    shape = _SHAPES.get(condition.operator)
    if shape is not None:
        for value in dict.fromkeys((type(value), value) for value in condition.wanted):
            yield condition.claim, shape, value


def _filing_places(
    rule: Rule, found: list[tuple[Place, ...]], frequency: Mapping[Place, int]
) -> tuple[Place, ...]:
    """Return the places of the first condition whose values few rules share, or of the one that the fewest share.

    The first and not the rarest: people write what a rule is about first, and a token that agrees in that and fails
    in another claim is then told all that failed.
    """
    usable = [(condition, places) for condition, places in zip(rule.conditions, found, strict=True) if places]
    if not usable:
        return ()
    shared = [max(map(frequency.__getitem__, places)) for _, places in usable]
    chosen = next((at for at, count in enumerate(shared) if count <= _FEW), shared.index(min(shared)))
    condition, places = usable[chosen]
    if condition.operator is Operator.CONTAINS_ALL:
        # All must be there, so one suffices to find the rule again: the rarest.
        return (min(places, key=frequency.__getitem__),)
    return places


def _keys_of(presented: object, shape: Shape) -> Iterable[Key]:
    if isinstance(presented, str):
        if shape == "scalar":
            return ((str, presented),)
        return ((str, item) for item in presented.split(" ")) if shape == "scopes" else ()
    if isinstance(presented, list):
        if shape == "scalar":
            return ()
        return ((type(item), item) for item in presented if isinstance(item, str | int))
    # bool is an int to Python; the type in the key keeps them apart.
    return ((type(presented), presented),) if shape == "scalar" and isinstance(presented, int) else ()
