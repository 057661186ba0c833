"""Whether one token could satisfy several conditions at once: sample claims that do, or the proof that none exist."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.policy.claims import check_claim, same
from gateway.policy.rule import Condition, Operator, Scalar

_FINITE: Final = frozenset({Operator.EQUALS, Operator.ANY_OF})
# A value with its type: in Python True == 1.
Key = tuple[type, Scalar]


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


def finite_values(conditions: Iterable[Condition]) -> dict[str, frozenset[Key]]:
    """Return, by claim, the only values that are accepted; nothing for claims that may have any number of values."""
    found: dict[str, frozenset[Key]] = {}
    for condition in conditions:
        if condition.operator in _FINITE:
            keys = frozenset((type(value), value) for value in condition.wanted)
            found[condition.claim] = found.get(condition.claim, keys) & keys
    return found


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
        # Looked up, not compared pair by pair: two lists of a thousand values would cost a million comparisons.
        accepted = [{(type(value), value) for value in one.wanted} for one in finite[1:]]
        for value in finite[0].wanted:
            # An integer that no claim can match is not even the same as itself.
            fits = same(value, value) and all((type(value), value) in values for values in accepted)
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
    items: dict[Key, None] = {}
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
