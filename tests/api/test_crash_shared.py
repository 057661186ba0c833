"""SIGKILL at every step of a start whose token counts, the uses in Redis: what the other gateway and the next process then do."""

import asyncio
import json
import signal
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.audit.files import journal_directories, journal_files
from gateway.audit.reading import Query, find, read_entries
from gateway.audit.record import Record
from gateway.audit.verify import verify
from tests.support.caller import problem, until
from tests.support.components import skip_without
from tests.support.gateways import Gateway, edit, fresh, running_gateway, write_config
from tests.support.killed_gateway import VARIABLE
from tests.support.peer import Received, answers
from tests.support.redis_server import RedisServer
from tests.support.scripted_aws import ScriptedAws, by_operation, describes, running_scripted_aws

pytestmark = skip_without("redis")

DYING = "tests.support.killed_gateway"
DEPLOY, NOTIFY = "deploy-payments", "notify"
GOOD, OTHER = {"version": "1.4.2"}, {"version": "1.4.3"}
#: Long enough for another gateway to find the token in use on a busy machine, in place of the 35 s of a start.
LEASE_S = 8
TARGETS = """\
workflows:
  notify:
    state_machine: arn:aws:states:eu-west-1:111122223333:stateMachine:notify
    type: express
    input_schema: any
    timeout: 1m
    teams: [payments]
"""
RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: repeat
    why: PAY-8, one request and its repetition
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: repeat }
    grants: [{ start: deploy-payments, as: payments-prod }]
    replay: per-request
  - name: once
    why: PAY-7, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants: [{ start: deploy-payments, as: payments-prod }]
    replay: once
  - name: free
    why: PAY-9, as often as it likes
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: free }
    grants: [{ start: notify, as: payments-prod }]
