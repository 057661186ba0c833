"""Callers who leave and a gateway that leaves: nothing half done, nothing unrecorded."""

import json
import signal
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.audit.reading import read_entries
from gateway.audit.record import Record
from tests.api.conftest import Scripted
from tests.support.caller import until
from tests.support.gateways import Gateway, fresh
from tests.support.scripted_aws import ScriptedAws, held_back, issues_credentials
from tests.support.world import World

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
#: The look at the metric is one itself.
NOBODY_ELSE = 1


def records_of(gateway: Gateway, agent: str) -> list[Record]:
    """Return the records of the one caller that calls itself so."""
    return [entry.record for entry in read_entries(gateway.audit) if entry.record.user_agent == agent]


def send_start(gateway: Gateway, token: str, agent: str) -> socket.socket:
    """Send a whole start and return the connection, on which nobody has waited for the answer yet."""
    body = json.dumps({"workflow": DEPLOY, "input": GOOD})
    sock = socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1])), timeout=30)
    sock.sendall(
        f"POST /v1/executions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nUser-Agent: {agent}\r\n"
        f"Idempotency-Key: {agent}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        f"{body}".encode()
    )
    return sock


@pytest.mark.requirement("HT-15")
@pytest.mark.requirement("AU-01")
def test_a_caller_who_leaves_after_the_intent_has_its_execution_started_and_recorded(
    scripted: Scripted,
) -> None:
    agent = uuid.uuid4().hex
    arrived, go_on = threading.Semaphore(0), threading.Event()
    scripted.aws.sts = held_back(issues_credentials(), arrived, go_on)

    with send_start(scripted.gateway, fresh(), agent):
        assert arrived.acquire(timeout=20)
    until(lambda: scripted.gateway.metric("oidc_gateway_http_requests_in_flight") <= NOBODY_ELSE)
    before = [record.kind for record in records_of(scripted.gateway, agent)]
    go_on.set()
    until(lambda: len(records_of(scripted.gateway, agent)) == 2)

    assert before == ["intent"]
    assert scripted.aws.states_calls() == ["StartExecution"]
    outcome = records_of(scripted.gateway, agent)[1]
    assert (outcome.kind, outcome.code) == ("outcome", None)
    assert str(outcome.execution).startswith("arn:aws:states:")


@pytest.mark.requirement("HT-15")
def test_a_follower_who_leaves_is_not_followed_for(world: World) -> None:
    url = world.start(world.lab(), "lab-wait", key=uuid.uuid4().hex, input={}).json()["url"]
    headers = {"Authorization": f"Bearer {world.lab()}"}

    with world.client.stream("GET", f"{url}/events", headers=headers) as answer:
        next(answer.iter_lines())

    until(lambda: world.metric("oidc_gateway_http_requests_in_flight") <= NOBODY_ELSE)


@pytest.mark.requirement("HT-14")
def test_a_gateway_that_is_told_to_end_finishes_what_has_begun_and_exits_well(
    own_gateway: Gateway, scripted_aws: ScriptedAws
) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()
    scripted_aws.sts = held_back(issues_credentials(), arrived, go_on)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(own_gateway.start, fresh(), DEPLOY, key="ending", input=GOOD)
        assert arrived.acquire(timeout=20)
        own_gateway.process.send_signal(signal.SIGTERM)
        until(lambda: own_gateway.get("/readyz").status_code == 503)
        go_on.set()
        answer = running.result(30)

    assert answer.status_code == 201
    assert own_gateway.ended() == 0
    assert [record.kind for record in own_gateway.records(answer)] == ["intent", "outcome"]
    assert "Traceback" not in own_gateway.log()
