"""Executions as values: their names, their owner, their input; and what Step Functions must do for us."""

import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from gateway.credentials.session import AwsCredentials
from gateway.errors import ErrorCode, InputFault, RequestRejected
from gateway.identity.token import Principal
from gateway.policy.rule import Workflow

#: Member of every workflow's input that the gateway alone writes: who started it.
RESERVED_MEMBER: Final = "_caller"
#: Longest input that Step Functions takes, in bytes of UTF-8.
MAX_INPUT_BYTES: Final = 262_144
_OURS: Final = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")
# RFC 8941 section 3.3.3, without blanks: a key in quotes is the same key.
_KEY: Final = re.compile(r"[!-~]{1,128}")
_QUOTED: Final = re.compile(r'"((?:[!#-\[\]-~]|\\["\\])*)"')

_canonical: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)

Status = Literal["RUNNING", "SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "PENDING_REDRIVE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlan:
    """Everything a start needs, complete before the intent is written, so that a crash can be looked up.

    name:  the execution's name; for STANDARD a function of caller and idempotency key.
    input: canonical JSON bytes, UTF-8, at most 262,144; the same wish gives the same bytes.
    key:   the idempotency key that the caller sent, without quotes.
    """

    workflow: Workflow
    name: str
    input: bytes = field(repr=False)
    key: str | None = None


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


def execution_name(principal: Principal, workflow: str, idempotency_key: str) -> str:
    """Return the name that this caller's key stands for: 32 hex of the caller, `-`, 32 hex of workflow and key.

    Step Functions keeps names unique, so the same key starts one execution, without a database.
    """
    digest = hashlib.sha256(f"{workflow}\0{idempotency_key}".encode()).hexdigest()[:32]
    return f"{principal.digest}-{digest}"


def owns(principal: Principal, name: str) -> bool:
    """Say whether an execution of this name was started for this caller: its first half is the caller's digest."""
    return _OURS.fullmatch(name) is not None and name.startswith(principal.digest)


def execution_url(workflow: str, name: str) -> str:
    """Return the path under which a caller finds an execution."""
    return f"/v1/executions/{workflow}/{name}"


def plan_start(
    *,
    workflow: Workflow,
    principal: Principal,
    input: Mapping[str, object],  # noqa: A002  the field's word
    idempotency_key: str | None,
    express_keys: bool = False,
    unkeyed: str | None = None,
) -> StartPlan:
    """Judge a start completely, before anything with an effect happens.

    input:           the caller's, without the reserved member, which is added here.
    idempotency_key: the header as sent; compulsory for STANDARD workflows.
    express_keys:    somebody remembers the keys of EXPRESS starts; without that they are refused.
    unkeyed:         names an EXPRESS start without a key, where it must be known again; None: a name by chance.
    Raises RequestRejected (`idempotency_key_missing`, `idempotency_unsupported`, `request_malformed`,
    `input_invalid`, `input_too_large`).
    """
    if idempotency_key is None:
        key, name = None, _unkeyed_name(workflow, principal, unkeyed)
    elif workflow.type == "standard" or express_keys:
        key = _bare(idempotency_key)
        name = execution_name(principal, workflow.name, key)
    else:
        raise RequestRejected(
            ErrorCode.IDEMPOTENCY_UNSUPPORTED,
            f"{workflow.name} is an EXPRESS workflow: AWS starts it again for every request.",
            hint="Send no Idempotency-Key, or use a STANDARD workflow.",
        )
    if RESERVED_MEMBER in input:
        raise _input_invalid(InputFault(path=f"/{RESERVED_MEMBER}", problem="reserved"))
    caller = {"issuer": principal.issuer, "subject": principal.subject}
    try:
        data = canonical({**input, RESERVED_MEMBER: caller})
    except (ValueError, RecursionError) as error:  # lone surrogates, NaN: no JSON text says them
        raise _input_invalid(InputFault(path="", problem="unicode")) from error
    if len(data) > MAX_INPUT_BYTES:
        raise RequestRejected(
            ErrorCode.INPUT_TOO_LARGE,
            f"The input has {len(data)} bytes with the member {RESERVED_MEMBER} added; "
            f"AWS Step Functions takes {MAX_INPUT_BYTES}.",
            hint="Put large data into S3 and pass its place.",
        )
    faults = workflow.input_schema.faults(dict(input))
    if faults:
        raise _input_invalid(*faults)
    return StartPlan(workflow=workflow, name=name, input=data, key=key)


def canonical(value: object) -> bytes:
    """Return a JSON value as the one text we send for it: sorted members, no blanks, UTF-8."""
    return _canonical.encode(value).encode()


def _unkeyed_name(workflow: Workflow, principal: Principal, unkeyed: str | None) -> str:
    if workflow.type == "standard":
        raise RequestRejected(
            ErrorCode.IDEMPOTENCY_KEY_MISSING,
            f"A start of {workflow.name} needs an Idempotency-Key.",
            hint="Send a key that is the same for every attempt of one job, such as the job's id and attempt.",
        )
    if unkeyed is not None:
        return execution_name(principal, workflow.name, unkeyed)
    return f"{principal.digest}-{secrets.token_hex(16)}"


def _bare(sent: str) -> str:
    key = sent
    if sent.startswith('"'):
        quoted = _QUOTED.fullmatch(sent)
        key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else ""
    if _KEY.fullmatch(key) is None:
        raise RequestRejected(
            ErrorCode.REQUEST_MALFORMED, "The Idempotency-Key is not 1 to 128 visible ASCII characters."
        )
    return key


def _input_invalid(*faults: InputFault) -> RequestRejected:
    return RequestRejected(
        ErrorCode.INPUT_INVALID,
        "The input is not what the workflow takes.",
        hint="The errors name the places; the workflow's input schema is shown by /v1/whoami.",
        faults=faults,
    )
