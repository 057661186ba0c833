"""Executions as values: their names, their owner, their input; and what Step Functions must do for us."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.credentials.session import AwsCredentials
from gateway.policy.rule import Workflow

Status = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlan:
    """Everything a start needs, complete before the intent is written, so that a crash can be looked up.

    name:  the execution's name; for STANDARD a function of caller and idempotency key.
    input: canonical JSON bytes, UTF-8, at most 262,144; the same wish gives the same bytes.
    """

    workflow: Workflow
    name: str
    input: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One execution as AWS reports it.

    arn:     of the execution; for EXPRESS with AWS's own suffix.
    existed: the start found it there already (a repeat), so nothing new was started.
    started_at, ended_at: seconds since the epoch; ended_at None while running.
    output, error, cause: the workflow's data, None unless done; shown only where the workflow says so.
    """

    workflow: str
    name: str
    arn: str
    status: Status
    started_at: float
    ended_at: float | None = None
    existed: bool = False
    output: str | None = field(default=None, repr=False)
    error: str | None = field(default=None, repr=False)
    cause: str | None = field(default=None, repr=False)

    @property
    def done(self) -> bool:
        """Whether the status can no longer change without a redrive."""
        return self.status not in ("RUNNING", "PENDING_REDRIVE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the execution's history (GetExecutionHistory), without its data.

    state: the name of the state it is about, None for events of the whole execution.
    """

    id: int
    at: float
    type: str
    state: str | None


class CredentialsExpired(Exception):
    """AWS called the credentials expired; `exchange` obtains others once and repeats the call."""


class Executions(Protocol):
    """What is asked of Step Functions. Every method raises CredentialsExpired, AccessDenied or UpstreamFailed."""

    async def start(self, plan: StartPlan, held: AwsCredentials, *, deadline: float) -> Execution:
        """Start, or find what an earlier start with the same name and input began.

        Raises RequestRejected (`idempotency_conflict`) when the name is taken by another input.
        """
        ...

    async def describe(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, deadline: float
    ) -> Execution:
        """Return the execution; raises RequestRejected (`execution_unknown`) when AWS knows none of that name."""
        ...

    async def stop(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, reason: str, deadline: float
    ) -> Execution:
        """Stop it; an execution that has ended already is returned as it is."""
        ...

    def events(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, after: int, deadline: float
    ) -> AsyncIterator[Event]:
        """Yield the events that exist now with an id above `after`, oldest first; ends without waiting for more."""
        ...
