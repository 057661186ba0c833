"""An STS and a Step Functions that count: one execution for one name, however often and with whatever luck it is asked for."""

import asyncio
import json
import random
import time
from dataclasses import dataclass

from tests.support.peer import Received, Reply, answers, cuts_the_connection
from tests.support.scripted_aws import ScriptedAws, refuses_operation

_FORGETS_AFTER = 2_000


@dataclass(frozen=True, slots=True)
class Begun:
    """One execution."""

    input: str
    at: float


class Emulator:
    """What both services do in the soak. executions: by name. Every fiftieth answer is lost or an error."""

    def __init__(self, aws: ScriptedAws, *, seed: int) -> None:
        self.executions: dict[str, Begun] = {}
        self._aws = aws
        self._luck = random.Random(seed)
        self._good_sts = aws.sts
        aws.sts, aws.states = self._sts, self._states

    async def _sts(self, request: Received, writer: asyncio.StreamWriter) -> None:
        # The peer keeps every request for tests that look at them.
        if len(self._aws.peer.received) > _FORGETS_AFTER:
            self._aws.peer.received.clear()
        await self._or_bad_luck(self._good_sts, answers(b"", status=503))(request, writer)

    async def _states(self, request: Received, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body)
        operation = request.headers["x-amz-target"].rpartition(".")[2]
        reply = self._start(asked) if operation == "StartExecution" else self._describe(operation, asked)
        # What was begun is begun, whatever becomes of the answer.
        await self._or_bad_luck(reply, answers(b"", status=500))(request, writer)

    def _or_bad_luck(self, reply: Reply, failure: Reply) -> Reply:
        luck = self._luck.random()
        if luck < 0.01:
            return cuts_the_connection()
        return failure if luck < 0.02 else reply

    def _start(self, asked: dict[str, str]) -> Reply:
        begun = self.executions.setdefault(asked["name"], Begun(asked["input"], time.time()))
        if begun.input != asked["input"]:
            return refuses_operation("ExecutionAlreadyExists")
        machine = asked["stateMachineArn"].replace(":stateMachine:", ":execution:")
        return answers(json.dumps({"executionArn": f"{machine}:{asked['name']}", "startDate": begun.at}))

    def _describe(self, operation: str, asked: dict[str, str]) -> Reply:
        arn = asked["executionArn"]
        machine, _, name = arn.replace(":execution:", ":stateMachine:").rpartition(":")
        if name not in self.executions:
            return refuses_operation("ExecutionDoesNotExist")
        if operation == "StopExecution":
            return answers(json.dumps({"stopDate": time.time()}))
        found = {"executionArn": arn, "stateMachineArn": machine, "name": name, "status": "RUNNING"}
        return answers(json.dumps({**found, "startDate": self.executions[name].at}))
