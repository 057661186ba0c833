"""Executions on AWS Step Functions: a start that is safe to repeat, a look, a stop, a history."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Final

from gateway.clock import Clock
from gateway.credentials.session import AwsCredentials
from gateway.errors import ErrorCode, RequestRejected, UpstreamFailed
from gateway.executions.execution import Event, Execution, StartPlan, canonical, execution_url
from gateway.executions.states_answers import execution_from, history_from, number, running_from
from gateway.executions.states_calls import Operation, Reply, StatesCalls, StatesFailed
from gateway.executions.states_errors import (
    answer_wrong,
    perhaps_started,
    repeatable,
    repeatable_unless_done,
    start_unknown,
)
from gateway.policy.rule import Workflow
from gateway.tracing import xray_header

# `Date` has whole seconds, and an execution younger than this at our call may be our own.
_OURS_S: Final = 2.0
_PAGE: Final = 1000
# DescribeExecution is eventually consistent: just after a start it may not know the execution yet.
_LOOKS: Final = 3
_LOOK_PAUSE_S: Final = 0.3
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,80}")


class StepFunctions:
    """The Executions of AWS. Deadlines are the event loop's time."""

    def __init__(self, *, calls: StatesCalls, clock: Clock) -> None:
        self._calls = calls
        self._clock = clock

    async def start(self, plan: StartPlan, held: AwsCredentials, *, deadline: float) -> Execution:
        """Start, or find what an earlier start with the same name and input began; see Executions.

        A STANDARD start whose answer is lost is repeated: its name makes that safe. Others are not: whether they
        happened is then not known. Also raises UpstreamFailed (`start_unknown`).
        """
        try:
            return await self._start_by_type(plan, held, deadline)
        except UpstreamFailed as fault:
            if fault.code is ErrorCode.AWS_ANSWER_MISMATCH:
                raise perhaps_started(fault, plan.workflow, plan.name) from None
            raise

    async def describe(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, deadline: float
    ) -> Execution:
        """Return an execution of a STANDARD workflow; see Executions."""
        reply = await self._about("DescribeExecution", {}, workflow, name, held, deadline)
        return execution_from(reply.body, workflow, name)

    async def stop(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, reason: str, deadline: float
    ) -> Execution:
        """Stop an execution of a STANDARD workflow; see Executions."""
        try:
            stopped = await self._about("StopExecution", {"cause": reason}, workflow, name, held, deadline)
        except UpstreamFailed as failed:
            # One emulator's word for an execution that has ended; whether AWS ever says so is not documented.
            if failed.upstream is None or failed.upstream.code != "ValidationException":
                raise
            execution = await self.describe(workflow, name, held, deadline=deadline)
            if not execution.done:
                raise
            return execution
        execution = await self.describe(workflow, name, held, deadline=deadline)
        if execution.status == "RUNNING":
            # DescribeExecution lags behind; that it was stopped is certain.
            return replace(execution, status="ABORTED", ended_at=number(stopped.body, "stopDate"))
        return execution

    async def events(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, after: int, deadline: float
    ) -> AsyncIterator[Event]:
        """Yield the events that exist now with an id above `after`, oldest first; see Executions."""
        # Backwards from the newest, so that following a long history does not read it anew each time.
        backwards = after > 0
        body: dict[str, object] = {
            "maxResults": _PAGE,
            "includeExecutionData": False,
            "reverseOrder": backwards,
        }
        newer: list[Event] = []
        while True:
            reply = await self._about("GetExecutionHistory", body, workflow, name, held, deadline)
            page, token = history_from(reply.body)
            if not backwards:
                for event in page:
                    yield event
            newer += [event for event in page if backwards and event.id > after]
            if token is None or any(event.id <= after for event in page):
                break
            body["nextToken"] = token
        for event in sorted(newer, key=lambda found: found.id):
            yield event

    async def _start_by_type(self, plan: StartPlan, held: AwsCredentials, deadline: float) -> Execution:
        match plan.workflow.type:
            case "standard":
                return await self._start_once(plan, held, deadline)
            case "express":
                reply = await self._start_unnamed("StartExecution", plan, held, deadline)
                return running_from(reply.body, plan.workflow, plan.name, existed=False)
            case "express-sync":
                reply = await self._start_unnamed("StartSyncExecution", plan, held, deadline)
                return execution_from(reply.body, plan.workflow, plan.name)

    async def _start_once(self, plan: StartPlan, held: AwsCredentials, deadline: float) -> Execution:
        loop = asyncio.get_running_loop()
        began, began_wall = loop.time(), self._clock.wall()
        try:
            reply = await self._start("StartExecution", plan, held, deadline)
        except StatesFailed as failed:
            if failed.code == "ExecutionAlreadyExists":
                return await self._earlier(plan, held, began_wall if failed.lost else None, deadline)
            # Any error after a lost answer says nothing about the attempt whose answer was lost.
            if failed.lost and failed.code not in ("ExpiredTokenException", "ExpiredToken"):
                raise start_unknown(plan.workflow, plan.name) from None
            raise failed.meaning from None
        # By AWS's own clock, so that ours may be wrong.
        called_at = began_wall if reply.at is None else reply.at - (loop.time() - began)
        existed = number(reply.body, "startDate") < called_at - _OURS_S
        return running_from(reply.body, plan.workflow, plan.name, existed=existed)

    async def _earlier(
        self, plan: StartPlan, held: AwsCredentials, lost_since: float | None, deadline: float
    ) -> Execution:
        """Return what took the name. lost_since: an answer to ourselves was lost, this many seconds since the epoch."""
        workflow, name = plan.workflow, plan.name
        reply = await self._patiently_described(plan, held, deadline)
        if reply is None:
            if lost_since is not None:
                raise start_unknown(workflow, name)
            raise RequestRejected(
                ErrorCode.IDEMPOTENCY_CONFLICT,
                f"An execution of {workflow.name} has the name of this Idempotency-Key, and AWS does not show it.",
                hint="Nothing was started. Send it with the same key again in a minute; if this stays, look in AWS for the "
                "execution that url names before you use another key.",
                url=execution_url(workflow.name, name),
            )
        if not _same_input(reply.body, plan):
            raise RequestRejected(
                ErrorCode.IDEMPOTENCY_CONFLICT,
                f"This Idempotency-Key has started {workflow.name} with another input.",
                hint="Use another key for another input.",
                url=execution_url(workflow.name, name),
            )
        execution = execution_from(reply.body, workflow, name)
        ours = lost_since is not None and execution.started_at >= lost_since - _OURS_S
        return replace(execution, existed=not ours)

    async def _patiently_described(
        self, plan: StartPlan, held: AwsCredentials, deadline: float
    ) -> Reply | None:
        """Describe what has the name, and be patient: AWS shows an execution a moment after it takes the name. None: it does not."""
        for look in range(_LOOKS):
            try:
                return await self._about("DescribeExecution", {}, plan.workflow, plan.name, held, deadline)
            except RequestRejected:
                if look + 1 < _LOOKS:
                    await asyncio.sleep(_LOOK_PAUSE_S)
        return None

    async def _start_unnamed(
        self, operation: Operation, plan: StartPlan, held: AwsCredentials, deadline: float
    ) -> Reply:
        try:
            return await self._start(operation, plan, held, deadline)
        except StatesFailed as failed:
            if failed.in_doubt:
                raise start_unknown(plan.workflow, plan.name) from None
            raise failed.meaning from None

    async def _start(
        self, operation: Operation, plan: StartPlan, held: AwsCredentials, deadline: float
    ) -> Reply:
        body: dict[str, object] = {
            "stateMachineArn": str(plan.workflow.state_machine),
            "name": plan.name,
            "input": plan.input.decode(),
        }
        # No part of what AWS compares: a start is the same when its name and its input are (API reference, StartExecution).
        if header := xray_header():
            body["traceHeader"] = header
        return await self._calls.ask(
            operation,
            body,
            workflow=plan.workflow,
            held=held,
            again=repeatable if plan.workflow.type == "standard" else repeatable_unless_done,
            deadline=deadline,
        )

    async def _about(
        self,
        operation: Operation,
        body: Mapping[str, object],
        workflow: Workflow,
        name: str,
        held: AwsCredentials,
        deadline: float,
    ) -> Reply:
        """Ask about one execution, whose ARN is made here and nowhere else."""
        if workflow.type != "standard":
            raise RequestRejected(
                ErrorCode.EXECUTION_UNSUPPORTED,
                f"AWS keeps no executions of {workflow.name}, which is EXPRESS.",
            )
        if _NAME.fullmatch(name) is None:
            raise RequestRejected(
                ErrorCode.EXECUTION_UNKNOWN, f"{workflow.name} has no execution of this name."
            )
        arn = workflow.state_machine.execution(name)
        try:
            return await self._calls.ask(
                operation,
                {"executionArn": arn, **body},
                workflow=workflow,
                held=held,
                again=repeatable,
                deadline=deadline,
            )
        except StatesFailed as failed:
            raise failed.meaning from None


def _same_input(body: Mapping[str, object], plan: StartPlan) -> bool:
    found = body.get("input")
    if not isinstance(found, str):
        raise answer_wrong("it does not show the input that this name was started with")
    try:
        # The same value in another writing, by an older release or an emulator, is the same input.
        return canonical(json.loads(found)) == plan.input
    except (ValueError, RecursionError):
        return False
