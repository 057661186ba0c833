"""Step Functions' answers as values; what does not have the promised form raises UpstreamFailed (`aws_answer_mismatch`)."""

from collections.abc import Mapping
from typing import Final, cast, get_args

from gateway.executions.execution import Event, Execution, Status
from gateway.executions.states_errors import answer_wrong
from gateway.policy.rule import Workflow

_END_OF_TIME: Final = 253_402_300_800  # 10000-01-01T00:00:00Z
_STATUSES: Final = frozenset(get_args(Status))
# AWS's own limit for outputs; causes and errors are shorter.
_MAX_DATA: Final = 262_144
Body = Mapping[str, object]


def running_from(body: Body, workflow: Workflow, name: str, *, existed: bool) -> Execution:
    """Read the answer to StartExecution."""
    return Execution(
        workflow=workflow.name,
        name=name,
        arn=_arn(body, workflow, name),
        status="RUNNING",
        started_at=number(body, "startDate"),
        existed=existed,
    )


def execution_from(body: Body, workflow: Workflow, name: str) -> Execution:
    """Read the answer to DescribeExecution or StartSyncExecution; the workflow's data only where it may be shown."""
    status = text(body, "status")
    if status not in _STATUSES:
        raise answer_wrong("it names an unknown status")
    ended = body.get("stopDate") is not None
    data = body if workflow.output_visible and ended else {}
    return Execution(
        workflow=workflow.name,
        name=name,
        arn=_arn(body, workflow, name),
        status=cast(Status, status),
        started_at=number(body, "startDate"),
        ended_at=number(body, "stopDate") if ended else None,
        output=_optional(data, "output"),
        error=_optional(data, "error"),
        cause=_optional(data, "cause"),
    )


def history_from(body: Body) -> tuple[list[Event], str | None]:
    """Read one page of GetExecutionHistory and the token of the next, None after the last."""
    entries = body.get("events")
    if not isinstance(entries, list):
        raise answer_wrong("it holds no events")
    return [_event(entry) for entry in entries], _optional(body, "nextToken")


def number(body: Body, member: str) -> float:
    """Return a time in seconds since the epoch."""
    found = body.get(member)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise answer_wrong(f"{member} is not a time")
    # What lies outside no calendar can write, and NaN lies nowhere; compared as it is, for 10^400 is no float.
    if not 0 <= found < _END_OF_TIME:
        raise answer_wrong(f"{member} is not a time")
    return float(found)


def text(body: Body, member: str) -> str:
    """Return a text that must be there."""
    found = body.get(member)
    if not isinstance(found, str):
        raise answer_wrong(f"{member} is not a text")
    return found


def _arn(body: Body, workflow: Workflow, name: str) -> str:
    arn = text(body, "executionArn")
    expected = workflow.state_machine.execution(name)
    if workflow.type != "standard":
        # AWS writes `express` for `execution` and adds a suffix of its own; the emulators do neither.
        machine = workflow.state_machine.name
        express = expected.replace(f":execution:{machine}:", f":express:{machine}:", 1)
        expected = arn if arn.startswith(f"{express}:") else expected
    if arn != expected:
        raise answer_wrong("it is about another execution")
    return arn


def _event(entry: object) -> Event:
    if not isinstance(entry, dict):
        raise answer_wrong("an event is not an object")
    number_of_event = entry.get("id")
    if isinstance(number_of_event, bool) or not isinstance(number_of_event, int):
        raise answer_wrong("an event has no id")
    details = entry.get("stateEnteredEventDetails") or entry.get("stateExitedEventDetails")
    state = details.get("name") if isinstance(details, dict) else None
    return Event(
        id=number_of_event,
        at=number(entry, "timestamp"),
        type=text(entry, "type"),
        state=state if isinstance(state, str) else None,
    )


def _optional(body: Body, member: str) -> str | None:
    found = body.get(member)
    if not isinstance(found, str):
        return None
    if len(found) > _MAX_DATA:
        raise answer_wrong(f"{member} is longer than AWS allows")
    return found
