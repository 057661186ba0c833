"""One claim against one condition: exact in value and in type."""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from gateway.policy.rule import Condition, Operator, Scalar

Outcome = Literal["matched", "missing", "present", "type", "value"]

# Members of an Enum are slow to look up, and every claim of every decision comes by here.
_EQUALS: Final = Operator.EQUALS
_ANY_OF: Final = Operator.ANY_OF
_ABSENT: Final = Operator.ABSENT
_SCOPE: Final = Operator.SCOPE
_CONTAINS_ALL: Final = Operator.CONTAINS_ALL


class Missing:
    """The one value that stands for a claim that is not there; null, empty text and empty list are there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing()


class ClaimCheck(NamedTuple):
    """One comparison and its outcome.

    presented: the caller's own value, MISSING when the claim is not there.
    wanted:    for the record and the administrator; never shown to a caller.
    """

    claim: str
    outcome: Outcome
    presented: object
    wanted: tuple[Scalar, ...]
    operator: Operator


def find_claim(members: Mapping[str, object], claim: str) -> object:
    """Return the value of a claim, or MISSING.

    A name that starts with `/` is a JSON pointer (RFC 6901) through objects only; every other name, URLs included,
    is a single member.
    """
    if not claim.startswith("/"):
        return members.get(claim, MISSING)
    found: object = members
    for part in claim[1:].split("/"):
        if not isinstance(found, Mapping):
            return MISSING
        found = found.get(part.replace("~1", "/").replace("~0", "~"), MISSING)
    return found


def check_claim(condition: Condition, members: Mapping[str, object]) -> ClaimCheck:
    """Compare one claim; no coercion between types, and an unknown shape never matches."""
    presented = find_claim(members, condition.claim)
    return ClaimCheck(
        claim=condition.claim,
        outcome=_outcome(condition, presented),
        presented=presented,
        wanted=condition.wanted,
        operator=condition.operator,
    )


def satisfies(condition: Condition, members: Mapping[str, object]) -> bool:
    """Say whether the claim is as `check_claim` would have it, without the words."""
    return _outcome(condition, find_claim(members, condition.claim)) == "matched"


def _outcome(condition: Condition, presented: object) -> Outcome:
    operator = condition.operator
    if operator is _ABSENT:
        return "matched" if presented is MISSING else "present"
    if presented is MISSING:
        return "missing"
    if operator is _EQUALS or operator is _ANY_OF:
        return _among(presented, condition.wanted)
    if operator is _SCOPE:
        return _scope(presented, condition.wanted)
    return _contains(presented, condition) if isinstance(presented, list) else "type"


def _among(presented: object, wanted: tuple[Scalar, ...]) -> Outcome:
    # Nothing of another type equals a text.
    if type(presented) is str and presented in wanted:
        return "matched"
    for value in wanted:
        if same(presented, value):
            return "matched"
    return "value" if any(type(presented) is type(value) for value in wanted) else "type"


def _contains(presented: list[object], condition: Condition) -> Outcome:
    found = [any(same(item, value) for item in presented) for value in condition.wanted]
    # An empty list of wanted values must not match: all([]) is true.
    holds = all(found) if condition.operator is _CONTAINS_ALL else any(found)
    return "matched" if found and holds else "value"


def _scope(presented: object, wanted: tuple[Scalar, ...]) -> Outcome:
    match presented:
        case str():
            scopes: list[object] = [*presented.split(" ")]
        case list():
            scopes = presented
        case _:
            return "type"
    return "matched" if any(same(item, value) for item in scopes for value in wanted) else "value"


def same(presented: object, wanted: Scalar) -> bool:
    """Say whether both are the same value of the same type.

    In Python True == 1 == 1.0; a claim must agree in type as well as in value. Integers beyond 2^53-1 never match,
    because other parsers round them (RFC 7493 section 2.2).
    """
    if type(presented) is not type(wanted):
        return False
    if type(wanted) is int and abs(wanted) > 2**53 - 1:
        return False
    return presented == wanted


def actor_depth(claim: str) -> int:
    """Return how far into the chain of actors (RFC 8693 section 4.1) a claim's name reaches: `/act/act/sub` two deep."""
    parts = claim.split("/")[1:] if claim.startswith("/") else [claim]
    depth = 0
    for part in parts:
        if part != "act":
            break
        depth += 1
    return depth
