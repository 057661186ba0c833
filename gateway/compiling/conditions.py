"""The conditions of rules and of issuers: from the file's shape to values, judged against what an issuer can send."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from gateway.compiling.likelihood import judge_claim, judge_value
from gateway.compiling.report import MAX_FINDINGS, Spot
from gateway.files.schema.claims import ConditionShape
from gateway.files.source import FindingCode, show
from gateway.identity.presets import ClaimType, Preset
from gateway.policy.decide import LONGEST_ACTOR_CHAIN
from gateway.policy.rule import Condition, Operator, Scalar

_FORBIDDEN: Final[Mapping[str, str]] = {
    "iss": "The rule's issuer says whose tokens are meant.",
    "aud": "Audiences are listed with the issuer in gateway.yaml.",
    "exp": "Every token is checked for it.",
    "iat": "Every token is checked for it; max_age of the issuer bounds it.",
    "nbf": "Every token is checked for it.",
    "jti": "It differs in every token.",
}
_PATTERN_SIGNS: Final = ("*", "${", "{{")
_TYPES: Final[Mapping[type, ClaimType]] = {str: "string", int: "integer", bool: "boolean"}
# Operators by which a condition can say whose token is meant. `absent` says nothing of what is there, and `scope` is
# satisfied by one word of a text: whoever chooses part of a subject, such as the name of an environment, chooses it.
_BINDING: Final = frozenset(set(Operator) - {Operator.ABSENT, Operator.SCOPE})
_LISTS: Final = frozenset({Operator.CONTAINS, Operator.CONTAINS_ANY, Operator.CONTAINS_ALL})


#: Conditions in which nothing is wrong: many rules of a team share most of theirs, which are judged and kept once.
GoodConditions = dict[tuple[object, ...], Condition]


def read_conditions(
    claims: Mapping[str, Scalar | ConditionShape],
    spot: Spot,
    preset: Preset,
    good: GoodConditions | None = None,
) -> tuple[Condition, ...]:
    """Return the conditions; what is wrong with them goes to the spot's report.

    good: those of other rules, by all that they are judged by; more are added.
    """
    good = {} if good is None else good
    return tuple(_judged(_read(claim, wanted), spot, preset, good) for claim, wanted in claims.items())


def _judged(condition: Condition, spot: Spot, preset: Preset, good: GoodConditions) -> Condition:
    # With the types of the values: in Python True == 1.
    types = tuple(map(type, condition.wanted))
    key = (id(preset), condition.claim, condition.operator, types, condition.wanted)
    known = good.get(key)
    if known is not None:
        return known
    found = len(spot.report.findings)
    _judge(condition, spot, preset)
    # What stands in for something wrong is not judged, and a full report says nothing.
    if len(spot.report.findings) == found < MAX_FINDINGS and not spot.document.holes:
        good[key] = condition
    return condition


def _judge(condition: Condition, spot: Spot, preset: Preset) -> None:
    before = spot.report.errors
    _judge_name(condition.claim, spot)
    _judge_values(condition, spot)
    claim = spot / condition.claim
    meant = judge_claim(condition.claim, claim, preset) if spot.report.errors == before else None
    # What stands beside a misspelt name is judged as what is meant by it.
    judged = replace(condition, claim=meant) if meant is not None else condition
    _judge_type(judged, claim, preset)
    # One mistake, one finding: of what is wrong anyway it is not said that it is unlikely, too.
    if spot.report.errors == before:
        judge_value(judged, claim, preset)


def binding_claims(conditions: Iterable[Condition]) -> tuple[str, ...]:
    """Return the claims whose values the conditions bind; a claim that must be absent is none of them."""
    return tuple(condition.claim for condition in conditions if condition.operator in _BINDING)


def judge_email(conditions: Sequence[Condition], required: Sequence[Condition], spot: Spot) -> None:
    """Demand that whoever trusts an address also demands that the issuer has verified it."""
    for condition in conditions:
        if condition.claim != "email" or condition.operator is Operator.ABSENT:
            continue
        verified = Condition(claim="email_verified", operator=Operator.EQUALS, wanted=(True,))
        # 1 == True in Python, so the types are compared as well.
        is_verified = any(
            other == verified and type(other.wanted[0]) is bool for other in (*conditions, *required)
        )
        if not is_verified and not (spot / "email_verified").has_hole:
            (spot / "email").error(
                FindingCode.EMAIL_UNVERIFIED,
                "email is compared, but nothing says that the issuer has verified it: anybody can claim any address.",
                "Add email_verified: true.",
                key=True,
            )
        for address in condition.wanted:
            if isinstance(address, str) and address.count("@") != 1:
                (spot / "email").error(
                    FindingCode.VALUE_INVALID,
                    f"{show(address)} is no address: it needs exactly one @.",
                    "Write name@host.",
                )


def _read(claim: str, wanted: Scalar | ConditionShape) -> Condition:
    if not isinstance(wanted, ConditionShape):
        return Condition(claim=claim, operator=Operator.EQUALS, wanted=(wanted,))
    if wanted.absent:
        return Condition(claim=claim, operator=Operator.ABSENT, wanted=())
    for operator, value in (
        (Operator.ANY_OF, wanted.any_of),
        (Operator.CONTAINS_ANY, wanted.contains_any),
        (Operator.CONTAINS_ALL, wanted.contains_all),
    ):
        if value is not None:
            return Condition(claim=claim, operator=operator, wanted=tuple(value))
    if wanted.contains is not None:
        return Condition(claim=claim, operator=Operator.CONTAINS, wanted=(wanted.contains,))
    return Condition(claim=claim, operator=Operator.SCOPE, wanted=(wanted.scope or "",))


def _judge_name(claim: str, spot: Spot) -> None:
    member = claim.removeprefix("/") if claim.count("/") == 1 else claim
    if member in _FORBIDDEN:
        (spot / claim).error(
            FindingCode.CLAIM_FORBIDDEN,
            f"{member} is not a claim for rules.",
            f"Remove it. {_FORBIDDEN[member]}",
            key=True,
        )
    if not claim or len(claim) > 256 or (claim.startswith("/") and not is_pointer(claim)):
        (spot / claim).error(
            FindingCode.VALUE_INVALID,
            f"{show(claim)} is no claim name.",
            "Write the member's name, or a JSON pointer such as /kubernetes.io/namespace (~1 for /, ~0 for ~).",
            key=True,
        )
    elif (plain := plain_name(claim)) is not None and member not in _FORBIDDEN:
        (spot / claim).error(
            FindingCode.VALUE_INVALID,
            f"{show(claim)} is a pointer to the member {plain}; a claim has one name here, by which it is judged.",
            f"Write {plain}.",
            key=True,
        )
    if actor_depth(claim) > LONGEST_ACTOR_CHAIN:
        (spot / claim).error(
            FindingCode.RULE_UNSATISFIABLE,
            f"{claim} describes more than {LONGEST_ACTOR_CHAIN} actors; longer chains are always refused.",
            "Describe fewer.",
            key=True,
        )


def is_pointer(text: str) -> bool:
    """Say whether a claim name that starts with `/` is a JSON pointer (RFC 6901) to some member."""
    return "~" not in text.replace("~0", "").replace("~1", "") and text != "/"


def plain_name(claim: str) -> str | None:
    """Return the name that a pointer with one part should have been written as; None when there is no other way.

    Two spellings of one claim would let a rule pass by what is known of the claim: that an address must be verified,
    which type it has, that it binds nobody. Only a member whose own name starts with `/` needs a pointer.
    """
    if not claim.startswith("/") or "/" in claim[1:] or claim.startswith("/~1"):
        return None
    return claim[1:].replace("~1", "/").replace("~0", "~")


def actor_depth(claim: str) -> int:
    """Return how many actors a claim name goes down the chain `act`."""
    parts = claim.split("/")[1:] if claim.startswith("/") else [claim]
    depth = 0
    while depth < len(parts) and parts[depth] == "act":
        depth += 1
    return depth


def _judge_values(condition: Condition, spot: Spot) -> None:
    for value in condition.wanted:
        if isinstance(value, str) and any(sign in value for sign in _PATTERN_SIGNS):
            (spot / condition.claim).error(
                FindingCode.VALUE_INVALID,
                f"{show(value)} looks like a pattern; claims are compared exactly, character for character.",
                "Write the complete value, or several with any_of: […].",
            )
    if condition.operator is Operator.SCOPE and " " in str(condition.wanted[0]):
        (spot / condition.claim).error(
            FindingCode.RULE_UNSATISFIABLE,
            f"{show(condition.wanted[0])} is more than one scope.",
            "Write one scope; for several conditions on scopes use a list claim with contains_all.",
        )


def _judge_type(condition: Condition, claim: Spot, preset: Preset) -> None:
    known = preset.claim_types.get(condition.claim)
    if known is None or condition.operator is Operator.ABSENT:
        return
    if condition.operator in _LISTS:
        if known != "list":
            claim.error(
                FindingCode.CLAIM_TYPE_WRONG,
                f"{preset.name} sends {condition.claim} as {_article(known)}, not as a list.",
                "Write the value itself, or any_of: […].",
            )
    elif condition.operator is Operator.SCOPE:
        if known not in {"string", "list"}:
            claim.error(
                FindingCode.CLAIM_TYPE_WRONG,
                f"{preset.name} sends {condition.claim} as {_article(known)}, which holds no scopes.",
                "Write the value itself.",
            )
    elif known == "list":
        claim.error(
            FindingCode.CLAIM_TYPE_WRONG,
            f"{preset.name} sends {condition.claim} as a list.",
            f"Write {{contains: {_written(condition.wanted[0])}}}.",
        )
    else:
        _judge_scalars(condition, claim, preset, known)


def _judge_scalars(condition: Condition, claim: Spot, preset: Preset, known: ClaimType) -> None:
    for value in condition.wanted:
        if _TYPES[type(value)] != known:
            claim.error(
                FindingCode.CLAIM_TYPE_WRONG,
                f"{preset.name} sends {condition.claim} as {_article(known)}; {_written(value)} never matches.",
                _as_type(value, known),
            )


def _as_type(value: Scalar, known: ClaimType) -> str:
    text = _written(value).strip('"')
    return f'Write "{text}" in quotes.' if known == "string" else f"Write {text} without quotes."


def _written(value: Scalar) -> str:
    return show(value)


def _article(known: ClaimType) -> str:
    return {"string": "text", "integer": "a number", "boolean": "true or false", "list": "a list"}[known]
