"""Grants filed so that the cost of a decision does not depend on the number of rules."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from gateway.policy.claims import find_claim
from gateway.policy.rule import AwsRole, Condition, Grant, Operator, Rule, VaultRole, Verb

#: How a token's claim is taken apart before it is looked up.
Shape = Literal["scalar", "items", "scopes"]
Key = tuple[type, Hashable]

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
    """One grant of one rule."""

    rule: Rule
    grant: Grant


class Drawer:
    """The grants of one issuer for one verb and object, filed by each rule's most selective condition.

    claims: the claims that entries are filed under; few, whatever the number of rules.
    """

    __slots__ = ("_by_claim", "_loose", "claims", "forms", "targets")

    def __init__(self, entries: Iterable[Filed]) -> None:
        kept = tuple(entries)
        frequency = Counter(
            place for entry in kept for condition in entry.rule.conditions for place in _places(condition)
        )
        by_claim: dict[tuple[str, Shape], dict[Key, list[Filed]]] = defaultdict(lambda: defaultdict(list))
        loose: list[Filed] = []
        for entry in kept:
            chosen = _most_selective(entry.rule.conditions, frequency)
            if chosen is None:
                loose.append(entry)
                continue
            for claim, shape, key in _filing_places(chosen, frequency):
                by_claim[claim, shape][key].append(entry)
        self._by_claim = {
            where: {key: tuple(found) for key, found in keys.items()} for where, keys in by_claim.items()
        }
        self._loose = tuple(loose)
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
        for rule in rules:
            for grant in rule.grants:
                entry = Filed(rule=rule, grant=grant)
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


def _places(condition: Condition) -> Iterator[tuple[str, Shape, Key]]:
    shape = _SHAPES.get(condition.operator)
    if shape is not None:
        for value in condition.wanted:
            yield condition.claim, shape, (type(value), value)


def _most_selective(
    conditions: tuple[Condition, ...], frequency: Mapping[tuple[str, Shape, Key], int]
) -> Condition | None:
    """Return the condition whose values the fewest other grants share; the first one written where several do."""
    fitting = [condition for condition in conditions if condition.operator in _SHAPES and condition.wanted]
    return min(
        fitting, key=lambda condition: max(frequency[place] for place in _places(condition)), default=None
    )


def _filing_places(
    condition: Condition, frequency: Mapping[tuple[str, Shape, Key], int]
) -> list[tuple[str, Shape, Key]]:
    places = list(_places(condition))
    if condition.operator is Operator.CONTAINS_ALL:
        # All must be there, so one suffices to find the rule again: the rarest.
        return [min(places, key=lambda place: frequency[place])]
    return list(dict.fromkeys(places))


def _keys_of(presented: object, shape: Shape) -> Iterator[Key]:
    match shape, presented:
        case "scalar", str() | int():
            yield type(presented), presented
        case (("items" | "scopes"), list()):
            yield from ((type(item), item) for item in presented if isinstance(item, str | int))
        case "scopes", str():
            yield from ((str, item) for item in presented.split(" "))
        case _:
            return
