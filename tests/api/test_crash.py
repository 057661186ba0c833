"""SIGKILL at every step of a start: the next process closes the call as unknown, and a retry finds the one execution."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from gateway.audit.files import journal_files
from gateway.audit.reading import Query, find, read_entries
from gateway.audit.record import Record
from gateway.audit.verify import verify
from tests.support.caller import until
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.peer import Received, Reply, answers
from tests.support.scripted_aws import (
    ScriptedAws,
    by_operation,
    describes,
    issues_credentials,
    running_scripted_aws,
)

WORKFLOW, KEY = "deploy-payments", "run-4711"
INPUT = {"version": "1.2.3"}


class Machine:
    """Step Functions as far as names are concerned: one execution a name, the same answer for the same start."""

    def __init__(self) -> None:
        self.executions: dict[str, float] = {}

    async def start(self, request: Received, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body)
        since = self.executions.setdefault(asked["name"], time.time())
        machine = asked["stateMachineArn"].replace(":stateMachine:", ":execution:")
        await answers(json.dumps({"executionArn": f"{machine}:{asked['name']}", "startDate": since}))(
            request, writer
        )


class Gate:
    """Holds a request before or after it has its effect. arrived: it is there; done: its answer was written."""

    def __init__(self) -> None:
        self.arrived, self.open, self.done = threading.Event(), threading.Event(), threading.Event()

    def before(self, reply: Reply) -> Reply:
        async def held(request: Received, writer: asyncio.StreamWriter) -> None:
            self.arrived.set()
            await asyncio.to_thread(self.open.wait, 20)
            await reply(request, writer)
            await writer.drain()
            self.done.set()

        return held


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    with running_scripted_aws() as scripted:
        yield scripted


@pytest.fixture
def folder(tmp_path: Path, aws: ScriptedAws) -> Path:
    write_config(tmp_path / "config", aws=aws.url)
    return tmp_path


def start(gateway: Gateway) -> httpx2.Response:
    return gateway.start(fresh(), WORKFLOW, key=KEY, input=INPUT)


def killed(gateway: Gateway, gate: Gate, *, answered: bool) -> None:
    """Begin a start and kill the process when it has come to the gate, or to the answer behind it."""
    with ThreadPoolExecutor() as pool:
        call: Future[httpx2.Response] = pool.submit(start, gateway)
        assert gate.arrived.wait(20)
        if answered:
            # The answer of AWS arrives at a process that does not run any more.
            os.kill(gateway.process.pid, signal.SIGSTOP)
            gate.open.set()
            assert gate.done.wait(20)
        gateway.process.kill()
        gateway.process.wait(20)
        gate.open.set()
        assert isinstance(call.exception(20), httpx2.TransportError)


def intents(audit: Path) -> list[Record]:
    return [entry.record for entry in read_entries(audit) if entry.record.kind == "intent"]


def story(gateway: Gateway, request_id: str) -> list[Record]:
    return [entry.record for entry in find(gateway.audit, Query(request=request_id))]


@pytest.mark.requirement("AU-04")
@pytest.mark.parametrize("step", ["intent", "credentials", "started", "answered"])
def test_a_start_that_sigkill_interrupts_is_closed_and_found_by_its_retry(
    folder: Path, aws: ScriptedAws, machine: Machine, step: str
) -> None:
    gate = Gate()
    aws.states = machine.start
    if step == "intent":
        aws.sts = gate.before(issues_credentials())
    elif step == "credentials":
        aws.states = gate.before(answers("{}", status=500))
    else:

        async def after(request: Received, writer: asyncio.StreamWriter) -> None:
            machine.executions.setdefault(json.loads(request.body)["name"], time.time())
            await gate.before(machine.start)(request, writer)

        aws.states = after
    with running_gateway(folder / "config", folder / "audit") as gateway:
        killed(gateway, gate, answered=step == "answered")
        [intent] = intents(gateway.audit)
    aws.sts, aws.states = (
        issues_credentials(),
        by_operation(StartExecution=machine.start, DescribeExecution=describes()),
    )

    with running_gateway(folder / "config", folder / "audit") as gateway:
        closed = story(gateway, intent.request_id)
        unresolved = gateway.metric("oidc_gateway_audit_unresolved")
        answer = start(gateway)
        until(lambda: len(story(gateway, intent.request_id)) == 3)
        resolved = gateway.metric("oidc_gateway_audit_unresolved")

    assert [record.kind for record in closed] == ["intent", "unknown"]
    assert closed[1].execution == intent.execution, "the name to look up"
    assert answer.status_code in (200, 201)
    assert list(machine.executions) == [intent.execution], "one execution, whatever happened"
    found = story(gateway, intent.request_id)[2]
    assert (found.kind, found.found_by) == ("found", answer.headers["x-request-id"])
    assert (found.execution or "").endswith(f":{intent.execution}")
    assert (unresolved, resolved) == (1, 0)
    assert verify(journal_files(gateway.audit)).findings == ()


@pytest.mark.requirement("AU-04")
def test_whoever_looks_at_the_execution_ends_the_story_too(
    folder: Path, aws: ScriptedAws, machine: Machine
) -> None:
    gate = Gate()
    aws.states = gate.before(machine.start)
    with running_gateway(folder / "config", folder / "audit") as gateway:
        killed(gateway, gate, answered=False)
        [intent] = intents(gateway.audit)
    aws.states = describes(status="SUCCEEDED", stopDate=1_700_000_100.0)

    with running_gateway(folder / "config", folder / "audit") as gateway:
        answer = gateway.get(f"/v1/executions/{WORKFLOW}/{intent.execution}", fresh())
        until(lambda: len(story(gateway, intent.request_id)) == 3)

    found = story(gateway, intent.request_id)[2]
    assert answer.status_code == 200
    assert (found.kind, found.act, found.status) == ("found", "start", "SUCCEEDED")
    assert found.found_by == answer.headers["x-request-id"]
