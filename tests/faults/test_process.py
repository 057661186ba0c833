"""A gateway process without descriptors, memory or a reader of its log, and one whose own code breaks at any stage."""

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import resource
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from gateway.app import assemble, running
from gateway.audit.journal import JsonlJournal
from gateway.audit.reading import read_entries
from gateway.cli.logs import JsonFormatter
from gateway.compiling.watch import WatchedPolicy
from gateway.credentials.cache import CredentialCache
from gateway.credentials.sts import StsCredentials
from gateway.doors import rest
from gateway.exchange import admission, exchange
from gateway.exchange.replay import ReplayGuard
from gateway.executions.stepfunctions import StepFunctions
from gateway.files.schema.keeping import AuditShape
from gateway.files.schema.serving import ServerShape
from gateway.front import build_app
from gateway.identity import identify
from gateway.identity.jwks import FetchedKeys
from gateway.settings.loading import load_settings
from tests.faults.conftest import DEPLOY, GOOD, Faulty, running_faulty
from tests.faults.test_files import RULES
from tests.support.caller import Caller, until
from tests.support.gateways import ROOT, Gateway, fresh, replace, write_config
from tests.support.hang import no_hang
from tests.support.idp import Idps
from tests.support.processes import descendants
from tests.support.scripted_aws import ScriptedAws

# --- Limits of the process ---


def start(faulty: Faulty) -> int:
    """Return the status of a start, 0 when no connection was to be had."""
    with httpx2.Client(trust_env=False, timeout=20) as client:
        try:
            answer = client.post(
                f"{faulty.gateway.url}/v1/executions",
                json={"workflow": DEPLOY, "input": GOOD},
                headers={"Authorization": f"Bearer {fresh()}", "Idempotency-Key": uuid.uuid4().hex},
            )
        except httpx2.TransportError:
            return 0
    return answer.status_code


def started_on(
    client: httpx2.Client, given: dict[str, str], workflow: str = DEPLOY
) -> httpx2.Response | None:
    """Start on the connection that this client holds; None when there is no answer to be had."""
    headers = {"Authorization": f"Bearer {fresh()}", "Idempotency-Key": uuid.uuid4().hex}
    try:
        return client.post("/v1/executions", json={"workflow": workflow, "input": given}, headers=headers)
    except httpx2.TransportError:
        return None


def every_story_has_its_end(gateway: Gateway) -> bool:
    """Say whether as many calls have ended, or were closed as unknown after a crash, as have begun."""
    kinds = [entry.record.kind for entry in read_entries(gateway.audit)]
    return kinds.count("intent") == kinds.count("outcome") + kinds.count("unknown")


def reloads(gateway: Gateway) -> bool:
    """Say whether a change of its files still comes into force."""
    rules, before = gateway.config / RULES, gateway.get("/readyz").json()["digest"]
    replace(rules, re.sub(r"why: \S+", f"why: CHANGE-{uuid.uuid4().hex[:8]}", rules.read_text()).encode())
    return bool(until(lambda: gateway.get("/readyz").json()["digest"] != before))


@pytest.fixture
def patient(tmp_path: Path, idps: Idps, faulty_aws: ScriptedAws) -> Iterator[Faulty]:
    """A gateway of this test's own that keeps idle connections for a minute."""
    faulty_aws.begin()
    with running_faulty(tmp_path, faulty_aws, idps, environment={"OIDC_GATEWAY_IDLE": "60s"}) as faulty:
        yield faulty
        faulty_aws.begin()
        faulty.settle()


@pytest.mark.requirement("F-58")
def test_without_descriptors_who_is_connected_is_refused_who_is_not_waits_and_afterwards_all_are_served(
    patient: Faulty,
) -> None:
    gateway, process = patient.gateway, patient.gateway.process.pid
    before = resource.prlimit(process, resource.RLIMIT_NOFILE)
    connected = httpx2.Client(base_url=gateway.url, trust_env=False, timeout=20)
    with connected, no_hang(), ThreadPoolExecutor() as pool:
        assert connected.get("/livez").status_code == 200
        until(lambda: not is_connected_to(patient.aws.peer.port))
        # Standard input, output and error are below it: nothing more can be opened, be it a file or a connection.
        resource.prlimit(process, resource.RLIMIT_NOFILE, (3, before[1]))
        # AWS cannot be dialled, and as soon as the switches should be read again they cannot be.
        refused = started_on(connected, GOOD)
        closed = until(lambda: with_code("switches_unavailable", started_on(connected, GOOD)))
        health = [connected.get(path).status_code for path in ("/livez", "/readyz", "/metrics")]
        waiting = [pool.submit(start, patient) for _ in range(8)]
        resource.prlimit(process, resource.RLIMIT_NOFILE, before)
        heard = {one.result(20) for one in waiting}

    assert refused is not None
    assert {answer.status_code for answer in (refused, closed)} == {503}
    assert refused.json()["code"] in {"aws_unavailable", "switches_unavailable"}
    assert health == [200, 200, 200]
    assert heard <= {201, 503}
    assert gateway.process.poll() is None
    until(lambda: start(patient) == 201)
    assert reloads(gateway)
    assert every_story_has_its_end(gateway)


