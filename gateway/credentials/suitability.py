"""Whether STS can take a token at all, judged before it is sent, so that the refusal can name the claim. Pure."""

from typing import Final

from gateway.errors import AccessDenied, ErrorCode, FailedClaim
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import AwsRole

_ALGORITHMS: Final = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})
_ROLES: Final = "https://aws.amazon.com/roles"


def require_usable_for_aws(token: VerifiedToken, role: AwsRole) -> None:
    """Raise AccessDenied (`token_unusable_for_aws`) when STS would refuse this token for this role."""
    claims = token.claims.members
    if token.algorithm not in _ALGORITHMS:
        raise _unusable(
            FailedClaim(name="alg", problem="value", value=token.algorithm),
            "AWS STS takes tokens signed with RS256, RS384, RS512, ES256, ES384 or ES512 only.",
            "Let the issuer sign with one of these.",
        )
    if token.key_id is None:
        raise _unusable(
            FailedClaim(name="kid", problem="missing"),
            "AWS STS takes only tokens whose header names a key (`kid`).",
            "Let the issuer name its keys.",
        )
    if "aud" not in claims:
        raise _unusable(
            FailedClaim(name="aud", problem="missing"),
            "AWS STS takes only tokens with an audience (`aud`).",
            "A Cognito access token has none: use the ID token, or resource binding.",
        )
    audiences = claims["aud"]
    if isinstance(audiences, list) and len(audiences) > 1 and "azp" not in claims:
        raise _unusable(
            FailedClaim(name="azp", problem="missing"),
            "AWS STS takes a token with several audiences only when it names the authorized party (`azp`).",
            "Ask the issuer for a token with one audience.",
        )
    if _ROLES in claims and str(role.arn) not in (_listed(claims[_ROLES]) or ()):
        problem = _listed(claims[_ROLES])
        raise _unusable(
            FailedClaim(name=_ROLES, problem="type" if problem is None else "value", value=claims[_ROLES]),
            f"The token lists the roles it may become ({_ROLES}), and {role.name} is not among them.",
            "Let the issuer add the role's ARN to this claim, or leave the claim out.",
        )


def _listed(value: object) -> tuple[object, ...] | None:
    """Return the ARNs of a list or of a text with semicolons; None for anything else."""
    match value:
        case list():
            return tuple(value)
        case str():
            return tuple(part.strip() for part in value.split(";"))
        case _:
            return None


def _unusable(claim: FailedClaim, message: str, hint: str) -> AccessDenied:
    return AccessDenied(ErrorCode.TOKEN_UNUSABLE_FOR_AWS, message, hint=hint, claims=(claim,))
