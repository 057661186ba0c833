"""One token, one success: through the real gateway, with real signatures, and an AWS that counts its calls."""

import base64
import json
import socket
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.api.conftest import Scripted
from tests.support.caller import problem, until
from tests.support.gateways import edit, fresh, running_gateway, write_config
from tests.support.peer import answers, cuts_the_connection
from tests.support.scripted_aws import (
    ScriptedAws,
    by_operation,
    describes,
    held_back,
    in_turn,
    issues_credentials,
    refuses_token,
    starts,
)
from tests.support.tokens import b64

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
OTHER = {"version": "1.4.3"}
RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: once
    why: PAY-7, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants:
      - { start: deploy-payments, as: payments-prod }
      - { obtain: payments-prod }
    replay: once
  - name: repeat
    why: PAY-8, one request and its repetition
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: repeat }
    grants:
      - { start: deploy-payments, as: payments-prod }
      - { obtain: payments-prod }
    replay: per-request
"""


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory, scripted_aws: ScriptedAws) -> Iterator[Scripted]:
    """A gateway with one rule of each kind."""
    folder = tmp_path_factory.mktemp("protected")
    config = write_config(folder / "config", aws=scripted_aws.url)
    (config / "mappings" / "payments" / "replay.yaml").write_text(RULES)
    edit(
        config / "gateway.yaml",
        "    preset: github-actions ",
        "    algorithms: [RS256, ES256]\n    preset: github-actions ",
    )
    with running_gateway(config, folder / "audit") as gateway:
        yield Scripted(gateway=gateway, aws=scripted_aws)


@pytest.fixture
def house(protected: Scripted) -> Scripted:
    """The same, its AWS well again and with an empty list of calls."""
    protected.aws.begin()
    return protected


def once(algorithm: str = "RS256") -> str:
    return fresh(environment="once", algorithm=algorithm)


def repeatable() -> str:
    return fresh(environment="repeat")


def code(answer: httpx2.Response) -> object:
    return problem(answer)["code"]


@pytest.mark.requirement("F-16", "TV-40", "TV-43")
def test_of_a_hundred_posts_of_one_token_at_once_one_succeeds_with_one_call_to_sts(house: Scripted) -> None:
    token, many, together = once(), 100, threading.Barrier(100)

    def start(number: int) -> httpx2.Response:
        together.wait(60)
        return house.gateway.start(token, DEPLOY, key=f"at-once-{number}", input=GOOD)

    with ThreadPoolExecutor(many) as pool:
        said = list(pool.map(start, range(many)))

    assert sorted(answer.status_code for answer in said) == [201] + [409] * 99
    refusals = {code(answer) for answer in said if answer.status_code == 409}
    assert refusals <= {"token_replayed", "request_in_progress"}
    assert len(house.aws.sts_calls()) == 1
    assert house.aws.states_calls() == ["StartExecution"]


@pytest.mark.requirement("F-17", "TV-41")
def test_a_second_valid_signature_of_a_token_is_no_second_token(house: Scripted) -> None:
    token = once(algorithm="ES256")
    assert house.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD).status_code == 201

    twin = house.gateway.start(_twin(token), DEPLOY, key=uuid.uuid4().hex, input=GOOD)

    assert (twin.status_code, code(twin)) == (409, "token_replayed")
    assert len(house.aws.sts_calls()) == 1


@pytest.mark.requirement("F-17", "TV-06")
@pytest.mark.parametrize("change", ["padding", "unused-bits"])
def test_another_writing_of_a_token_is_no_token(house: Scripted, change: str) -> None:
    token = once(algorithm="ES256")
    written = f"{token}=" if change == "padding" else token[:-1] + chr(ord(token[-1]) + 1)

    refused = house.gateway.start(written, DEPLOY, key=uuid.uuid4().hex, input=GOOD)

    assert refused.status_code == 401
    assert house.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD).status_code == 201


def _twin(token: str) -> str:
    """Return the token with the other valid signature that anybody can make of an ES256 one: (r, n - s)."""
    signing_input, _, signature = token.rpartition(".")
    raw = _bytes_of(signature)
    r, s = int.from_bytes(raw[:32]), int.from_bytes(raw[32:])
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return f"{signing_input}.{b64(r.to_bytes(32) + (order - s).to_bytes(32))}"


def _bytes_of(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.mark.requirement("F-18", "TV-43")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"workflow": "migrate-ledger"}, id="rule"),
        pytest.param({"input": {"version": 7}}, id="input"),
        pytest.param({"key": None}, id="no-key"),
    ],
)
def test_a_refused_request_does_not_use_the_token_up(house: Scripted, wrong: dict[str, object]) -> None:
    token = once()
    asked: dict[str, object] = {"workflow": DEPLOY, "key": uuid.uuid4().hex, "input": GOOD, **wrong}
    refused = house.gateway.start(token, **asked)  # type: ignore[arg-type]

    right = house.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD)

    assert refused.status_code >= 400
    assert right.status_code == 201


@pytest.mark.requirement("F-40", "TV-43")
@pytest.mark.parametrize("fault", ["Throttling", "AccessDenied"])
def test_what_aws_refuses_does_not_use_the_token_up(house: Scripted, fault: str) -> None:
    house.aws.sts = in_turn(
        *[refuses_token(fault)] * (5 if fault == "Throttling" else 1), issues_credentials()
    )
    token, key = once(), uuid.uuid4().hex
    refused = house.gateway.start(token, DEPLOY, key=key, input=GOOD)
    house.aws.sts = issues_credentials()

    again = house.gateway.start(token, DEPLOY, key=key, input=GOOD)

    assert refused.status_code in {403, 503}
    assert again.status_code == 201


@pytest.mark.requirement("F-19", "TV-44")
def test_the_retry_after_a_lost_answer_gets_it_and_starts_nothing(house: Scripted) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()
    house.aws.states = held_back(starts(), arrived, go_on)
    token, key = repeatable(), uuid.uuid4().hex
    _post_and_leave(house.gateway.url, token, key, arrived)
    meanwhile = house.gateway.start(token, DEPLOY, key=key, input=GOOD)
    go_on.set()

    def retry() -> httpx2.Response | None:
        answer = house.gateway.start(token, DEPLOY, key=key, input=GOOD)
        return None if answer.status_code == 409 else answer

    answer = until(retry)

    assert code(meanwhile) == "request_in_progress"
    assert 1 <= int(meanwhile.headers["retry-after"]) <= 35
    assert answer.status_code == 200
    assert answer.headers["idempotent-replayed"] == "true"
    assert answer.json()["status"] == "RUNNING"
    assert house.aws.states_calls() == ["StartExecution"]
    assert [record.existed for record in house.gateway.records(answer) if record.kind == "outcome"] == [True]


def _post_and_leave(url: str, token: str, key: str, arrived: threading.Semaphore) -> None:
    """Send a start, and close the connection once AWS has been asked."""
    host, _, port = url.removeprefix("http://").partition(":")
    body = json.dumps({"workflow": DEPLOY, "input": GOOD})
    head = (
        f"POST /v1/executions HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        sock.sendall((head + body).encode())
        assert arrived.acquire(timeout=20)


@pytest.mark.requirement("F-19", "TV-44")
def test_the_repetition_is_answered_as_the_first_was(house: Scripted) -> None:
    token, key = repeatable(), uuid.uuid4().hex
    first = house.gateway.start(token, DEPLOY, key=key, input=GOOD)

    again = house.gateway.start(token, DEPLOY, key=f'"{key}"', input=GOOD)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]


@pytest.mark.requirement("F-20", "TV-44")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"input": OTHER}, id="body"),
        pytest.param({"key": "another"}, id="key"),
    ],
)
def test_the_same_token_with_anything_else_is_refused(house: Scripted, other: dict[str, object]) -> None:
    token, key = repeatable(), uuid.uuid4().hex
    asked: dict[str, object] = {"workflow": DEPLOY, "key": key, "input": GOOD}
    house.gateway.start(token, **asked)  # type: ignore[arg-type]

    refused = house.gateway.start(token, **{**asked, **other})  # type: ignore[arg-type]

    assert (refused.status_code, code(refused)) == (409, "token_replayed")
    assert house.aws.states_calls() == ["StartExecution"]


@pytest.mark.requirement("TV-44")
@pytest.mark.parametrize("environment", ["once", "repeat"])
def test_credentials_leave_once_for_each_token(house: Scripted, environment: str) -> None:
    token = fresh(environment=environment)
    first = house.gateway.ask("POST", "/v1/credentials", token, body={"target": "payments-prod"})

    again = house.gateway.ask("POST", "/v1/credentials", token, body={"target": "payments-prod"})
    elsewhere = house.gateway.exchange(token, audience="payments-prod")

    assert first.status_code == 200
    assert (again.status_code, code(again)) == (409, "token_replayed")
    assert (elsewhere.status_code, elsewhere.json()["error"]) == (400, "invalid_request")
    assert elsewhere.json()["code"] == "token_replayed"


@pytest.mark.requirement("TV-40")
def test_a_job_follows_and_stops_what_it_started_with_the_token_it_used_up(house: Scripted) -> None:
    house.aws.states = by_operation(
        StartExecution=starts(),
        DescribeExecution=describes(),
        StopExecution=answers('{"stopDate": 1700000001.0}'),
    )
    token = once()
    url = house.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD).json()["url"]

    seen = [
        house.gateway.get(url, token),
        house.gateway.ask("POST", f"{url}/stop", token, body={}),
        house.gateway.get("/v1/whoami", token),
    ]

    assert [answer.status_code for answer in seen] == [200, 200, 200]
    assert seen[2].json()["may_start"][0]["replay"] == "once"
    assert seen[2].json()["may_obtain"] == [
        {"target": "payments-prod", "forms": ["aws-credentials"], "replay": "once"}
    ]


@pytest.mark.requirement("TV-43")
def test_a_replay_is_recorded_with_the_request_and_the_moment_of_the_first_use(house: Scripted) -> None:
    token = once()
    first = house.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD)

    refused = house.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD)
    (record,) = house.gateway.records(refused)

    assert record.earlier == first.headers["x-request-id"]
    assert record.earlier_at is not None
    assert first.headers["x-request-id"] not in refused.text


@pytest.mark.requirement("SF-05", "F-45")
def test_a_protected_start_whose_answer_is_lost_is_repeated_by_its_name(house: Scripted) -> None:
    house.aws.states = in_turn(cuts_the_connection(), starts())
    token = once()

    answer = house.gateway.start(token, DEPLOY, key=uuid.uuid4().hex, input=GOOD)

    assert answer.status_code == 201
    assert house.aws.states_calls() == ["StartExecution"] * 2
