"""Which rules one token could satisfy together: sample claims for several rules at once, or the proof that none exist."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from gateway.policy.claims import check_claim, same
from gateway.policy.rule import Condition, Operator, Rule, Scalar, Verb

#: Pairs of rules that are looked at in one compilation; well-bound rules need almost none.
MAX_PAIRS: Final = 200_000
#: Overlaps that are shown; whoever has more has one reason for all of them.
MAX_FOUND: Final = 200

_FINITE: Final = frozenset({Operator.EQUALS, Operator.ANY_OF})
# A value with its type: in Python True == 1.
_Key = tuple[type, Scalar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two rules that one token satisfies and that answer differently.

    issuer: the name of it. targets: those of the first and of the second rule. sample: claims that satisfy both.
    """

    first: Rule
    second: Rule
    issuer: str
    verb: Verb
    workflow: str
    targets: tuple[frozenset[str], frozenset[str]]
    sample: Mapping[str, object]


def sample_claims(conditions: Iterable[Condition]) -> dict[str, object] | None:
    """Return claims that satisfy all conditions, None when there are none."""
    wanted = tuple(conditions)
    by_path: dict[tuple[str, ...], list[Condition]] = defaultdict(list)
    for condition in wanted:
        by_path[_path(condition.claim)].append(condition)
    sample: dict[str, object] = {}
    # Longer paths last: an object must not replace a value that stands above it.
    for path, same_claim in sorted(by_path.items(), key=lambda item: len(item[0])):
        if all(condition.operator is Operator.ABSENT for condition in same_claim):
            continue
        value = _one_value(same_claim)
        if value is None or not _put(sample, path, value):
            return None
    # What was built is judged like a token: nothing is claimed here that the decision would not do.
    holds = all(check_claim(condition, sample).outcome == "matched" for condition in wanted)
    return sample if holds else None


def satisfiable(conditions: Sequence[Condition]) -> bool:
    """Say whether some token could satisfy all conditions."""
    claims = [condition.claim for condition in conditions]
    # Conditions on different members cannot contradict each other; most rules end here.
    if len(set(claims)) == len(claims) and not any(claim.startswith("/") for claim in claims):
        return True
    return sample_claims(conditions) is not None


def _path(claim: str) -> tuple[str, ...]:
    if not claim.startswith("/"):
        return (claim,)
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in claim[1:].split("/"))


def _one_value(conditions: Sequence[Condition]) -> object:
    """Return a value of one claim that satisfies all conditions on it, None when there is none."""
    finite = [condition for condition in conditions if condition.operator in _FINITE]
    if finite:
        others = [condition for condition in conditions if condition.operator not in _FINITE]
        for value in finite[0].wanted:
            fits = all(any(same(value, other) for other in one.wanted) for one in finite[1:])
            if fits and all(
                one.operator is Operator.SCOPE
                and isinstance(value, str)
                and one.wanted[0] in value.split(" ")
                for one in others
            ):
                return value
        return None
    if all(condition.operator is Operator.SCOPE for condition in conditions):
        return " ".join(dict.fromkeys(str(condition.wanted[0]) for condition in conditions))
    return _one_list(conditions)


def _one_list(conditions: Iterable[Condition]) -> list[object] | None:
    items: dict[_Key, None] = {}
    for condition in conditions:
        match condition.operator:
            case Operator.CONTAINS | Operator.CONTAINS_ALL | Operator.SCOPE:
                items |= dict.fromkeys((type(value), value) for value in condition.wanted)
            case Operator.CONTAINS_ANY:
                items[type(condition.wanted[0]), condition.wanted[0]] = None
            case _:
                return None
    return [value for _, value in items]


def _put(sample: dict[str, object], path: Sequence[str], value: object) -> bool:
    here = sample
    for part in path[:-1]:
        below = here.setdefault(part, {})
        if not isinstance(below, dict):
            return False
        here = below
    return here.setdefault(path[-1], value) is value


@dataclass(frozen=True, slots=True)
class _Entry:
    """A rule as it answers for one issuer and workflow. finite: per claim the values that are accepted."""

    rule: Rule
    targets: Mapping[Verb, frozenset[str]]
    finite: Mapping[str, frozenset[_Key]]


def find_overlaps(
    rules: Iterable[Rule], requirements: Mapping[str, tuple[Condition, ...]]
) -> tuple[tuple[Overlap, ...], bool]:
    """Return pairs of rules that one token satisfies with different targets for one workflow.

    requirements: by issuer name, what all its tokens have.
    The second value is False when there were too many to look at them all.
    """
    search = _Search(requirements)
    for (issuer, workflow), entries in _by_object(rules).items():
        if len({target for entry in entries for held in entry.targets.values() for target in held}) > 1:
            search.look(entries, issuer, workflow)
    return tuple(search.found), search.left > 0


