"""Grants filed so that the cost of a decision does not depend on the number of rules."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from gateway.files.turns import step
from gateway.policy.census import Census, Key, Place, Shape, places_of
from gateway.policy.claims import actor_depth, find_claim
from gateway.policy.holdings import Holdings
from gateway.policy.rule import AwsRole, Grant, Rule, VaultRole, Verb

_Where = tuple[str, Shape]
#: A target's name and what is handed out.
_Kept = tuple[str, str | None]
_Filings = Mapping[_Where, Mapping[Key, tuple["Filed", ...]]]
_Name = TypeVar("_Name", tuple[str, Verb, str], str)


#: Sets of rules, of those that tokens satisfy together, for which is kept what that amounts to.
_MOST_HOLDINGS: Final = 1024
#: Grants in all of these, about 12 MB with what is said of them: a token may satisfy hundreds of rules.
_MOST_HELD: Final = 32_768


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filed:
    """One grant of one rule, equal to itself alone.

    places: where it is filed: under the rule's most selective condition; empty: nowhere.
    actors: how many actors of the token's chain the rule's conditions describe.
    """

    rule: Rule
    grant: Grant
    places: tuple[Place, ...]
    actors: int


class Drawer:
    """The grants of one issuer for one verb and object, filed by each rule's most selective condition.

    claims: the claims that entries are filed under, in their order; few, whatever the number of rules.
    """

    __slots__ = ("_by_claim", "_held", "_holdings", "_kept", "_loose", "claims", "forms", "targets")

    def __init__(self, by_claim: _Filings, loose: tuple[Filed, ...], held: Mapping[_Kept, int]) -> None:
        # In an order of their own: that of the rules would have to be found again whenever one of them changes.
        self._by_claim = dict(sorted(by_claim.items()))
        self._loose = loose
        self._held = held
        self._holdings: dict[tuple[Filed, ...], Holdings] = {}
        self._kept = 0
        self.claims = tuple(dict.fromkeys(claim for claim, _ in self._by_claim))
        self.targets = frozenset(target for target, _ in held)
        self.forms = frozenset(form for _, form in held)

    @classmethod
    def build(cls, entries: Iterable[Filed]) -> "Drawer":
        """File these, which are in the order of the rules."""
        by_claim: dict[_Where, dict[Key, list[Filed]]] = defaultdict(lambda: defaultdict(list))
        loose: list[Filed] = []
        held: dict[_Kept, int] = {}
        for entry in entries:
            step()
            kept = entry.grant.target.name, entry.grant.form
            held[kept] = held.get(kept, 0) + 1
            if not entry.places:
                loose.append(entry)
            for claim, shape, key in entry.places:
                by_claim[claim, shape][key].append(entry)
        filings = {
            where: {key: tuple(found) for key, found in keys.items()} for where, keys in by_claim.items()
        }
        return cls(filings, tuple(loose), held)

    def after(self, gone: Sequence[Filed], come: Sequence[Filed], order: "Order") -> "Drawer":
        """Return what `build` would make of the entries of this one without `gone` and with `come`."""
        held = dict(self._held)
        for one, more in (*((entry, -1) for entry in gone), *((entry, 1) for entry in come)):
            kept = one.grant.target.name, one.grant.form
            held[kept] = held.get(kept, 0) + more
        by_claim = dict(self._by_claim)
        changes = _by_place(gone, come)
        for where, keys in changes.items():
            filed = dict(by_claim.get(where, {}))
            for key, change in keys.items():
                filed[key] = change.apply(filed.get(key, ()), order)
                if not filed[key]:
                    del filed[key]
            by_claim[where] = filed
        loose = _Change(
            gone=[entry for entry in gone if not entry.places], come=[one for one in come if not one.places]
        )
        return Drawer(
            {where: filed for where, filed in by_claim.items() if filed},
            loose.apply(self._loose, order),
            {kept: count for kept, count in held.items() if count},
        )

    @property
    def is_empty(self) -> bool:
        """Say whether nothing is filed here."""
        return not self._held

    def candidates(self, members: Mapping[str, object]) -> list[Filed]:
        """Return every entry that these claims could satisfy, each once. The others certainly fail."""
        found = [*self._loose]
        for (claim, shape), keys in self._by_claim.items():
            for key in _keys_of(find_claim(members, claim), shape):
                found += keys.get(key, ())
        return list(dict.fromkeys(found))

    def holdings(self, entries: Sequence[Filed]) -> "Holdings":
        """Return what tokens hold that satisfy the rules of these entries: the same value while it is kept."""
        key = tuple(entries)
        held = self._holdings.get(key)
        if held is None:
            held = Holdings.of((entry.grant, entry.rule.replay) for entry in key)
            self._keep(key, held)
        return held

    def _keep(self, key: tuple[Filed, ...], held: "Holdings") -> None:
        if len(key) > _MOST_HELD:
            return
        if len(self._holdings) >= _MOST_HOLDINGS or self._kept + len(key) > _MOST_HELD:
            self._holdings.clear()
            self._kept = 0
        self._holdings[key] = held
        self._kept += len(key)


_EMPTY = Drawer({}, (), {})


class GrantIndex:
    """All grants: by issuer, verb and object, and by issuer alone for the question what a token holds.

    The object is the workflow's name; for `obtain` the target's name and, filed a second time where AWS
    credentials are obtained, its IAM role's ARN.
    """

    __slots__ = ("_by_issuer", "_by_object", "_census")

    def __init__(
        self,
        by_object: Mapping[tuple[str, Verb, str], Drawer],
        by_issuer: Mapping[str, Drawer],
        census: Census,
    ) -> None:
        self._by_object = by_object
        self._by_issuer = by_issuer
        self._census = census

    @classmethod
    def build(cls, rules: Iterable[Rule]) -> "GrantIndex":
        """File the grants of all rules."""
        by_object: dict[tuple[str, Verb, str], list[Filed]] = defaultdict(list)
        by_issuer: dict[str, list[Filed]] = defaultdict(list)
        written = list(places_of(rules))
        census = Census.of(found for _, found in written)
        for rule, found in written:
            _file(rule, census.choose(rule, found), by_object, by_issuer)
        return cls(
            {where: Drawer.build(entries) for where, entries in by_object.items()},
            {issuer: Drawer.build(entries) for issuer, entries in by_issuer.items()},
            census,
        )

    def after(self, gone: Sequence[Rule], come: Sequence[Rule], rules: Sequence[Rule]) -> "GrantIndex":
        """Return what `build` would make of `rules`, at the cost of what has changed.

        gone, come: what must be taken from the rules of this index, and added to them, to make those; the others stand in
        the same order among each other.
        """
        left, new = list(places_of(gone)), list(places_of(come))
        census = self._census.after([found for _, found in left], [found for _, found in new])
        if census is None:
            return GrantIndex.build(rules)
        off, on = _Entries(), _Entries()
        for rule, found in left:
            # Where it was filed: by the numbers of then.
            _file(rule, self._census.choose(rule, found), off.by_object, off.by_issuer)
        for rule, found in new:
            _file(rule, census.choose(rule, found), on.by_object, on.by_issuer)
        order = Order(rules)
        return GrantIndex(
            _refiled(self._by_object, off.by_object, on.by_object, order),
            _refiled(self._by_issuer, off.by_issuer, on.by_issuer, order),
            census,
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


def _file(
    rule: Rule,
    places: tuple[Place, ...],
    by_object: dict[tuple[str, Verb, str], list[Filed]],
    by_issuer: dict[str, list[Filed]],
) -> None:
    step()
    actors = max((actor_depth(one.claim) for one in rule.conditions), default=0)
    for grant in rule.grants:
        entry = Filed(rule=rule, grant=grant, places=places, actors=actors)
        for issuer in rule.issuers:
            by_issuer[issuer].append(entry)
            for name in _objects(grant):
                by_object[issuer, grant.verb, name].append(entry)


@dataclass(frozen=True, slots=True)
class _Entries:
    by_object: dict[tuple[str, Verb, str], list[Filed]] = field(default_factory=lambda: defaultdict(list))
    by_issuer: dict[str, list[Filed]] = field(default_factory=lambda: defaultdict(list))


def _refiled(
    drawers: Mapping[_Name, Drawer],
    gone: Mapping[_Name, list[Filed]],
    come: Mapping[_Name, list[Filed]],
    order: "Order",
) -> Mapping[_Name, Drawer]:
    made = dict(drawers)
    for name in {**gone, **come}:
        step()
        drawer = drawers.get(name, _EMPTY).after(gone.get(name, ()), come.get(name, ()), order)
        if drawer.is_empty:
            made.pop(name, None)
        else:
            made[name] = drawer
    return made


class Order:
    """Which rule stands before which."""

    __slots__ = ("_at", "_rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._at: Mapping[str, int] | None = None

    def __call__(self, entry: Filed) -> int:
        """Return the place of an entry's rule among all."""
        if self._at is None:
            self._at = {rule.id: number for number, rule in enumerate(self._rules)}
        return self._at[entry.rule.id]


@dataclass(frozen=True, slots=True)
class _Change:
    """What happens to entries that are filed together."""

    gone: list[Filed] = field(default_factory=list)
    come: list[Filed] = field(default_factory=list)

    def apply(self, filed: tuple[Filed, ...], order: Order) -> tuple[Filed, ...]:
        rules = {id(entry.rule) for entry in self.gone}
        stay = [entry for entry in filed if id(entry.rule) not in rules]
        if len(stay) + len(self.gone) != len(filed):
            raise LookupError("A rule is not filed where it should be.")
        if not stay:
            return tuple(self.come)
        # Stable, so that the grants of each rule keep their order.
        return tuple(sorted((*stay, *self.come), key=order)) if self.come else tuple(stay)


def _by_place(gone: Iterable[Filed], come: Iterable[Filed]) -> Mapping[_Where, Mapping[Key, _Change]]:
    found: dict[_Where, dict[Key, _Change]] = defaultdict(lambda: defaultdict(_Change))
    for entry in gone:
        for claim, shape, key in entry.places:
            found[claim, shape][key].gone.append(entry)
    for entry in come:
        for claim, shape, key in entry.places:
            found[claim, shape][key].come.append(entry)
    return found


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
