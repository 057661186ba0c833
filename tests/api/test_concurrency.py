"""Many at once: one token is traded once, one idempotency key starts one execution, on one gateway or on two."""

import json
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.api.conftest import Scripted
from tests.support.boto import client
from tests.support.caller import until
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.scripted_aws import held_back, issues_credentials

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
MOTO_ACCOUNT = "123456789012"


@pytest.mark.requirement("ST-13")
def test_two_hundred_starts_with_one_token_are_one_call_to_sts(scripted: Scripted) -> None:
    token, many = fresh(), 200
    arrived, go_on = threading.Semaphore(0), threading.Event()
    scripted.aws.sts = held_back(issues_credentials(), arrived, go_on)

    def start(number: int) -> httpx2.Response:
        return scripted.gateway.start(token, DEPLOY, key=f"many-{number}", input=GOOD)

    with ThreadPoolExecutor(many) as pool:
        starts = [pool.submit(start, number) for number in range(many)]
        # The look at the metric is a request too.
        until(lambda: scripted.gateway.metric("oidc_gateway_http_requests_in_flight") > many)
        go_on.set()
        answers = [one.result(60) for one in starts]

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["arn"] for answer in answers}) == many
    assert len(scripted.aws.sts_calls()) == 1
    assert scripted.aws.states_calls() == ["StartExecution"] * many


@pytest.mark.requirement("TV-49")
def test_another_token_of_the_same_identity_gets_credentials_of_its_own(scripted: Scripted) -> None:
    for _ in range(2):
        assert scripted.gateway.start(fresh(), DEPLOY, key=uuid.uuid4().hex, input=GOOD).status_code == 201

    assert len(scripted.aws.sts_calls()) == 2


@pytest.fixture(scope="module")
def replicas(moto: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateways on the same files, which share nothing but an AWS that knows the rules about names."""
    folder: Path = tmp_path_factory.mktemp("replicas")
    config = write_config(folder / "config", aws=moto, account=MOTO_ACCOUNT, emulator=True)
    definition = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
    client("stepfunctions", moto).create_state_machine(
        name=DEPLOY,
        definition=json.dumps(definition),
        roleArn=f"arn:aws:iam::{MOTO_ACCOUNT}:role/state-machine",
    )
    with (
        running_gateway(config, folder / "one") as one,
        running_gateway(config, folder / "two") as two,
    ):
        yield one, two


@pytest.mark.requirement("SF-03", "SF-06")
def test_one_key_at_two_gateways_at_once_is_one_execution(
    replicas: tuple[Gateway, Gateway], moto: str
) -> None:
    token, key, together = fresh(), uuid.uuid4().hex, threading.Barrier(8)

    def start(gateway: Gateway) -> httpx2.Response:
        together.wait(20)
        return gateway.start(token, DEPLOY, key=key, input=GOOD)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(start, replicas * 4))

    arns = {answer.json()["arn"] for answer in answers}
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len(arns) == 1
    executions = client("stepfunctions", moto).list_executions(
        stateMachineArn=f"arn:aws:states:eu-west-1:{MOTO_ACCOUNT}:stateMachine:{DEPLOY}"
    )["executions"]
    assert [one["executionArn"] for one in executions if one["executionArn"] in arns] == list(arns)


def test_one_key_with_two_inputs_at_two_gateways_is_one_execution_and_one_conflict(
    replicas: tuple[Gateway, Gateway],
) -> None:
    token, key, together = fresh(), uuid.uuid4().hex, threading.Barrier(2)

    def start(gateway: Gateway, version: str) -> httpx2.Response:
        together.wait(20)
        return gateway.start(token, DEPLOY, key=key, input={"version": version})

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(start, replicas, ("1.0.0", "2.0.0")))

    assert sorted(answer.status_code for answer in answers) == [201, 409]


def test_an_execution_started_at_one_gateway_is_seen_and_stopped_at_the_other(
    replicas: tuple[Gateway, Gateway],
) -> None:
    one, two = replicas
    token = fresh()
    url = one.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD).json()["url"]

    seen = two.get(url, token)
    stopped = two.ask("POST", f"{url}/stop", token, body={"reason": "moved"})

    assert seen.json()["status"] == "RUNNING"
    assert stopped.json()["status"] == "ABORTED"
