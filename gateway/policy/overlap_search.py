"""The search for rules that one token satisfies together and that answer differently; bounded by the work it does."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Final

from gateway.files.turns import step
from gateway.policy.overlap import Key, finite_values, sample_claims
from gateway.policy.rule import Condition, Rule, Verb

#: Overlaps that are shown; whoever has more has one reason for all of them.
MAX_FOUND: Final = 200
#: What one search may cost, in values visited: about a second at worst. Ten thousand well-bound rules need a tenth of it.
MAX_WORK: Final = 1_000_000

# A pair is looked up, remembered and its claims compared; for a sample, claims are put together and judged.
_PAIR_WORK: Final = 10
_SAMPLE_WORK: Final = 200

_Targets = Mapping[Verb, frozenset[str]]
_Disagreement = tuple[Verb, tuple[frozenset[str], frozenset[str]]]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """What a search found. complete: False when there was more to look at than it may cost; work: what it cost."""

    overlaps: tuple[Overlap, ...]
    complete: bool
    work: int


def find_overlaps(
    rules: Iterable[Rule], requirements: Mapping[str, tuple[Condition, ...]], *, max_work: int = MAX_WORK
) -> Searched:
    """Find pairs of rules that one token satisfies with different targets for one workflow.

    requirements: by issuer name, what all its tokens have.
    """
    search = _Search(requirements, max_work)
    complete = True
    try:
        search.run(rules)
    except _Spent:
        complete = False
    return Searched(overlaps=tuple(search.found), complete=complete, work=max_work - search.left)


class _Spent(Exception):
    """The search has cost what it may, or found all that is shown."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A rule as it answers for one workflow.

    kind:   the same for rules with the same targets, which never disagree.
    finite: per claim the values that are accepted. size: number of these values, and one.
    """

    rule: Rule
    kind: int
    finite: Mapping[str, frozenset[Key]]
    size: int


class _Search:
    def __init__(self, requirements: Mapping[str, tuple[Condition, ...]], max_work: int) -> None:
        self._requirements = requirements
        self._kinds: list[_Targets] = []
        self._disagreements: dict[tuple[int, int], _Disagreement | None] = {}
        self._issuer = self._workflow = ""
        self._compared: set[tuple[int, int]] = set()
        self.found: list[Overlap] = []
        self.left = max_work

    def run(self, rules: Iterable[Rule]) -> None:
        for (issuer, workflow), entries in self._by_object(rules).items():
            self._issuer, self._workflow = issuer, workflow
            self._compared = set()
            self._split(entries)

    def _spend(self, work: int) -> None:
        step()
        self.left -= work
        if self.left < 0:
            self.left = 0
            raise _Spent

    def _by_object(self, rules: Iterable[Rule]) -> Mapping[tuple[str, str], list[_Entry]]:
        """Return rules by issuer and workflow where their targets differ; where all have the same, none disagree."""
        named: dict[tuple[str, str], list[tuple[Rule, int]]] = defaultdict(list)
        kinds: dict[frozenset[tuple[Verb, frozenset[str]]], int] = {}
        for rule in rules:
            self._spend(len(rule.issuers))
            for workflow, targets in _targets(rule).items():
                kind = kinds.setdefault(frozenset(targets.items()), len(kinds))
                if kind == len(self._kinds):
                    self._kinds.append(targets)
                for issuer in rule.issuers:
                    named[issuer, workflow].append((rule, kind))
        return {
            name: [self._entry(rule, kind) for rule, kind in found]
            for name, found in named.items()
            if len({kind for _, kind in found}) > 1
        }

    def _entry(self, rule: Rule, kind: int) -> _Entry:
        finite = finite_values(rule.conditions)
        size = 1 + sum(map(len, finite.values()))
        self._spend(size)
        return _Entry(rule, kind, finite, size)

    def _split(self, entries: Sequence[_Entry]) -> None:
        """Compare only rules that some value of a claim could bring together."""
        if len({entry.kind for entry in entries}) < 2:
            return
        self._spend(sum(entry.size for entry in entries))
        split = _best_split(entries) if len(entries) > 4 else None
        if split is None:
            self._compare_all(self._different(entries))
            return
        for group in split.groups:
            self._split(group)
        self._compare_all(combinations(split.loose, 2))
        self._compare_all(product(split.loose, split.bound))

    def _different(self, entries: Sequence[_Entry]) -> Iterator[tuple[_Entry, _Entry]]:
        by_kind: dict[int, list[_Entry]] = defaultdict(list)
        for entry in entries:
            by_kind[entry.kind].append(entry)
        for one, other in combinations(by_kind, 2):
            self._spend(_PAIR_WORK)
            if self._disagreement(one, other) is not None:
                yield from product(by_kind[one], by_kind[other])

    def _compare_all(self, pairs: Iterable[tuple[_Entry, _Entry]]) -> None:
        for first, second in pairs:
            self._spend(_PAIR_WORK)
            pair = (id(first), id(second)) if id(first) < id(second) else (id(second), id(first))
            if pair not in self._compared:
                self._compared.add(pair)
                self._compare(first, second)

    def _compare(self, first: _Entry, second: _Entry) -> None:
        disagreement = self._disagreement(first.kind, second.kind)
        if disagreement is None:
            return
        for claim, values in first.finite.items():
            others = second.finite.get(claim)
            if others is not None:
                self._spend(min(len(values), len(others)))
                if values.isdisjoint(others):
                    return
        required = self._requirements.get(self._issuer, ())
        conditions = (*required, *first.rule.conditions, *second.rule.conditions)
        self._spend(_SAMPLE_WORK + sum(len(condition.wanted) for condition in conditions))
        sample = sample_claims(conditions)
        if sample is not None:
            self._take(first.rule, second.rule, disagreement, sample)

    def _take(
        self, first: Rule, second: Rule, disagreement: _Disagreement, sample: Mapping[str, object]
    ) -> None:
        if len(self.found) == MAX_FOUND:
            raise _Spent
        verb, targets = disagreement
        self.found.append(
            Overlap(
                first=first,
                second=second,
                issuer=self._issuer,
                verb=verb,
                workflow=self._workflow,
                targets=targets,
                sample=sample,
            )
        )

    def _disagreement(self, one: int, other: int) -> _Disagreement | None:
        key = (one, other)
        if key not in self._disagreements:
            self._disagreements[key] = _disagreement(self._kinds[one], self._kinds[other])
        return self._disagreements[key]


def _targets(rule: Rule) -> Mapping[str, _Targets]:
    """Return, by workflow and verb, the targets that a rule offers."""
    found: dict[str, dict[Verb, frozenset[str]]] = defaultdict(dict)
    for grant in rule.grants:
        if grant.workflow is not None:
            held = found[grant.workflow.name]
            held[grant.verb] = held.get(grant.verb, frozenset()) | {grant.target.name}
    return found


@dataclass(frozen=True, slots=True)
class _Split:
    """Rules parted by the values of a claim. loose: those that do not say which values; bound: the others."""

    groups: Iterable[Sequence[_Entry]]
    loose: Sequence[_Entry]
    bound: Sequence[_Entry]


def _best_split(entries: Sequence[_Entry]) -> _Split | None:
    """Return the split that leaves the fewest pairs; None when none leaves a tenth less than there are."""
    # Leaving fewer pairs at each step is what ends this: lists of values in every claim would multiply otherwise.
    best, fewest = None, _pairs(len(entries)) * 0.9
    by_claim: dict[str, dict[Key, list[int]]] = defaultdict(lambda: defaultdict(list))
    bound: Counter[str] = Counter()
    for number, entry in enumerate(entries):
        bound.update(entry.finite.keys())
        for claim, values in entry.finite.items():
            for value in values:
                by_claim[claim][value].append(number)
    for claim, by_value in by_claim.items():
        # Values that the same rules accept bring the same rules together: one of them stands for all.
        groups = {tuple(numbers) for numbers in by_value.values() if len(numbers) > 1}
        loose = len(entries) - bound[claim]
        left = sum(_pairs(len(group)) for group in groups) + _pairs(loose) + loose * bound[claim]
        if left < fewest:
            best, fewest = (claim, groups), left
    if best is None:
        return None
    claim, groups = best
    return _Split(
        groups=[[entries[number] for number in group] for group in sorted(groups)],
        loose=[entry for entry in entries if claim not in entry.finite],
        bound=[entry for entry in entries if claim in entry.finite],
    )


def _pairs(number: int) -> int:
    return number * (number - 1) // 2


def _disagreement(first: _Targets, second: _Targets) -> _Disagreement | None:
    """Return the verb for which both together offer more targets than either alone."""
    nothing: frozenset[str] = frozenset()
    verbs: tuple[Verb, ...] = ("start", "view", "stop")
    for verb in verbs:
        # Whoever may start a workflow sees and stops what it started itself.
        one, other = (
            targets.get(verb, nothing) | targets.get("start", nothing) for targets in (first, second)
        )
        if one and other and (one | other) not in (one, other):
            return verb, (one, other)
    return None
