"""How many rules share each value of a claim, and so the condition that each rule is best filed under."""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

from gateway.files.turns import step
from gateway.policy.rule import Condition, Operator, Rule

#: How a token's claim is taken apart before it is looked up.
Shape = Literal["scalar", "items", "scopes"]
Key = tuple[type, Hashable]
Place = tuple[str, Shape, Key]
#: Of each condition of a rule the places that it can be filed at.
Places = Sequence[tuple[Place, ...]]

#: So many rules may be compared with one token without anybody noticing the time.
_FEW: Final = 16
#: What has changed is kept apart until it is this share of everything.
_APART: Final = 8

_SHAPES: Mapping[Operator, Shape] = {
    Operator.EQUALS: "scalar",
    Operator.ANY_OF: "scalar",
    Operator.CONTAINS: "items",
    Operator.CONTAINS_ANY: "items",
    Operator.CONTAINS_ALL: "items",
    Operator.SCOPE: "scopes",
}


def places_of(rules: Iterable[Rule]) -> Iterator[tuple[Rule, Places]]:
    """Yield each rule with, for each of its conditions, the places that it can be filed at; empty: nowhere."""
    # Many rules of a team share the very same conditions. Each is kept beside its places: its number stays its own.
    known: dict[int, tuple[Condition, tuple[Place, ...]]] = {}
    for rule in rules:
        step()
        found = []
        for one in rule.conditions:
            kept = known.get(id(one))
            if kept is None:
                kept = known[id(one)] = one, tuple(_places(one))
            found.append(kept[1])
        yield rule, found


class Census:
    """Counts of all places; another one is made when they change.

    counts:  of all rules when they were last counted together; changed: what is different since.
    watched: places whose very number decided where some rule is filed, and not only whether they are few.
    """

    __slots__ = ("_changed", "_counts", "_watched")

    def __init__(
        self, counts: Mapping[Place, int], changed: Mapping[Place, int], watched: set[Place]
    ) -> None:
        self._counts = counts
        self._changed = changed
        self._watched = watched

    @classmethod
    def of(cls, rules: Iterable[Places]) -> "Census":
        """Count those of all rules."""
        return cls(Counter(_each_place(rules)), {}, set())

    def after(self, gone: Iterable[Places], come: Iterable[Places]) -> "Census | None":
        """Count anew; None when rules that are neither gone nor new may have to be filed elsewhere now."""
        less = Counter(place for found in gone for places in found for place in places)
        more = Counter(place for found in come for places in found for place in places)
        changed = dict(self._changed)
        for place in {**less, **more}:
            before, others = self._count(place), self._count(place) - less[place]
            now = others + more[place]
            if now == before:
                continue
            if others and ((before <= _FEW) is not (now <= _FEW) or place in self._watched):
                return None
            changed[place] = now
        if len(changed) * _APART <= len(self._counts):
            return Census(self._counts, changed, set(self._watched))
        together = {place: count for place, count in {**self._counts, **changed}.items() if count}
        return Census(together, {}, set(self._watched))

    def choose(self, rule: Rule, found: Places) -> tuple[Place, ...]:
        """Return the places of the first condition whose values few rules share, or of the one that the fewest share.

        The first and not the rarest: people write what a rule is about first, and a token that agrees in that and fails
        in another claim is then told all that failed.
        """
        usable = [
            (condition, places) for condition, places in zip(rule.conditions, found, strict=True) if places
        ]
        if not usable:
            return ()
        shared = []
        for _, places in usable:
            shared.append(max(map(self._count, places)) if len(places) > 1 else self._count(places[0]))
            if shared[-1] <= _FEW:
                break
        chosen = shared.index(min(shared))
        if shared[chosen] > _FEW:
            self._watched.update(place for _, places in usable for place in places)
        condition, places = usable[chosen]
        if condition.operator is Operator.CONTAINS_ALL:
            # All must be there, so one suffices to find the rule again: the rarest.
            self._watched.update(places)
            return (min(places, key=self._count),)
        return places

    def _count(self, place: Place) -> int:
        count = self._changed.get(place)
        return self._counts.get(place, 0) if count is None else count


def _each_place(rules: Iterable[Places]) -> Iterator[Place]:
    for found in rules:
        step()
        for places in found:
            yield from places


def _places(condition: Condition) -> Iterator[Place]:
    shape = _SHAPES.get(condition.operator)
    if shape is not None:
        for value in dict.fromkeys((type(value), value) for value in condition.wanted):
            yield condition.claim, shape, value