def with_code(code: str, answer: httpx2.Response | None) -> httpx2.Response | None:
    return answer if answer is not None and answer.json().get("code") == code else None


def is_connected_to(port: int) -> bool:
    """Say whether there is an open connection to this port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def address_space(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.mark.requirement("F-58")
def test_without_memory_no_grant_is_without_its_record_and_afterwards_all_are_served(
    tmp_path: Path, idps: Idps, faulty_aws: ScriptedAws
) -> None:
    faulty_aws.begin()
    with running_faulty(tmp_path, faulty_aws, idps, workers=2) as faulty:
        gateway = faulty.gateway
        workers = descendants(gateway.process.pid) - {gateway.process.pid}
        before = {worker: resource.prlimit(worker, resource.RLIMIT_AS) for worker in workers}
        for worker, (_, hard) in before.items():
            resource.prlimit(worker, resource.RLIMIT_AS, (address_space(worker), hard))

        def large(_: int) -> httpx2.Response | None:
            # A piece of memory so large is always asked of the system.
            with httpx2.Client(base_url=gateway.url, trust_env=False, timeout=20) as client:
                return started_on(client, {"text": "x" * 200_000}, "wide")

        def burst() -> list[httpx2.Response | None] | None:
            with ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(large, range(32)))
            bitten = any(answer is None or answer.status_code != 201 for answer in answers)
            return answers if bitten else None

        with no_hang():
            answers = until(burst)
        for worker, limits in before.items():
            # The interpreter itself may have ended for want of memory; whoever takes its place has no limit.
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(worker, resource.RLIMIT_AS, limits)

        until(lambda: start(faulty) == 201)
        until(lambda: every_story_has_its_end(gateway))
        granted = [answer for answer in answers if answer is not None and answer.status_code == 201]
        for answer in granted:
            assert [record.kind for record in gateway.records(answer, at_least=2)] == ["intent", "outcome"]
        assert {answer.status_code for answer in answers if answer is not None} <= {201, 400, 500, 503}
        assert gateway.process.poll() is None


# --- The log ---


@contextlib.contextmanager
def logging_into(descriptor: int, folder: Path, aws: ScriptedAws) -> Iterator["subprocess.Popen[bytes]"]:
    config = write_config(folder / "config", aws=aws.url)
    command = [sys.executable, "-m", "gateway", "serve", "--dev", "--port", "0", "--log", "json"]
    with (
        (folder / "said.txt").open("wb") as said,
        subprocess.Popen(
            [*command, "--config", str(config), "--audit", str(folder / "audit")],
            cwd=ROOT,
            env={"PATH": "", "HOME": str(folder), "OIDC_GATEWAY_SERVE_ON": "1s"},
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=said,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
            process.wait(20)


def url_of(folder: Path) -> str:
    """Return where it listens, which it says to whoever started it and not to the log."""
    found = until(lambda: re.search(r"Listening on (http://\S+)", (folder / "said.txt").read_text()))
    return found[1]


@pytest.mark.requirement("F-60")
@pytest.mark.parametrize("reader_is", ["gone", "asleep"])
def test_a_log_that_nobody_reads_costs_lines_which_are_counted_and_neither_service_nor_records(
    tmp_path: Path, faulty_aws: ScriptedAws, reader_is: str
) -> None:
    faulty_aws.begin()
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, resource.getpagesize())
    with no_hang(), logging_into(writer, tmp_path, faulty_aws) as process:
        os.close(writer)
        caller = Caller(url_of(tmp_path), tmp_path / "audit")
        if reader_is == "gone":
            os.close(reader)
        with caller.client:
            # More than the pipe holds.
            answers = [caller.start(fresh(), DEPLOY, key=str(number), input=GOOD) for number in range(150)]
            recorded = [record.kind for record in caller.records(answers[-1])]
            if reader_is == "gone":
                until(lambda: caller.metric("oidc_gateway_log_lines_dropped_total") >= 100)
            else:
                text = b""
                while text.count(b'"status":201') < 150:
                    text += os.read(reader, 65_536)
                os.close(reader)
        alive = process.poll() is None

    assert {answer.status_code for answer in answers} == {201}
    assert recorded == ["intent", "outcome"]
    assert alive


# --- Our own bugs ---

CANARY = "canary-4711-text-of-an-exception"


class Broken(RuntimeError):
    """What no line of ours expects; its text is a secret."""


def breaks(*_: object, **__: object) -> object:
    raise Broken(CANARY)


async def breaks_later(*_: object, **__: object) -> object:
    raise Broken(CANARY)


Break = tuple[object, str, Callable[..., object]]
#: By name, in the order of one call: what breaks, and what is then recorded.
STAGES: dict[str, tuple[Break, list[str]]] = {
    "reading the body": ((rest, "json_members", breaks_later), []),
    "taking the policy": ((WatchedPolicy, "current", breaks), []),
    "reading the token": ((identify, "read_token", breaks), ["refused"]),
    "looking for the key": ((FetchedKeys, "known", breaks), ["refused"]),
    "verifying": ((identify, "verify_token", breaks), ["refused"]),
    "deciding": ((admission, "decide", breaks), ["refused"]),
    "planning": ((exchange, "plan_start", breaks), ["refused"]),
    "reserving": ((ReplayGuard, "take", breaks_later), ["refused"]),
    "recording the intent": ((JsonlJournal, "intend", breaks_later), ["refused"]),
    "preparing the session": ((exchange, "session_for", breaks), ["refused"]),
    "looking into the cache": ((CredentialCache, "obtain", breaks_later), ["intent", "outcome"]),
    "asking STS": ((StsCredentials, "assume", breaks_later), ["intent", "outcome"]),
    "starting": ((StepFunctions, "start", breaks_later), ["intent", "outcome"]),
}


class House:
    """The real application without a socket, for one test."""

    def __init__(self, client: httpx2.AsyncClient, audit: Path) -> None:
        self._client = client
        self._audit = audit

    async def start(self, token: str) -> httpx2.Response:
        return await self._client.post(
            "/v1/executions",
            json={"workflow": DEPLOY, "input": GOOD},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": uuid.uuid4().hex},
        )

    def records(self, answer: httpx2.Response) -> list[tuple[str, str | None]]:
        wanted = answer.headers["x-request-id"]
        found = [entry.record for entry in read_entries(self._audit)]
        return [(one.kind, one.code) for one in found if one.request_id == wanted]


@pytest.fixture
async def house(tmp_path: Path, faulty_aws: ScriptedAws) -> AsyncIterator[House]:
    faulty_aws.begin()
    settings = load_settings(
        config=write_config(tmp_path / "config", aws=faulty_aws.url),
        server=ServerShape(),
        audit=AuditShape(directory=str(tmp_path / "audit")),
        environment={},
        flags={},
        dev=True,
    )
    parts = assemble(settings)
    app = build_app(parts, public_url=lambda: "http://127.0.0.1")
    async with (
        running(parts),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1") as client,
    ):
        yield House(client, tmp_path / "audit")


async def settled(look: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a record that nobody waits for is on the disk."""
    for _ in range(500):
        if await look():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("waited in vain")


