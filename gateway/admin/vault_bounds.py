"""What rules demand of a token, as far as a role of Vault's JWT auth can say it: never narrower than the rules. Pure.

Vault compares one list of values for each claim, and all claims must fit; it knows no "or" between rules, no absent claims
and no scopes. So a role binds the claims that all its rules have in common, each to the union of their values.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.policy.rule import Condition, Operator, Scalar

Bounds = Mapping[str, tuple[Scalar, ...]]

_SCALARS: Final = frozenset({Operator.EQUALS, Operator.ANY_OF})
_LARGEST: Final = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Need:
    """What one condition demands of a claim, in Vault's terms: it is, or as a list it holds, one of these values.

    scalar: the claim itself is one of them. every: it holds all of them, so that binding one of them suffices.
    """

    values: tuple[Scalar, ...]
    scalar: bool
    every: bool


def bounds_of(rules: Sequence[Sequence[Condition]], *, lists: frozenset[str] = frozenset()) -> Bounds | None:
    """Return what every token fits that satisfies at least one rule: claims with their values, sorted.

    rules: the conditions of each, those that its issuer requires included. lists: claims that the issuer always sends as
    lists. None: no token can satisfy any of the rules.
    """
    needs = [found for conditions in rules if (found := _needs(conditions, lists)) is not None]
    if not needs:
        return None
    shared = set.intersection(*(set(found) for found in needs))
    return {claim: _union([found[claim] for found in needs]) for claim in sorted(shared)}


def _needs(conditions: Sequence[Condition], lists: frozenset[str]) -> dict[str, _Need] | None:
    """Return what one rule demands of each claim; None when nothing can satisfy it."""
    needs: dict[str, _Need] = {}
    for condition in conditions:
        need = _need(condition, lists)
        if need is None:
            continue
        other = needs.get(condition.claim)
        needs[condition.claim] = need if other is None else _both(other, need)
        if not needs[condition.claim].values:
            return None
    return needs


def _need(condition: Condition, lists: frozenset[str]) -> _Need | None:
    """Return the demand in Vault's terms, None when Vault cannot express it."""
    if condition.operator in _SCALARS:
        # Larger numbers never match here, and differ between parsers.
        values = tuple(one for one in condition.wanted if type(one) is not int or abs(one) <= _LARGEST)
        return _Need(values=values, scalar=True, every=False)
    if condition.operator is Operator.ABSENT:
        return None
    if condition.operator is Operator.SCOPE and condition.claim not in lists:
        return None  # Vault would compare `a b` with `a` as a whole
    # Inside a list Vault reads a number as a float, which then equals no number of a role.
    values = tuple(one for one in condition.wanted if type(one) is not int)
    every = condition.operator is Operator.CONTAINS_ALL
    if not values or (not every and len(values) < len(condition.wanted)):
        return None
    return _Need(values=values, scalar=False, every=every)


def _both(first: _Need, second: _Need) -> _Need:
    if first.scalar and second.scalar:
        known = {_key(value) for value in second.values}
        common = tuple(value for value in first.values if _key(value) in known)
        return _Need(values=common, scalar=True, every=False)
    # Each alone must hold, and Vault takes one for each claim: the one that leaves least open.
    return min(first, second, key=lambda need: 1 if need.every else len(need.values))


def _union(needs: Sequence[_Need]) -> tuple[Scalar, ...]:
    union = {_key(value): value for need in needs if not need.every for value in need.values}
    often = Counter(_key(value) for need in needs if need.every for value in need.values)
    for need in needs:
        if need.every and not any(_key(value) in union for value in need.values):
            best = min(need.values, key=lambda value: (-often[_key(value)], _key(value)))
            union[_key(best)] = best
    return tuple(union[key] for key in sorted(union))


def _key(value: Scalar) -> tuple[str, str]:
    # In Python True == 1; for Vault and for us they differ.
    return type(value).__name__, str(value)
