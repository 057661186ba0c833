"""What an error of Step Functions means: for whom, and whether to ask again."""

from typing import Final

from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    GatewayError,
    RequestRejected,
    Unavailable,
    Upstream,
    UpstreamFailed,
)
from gateway.executions.execution import CredentialsExpired
from gateway.outbound.aws_answers import AwsFault
from gateway.outbound.http import OutboundFailure
from gateway.policy.rule import Workflow

_RETRY_AFTER_S: Final = 5
# Open executions end slowly; AWS's own advice is to wait.
_LIMIT_RETRY_AFTER_S: Final = 30
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "KmsAccessDeniedException"})
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException"})
_WRONG_MAPPING: Final = frozenset(
    {"InvalidArn", "StateMachineDeleting", "StateMachineDoesNotExist", "StateMachineTypeNotSupported"}
)


def repeatable(failure: AwsFault | OutboundFailure) -> bool:
    """Say whether a call that may be carried out twice is worth another attempt."""
    match failure:
        case OutboundFailure(kind=kind):
            return kind in ("connect", "timeout", "broken")
        case AwsFault():
            return failure.throttled or failure.unavailable


def repeatable_unless_done(failure: AwsFault | OutboundFailure) -> bool:
    """Say whether a call that must not be carried out twice may be made again: AWS has certainly done nothing."""
    match failure:
        case OutboundFailure(kind=kind, sent=sent):
            return kind == "connect" and not sent
        case AwsFault():
            return failure.throttled and failure.status < 500


def meaning_of(fault: AwsFault, workflow: Workflow) -> GatewayError | CredentialsExpired:
    """Translate an error of Step Functions; its text stays in our log."""
    upstream = Upstream(service="states", code=fault.code, request_id=fault.request_id)
    if fault.code in _EXPIRED:
        return CredentialsExpired()
    if fault.code in _DENIED:
        return AccessDenied(
            ErrorCode.AWS_DENIED,
            f"The target's IAM policies do not allow this on {workflow.name}.",
            hint="The role needs the action on this state machine and its executions.",
            upstream=upstream,
        )
    if fault.code == "ExecutionDoesNotExist":
        return RequestRejected(
            ErrorCode.EXECUTION_UNKNOWN, f"{workflow.name} has no execution of this name.", upstream=upstream
        )
    if fault.code in _WRONG_MAPPING:
        return ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_AWS,
            f"AWS Step Functions has no usable state machine for {workflow.name}.",
            hint="Ask the administrators, with the request id; the reason is in the gateway's log.",
            upstream=upstream,
        )
    return _failed(fault, workflow, upstream)


def no_answer(*, late: bool) -> GatewayError:
    """Return what callers learn when nothing came back and nothing was done. late: the deadline has passed."""
    if late:
        return Unavailable(
            ErrorCode.DEADLINE_EXCEEDED,
            "AWS Step Functions did not answer in time.",
            retry_after_s=_RETRY_AFTER_S,
        )
    return UpstreamFailed(
        ErrorCode.AWS_UNAVAILABLE, "AWS Step Functions cannot be reached.", retry_after_s=_RETRY_AFTER_S
    )


_AGAIN: Final = "Send the same request with the same Idempotency-Key again."
_LOOK_FIRST: Final = "Look for this name in the workflow's log before you start it again."


def start_unknown(workflow: Workflow, name: str) -> UpstreamFailed:
    """Return what callers learn when a start was sent and nobody knows whether it happened."""
    standard = workflow.type == "standard"
    return UpstreamFailed(
        ErrorCode.START_UNKNOWN,
        f"Whether {workflow.name} was started as {name} is not known.",
        hint=_AGAIN if standard else f"It was not repeated. {_LOOK_FIRST}",
        retry_after_s=_RETRY_AFTER_S if standard else None,
    )


def perhaps_started(wrong: UpstreamFailed, workflow: Workflow, name: str) -> UpstreamFailed:
    """Return an answer that cannot be used as the one to a start: something answered, so it may have happened."""
    hint = _AGAIN if workflow.type == "standard" else _LOOK_FIRST
    return UpstreamFailed(wrong.code, wrong.message, hint=f"It may have been started as {name}. {hint}")


def answer_wrong(what: str) -> UpstreamFailed:
    """Return what callers learn when an answer is not one to what was asked."""
    return UpstreamFailed(
        ErrorCode.AWS_ANSWER_MISMATCH, f"The answer of AWS Step Functions cannot be used: {what}."
    )


def _failed(fault: AwsFault, workflow: Workflow, upstream: Upstream) -> GatewayError:
    if fault.code == "ExecutionLimitExceeded":
        return UpstreamFailed(
            ErrorCode.WORKFLOW_LIMIT,
            "The AWS account has as many open executions as it may have.",
            upstream=upstream,
            retry_after_s=_LIMIT_RETRY_AFTER_S,
        )
    if fault.throttled:
        return UpstreamFailed(
            ErrorCode.WORKFLOW_THROTTLED,
            "AWS Step Functions limits how often it may be called.",
            upstream=upstream,
            retry_after_s=_RETRY_AFTER_S,
        )
    if fault.unavailable:
        return UpstreamFailed(
            ErrorCode.AWS_UNAVAILABLE,
            "AWS Step Functions failed.",
            upstream=upstream,
            retry_after_s=_RETRY_AFTER_S,
        )
    return UpstreamFailed(
        ErrorCode.AWS_ERROR, f"AWS Step Functions refused the call for {workflow.name}.", upstream=upstream
    )
