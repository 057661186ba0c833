"""Conditions that no token of an issuer will ever meet, by all that is known of its kind: misspelt claims, wrong values."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from gateway.compiling.report import Spot
from gateway.files.source import FindingCode, show
from gateway.identity.presets import Preset, ValueHint
from gateway.policy.rule import Condition, Operator

# What people call a claim that an issuer names otherwise, and no likeness of letters leads to it.
_OTHER_NAMES: Final = {
    "github-actions": {"branch": "ref", "tag": "ref", "org": "repository_owner", "owner": "repository_owner"},
    "gitlab": {"branch": "ref", "tag": "ref", "group": "namespace_path", "repository": "project_path"},
    "kubernetes": {
        "namespace": "/kubernetes.io/namespace",
        "serviceaccount": "/kubernetes.io/serviceaccount/name",
        "kubernetes.io": "/kubernetes.io/namespace",
    },
}
_WHOLE: Final = frozenset({Operator.EQUALS, Operator.ANY_OF})
#: Of a claim that may be an issuer's own invention only a very near miss is a misspelling.
_NEAR: Final = 0.6
_VERY_NEAR: Final = 0.8
_LONGEST_SLIP: Final = 3


def judge_claim(claim: str, spot: Spot, preset: Preset) -> str | None:
    """Warn about a claim that the issuer does not send; return the one that is meant, as far as can be told."""
    if claim in {*preset.claim_types, *preset.subject_claims} or claim.startswith(preset.free_prefixes):
        return None
    near = _nearest(claim, preset)
    if near is None and not preset.claims_closed:
        return None
    spot.warning(
        FindingCode.CLAIM_UNLIKELY,
        f"Tokens of {preset.name} have no claim {show(claim)}, as far as is known here.",
        f"Did you mean {near}?"
        if near
        else "Look into one of its tokens for the name; remove the claim otherwise.",
        key=True,
    )
    return near


def judge_value(condition: Condition, spot: Spot, preset: Preset) -> None:
    """Warn about values that the issuer never sends. spot: the claim's."""
    hint = preset.value_hints.get(condition.claim)
    if hint is None or condition.operator not in _WHOLE:
        return
    for value in condition.wanted:
        if isinstance(value, str) and not _fits(value, hint):
            spot.warning(
                FindingCode.VALUE_UNLIKELY,
                f"{preset.name} never sends {show(value)} as {condition.claim}.",
                _fix(value, hint),
            )


def _nearest(claim: str, preset: Preset) -> str | None:
    other = _OTHER_NAMES.get(preset.name, {}).get(claim.lower())
    if other is not None:
        return other
    known: Iterable[str] = sorted({*preset.claim_types, *preset.subject_claims})
    by_letters = {name.lower(): name for name in known}
    if claim.lower() in by_letters:
        return by_letters[claim.lower()]
    if "/" in claim and not preset.claims_closed:
        return None  # a name of one's own, as Auth0 demands it
    cutoff = _NEAR if preset.claims_closed else _VERY_NEAR
    # Comparing letter by letter takes time, and a file may hold a hundred thousand names: few are worth it.
    worth = [name for name in by_letters if _may_be_near(claim.lower(), name)]
    near = get_close_matches(claim.lower(), worth, n=1, cutoff=cutoff)
    return by_letters[near[0]] if near else None


def _may_be_near(claim: str, name: str) -> bool:
    if abs(len(claim) - len(name)) > _LONGEST_SLIP:
        return False
    return claim[:1] == name[:1] or claim[-1:] == name[-1:]


def _fits(value: str, hint: ValueHint) -> bool:
    if hint.choices:
        return value in hint.choices
    return value.startswith(hint.prefix) and not (hint.not_prefix and value.startswith(hint.not_prefix))


def _fix(value: str, hint: ValueHint) -> str:
    if set(hint.choices) == {"true", "false"}:
        meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
        near = meant.get(value.lower(), value.lower())
        return f'Write "{near}" in quotes.' if near in hint.choices else 'Write "true" or "false", in quotes.'
    if hint.choices:
        found = get_close_matches(value.lower(), hint.choices, n=1, cutoff=0.6)
        if found:
            return f"Did you mean {found[0]}?"
        few = hint.choices if len(hint.choices) <= 6 else hint.choices[:6]
        return f"Such as: {', '.join(few)}."
    if hint.not_prefix:
        return f"Write {value.removeprefix('refs/heads/').removeprefix('refs/tags/')}: the name alone."
    if hint.prefix == "refs/":
        return f"Write refs/heads/{value.removeprefix('heads/')} for a branch, refs/tags/{value.removeprefix('tags/')} for a tag."
    return f"Begin it with {hint.prefix}"
