"""What a caller may read of a refusal: claim names and their own values, never a rule or an expected value."""

from collections.abc import Iterable

from gateway.errors import AccessDenied, ErrorCode, FailedClaim
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.decide import Denied
from gateway.policy.rule import Obtain, Start, Stop, View, Wish

_LONGEST_VALUE = 1024


def refusal(wish: Wish, denied: Denied) -> AccessDenied:
    """Return the error that says, in the caller's terms, why the wish is refused."""
    deed = _deed(wish)
    claims = failed_claims(denied.checks)
    match denied.code:
        case ErrorCode.WORKFLOW_UNKNOWN:
            return AccessDenied(
                denied.code,
                "No workflow of this name is open to tokens of this issuer.",
                hint="GET /v1/whoami lists the workflows that this token may start.",
            )
        case ErrorCode.TARGET_UNKNOWN:
            return AccessDenied(
                denied.code,
                "No target of this name is open to tokens of this issuer.",
                hint="GET /v1/whoami lists the targets that this token may use.",
            )
        case ErrorCode.TARGET_AMBIGUOUS:
            return AccessDenied(
                denied.code,
                f"Several targets allow this identity to {deed}.",
                hint="Name one of them as `target`.",
                targets=denied.targets,
            )
        case ErrorCode.RULE_EXPIRED:
            return AccessDenied(
                denied.code,
                f"The rule that allowed this identity to {deed} has passed its last day.",
                hint="Ask its owners to renew it; give them the request id.",
            )
        case ErrorCode.RULE_DISABLED:
            return AccessDenied(
                denied.code,
                f"An administrator has switched off what allowed this identity to {deed}.",
                hint="Ask the gateway's administrators; give them the request id.",
            )
        case ErrorCode.CLAIM_DISTRIBUTED:
            return AccessDenied(
                denied.code,
                "A required claim is only referred to in this token (`_claim_names`); references are not followed.",
                hint="Have the issuer put the claim itself into the token.",
                claims=claims,
            )
        case ErrorCode.ACTOR_MISMATCH:
            return AccessDenied(
                denied.code, f"No rule allows this chain of actors to {deed}.", hint=_ASK, claims=claims
            )
        case _:
            return AccessDenied(
                denied.code, f"No rule allows this identity to {deed}.", hint=_ASK, claims=claims
            )


_ASK = "Compare the claims named here with what you expected; with the request id an administrator sees the rest."


def _deed(wish: Wish) -> str:
    match wish:
        case Start():
            return f"start {wish.workflow}"
        case View():
            return f"see this execution of {wish.workflow}"
        case Stop():
            return f"stop this execution of {wish.workflow}"
        case Obtain():
            return f"obtain {wish.target}"


def failed_claims(checks: Iterable[ClaimCheck]) -> tuple[FailedClaim, ...]:
    """Return the failures among these checks as their owner may see them."""
    return tuple(
        FailedClaim(name=check.claim, problem=check.outcome, value=_presentable(check.presented))
        for check in checks
        if check.outcome != "matched"
    )


def _presentable(value: object) -> object:
    """Return the caller's own value where it is small enough to read in a build log."""
    if value is MISSING:
        return None
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        return f"{value[:_LONGEST_VALUE]}…"
    if isinstance(value, list | dict) and len(repr(value)) > _LONGEST_VALUE:
        return None
    return value
