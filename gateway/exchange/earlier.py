"""What an earlier use of a token or an idempotency key means for a later one: its answer again, or a refusal."""

import json
import math
from collections.abc import Mapping
from typing import Final, cast, get_args

from gateway.errors import ErrorCode, GatewayError, RequestRejected, TokenRejected, Unavailable
from gateway.executions.execution import Execution, StartPlan, Status
from gateway.executions.states_errors import start_unknown
from gateway.policy.rule import Replay
from gateway.state.store import Taken

_VERSION: Final = 1
#: Stored for a success whose answer is nobody's to have again: credentials, and starts under `once`.
NO_ANSWER: Final = json.dumps({"v": _VERSION}).encode()


def answer_of(execution: Execution) -> bytes:
    """Return what is stored of a start: the execution as it was answered, without its output, error and cause."""
    return json.dumps(
        {
            "v": _VERSION,
            "workflow": execution.workflow,
            "name": execution.name,
            "arn": execution.arn,
            "status": execution.status,
            "started_at": execution.started_at,
            "ended_at": execution.ended_at,
        }
    ).encode()


def of_token(taken: Taken, replay: Replay, plan: StartPlan | None) -> Execution:
    """Return what the token's one request was answered; raises for everything but its exact repetition.

    plan: of the start that is asked for now; None for credentials, which nobody gets twice.
    """
    if taken.state == "running":
        # Whatever it wants: the call that has the token may still fail, or be a ghost that a store took in too late.
        raise _in_progress(taken)
    # Without an answer it was used while the rule still said `once`.
    if replay != "per-request" or plan is None or not taken.same or taken.answer == NO_ANSWER:
        raise _replayed(replay)
    return _stored(taken, plan)


def of_key(taken: Taken, plan: StartPlan) -> Execution:
    """Return what an EXPRESS start with this idempotency key was answered; raises for everything but a repetition."""
    if not taken.same:
        raise RequestRejected(
            ErrorCode.IDEMPOTENCY_CONFLICT,
            f"This Idempotency-Key has started {plan.workflow.name} with another input, or as another target.",
            hint="Use another key for another wish.",
        )
    if taken.state == "running":
        raise _in_progress(taken)
    return _stored(taken, plan)


def _stored(taken: Taken, plan: StartPlan) -> Execution:
    if taken.state == "interrupted" or taken.answer is None:
        # It was sent and nobody knows what became of it; AWS would start it a second time.
        raise start_unknown(plan.workflow, plan.name)
    return _read(taken.answer)


def _read(answer: bytes) -> Execution:
    try:
        found = json.loads(answer)
        return _execution(found)
    except (ValueError, KeyError, TypeError) as fault:
        raise Unavailable(
            ErrorCode.REPLAY_STORE_UNAVAILABLE,
            "What this request was answered before cannot be read.",
            hint="Fetch a fresh token and send the request with a new Idempotency-Key.",
        ) from fault


def _execution(found: Mapping[str, object]) -> Execution:
    status, ended = found["status"], found["ended_at"]
    if found["v"] != _VERSION or status not in get_args(Status):
        raise ValueError("another version")
    return Execution(
        workflow=str(found["workflow"]),
        name=str(found["name"]),
        arn=str(found["arn"]),
        status=cast(Status, status),
        started_at=float(str(found["started_at"])),
        ended_at=None if ended is None else float(str(ended)),
        existed=True,
    )


def _in_progress(taken: Taken) -> GatewayError:
    if taken.same:
        message, hint = "The same request is being worked on.", "Send it again to learn what became of it."
    else:
        message, hint = "Another request is using this token.", "If that one fails, this one can have it."
    return RequestRejected(
        ErrorCode.REQUEST_IN_PROGRESS, message, hint=hint, retry_after_s=max(1, math.ceil(taken.left_s))
    )


def _replayed(replay: Replay) -> GatewayError:
    hint = (
        "Here a token is good for one request and its exact repetition."
        if replay == "per-request"
        else "Here a token is good for one success."
    )
    return TokenRejected(
        ErrorCode.TOKEN_REPLAYED,
        "This token was used before.",
        hint=f"{hint} Fetch a fresh one from the issuer.",
    )
