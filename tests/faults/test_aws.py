"""AWS that hangs, throttles, lies, forgets to answer or is not there: bounded, said by its code, and nothing lost."""

import json
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from tests.faults.conftest import DEPLOY, GOOD, Faulty, running_faulty
from tests.support.caller import problem
from tests.support.gateways import fresh
from tests.support.hang import no_hang
from tests.support.idp import Idps
from tests.support.peer import LOOPBACK, Reply, answers, cuts_the_connection, drips, stays_silent
from tests.support.scripted_aws import (
    ScriptedAws,
    by_operation,
    describes,
    in_turn,
    issues_credentials,
    refuses_operation,
    refuses_token,
    running_scripted_aws,
    starts,
)
from tests.support.tokens import claims_of


def code(answer: httpx2.Response) -> object:
    return problem(answer)["code"]


def start(
    faulty: Faulty, workflow: str = DEPLOY, token: str | None = None, **options: object
) -> httpx2.Response:
    """Start with a key that nobody else uses, unless the options say otherwise."""
    given: dict[str, object] = {"key": uuid.uuid4().hex, **options}
    if workflow == DEPLOY:
        given.setdefault("input", GOOD)
    return faulty.gateway.start(token or fresh(), workflow, **given)  # type: ignore[arg-type]


def assert_recovers(faulty: Faulty, token: str) -> None:
    """The fault is gone, and the very token that met it is as good as before."""
    faulty.aws.begin()
    assert start(faulty, token=token).status_code == 201


# --- It hangs ---


@contextmanager
def deaf(port: int) -> Iterator[None]:
    """Listen with so short a queue, already full, that nobody else's connection is ever made."""
    with ExitStack() as stack:
        stack.enter_context(socket.create_server((LOOPBACK, port), backlog=0))
        for _ in range(2):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex((LOOPBACK, port))
        yield


@contextmanager
def mute(port: int) -> Iterator[None]:
    """Take connections and say nothing, not even a greeting of TLS."""
    with socket.create_server((LOOPBACK, port), backlog=100):
        yield


@contextmanager
def slow(port: int, reply: Reply) -> Iterator[None]:
    """Answer like this."""
    with running_scripted_aws(port) as aws:
        aws.sts = reply
        yield


@pytest.mark.requirement("F-39")
def test_an_sts_that_hangs_at_any_step_is_given_up_within_seconds_and_holds_up_nobody_else(
    faulty: Faulty,
) -> None:
    hanging = ("hanging", "tls", "silent", "dripping")
    tokens = {workflow: fresh() for workflow in hanging}
    with (
        deaf(faulty.ports["hanging"]),
        mute(faulty.ports["tls"]),
        slow(faulty.ports["silent"], stays_silent()),
        slow(faulty.ports["dripping"], drips()),
        ThreadPoolExecutor() as pool,
    ):
        waiting = [pool.submit(start, faulty, workflow, tokens[workflow]) for workflow in hanging]
        meanwhile = [start(faulty).status_code for _ in range(10)]
        still = sum(not one.done() for one in waiting)
        ended = [one.result(30) for one in waiting]

    assert meanwhile == [201] * 10
    assert still >= 2, "the others were served while it hung"
    assert {answer.status_code for answer in ended} <= {503, 504}
    assert all("retry-after" in answer.headers for answer in ended)
    assert max(answer.elapsed.total_seconds() for answer in ended) < 12
    for workflow in ("hanging", "silent", "dripping"):
        with running_scripted_aws(faulty.ports[workflow]):
            assert start(faulty, workflow, tokens[workflow]).status_code == 201


# --- It refuses ---


@pytest.mark.requirement("F-40")
def test_an_sts_that_throttles_is_asked_three_times_and_the_token_is_good_when_it_works_again(
    faulty: Faulty,
) -> None:
    token = fresh()
    faulty.aws.sts = in_turn(*[refuses_token("Throttling")] * 5, issues_credentials())

    refused = start(faulty, token=token)
    calls = len(faulty.aws.sts_calls())
    again = start(faulty, token=token)

    assert (refused.status_code, code(refused), calls) == (503, "aws_throttled", 3)
    assert int(refused.headers["retry-after"]) >= 1
    assert again.status_code == 201