@pytest.mark.requirement("F-59")
@pytest.mark.parametrize("stage", list(STAGES))
async def test_a_bug_at_any_stage_is_our_failure_recorded_as_one_and_neither_a_grant_nor_a_refusal_of_the_token(
    house: House,
    faulty_aws: ScriptedAws,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    stage: str,
) -> None:
    (owner, name, broken), expected = STAGES[stage]
    token = fresh()
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, broken)
        answer = await house.start(token)
    afterwards = await house.start(token)

    async def recorded() -> bool:
        return [kind for kind, _ in house.records(answer)] == expected

    await settled(recorded)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert all(code in {None, "internal_error"} for _, code in house.records(answer))
    assert not any("StartExecution" in call for call in faulty_aws.states_calls()[:-1]), "nothing was started"
    assert afterwards.status_code == 201
    logged = [JsonFormatter().format(record) for record in caplog.records]
    assert any(record.levelno >= logging.ERROR for record in caplog.records)
    everything = answer.text + "".join(logged) + "".join(str(one) for one in house.records(answer))
    assert CANARY not in everything
    assert token not in everything


@pytest.mark.requirement("F-59")
async def test_a_bug_while_answering_is_our_failure_and_the_record_still_says_what_was_done(
    house: House, faulty_aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(rest, "execution_document", breaks)
        answer = await house.start(fresh())

    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert house.records(answer) == [("intent", None), ("outcome", None)]
    assert CANARY not in answer.text
    assert faulty_aws.states_calls() == ["StartExecution"]
