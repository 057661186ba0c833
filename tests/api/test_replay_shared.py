"""Two gateways on one Redis: one token, one success between them; and what stops, and what does not, while it is away."""

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.support.caller import problem, until
from tests.support.components import skip_without
from tests.support.gateways import Gateway, edit, fresh, running_gateway, write_config
from tests.support.peer import cuts_the_connection
from tests.support.redis_server import RedisServer, running_redis
from tests.support.scripted_aws import ScriptedAws, starts

pytestmark = skip_without("redis")

DEPLOY = "deploy-payments"
NOTIFY = "notify"
GOOD = {"version": "1.4.2"}
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
  - name: once
    why: PAY-7, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants: [{ start: deploy-payments, as: payments-prod }, { start: notify, as: payments-prod }]
    replay: once
  - name: repeat
    why: PAY-8, one request and its repetition
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: repeat }
    grants: [{ start: deploy-payments, as: payments-prod }]
    replay: per-request
  - name: free
    why: PAY-9, as often as it likes
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: free }
    grants: [{ start: deploy-payments, as: payments-prod }, { start: notify, as: payments-prod }]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two gateways, the AWS that both ask, and the Redis that they share."""

    one: Gateway
    two: Gateway
    aws: ScriptedAws
    redis: RedisServer

    def either(self, number: int) -> Gateway:
        return self.one if number % 2 else self.two


@pytest.fixture(scope="module")
def running_pair(tmp_path_factory: pytest.TempPathFactory, scripted_aws: ScriptedAws) -> Iterator[Pair]:
    folder: Path = tmp_path_factory.mktemp("pair")
    config = write_config(folder / "config", aws=scripted_aws.url)
    (config / "mappings" / "payments" / "replay.yaml").write_text(RULES)
    edit(config / "targets.yaml", "workflows:\n", TARGETS)
    with running_redis() as server:
        shared = {"OIDC_GATEWAY_STATE_URL": server.url}
        with (
            running_gateway(config, folder / "one", environment=shared) as one,
            running_gateway(config, folder / "two", environment=shared) as two,
        ):
            yield Pair(one=one, two=two, aws=scripted_aws, redis=server)


@pytest.fixture
def pair(running_pair: Pair) -> Pair:
    """Two gateways whose AWS is well again and has an empty list of calls."""
    running_pair.aws.begin()
    return running_pair


def code(answer: httpx2.Response) -> object:
    return problem(answer)["code"]


@pytest.mark.requirement("F-16", "TV-42", "TV-43")
def test_of_a_hundred_posts_of_one_token_to_two_gateways_one_succeeds(pair: Pair) -> None:
    token, many, together = fresh(environment="once"), 100, threading.Barrier(100)

    def start(number: int) -> httpx2.Response:
        together.wait(60)
        return pair.either(number).start(token, DEPLOY, key=f"shared-{number}", input=GOOD)

    with ThreadPoolExecutor(many) as pool:
        said = list(pool.map(start, range(many)))

    assert sorted(answer.status_code for answer in said) == [201] + [409] * 99
    assert len(pair.aws.sts_calls()) == 1
    assert pair.aws.states_calls() == ["StartExecution"]


@pytest.mark.requirement("TV-44", "F-19")
def test_the_other_gateway_answers_a_repetition_as_the_first_did(pair: Pair) -> None:
    token, key = fresh(environment="repeat"), uuid.uuid4().hex
    first = pair.one.start(token, DEPLOY, key=key, input=GOOD)

    again = pair.two.start(token, DEPLOY, key=key, input=GOOD)
    other = pair.two.start(token, DEPLOY, key=key, input={"version": "1.4.3"})

    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, code(other)) == (409, "token_replayed")
    assert pair.aws.states_calls() == ["StartExecution"]


@pytest.mark.requirement("SF-04", "F-20")
def test_an_express_key_is_one_start_for_two_gateways(pair: Pair) -> None:
    key = uuid.uuid4().hex
    first = pair.one.start(fresh(environment="free"), NOTIFY, key=key, input=GOOD)

    again = pair.two.start(fresh(environment="free"), NOTIFY, key=key, input=GOOD)
    other = pair.two.start(fresh(environment="free"), NOTIFY, key=key, input={"version": "2"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert (other.status_code, code(other)) == (409, "idempotency_conflict")
    assert pair.aws.states_calls() == ["StartExecution"]


@pytest.mark.requirement("SF-05", "F-46")
def test_an_express_start_whose_answer_was_lost_is_made_again_by_neither(pair: Pair) -> None:
    pair.aws.states = cuts_the_connection()
    key = uuid.uuid4().hex
    lost = pair.one.start(fresh(environment="free"), NOTIFY, key=key, input=GOOD)
    pair.aws.states = starts()

    again = pair.two.start(fresh(environment="free"), NOTIFY, key=key, input=GOOD)

    assert (lost.status_code, code(lost)) == (504, "start_unknown")
    assert (again.status_code, code(again)) == (504, "start_unknown")
    assert again.json()["detail"] == lost.json()["detail"]
    assert pair.aws.states_calls() == ["StartExecution"]


@pytest.mark.requirement("TV-45", "F-33")
def test_while_redis_stalls_protected_rules_fail_closed_and_no_other_notices(pair: Pair) -> None:
    protected, free = fresh(environment="once"), fresh(environment="free")
    with pair.redis.stalled():
        refused = pair.one.start(protected, DEPLOY, key=uuid.uuid4().hex, input=GOOD)
        keyed = pair.one.start(free, NOTIFY, key=uuid.uuid4().hex, input=GOOD)
        unaffected = pair.one.start(free, DEPLOY, key=uuid.uuid4().hex, input=GOOD)
        without_key = pair.one.start(free, NOTIFY, input=GOOD)

    def another() -> httpx2.Response | None:
        answer = pair.one.start(fresh(environment="once"), DEPLOY, key=uuid.uuid4().hex, input=GOOD)
        return None if answer.status_code == 503 else answer

    assert {code(refused), code(keyed)} == {"replay_store_unavailable"}
    assert (refused.status_code, int(refused.headers["retry-after"])) == (503, 2)
    assert (unaffected.status_code, without_key.status_code) == (201, 201)
    assert until(another).status_code == 201
    # What Redis took in while it stalled holds the token until its lease is over, and says so.
    again = pair.one.start(protected, DEPLOY, key=uuid.uuid4().hex, input=GOOD)
    assert again.status_code == 201 or code(again) == "request_in_progress"


@pytest.mark.requirement("TV-42", "TV-45", "F-33")
def test_while_redis_is_full_protected_rules_fail_closed_no_other_notices_and_nothing_used_is_forgotten(
    pair: Pair,
) -> None:
    def start(gateway: Gateway, environment: str, token: str | None = None) -> httpx2.Response:
        held = token or fresh(environment=environment)
        return gateway.start(held, DEPLOY, key=uuid.uuid4().hex, input=GOOD)

    used = fresh(environment="once")
    before = start(pair.one, "once", used)
    # No room for anything: what is there stays, because this Redis evicts nothing.
    pair.redis.say("CONFIG", "SET", "maxmemory", "1")
    try:
        refused = [start(gateway, "once") for gateway in (pair.one, pair.two)]
        repeated = start(pair.two, "once", used)
        unaffected = [start(gateway, "free") for gateway in (pair.one, pair.two)]
        until(lambda: pair.one.get("/readyz").json()["state"] == "full")
        ready = pair.one.get("/readyz").status_code
    finally:
        pair.redis.say("CONFIG", "SET", "maxmemory", "0")
    until(lambda: all(start(gateway, "once").status_code == 201 for gateway in (pair.one, pair.two)))
    again = start(pair.two, "once", used)

    assert before.status_code == 201
    assert [(one.status_code, code(one)) for one in refused] == [(503, "replay_store_full")] * 2
    assert all("retry-after" in one.headers for one in refused)
    assert repeated.status_code in {409, 503}
    assert [one.status_code for one in unaffected] == [201] * 2
    assert ready == 200
    assert (again.status_code, code(again)) == (409, "token_replayed")
