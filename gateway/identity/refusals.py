"""How the refusal of a verified token is worded: the claim's name and the caller's own value, never the expected one."""

from collections.abc import Mapping
from typing import Literal

from gateway.errors import ErrorCode, FailedClaim, TokenRejected
from gateway.identity.issuer import TrustedIssuer

Problem = Literal["missing", "present", "type", "value"]


def rejected(
    code: ErrorCode,
    message: str,
    claim: str,
    problem: Problem,
    value: object = None,
    *,
    hint: str | None = None,
) -> TokenRejected:
    """Make the refusal that names one failed claim."""
    failed = FailedClaim(name=claim, problem=problem, value=value)
    return TokenRejected(code, message, hint=hint, claims=(failed,))


def signed(refusal: TokenRejected, issuer: TrustedIssuer, members: Mapping[str, object]) -> TokenRejected:
    """Let a refusal carry whose token it is; only for tokens whose signature has been verified."""
    refusal.issuer, refusal.members = issuer.name, members
    return refusal


def missing(name: str) -> TokenRejected:
    """Make the refusal of a token without a compulsory claim."""
    return rejected(ErrorCode.CLAIM_MISSING, f"The token has no claim {name}.", name, "missing")


def shown(text: str) -> str:
    """Return a verified text of the caller's as a part of a sentence: cut, and escaped to one line of ASCII."""
    return ascii(text if len(text) <= 100 else text[:100] + "...").strip("'\"")
