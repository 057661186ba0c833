"""What an error of AssumeRoleWithWebIdentity means: for whom, and whether to ask again."""

from typing import Final

from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    FailedClaim,
    GatewayError,
    TokenRejected,
    Unavailable,
    Upstream,
    UpstreamFailed,
)
from gateway.identity.token import VerifiedToken
from gateway.outbound.aws_answers import AwsFault
from gateway.outbound.http import OutboundFailure

_RETRY_AFTER_S: Final = 5
# IAM's words for "the provider's keys could not be had": the one InvalidIdentityToken that can heal by itself.
_NO_KEYS: Final = ("couldn't retrieve verification key", "could not retrieve verification key")
_WRONG_MAPPING: Final = frozenset(
    {
        "MalformedPolicyDocument",
        "PackedPolicyTooLarge",
        "RegionDisabledException",
        "RegionDisabled",
        "ValidationError",
    }
)


def repeatable(failure: AwsFault | OutboundFailure) -> bool:
    """Say whether another attempt can help; a permanent refusal is asked for once."""
    match failure:
        case OutboundFailure(kind=kind):
            return kind in ("connect", "broken")
        case AwsFault(code="IDPCommunicationError"):
            return True
        case AwsFault():
            return failure.throttled or failure.unavailable or _keys_missing(failure)


def refusal(fault: AwsFault, token: VerifiedToken) -> GatewayError:
    """Translate an error of STS; its text stays in our log."""
    upstream = Upstream(service="sts", code=fault.code, request_id=fault.request_id)
    if fault.code in ("ExpiredTokenException", "ExpiredToken"):
        return TokenRejected(
            ErrorCode.TOKEN_EXPIRED,
            "AWS STS calls the token expired.",
            hint="Ask the issuer for a fresh token.",
            claims=(FailedClaim(name="exp", problem="value", value=token.expires_at),),
            upstream=upstream,
        )
    if fault.code in _WRONG_MAPPING:
        return ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_AWS,
            "AWS STS cannot use this target as it is configured.",
            hint="Ask the administrators, with the request id; the reason is in the gateway's log.",
            upstream=upstream,
        )
    return _denied(fault, upstream) or _failed(fault, upstream)


def no_answer(*, late: bool) -> GatewayError:
    """Return what callers learn when STS did not answer. late: the call's own deadline has passed."""
    if late:
        return Unavailable(
            ErrorCode.DEADLINE_EXCEEDED, "AWS STS did not answer in time.", retry_after_s=_RETRY_AFTER_S
        )
    return UpstreamFailed(
        ErrorCode.AWS_UNAVAILABLE, "AWS STS cannot be reached.", retry_after_s=_RETRY_AFTER_S
    )


def _denied(fault: AwsFault, upstream: Upstream) -> GatewayError | None:
    match fault.code:
        case "AccessDenied" | "AccessDeniedException":
            return AccessDenied(
                ErrorCode.AWS_DENIED,
                "The target's IAM trust policy does not accept this token.",
                hint="AWS does not say which condition failed; compare the role's trust policy with the token.",
                upstream=upstream,
            )
        case "InvalidIdentityToken" | "InvalidIdentityTokenException" if not _keys_missing(fault):
            return AccessDenied(
                ErrorCode.AWS_TOKEN_REJECTED,
                "AWS STS does not accept this token.",
                hint="Is the issuer an IAM OIDC provider of that account, with this audience among its client IDs?",
                upstream=upstream,
            )
        case "IDPRejectedClaim" | "IDPRejectedClaimException":
            return AccessDenied(
                ErrorCode.AWS_IDP_REJECTED,
                "AWS STS says that the issuer rejected the claims.",
                upstream=upstream,
            )
        case _:
            return None


def _failed(fault: AwsFault, upstream: Upstream) -> GatewayError:
    if fault.code in ("IDPCommunicationError", "IDPCommunicationErrorException") or _keys_missing(fault):
        return UpstreamFailed(
            ErrorCode.AWS_IDP_UNREACHABLE,
            "AWS STS could not fetch the issuer's keys.",
            upstream=upstream,
            retry_after_s=_RETRY_AFTER_S,
        )
    if fault.throttled:
        return UpstreamFailed(
            ErrorCode.AWS_THROTTLED,
            "AWS STS limits how often it may be called.",
            upstream=upstream,
            retry_after_s=_RETRY_AFTER_S,
        )
    if fault.unavailable:
        return UpstreamFailed(
            ErrorCode.AWS_UNAVAILABLE,
            "AWS STS failed.",
            upstream=upstream,
            retry_after_s=_RETRY_AFTER_S,
        )
    return UpstreamFailed(ErrorCode.AWS_ERROR, "AWS STS refused the call.", upstream=upstream)


def _keys_missing(fault: AwsFault) -> bool:
    return fault.code.startswith("InvalidIdentityToken") and fault.text.lower().startswith(_NO_KEYS)