"""


class Machine:
    """Step Functions as far as names are concerned: one execution a name. ends: a file for it to write when it has begun one."""

    def __init__(self) -> None:
        self.executions: dict[str, float] = {}
        self.ends: Path | None = None

    async def start(self, request: Received, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body)
        since = self.executions.setdefault(asked["name"], time.time())
        if self.ends is not None:
            self.ends.touch()
            self.ends = None
            await asyncio.Event().wait()
        machine = asked["stateMachineArn"].replace(":stateMachine:", ":execution:")
        body = json.dumps({"executionArn": f"{machine}:{asked['name']}", "startDate": since})
        await answers(body)(request, writer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """AWS and Redis, a gateway that stays, and a folder with the same configuration for gateways that are killed."""

    folder: Path
    aws: ScriptedAws
    other: Gateway
    environment: dict[str, str]

    def dying(self, at: str, machine: Machine) -> dict[str, str]:
        """Return the environment of a gateway that is killed at this point, once."""
        once = self.folder / f"once-{uuid.uuid4().hex}"
        if at == "sent":
            machine.ends = once
        else:
            once.touch()
        told = {"at": at, "once": str(once), "lease_s": LEASE_S}
        return {**self.environment, VARIABLE: json.dumps(told)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, redis: RedisServer) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("killed")
    environment = {
        "OIDC_GATEWAY_STATE_URL": redis.url,
        "OIDC_GATEWAY_STATE_PREFIX": f"{uuid.uuid4()}:",
    }
    with running_scripted_aws() as aws:
        config = write_config(folder / "config", aws=aws.url)
        (config / "mappings" / "payments" / "replay.yaml").write_text(RULES)
        edit(config / "targets.yaml", "workflows:\n", TARGETS)
        with running_gateway(config, folder / "other", environment=environment) as other:
            yield Scene(folder=folder, aws=aws, other=other, environment=environment)


@pytest.fixture
def machine(scene: Scene) -> Machine:
    """A Step Functions that has started nothing."""
    scene.aws.begin()
    machine = Machine()
    scene.aws.states = by_operation(StartExecution=machine.start, DescribeExecution=describes())
    return machine


def cut_off(gateway: Gateway, token: str, key: str, workflow: str = DEPLOY) -> None:
    """Send a start that nobody answers, because who had it was killed."""
    with (
        httpx2.Client(trust_env=False, timeout=20) as client,
        pytest.raises(httpx2.TransportError),
    ):
        client.post(
            f"{gateway.url}/v1/executions",
            json={"workflow": workflow, "input": GOOD},
            headers={"Authorization": f"Bearer {token}", "Idempotency-Key": key},
        )


def once_free(
    gateway: Gateway, token: str, key: str, wanted: Mapping[str, object], workflow: str = DEPLOY
) -> httpx2.Response:
    """Return the first answer that is not `request_in_progress`."""

    def ask() -> httpx2.Response | None:
        answer = gateway.start(token, workflow, key=key, input=wanted)
        return None if said(answer) == (409, "request_in_progress") else answer

    return until(ask)


def said(answer: httpx2.Response) -> tuple[int, object]:
    return answer.status_code, problem(answer)["code"] if answer.is_error else None


def kinds(audit: Path, intent: Record) -> list[str]:
    return [entry.record.kind for entry in find(audit, Query(request=intent.request_id))]


def recorded(audit: Path) -> list[Record]:
    return [entry.record for entry in read_entries(audit) if entry.record.act == "start"]


def unbroken(audit: Path) -> bool:
    return all(verify(journal_files(one)).findings == () for one in journal_directories(audit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """What a killed gateway left. audit: the folder of its records; held: what the other one said to the token at once."""

    audit: Path
    held: httpx2.Response


def killed(
    scene: Scene,
    machine: Machine,
    at: str,
    token: str,
    key: str,
    *,
    workflow: str = DEPLOY,
    next_input: Mapping[str, object] = OTHER,
) -> Killed:
    """Run a gateway until it is killed at this point of a start, and send the other gateway the next one."""
    audit = scene.folder / uuid.uuid4().hex
    environment = scene.dying(at, machine)
    with running_gateway(scene.other.config, audit, environment=environment, module=DYING) as gateway:
        cut_off(gateway, token, key, workflow)
        held = scene.other.start(token, workflow, key=key, input=next_input)
        assert gateway.process.wait(20) == -signal.SIGKILL
    return Killed(audit=audit, held=held)


@pytest.mark.requirement("F-34", "AU-04")
@pytest.mark.parametrize(("at", "records"), [("reserved", []), ("intended", ["intent"])])
def test_a_use_that_was_reserved_and_did_not_begin_before_the_kill_is_free_again(
    scene: Scene, machine: Machine, at: str, records: list[str]
) -> None:
    token, key = fresh(environment="once"), uuid.uuid4().hex

    left = killed(scene, machine, at, token, key)

    other = once_free(scene.other, token, uuid.uuid4().hex, OTHER)
    assert (said(left.held), other.status_code) == ((409, "request_in_progress"), 201)
    assert len(machine.executions) == 1
    assert [record.kind for record in recorded(left.audit)] == records


@pytest.mark.requirement("F-34", "AU-04")
@pytest.mark.parametrize(
    ("at", "status"), [("begun", 201), ("obtained", 201), ("sent", 200), ("answered", 200)]
)
def test_a_use_that_had_begun_when_its_gateway_was_killed_is_open_to_the_same_request_alone_which_finds_it(
    scene: Scene, machine: Machine, at: str, status: int
) -> None:
    token, key = fresh(environment="repeat"), uuid.uuid4().hex

    left = killed(scene, machine, at, token, key)

    another = once_free(scene.other, token, key, OTHER)
    [intent] = recorded(left.audit)
    with running_gateway(scene.other.config, left.audit, environment=scene.environment) as next_process:
        closed = kinds(left.audit, intent)
        first = next_process.start(token, DEPLOY, key=key, input=GOOD)
        until(lambda: len(kinds(left.audit, intent)) == 3)
    again = scene.other.start(token, DEPLOY, key=key, input=GOOD)
    assert (said(left.held), said(another)) == ((409, "request_in_progress"), (409, "token_replayed"))
    assert closed == ["intent", "unknown"]
    assert kinds(left.audit, intent) == ["intent", "unknown", "found"]
    assert first.status_code == status
    assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true")
    assert again.json()["arn"] == first.json()["arn"]
    assert list(machine.executions) == [intent.execution], "one execution, whatever happened"
    assert unbroken(left.audit)


@pytest.mark.requirement("F-34", "AU-04")
@pytest.mark.parametrize(
    ("at", "story"),
    [
        ("confirmed", ["intent", "unknown", "found"]),
        ("concluding", ["intent", "unknown", "found"]),
        ("concluded", ["intent", "outcome"]),
    ],
)
def test_a_use_whose_end_was_stored_when_its_gateway_was_killed_is_answered_as_it_was_by_any(
    scene: Scene, machine: Machine, at: str, story: list[str]
) -> None:
    token, key = fresh(environment="repeat"), uuid.uuid4().hex

    left = killed(scene, machine, at, token, key)

    first = scene.other.start(token, DEPLOY, key=key, input=GOOD)
    with running_gateway(scene.other.config, left.audit, environment=scene.environment) as next_process:
        again = next_process.start(token, DEPLOY, key=key, input=GOOD)
        intent = recorded(left.audit)[0]
        until(lambda: kinds(left.audit, intent) == story)
    assert (first.status_code, first.headers["idempotent-replayed"]) == (200, "true")
    assert (again.status_code, again.json()) == (200, first.json())
    assert first.json()["arn"].endswith(f":{intent.execution}")
    assert said(left.held) == (409, "token_replayed")
    assert scene.aws.states_calls() == ["StartExecution"]
    assert unbroken(left.audit)


@pytest.mark.requirement("F-34", "SF-05")
def test_an_express_start_under_way_when_its_gateway_was_killed_is_made_again_by_nobody(
    scene: Scene, machine: Machine
) -> None:
    token, key = fresh(environment="free"), uuid.uuid4().hex

    left = killed(scene, machine, "sent", token, key, workflow=NOTIFY, next_input=GOOD)

    lost = once_free(scene.other, token, key, GOOD, NOTIFY)
    [intent] = recorded(left.audit)
    assert said(left.held) == (409, "request_in_progress")
    assert said(lost) == (504, "start_unknown")
    assert intent.execution is not None
    assert intent.execution in lost.text
    assert scene.aws.states_calls() == ["StartExecution"]


@pytest.mark.requirement("F-34", "AU-04")
@pytest.mark.parametrize(
    ("at", "status", "story"),
    [("reserved", 201, ["intent", "outcome"]), ("concluding", 200, ["intent", "unknown"])],
)
def test_when_one_of_four_workers_is_killed_the_others_serve_and_its_story_has_an_end(
    scene: Scene, machine: Machine, at: str, status: int, story: list[str]
) -> None:
    token, key = fresh(environment="repeat"), uuid.uuid4().hex
    audit = scene.folder / uuid.uuid4().hex
    environment = {**scene.dying(at, machine), "OIDC_GATEWAY_WORKERS": "4"}

    with running_gateway(scene.other.config, audit, environment=environment, module=DYING) as gateway:
        cut_off(gateway, token, key)
        first = once_free(gateway, token, key, GOOD)
        again = gateway.start(token, DEPLOY, key=key, input=GOOD)
        # Whoever takes its place closes what it left open.
        earliest = min((one for one in recorded(audit) if one.kind == "intent"), key=lambda one: one.at)
        until(lambda: kinds(audit, earliest)[:2] == story)
        assert gateway.process.poll() is None

    assert (first.status_code, again.status_code) == (status, 200)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json()["arn"] == first.json()["arn"]
    assert list(machine.executions) == [earliest.execution]
    assert unbroken(audit)
