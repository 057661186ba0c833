"""What deserves a thought although nothing is wrong: said by `check`, counted by nobody."""

from typing import Final

from gateway.policy.rule import Operator, Rule
from gateway.policy.snapshot import Policy

#: Whose tokens belong to one job of a few minutes, so that nobody misses the second use.
_CI: Final = frozenset({"github-actions", "gitlab"})
_ENVIRONMENT: Final = "environment"
_MOST_NAMED: Final = 5


def remarks_on(policy: Policy) -> tuple[str, ...]:
    """Return sentences about a policy, none for most."""
    presets = {issuer.name: issuer.preset for issuer in policy.issuers.values()}
    found = [rule.id for rule in policy.rules.values() if _should_count(rule, presets)]
    if not found:
        return ()
    named = ", ".join(found[:_MOST_NAMED]) + (", …" if len(found) > _MOST_NAMED else "")
    return (
        (
            f"CI jobs reach a deployment environment through {named}, with tokens that can be used until they expire; "
            "`replay: once` or `per-request` would end that."
        ),
    )


def _should_count(rule: Rule, presets: dict[str, str]) -> bool:
    """Say whether a token that leaks from a CI job would open what the rule's owners call an environment."""
    return (
        rule.replay == "off"
        and any(presets.get(issuer) in _CI for issuer in rule.issuers)
        and any(grant.verb in {"start", "obtain"} for grant in rule.grants)
        and any(
            condition.claim == _ENVIRONMENT and condition.operator is not Operator.ABSENT
            for condition in rule.conditions
        )
    )