SECRET_WORDS = "User arn:aws:sts::111122223333:assumed-role/secret is not authorized"


@pytest.mark.requirement("F-41")
@pytest.mark.parametrize(
    ("theirs", "status", "ours"),
    [
        pytest.param("AccessDenied", 403, "aws_denied", id="denied"),
        pytest.param("InvalidIdentityToken", 403, "aws_token_rejected", id="token rejected"),
        pytest.param("ExpiredTokenException", 401, "token_expired", id="token expired"),
        pytest.param("IDPRejectedClaim", 403, "aws_idp_rejected", id="claim rejected"),
    ],
)
def test_a_refusal_of_sts_is_one_call_and_a_code_of_ours_without_its_words(
    faulty: Faulty, theirs: str, status: int, ours: str
) -> None:
    token = fresh()
    faulty.aws.sts = refuses_token(theirs, status=403 if status == 403 else 400, text=SECRET_WORDS)

    refused = start(faulty, token=token)

    assert (refused.status_code, code(refused)) == (status, ours)
    assert "arn:aws" not in refused.text
    assert "secret" not in refused.text
    assert len(faulty.aws.sts_calls()) == 1
    assert faulty.aws.states_calls() == []
    assert_recovers(faulty, token)


# --- It lies ---

ERROR_BODY = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
ANOTHER_ROLE = "arn:aws:sts::111122223333:assumed-role/admin/payments-prod.00000000.00000000"
LONG_AGO = (datetime.now(UTC) - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
LATE = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
LIES = [
    pytest.param(issues_credentials(Arn=ANOTHER_ROLE), id="another role"),
    pytest.param(issues_credentials(SubjectFromWebIdentityToken="somebody else"), id="another subject"),
    pytest.param(issues_credentials(Provider="https://elsewhere.example"), id="another provider"),
    pytest.param(issues_credentials(Expiration=LONG_AGO), id="expired already"),
    pytest.param(issues_credentials(Expiration=LATE), id="longer than asked for"),
    pytest.param(issues_credentials(Expiration="soon"), id="an expiry that is none"),
    pytest.param(issues_credentials(without="SessionToken"), id="no session token"),
    pytest.param(issues_credentials(without="AccessKeyId"), id="no key id"),
    pytest.param(issues_credentials(without="AssumedRoleUser"), id="no role"),
    pytest.param(answers("<html>Sign in</html>", content_type="text/html"), id="HTML"),
    pytest.param(answers(ERROR_BODY, content_type="text/xml"), id="200 with an error"),
    pytest.param(answers(""), id="nothing"),
]


@pytest.mark.requirement("F-42")
@pytest.mark.parametrize("lie", LIES)
def test_an_answer_of_sts_to_something_else_is_used_for_nothing(faulty: Faulty, lie: Reply) -> None:
    token = fresh()
    faulty.aws.sts = lie

    refused = start(faulty, token=token)

    assert (refused.status_code, code(refused)) == (502, "aws_answer_mismatch")
    assert faulty.aws.states_calls() == []
    assert_recovers(faulty, token)


# --- What lies around ---


class Trap:
    """A listener that nobody may reach. touched: how many did."""

    def __init__(self) -> None:
        self._socket = socket.create_server((LOOPBACK, 0))
        self._socket.settimeout(0.1)
        self.touched = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._socket.getsockname()[1]}"

    def _listen(self) -> None:
        while not self._end.is_set():
            try:
                self._socket.accept()[0].close()
            except TimeoutError:
                continue
            self.touched += 1

    def close(self) -> None:
        self._end.set()
        self._thread.join()
        self._socket.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    trap = Trap()
    yield trap
    trap.close()


