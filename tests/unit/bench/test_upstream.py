"""The stub of AWS answers so that the gateway's own checks accept it, and boto3 can read it."""

import http.client
import time
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from gateway.outbound.aws_answers import xml_texts
from tests.bench.configuration import MACHINE, REGION, ROLE
from tests.bench.gateways import START, Manned, gateway
from tests.bench.machine import cores
from tests.bench.peers import prove
from tests.bench.rivals import boto3
from tests.bench.tokens import AUDIENCE, ISSUER, SUBJECT, Supply, supply
from tests.bench.upstream import Upstream, upstream
from tests.support.boto import Keys, client


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Supply:
    return supply(tmp_path_factory.mktemp("tokens"), 20, log=lambda _: None)


@pytest.fixture(scope="module")
def stub() -> Iterator[Upstream]:
    with upstream(cores()) as running:
        yield running


def _post(stub: Upstream, body: str, headers: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(stub.url.removeprefix("http://"), timeout=10)
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def test_its_sessions_are_of_the_role_the_name_and_the_token_that_were_asked_with(stub: Upstream) -> None:
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "RoleArn": ROLE,
        "RoleSessionName": "deployer.a@b",
        "WebIdentityToken": "x.y.z",
    }

    texts = xml_texts(_post(stub, urlencode(form), {}))

    result = "AssumeRoleWithWebIdentityResult"
    assert texts[f"{result}/AssumedRoleUser/Arn"].endswith(":assumed-role/deployer/deployer.a@b")
    assert texts[f"{result}/SubjectFromWebIdentityToken"] == SUBJECT
    assert texts[f"{result}/Audience"] == AUDIENCE
    assert texts[f"{result}/Provider"] == ISSUER


def test_boto3_starts_an_execution_of_the_name_it_gave(stub: Upstream) -> None:
    keys = Keys(key_id="example", secret="example", session_token="example")
    machines = client("stepfunctions", stub.url, keys)

    begun = machines.start_execution(stateMachineArn=MACHINE, name="one-2", input='{"name": "other"}')

    assert begun["executionArn"] == f"arn:aws:states:{REGION}:111122223333:execution:deploy:one-2"
    assert abs(begun["startDate"].timestamp() - time.time()) < 60
    machines.close()


@pytest.mark.parametrize("manner", ["per-credential", "threads"])
def test_the_baselines_with_boto3_refuse_what_the_gateway_refuses(
    manner: str, stub: Upstream, tokens: Supply
) -> None:
    with boto3(tokens, cores(), manner=manner, upstream=stub.url) as peer:
        assert peer.ask is START
        assert len(prove(peer, tokens)) == 6


def test_the_gateway_accepts_the_stubs_answers_with_every_check_on(stub: Upstream, tokens: Supply) -> None:
    with gateway(tokens, cores(), Manned(ask=START, upstream=stub.url)) as peer:
        assert len(prove(peer, tokens)) == 6
