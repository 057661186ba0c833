"""What a role of Vault's JWT auth can see of what our rules demand, and what the gateway alone must see to. Pure.

Vault holds each bound claim against any of several values, takes a list for its items, cuts numbers and cannot say
"absent" or "all of" (vault-plugin-auth-jwt, claims.go). What it demands is therefore at most what the rules do: whoever
holds a token that Vault trusts can log in without us.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.identity.issuer import TrustedIssuer
from gateway.identity.presets import PRESETS, Preset
from gateway.policy.rule import Condition, Operator

_WORDS: Final[Mapping[Operator, str]] = {
    Operator.CONTAINS_ALL: "contains_all",
    Operator.SCOPE: "scope",
    Operator.ABSENT: "absent",
}
Values = frozenset[str | bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """How much of one rule Vault sees.

    claims: of each claim, the values of which it can demand any.
    unseen: what the rule demands besides, as `claim (operator)`.
    """

    claims: Mapping[str, Values]
    unseen: tuple[str, ...]


def sight_of(conditions: Iterable[Condition], issuer: TrustedIssuer) -> Sight:
    """Return what Vault sees of one rule. conditions: those of the rule, and what its issuer requires."""
    preset = PRESETS[issuer.preset]
    claims: dict[str, Values] = {}
    unseen: dict[str, None] = {}
    for condition in conditions:
        values = _values(condition, preset)
        if values:
            # The issuer may require a claim that the rule names too; the narrower one is closer to what both say.
            claims[condition.claim] = min(values, claims.get(condition.claim, values), key=len)
        if not values or (condition.operator is Operator.CONTAINS_ALL and len(condition.wanted) > 1):
            unseen[f"{condition.claim} ({_WORDS.get(condition.operator, 'a number')})"] = None
    # Those of Cognito stand in for its tokens' audience, which Vault does see.
    if issuer.clients and not issuer.token_kinds and not any(name in claims for name in issuer.client_claims):
        unseen[f"the clients of {issuer.name}"] = None
    return Sight(claims=claims, unseen=tuple(unseen))


def blurred_claims(several: Sequence[Sight]) -> tuple[str, ...]:
    """Return the claims by which rules differ that Vault cannot tell apart when they share one of its roles.

    The role can demand the claims that all of them name, each of any of their values. Empty where this lets nothing
    through that no rule does: they differ in one claim alone, or one of them is as wide as all together.
    """
    held: dict[str, list[Values]] = defaultdict(list)
    for one in several:
        for claim, values in one.claims.items():
            held[claim].append(values)
    # In one pass: a hundred thousand rules may name as many claims.
    shared = {
        claim: frozenset[str | bool]().union(*values)
        for claim, values in held.items()
        if len(values) == len(several)
    }
    differing = [claim for claim, values in held.items() if claim not in shared or len(set(values)) > 1]
    exact = len(differing) <= 1 or any(one.claims == shared for one in several)
    return () if exact else tuple(differing)


def names_number(condition: Condition) -> bool:
    """Say whether a condition names a number, which Vault cuts to an integer and rounds when it is large."""
    return any(type(value) is int for value in condition.wanted)


def _values(condition: Condition, preset: Preset) -> Values:
    """Return the values of which Vault may demand any; empty when it cannot see the condition at all."""
    # Without its numbers an any_of would refuse tokens that the rule takes.
    texts: Values = frozenset(
        () if names_number(condition) else (one for one in condition.wanted if isinstance(one, str | bool))
    )
    match condition.operator:
        case Operator.EQUALS | Operator.ANY_OF | Operator.CONTAINS | Operator.CONTAINS_ANY:
            return texts
        case Operator.CONTAINS_ALL:
            # One of them is all that can be demanded: a list of several would mean any of them.
            return frozenset(sorted(texts, key=str)[:1])
        case Operator.SCOPE:
            # Vault does not take a text with blanks apart, so it would refuse tokens with a second scope.
            return texts if preset.claim_types.get(condition.claim) == "list" else frozenset()
        case Operator.ABSENT:
            return frozenset()