def traps(folder: Path, url: str) -> Mapping[str, str]:
    """Return an environment, and files of a home, in which every AWS tool finds an identity and another way."""
    (folder / ".aws").mkdir()
    profile = (
        f"aws_access_key_id = AKIAAMBIENTAMBIENT01\naws_secret_access_key = ambient\nendpoint_url = {url}\n"
    )
    (folder / ".aws" / "config").write_text(
        f"[default]\nregion = us-east-1\n{profile}[profile trap]\n{profile}"
    )
    (folder / ".aws" / "credentials").write_text(f"[default]\n{profile}[trap]\n{profile}")
    (folder / ".netrc").write_text("machine 127.0.0.1 login ambient password ambient\n")
    (folder / ".netrc").chmod(0o600)
    named = {
        "AWS_ACCESS_KEY_ID": "AKIAAMBIENTAMBIENT02",
        "AWS_SECRET_ACCESS_KEY": "ambient",
        "AWS_SESSION_TOKEN": "ambient",
        "AWS_PROFILE": "trap",
        "AWS_CONFIG_FILE": str(folder / ".aws" / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / ".aws" / "credentials"),
        "AWS_CA_BUNDLE": str(folder / "no-such-bundle.pem"),
        "AWS_REGION": "us-gov-west-1",
        "AWS_DEFAULT_REGION": "us-gov-west-1",
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / ".netrc"),
        "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/ambient",
    }
    urls = (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_STS",
        "AWS_ENDPOINT_URL_SFN",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
    )
    return {**named, **dict.fromkeys(urls, url)}


@pytest.mark.requirement("F-43", "F-44")
@pytest.mark.parametrize("workers", [1, 4])
def test_whatever_identity_and_way_lie_around_only_the_issued_triple_and_the_configured_way_are_used(
    tmp_path: Path, idps: Idps, faulty_aws: ScriptedAws, trap: Trap, workers: int
) -> None:
    faulty_aws.begin()
    environment = traps(tmp_path, trap.url)
    with running_faulty(tmp_path, faulty_aws, idps, workers=workers, environment=environment) as faulty:
        incomplete = []
        for part in ("AccessKeyId", "SecretAccessKey", "SessionToken"):
            faulty_aws.sts = issues_credentials(without=part)
            incomplete.append(start(faulty))
        before = [request.headers.get("authorization", "") for request in faulty_aws.peer.received]
        faulty_aws.begin()
        answer = start(faulty)
        after = [request.headers.get("authorization", "") for request in faulty_aws.peer.received]
        faulty.settle()

    assert [(one.status_code, code(one)) for one in incomplete] == [(502, "aws_answer_mismatch")] * 3
    assert not any("Credential=" in one for one in before[-3:]), "nothing was signed with what lies around"
    assert answer.status_code == 201
    assert after[0] == "", "the call that carries the token is not signed"
    assert "Credential=ASIATESTTESTTEST0001/" in after[1]
    assert trap.touched == 0


# --- Its answer is lost ---


@pytest.mark.requirement("F-45")
def test_a_start_whose_answer_is_lost_is_repeated_once_by_its_name_and_is_one_execution(
    faulty: Faulty,
) -> None:
    faulty.aws.states = in_turn(cuts_the_connection(), starts())

    answer = start(faulty)

    names = [json.loads(one.body) for one in faulty.aws.peer.received if one.headers.get("x-amz-target")]
    assert answer.status_code == 201
    assert [one["name"] for one in names] == [answer.json()["name"]] * 2
    assert names[0]["input"] == names[1]["input"]


@pytest.mark.requirement("F-46")
def test_an_express_start_whose_answer_is_lost_is_not_repeated_and_its_name_is_told(faulty: Faulty) -> None:
    token = fresh()
    faulty.aws.states = cuts_the_connection()

    lost = start(faulty, "fire", token, key=None)
    asked = [
        json.loads(one.body)["name"] for one in faulty.aws.peer.received if one.headers.get("x-amz-target")
    ]
    faulty.aws.begin()
    well = start(faulty, "fire", token, key=None)

    assert (lost.status_code, code(lost)) == (504, "start_unknown")
    assert len(asked) == 1
    assert asked[0] in lost.text
    assert well.status_code == 201


def _input_of(token_claims: Mapping[str, object], **members: object) -> str:
    caller = {"issuer": token_claims["iss"], "subject": token_claims["sub"]}
    return json.dumps({**members, "_caller": caller})


