"""One signed AWS JSON 1.0 call to Step Functions, and what its failure means."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from gateway.credentials.session import AwsCredentials
from gateway.errors import ConfigurationInvalid, ErrorCode, GatewayError
from gateway.executions.execution import CredentialsExpired
from gateway.executions.states_errors import answer_wrong, meaning_of, no_answer
from gateway.outbound.aws import AwsCall, AwsCalls, Repeatable, SigningKey
from gateway.outbound.aws_answers import AnswerInvalid, AwsFault, date_of, json_object
from gateway.outbound.aws_endpoints import AwsEndpointData, RegionUnknown
from gateway.outbound.http import OutboundFailure
from gateway.policy.rule import Workflow
from gateway.policy.snapshot import AwsEndpoints

Operation = Literal[
    "DescribeExecution", "GetExecutionHistory", "StartExecution", "StartSyncExecution", "StopExecution"
]
# Members of a request that are the caller's own.
_PRIVATE: Final = ("input", "cause")
# An output has at most 262,144 bytes, which JSON escapes may multiply; a page of history has no data in it.
_MAX_ANSWER_BYTES: Final = 4_194_304
_ATTEMPT_S: Final = 7.0
# AWS ends a synchronous execution after five minutes.
_SYNC_ATTEMPT_S: Final = 310.0


class StatesFailed(Exception):
    """One operation failed.

    code:     AWS's error code, None when no answer came.
    in_doubt: it may have been carried out all the same, because an answer was lost or AWS itself failed.
    lost:     an answer was lost.
    meaning:  what the rest of the gateway shall hear.
    """

    def __init__(
        self, code: str | None, meaning: GatewayError | CredentialsExpired, *, lost: bool, in_doubt: bool
    ) -> None:
        super().__init__(code or "no answer")
        self.code = code
        self.meaning = meaning
        self.lost = lost
        self.in_doubt = in_doubt


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A successful answer. at: its `Date`, whole seconds since the epoch, None without."""

    body: Mapping[str, object] = field(repr=False)
    at: float | None


class StatesCalls:
    """Calls Step Functions in the Region of the workflow's machine, under credentials handed in with every call."""

    def __init__(
        self, *, calls: AwsCalls, data: AwsEndpointData, endpoints: Callable[[], AwsEndpoints]
    ) -> None:
        self._calls = calls
        self._data = data
        self._endpoints = endpoints

    async def ask(
        self,
        operation: Operation,
        body: Mapping[str, object],
        *,
        workflow: Workflow,
        held: AwsCredentials,
        again: Repeatable,
        deadline: float,
    ) -> Reply:
        """Return the answer; raises StatesFailed, UpstreamFailed (`aws_answer_mismatch`) or ConfigurationInvalid."""
        call = self._call(operation, body, workflow, held)
        try:
            answer = await self._calls.make(call, again, deadline=deadline)
            return Reply(body=json_object(answer), at=date_of(answer))
        except AwsFault as fault:
            raise StatesFailed(
                fault.code,
                meaning_of(fault, workflow),
                lost=fault.maybe_done,
                in_doubt=fault.maybe_done or (fault.unavailable and not fault.throttled),
            ) from None
        except OutboundFailure as failure:
            late = asyncio.get_running_loop().time() >= deadline - 0.05  # timers may fire a little early
            raise StatesFailed(None, no_answer(late=late), lost=failure.sent, in_doubt=failure.sent) from None
        except AnswerInvalid as fault:
            raise answer_wrong(str(fault)) from None

    def _call(
        self, operation: Operation, body: Mapping[str, object], workflow: Workflow, held: AwsCredentials
    ) -> AwsCall:
        sync = operation == "StartSyncExecution"
        region = workflow.state_machine.region
        try:
            prefix = "sync-" if sync else ""
            url = self._data.url("states", region, overrides=self._endpoints().states, prefix=prefix)
        except RegionUnknown:
            raise ConfigurationInvalid(
                ErrorCode.MAPPING_INVALID_FOR_AWS, f"The Region {region} of {workflow.name} is not known."
            ) from None
        return AwsCall(
            service="states",
            operation=operation,
            region=region,
            url=url,
            headers={
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": f"AWSStepFunctions.{operation}",
                "User-Agent": "oidc-gateway",
            },
            body=msgspec.json.encode(body),
            private=tuple(text for name in _PRIVATE if isinstance(text := body.get(name), str)),
            key=SigningKey(
                access_key_id=held.access_key_id,
                secret_access_key=held.secret_access_key,
                session_token=held.session_token,
            ),
            max_answer_bytes=_MAX_ANSWER_BYTES,
            attempt_s=_SYNC_ATTEMPT_S if sync else _ATTEMPT_S,
        )