def _by_object(rules: Iterable[Rule]) -> Mapping[tuple[str, str], list[_Entry]]:
    found: dict[tuple[str, str], list[_Entry]] = defaultdict(list)
    for rule in rules:
        targets: dict[str, dict[Verb, set[str]]] = defaultdict(lambda: defaultdict(set))
        for grant in rule.grants:
            if grant.workflow is not None:
                targets[grant.workflow.name][grant.verb].add(grant.target.name)
        if targets:
            finite = _finite(rule.conditions)
            for workflow, by_verb in targets.items():
                held = {verb: frozenset(names) for verb, names in by_verb.items()}
                for issuer in rule.issuers:
                    found[issuer, workflow].append(_Entry(rule, held, finite))
    return found


def _finite(conditions: Iterable[Condition]) -> Mapping[str, frozenset[_Key]]:
    return {
        condition.claim: frozenset((type(value), value) for value in condition.wanted)
        for condition in conditions
        if condition.operator in _FINITE
    }


class _Search:
    def __init__(self, requirements: Mapping[str, tuple[Condition, ...]]) -> None:
        self._requirements = requirements
        self._seen: set[tuple[str, str, str, str]] = set()
        self.found: list[Overlap] = []
        self.left = MAX_PAIRS

    def look(self, entries: Sequence[_Entry], issuer: str, workflow: str) -> None:
        def compare(first: _Entry, second: _Entry) -> None:
            self._compare(first, second, issuer, workflow)

        self._split(entries, frozenset(), compare)

    def _split(
        self, entries: Sequence[_Entry], used: frozenset[str], compare: Callable[[_Entry, _Entry], None]
    ) -> None:
        """Compare only rules that some value of a claim could bring together."""
        claim = _best_claim(entries, used) if len(entries) > 4 else None
        if claim is None:
            self._compare_all(combinations(entries, 2), compare)
            return
        buckets: dict[_Key, list[_Entry]] = defaultdict(list)
        loose: list[_Entry] = []
        for entry in entries:
            values = entry.finite.get(claim)
            if values is None:
                loose.append(entry)
            for value in values or ():
                buckets[value].append(entry)
        for bucket in buckets.values():
            self._split(bucket, used | {claim}, compare)
        self._compare_all(_with_loose(loose, entries, claim), compare)

    def _compare_all(
        self, pairs: Iterable[tuple[_Entry, _Entry]], compare: Callable[[_Entry, _Entry], None]
    ) -> None:
        for first, second in pairs:
            if self.left <= 0:
                return
            compare(first, second)

    def _compare(self, first: _Entry, second: _Entry, issuer: str, workflow: str) -> None:
        self.left -= 1
        if first.rule.id == second.rule.id:
            return
        if any(
            values.isdisjoint(second.finite[claim])
            for claim, values in first.finite.items()
            if claim in second.finite
        ):
            return
        disagreement = _disagreement(first, second)
        low, high = sorted((first.rule.id, second.rule.id))
        key = (low, high, issuer, workflow)
        if disagreement is None or key in self._seen:
            return
        sample = sample_claims(
            (*self._requirements.get(issuer, ()), *first.rule.conditions, *second.rule.conditions)
        )
        if sample is not None:
            self._seen.add(key)
            if len(self.found) == MAX_FOUND:
                self.left = 0
                return
            verb, targets = disagreement
            self.found.append(
                Overlap(
                    first=first.rule,
                    second=second.rule,
                    issuer=issuer,
                    verb=verb,
                    workflow=workflow,
                    targets=targets,
                    sample=sample,
                )
            )


def _best_claim(entries: Sequence[_Entry], used: frozenset[str]) -> str | None:
    values: dict[str, set[_Key]] = defaultdict(set)
    for entry in entries:
        for claim, accepted in entry.finite.items():
            if claim not in used:
                values[claim] |= accepted
    best = max(values, key=lambda claim: len(values[claim]), default=None)
    return best if best is not None and len(values[best]) > 1 else None


def _with_loose(
    loose: Sequence[_Entry], entries: Sequence[_Entry], claim: str
) -> Iterator[tuple[_Entry, _Entry]]:
    yield from combinations(loose, 2)
    for first in loose:
        for second in entries:
            if claim in second.finite:
                yield first, second


def _disagreement(first: _Entry, second: _Entry) -> tuple[Verb, tuple[frozenset[str], frozenset[str]]] | None:
    """Return the verb for which both together offer more targets than either alone."""
    nothing: frozenset[str] = frozenset()
    verbs: tuple[Verb, ...] = ("start", "view", "stop")
    for verb in verbs:
        # Whoever may start a workflow sees and stops what it started itself.
        one, other = (
            entry.targets.get(verb, nothing) | entry.targets.get("start", nothing)
            for entry in (first, second)
        )
        if one and other and (one | other) not in (one, other):
            return verb, (one, other)
    return None