@pytest.mark.requirement("F-47")
def test_a_name_that_is_taken_gives_the_earlier_execution_or_a_conflict_and_never_a_second_one(
    faulty: Faulty,
) -> None:
    token, key = fresh(), uuid.uuid4().hex
    first = start(faulty, token=token, key=key)
    claims = claims_of("github")
    taken = refuses_operation("ExecutionAlreadyExists")
    faulty.aws.states = by_operation(
        StartExecution=taken, DescribeExecution=describes(input=_input_of(claims, **GOOD))
    )

    same = start(faulty, token=token, key=key)
    faulty.aws.states = by_operation(
        StartExecution=taken, DescribeExecution=describes(input=_input_of(claims, version="9.9.9"))
    )
    other = start(faulty, token=token, key=key)
    faulty.aws.states = by_operation(
        StartExecution=taken, DescribeExecution=refuses_operation("ExecutionDoesNotExist")
    )
    unknown = start(faulty, token=token, key=key)

    assert (same.status_code, same.json()["arn"]) == (200, first.json()["arn"])
    assert (other.status_code, code(other)) == (409, "idempotency_conflict")
    assert other.json()["url"] == first.json()["url"]
    assert (unknown.status_code, code(unknown)) == (409, "idempotency_conflict")
    assert "Nothing was started" in unknown.text
    assert unknown.json()["url"] == first.json()["url"]
    assert_recovers(faulty, token)


@pytest.mark.requirement("F-48")
def test_credentials_that_expire_at_once_are_renewed_once_inside_the_deadline_and_never_in_a_loop(
    faulty: Faulty,
) -> None:
    faulty.aws.sts = in_turn(issues_credentials(lasting_s=2), issues_credentials())
    faulty.aws.states = in_turn(refuses_operation("ExpiredTokenException"), starts())
    renewed = start(faulty)
    calls = len(faulty.aws.sts_calls())
    token = fresh()
    faulty.aws.peer.received.clear()
    faulty.aws.sts, faulty.aws.states = (
        issues_credentials(lasting_s=2),
        refuses_operation("ExpiredTokenException"),
    )
    given_up = start(faulty, token=token)

    assert (renewed.status_code, calls) == (201, 2)
    assert (given_up.status_code, code(given_up)) == (502, "aws_error")
    assert len(faulty.aws.sts_calls()) == 2
    assert_recovers(faulty, token)


@pytest.mark.requirement("F-49")
def test_a_region_that_cannot_be_reached_is_unavailable_for_its_workflows_alone(faulty: Faulty) -> None:
    token = fresh()
    with no_hang():
        refused = start(faulty, "closed", token)
        others = start(faulty)
        with running_scripted_aws(faulty.ports["closed"]):
            recovered = start(faulty, "closed", token)

    assert (refused.status_code, code(refused)) == (503, "aws_unavailable")
    assert int(refused.headers["retry-after"]) >= 1
    assert others.status_code == 201
    assert recovered.status_code == 201


MOST_BYTES = 262_144


@pytest.mark.requirement("F-50")
def test_an_input_is_measured_in_bytes_and_refused_before_anything_is_asked_of_aws(faulty: Faulty) -> None:
    token = fresh()
    claims = claims_of("github")
    frame = len(json.dumps(json.loads(_input_of(claims, text="")), separators=(",", ":"), sort_keys=True))
    emoji, rest = divmod(MOST_BYTES - frame, 4)

    def sent(more: int) -> httpx2.Response:
        body = {"workflow": "wide", "input": {"text": "\N{ROCKET}" * emoji + "x" * (rest + more)}}
        return faulty.gateway.client.post(
            "/v1/executions",
            content=json.dumps(body, ensure_ascii=False).encode(),
            headers={
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
                "Idempotency-Key": uuid.uuid4().hex,
            },
        )

    beyond = sent(1)
    asked = len(faulty.aws.peer.received)
    within = sent(0)

    assert (beyond.status_code, code(beyond), asked) == (413, "input_too_large", 0)
    assert str(MOST_BYTES + 1) in beyond.text
    assert within.status_code == 201
