"""What Step Functions is asked, and what its answers, errors and silences mean."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import get_args

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from gateway.arn import parse_state_machine
from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    GatewayError,
    RequestRejected,
    Unavailable,
    UpstreamFailed,
)
from gateway.executions.execution import CredentialsExpired, Event, Execution, StartPlan
from gateway.executions.states_errors import repeatable_unless_done
from gateway.outbound.http import FailureKind, OutboundFailure
from gateway.policy.rule import Workflow
from tests.support.aws import Aws, aws_at, held, within
from tests.support.clocks import START_S, SettableClock
from tests.support.peer import (
    LOOPBACK,
    Peer,
    Reply,
    answers,
    closed_port,
    cuts_the_connection,
    stays_silent,
)
from tests.support.policies import workflow

NAME = f"{'a' * 32}-{'b' * 32}"
ARN = f"arn:aws:states:eu-west-1:111122223333:execution:deploy:{NAME}"
EXPRESS_ARN = f"arn:aws:states:eu-west-1:111122223333:express:deploy:{NAME}:0f6a8f3e"
INPUT = b'{"_caller":{"issuer":"i","subject":"s"},"a":1}'
STANDARD, EXPRESS, SYNC = workflow(), workflow(kind="express"), workflow(kind="express-sync")
VISIBLE = replace(STANDARD, output_visible=True)
HELD = held()
NOW = "Sun, 22 Nov 2026 10:17:03 GMT"  # START_S
EXPIRED_CODES = ("ExpiredTokenException", "ExpiredToken")


def ok(members: Mapping[str, object], *, date: str = NOW) -> Reply:
    return answers(json.dumps(members), date=date, content_type="application/x-amz-json-1.0")


def error(code: str, *, status: int = 400) -> Reply:
    body = json.dumps({"__type": code, "message": "text of AWS with arn:aws:iam::1:role/x"})
    return answers(body, status=status, x_amzn_requestid="r-5")


def started(at: float = START_S) -> Reply:
    return ok({"executionArn": ARN, "startDate": at})


def described(
    status: str = "RUNNING",
    data: Mapping[str, object] | None = None,
    *,
    given: bytes = INPUT,
    at: float = START_S,
    **members: object,
) -> Reply:
    return ok(
        {
            "executionArn": ARN,
            "stateMachineArn": str(STANDARD.state_machine),
            "name": NAME,
            "status": status,
            "startDate": at,
            "input": given.decode(),
            **(data or {}),
            **members,
        }
    )


EXISTS = error("ExecutionAlreadyExists")
DONE = {"stopDate": START_S + 5, "output": '{"o":1}', "error": "E", "cause": "because"}


def plan(of: Workflow = STANDARD) -> StartPlan:
    return StartPlan(workflow=of, name=NAME, input=INPUT)


async def start(aws: Aws, of: Workflow = STANDARD, *, seconds: float = 5.0) -> Execution:
    return await aws.executions.start(plan(of), HELD, deadline=within(seconds))


async def describe(aws: Aws, of: Workflow = STANDARD, name: str = NAME) -> Execution:
    return await aws.executions.describe(of, name, HELD, deadline=within(5))


async def stop(aws: Aws, of: Workflow = STANDARD, name: str = NAME) -> Execution:
    return await aws.executions.stop(of, name, HELD, reason="superseded", deadline=within(5))


async def events(aws: Aws, *, after: int = 0, of: Workflow = STANDARD, name: str = NAME) -> list[Event]:
    return [event async for event in aws.executions.events(of, name, HELD, after=after, deadline=within(5))]


Act = Callable[[Aws], Awaitable[object]]


async def done(act: Act, *replies: Reply) -> tuple[object, Peer]:
    async with Peer(*replies) as peer, aws_at(peer.url, clock=SettableClock()) as aws:
        return await act(aws), peer


async def refused(act: Act, *replies: Reply) -> tuple[GatewayError, Peer]:
    async with Peer(*replies) as peer, aws_at(peer.url, clock=SettableClock()) as aws:
        with pytest.raises(GatewayError) as caught:
            await act(aws)
    return caught.value, peer


def asked(peer: Peer) -> list[str]:
    return [one.headers["x-amz-target"].removeprefix("AWSStepFunctions.") for one in peer.received]


# What is asked.


@pytest.mark.requirement("SF-01", "ST-05")
async def test_a_start_names_the_machine_of_the_files_and_is_signed_with_what_was_handed_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"):
        monkeypatch.setenv(name, "AKIAAMBIENTAMBIENT01")
    _, peer = await done(start, started())

    (sent,) = peer.received
    assert json.loads(sent.body) == {
        "stateMachineArn": "arn:aws:states:eu-west-1:111122223333:stateMachine:deploy",
        "name": NAME,
        "input": INPUT.decode(),
    }
    assert sent.headers["content-type"] == "application/x-amz-json-1.0"
    assert sent.headers["x-amz-security-token"] == "a-session-token"
    assert f"Credential={HELD.access_key_id}/" in sent.headers["authorization"]
    assert "AMBIENT" not in f"{sent.headers}{sent.body!r}"


@pytest.mark.requirement("SF-01")
@pytest.mark.parametrize("qualifier", ["3", "PROD"], ids=["version", "alias"])
async def test_a_version_or_alias_is_started_as_such_and_its_executions_are_the_machines(
    qualifier: str,
) -> None:
    machine = parse_state_machine(f"arn:aws:states:eu-west-1:111122223333:stateMachine:deploy:{qualifier}")
    of = replace(STANDARD, state_machine=machine)

    execution, peer = await done(lambda aws: start(aws, of), started())

    assert json.loads(peer.received[0].body)["stateMachineArn"] == str(machine)
    assert isinstance(execution, Execution)
    assert execution.arn == ARN


@pytest.mark.requirement("SF-01")
@pytest.mark.parametrize(
    ("act", "replies"),
    [
        (start, (started(),)),
        (lambda aws: start(aws, SYNC), (described("SUCCEEDED", DONE, executionArn=EXPRESS_ARN),)),
        (describe, (described(),)),
        (stop, (ok({"stopDate": START_S}), described("ABORTED", stopDate=START_S))),
        (events, (ok({"events": []}),)),
        (lambda aws: events(aws, after=7), (ok({"events": []}),)),
    ],
    ids=["start", "start and wait", "describe", "stop", "events", "later events"],
)
async def test_every_request_satisfies_botocores_model_of_the_service(
    act: Act, replies: tuple[Reply, ...]
) -> None:
    model = ServiceModel(Loader().load_service_model("stepfunctions", "service-2"))

    _, peer = await done(act, *replies)

    for operation, sent in zip(asked(peer), peer.received, strict=True):
        shape = model.operation_model(operation).input_shape
        body = json.loads(sent.body)
        assert not ParamValidator().validate(body, shape).has_errors()
        assert set(body) <= set(shape.members)


# Whether a start was the first.


@pytest.mark.requirement("SF-05")
async def test_a_new_execution_is_running_and_did_not_exist() -> None:
    execution, _ = await done(start, started())

    assert execution == Execution(workflow="deploy", name=NAME, arn=ARN, status="RUNNING", started_at=START_S)


@pytest.mark.requirement("SF-06")
@pytest.mark.parametrize(
    ("age", "existed"),
    [
        pytest.param(0.0, False, id="now"),
        pytest.param(2.0, False, id="2 s"),
        pytest.param(2.5, True, id="older"),
    ],
)
async def test_an_answer_about_an_execution_that_began_before_our_call_is_a_repeat(
    age: float, existed: bool
) -> None:
    execution, _ = await done(start, started(START_S - age))

    assert isinstance(execution, Execution)
    assert execution.existed is existed


@pytest.mark.requirement("SF-06")
async def test_whether_it_is_a_repeat_is_judged_by_the_clock_of_aws_and_not_by_ours() -> None:
    an_hour_ahead = "Sun, 22 Nov 2026 11:17:03 GMT"
    reply = ok({"executionArn": ARN, "startDate": START_S + 3600}, date=an_hour_ahead)

    execution, _ = await done(start, reply)

    assert isinstance(execution, Execution)
    assert not execution.existed


@pytest.mark.requirement("SF-06")
@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "FAILED", "ABORTED"])
async def test_a_taken_name_with_equal_input_is_the_same_execution_as_it_is_now(status: str) -> None:
    ended = {} if status == "RUNNING" else {"stopDate": START_S}
    execution, peer = await done(start, EXISTS, described(status, ended, at=START_S - 60))

    assert isinstance(execution, Execution)
    assert (execution.arn, execution.status, execution.existed) == (ARN, status, True)
    assert asked(peer) == ["StartExecution", "DescribeExecution"]


@pytest.mark.requirement("SF-06")
async def test_equal_input_in_another_writing_is_equal() -> None:
    spaced = json.dumps(json.loads(INPUT), indent=2).encode()

    execution, _ = await done(start, EXISTS, described(given=spaced))

    assert isinstance(execution, Execution)
    assert execution.existed


@pytest.mark.requirement("SF-06")
@pytest.mark.parametrize(
    "other",
    [
        b'{"_caller":{"issuer":"i","subject":"s"},"a":2}',
        b'{"_caller":{"issuer":"i","subject":"s"},"a":true}',
        b"{}",
        b"not JSON",
    ],
)
async def test_a_taken_name_with_another_input_is_a_conflict_that_names_the_first_execution(
    other: bytes,
) -> None:
    heard, peer = await refused(start, EXISTS, described(given=other))

    assert isinstance(heard, RequestRejected)
    assert (heard.code, heard.url) == (ErrorCode.IDEMPOTENCY_CONFLICT, f"/v1/executions/deploy/{NAME}")
    assert asked(peer) == ["StartExecution", "DescribeExecution"]


@pytest.mark.requirement("SF-06")
async def test_a_taken_name_that_cannot_be_described_yet_is_looked_at_again() -> None:
    execution, peer = await done(start, EXISTS, error("ExecutionDoesNotExist"), described())

    assert isinstance(execution, Execution)
    assert execution.existed
    assert asked(peer) == ["StartExecution", "DescribeExecution", "DescribeExecution"]


@pytest.mark.requirement("SF-06", "F-47")
async def test_a_taken_name_that_aws_does_not_show_is_a_conflict_that_says_where_to_look() -> None:
    hidden = error("ExecutionDoesNotExist")

    heard, peer = await refused(start, EXISTS, hidden, hidden, hidden)

    assert isinstance(heard, RequestRejected)
    assert (heard.code, heard.url) == (ErrorCode.IDEMPOTENCY_CONFLICT, f"/v1/executions/deploy/{NAME}")
    assert heard.hint is not None
    assert heard.hint.startswith("Nothing was started.")
    assert asked(peer).count("StartExecution") == 1


@pytest.mark.requirement("SF-05", "F-47")
async def test_a_name_that_our_own_lost_attempt_may_have_taken_leaves_the_start_in_doubt() -> None:
    hidden = error("ExecutionDoesNotExist")

    heard, _ = await refused(start, cuts_the_connection(), EXISTS, hidden, hidden, hidden)

    assert heard.code is ErrorCode.START_UNKNOWN


@pytest.mark.requirement("SF-06")
async def test_a_description_without_its_input_proves_nothing() -> None:
    heard, _ = await refused(start, EXISTS, described(input=None))

    assert heard.code is ErrorCode.AWS_ANSWER_MISMATCH


# When an answer is lost.


@pytest.mark.requirement("SF-05")
async def test_a_standard_start_whose_answer_is_lost_is_sent_again_with_the_same_name_and_input() -> None:
    execution, peer = await done(start, cuts_the_connection(), started())

    assert isinstance(execution, Execution)
    assert (execution.arn, execution.existed) == (ARN, False)
    assert len({one.body for one in peer.received}) == 1
    assert len(peer.received) == 2


@pytest.mark.requirement("SF-05", "SF-06")
@pytest.mark.parametrize(
    ("age", "existed"),
    [pytest.param(0, False, id="our own, lost"), pytest.param(60, True, id="an earlier one")],
)
async def test_a_name_taken_by_our_own_lost_attempt_is_a_new_execution(age: float, existed: bool) -> None:
    execution, _ = await done(start, cuts_the_connection(), EXISTS, described(at=START_S - age))

    assert isinstance(execution, Execution)
    assert execution.existed is existed


@pytest.mark.requirement("SF-05")
async def test_a_standard_start_that_stays_unanswered_is_unknown_and_may_be_sent_again_by_the_caller() -> (
    None
):
    heard, peer = await refused(start, cuts_the_connection())

    assert isinstance(heard, UpstreamFailed)
    assert heard.code is ErrorCode.START_UNKNOWN
    assert heard.retry_after_s
    assert NAME in heard.message
    assert len(peer.received) == 3


@pytest.mark.requirement("SF-05")
@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "ExecutionLimitExceeded"])
async def test_no_later_error_makes_a_lost_standard_start_certain(code: str) -> None:
    heard, _ = await refused(start, cuts_the_connection(), error(code))

    assert heard.code is ErrorCode.START_UNKNOWN


@pytest.mark.requirement("SF-05")
@pytest.mark.parametrize("of", [EXPRESS, SYNC], ids=["express", "express-sync"])
@pytest.mark.parametrize(
    "reply", [cuts_the_connection(), error("InternalServerError", status=500)], ids=["cut", "500"]
)
async def test_an_express_start_in_doubt_is_never_sent_again_and_named_for_the_look_up(
    of: Workflow, reply: Reply
) -> None:
    heard, peer = await refused(lambda aws: start(aws, of), reply, started())

    assert heard.code is ErrorCode.START_UNKNOWN
    assert NAME in heard.message
    assert heard.retry_after_s is None
    assert len(peer.received) == 1


@pytest.mark.requirement("SF-05")
async def test_an_express_start_that_gets_no_answer_in_time_is_unknown() -> None:
    heard, peer = await refused(lambda aws: start(aws, EXPRESS, seconds=0.3), stays_silent())

    assert (heard.code, len(peer.received)) == (ErrorCode.START_UNKNOWN, 1)


@pytest.mark.requirement("SF-07")
@pytest.mark.parametrize("of", [STANDARD, EXPRESS, SYNC], ids=["standard", "express", "express-sync"])
async def test_a_start_that_was_never_sent_is_known_not_to_have_happened(of: Workflow) -> None:
    async with aws_at(f"http://{LOOPBACK}:{await closed_port()}") as aws:
        with pytest.raises(UpstreamFailed) as caught:
            await start(aws, of)

    assert caught.value.code is ErrorCode.AWS_UNAVAILABLE
    assert caught.value.retry_after_s


@pytest.mark.requirement("SF-07")
async def test_an_express_start_that_was_throttled_did_not_happen_and_is_sent_again() -> None:
    reply = ok({"executionArn": EXPRESS_ARN, "startDate": START_S})

    execution, peer = await done(lambda aws: start(aws, EXPRESS), error("ThrottlingException"), reply)

    assert isinstance(execution, Execution)
    assert (execution.arn, execution.status, execution.existed) == (EXPRESS_ARN, "RUNNING", False)
    assert len(peer.received) == 2


# Errors.


@pytest.mark.requirement("SF-07")
@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("AccessDeniedException", AccessDenied, ErrorCode.AWS_DENIED),
        ("KmsAccessDeniedException", AccessDenied, ErrorCode.AWS_DENIED),
        ("StateMachineDoesNotExist", ConfigurationInvalid, ErrorCode.MAPPING_INVALID_FOR_AWS),
        ("StateMachineDeleting", ConfigurationInvalid, ErrorCode.MAPPING_INVALID_FOR_AWS),
        ("StateMachineTypeNotSupported", ConfigurationInvalid, ErrorCode.MAPPING_INVALID_FOR_AWS),
        ("InvalidArn", ConfigurationInvalid, ErrorCode.MAPPING_INVALID_FOR_AWS),
        ("InvalidName", UpstreamFailed, ErrorCode.AWS_ERROR),
        ("InvalidExecutionInput", UpstreamFailed, ErrorCode.AWS_ERROR),
        ("ValidationException", UpstreamFailed, ErrorCode.AWS_ERROR),
        ("KmsInvalidStateException", UpstreamFailed, ErrorCode.AWS_ERROR),
        ("ExecutionLimitExceeded", UpstreamFailed, ErrorCode.WORKFLOW_LIMIT),
        ("SomethingNew", UpstreamFailed, ErrorCode.AWS_ERROR),
    ],
)
async def test_a_permanent_error_is_one_call_and_has_one_code(
    code: str, kind: type[GatewayError], expected: ErrorCode
) -> None:
    heard, peer = await refused(start, error(code))

    assert (type(heard), heard.code, len(peer.received)) == (kind, expected, 1)
    assert heard.upstream is not None
    assert (heard.upstream.service, heard.upstream.code, heard.upstream.request_id) == ("states", code, "r-5")
    assert "role/x" not in f"{heard.message} {heard.hint}"


@pytest.mark.requirement("SF-07")
async def test_a_full_account_says_when_to_come_again_and_is_not_pressed() -> None:
    heard, peer = await refused(start, error("ExecutionLimitExceeded"))

    assert (heard.retry_after_s, len(peer.received)) == (30, 1)


@pytest.mark.requirement("SF-07")
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (error("ThrottlingException"), ErrorCode.WORKFLOW_THROTTLED),
        (error("KmsThrottlingException"), ErrorCode.WORKFLOW_THROTTLED),
        (error("ServiceUnavailable", status=503), ErrorCode.AWS_UNAVAILABLE),
        (answers("<html/>", status=502), ErrorCode.AWS_UNAVAILABLE),
    ],
    ids=["throttled", "KMS throttled", "unavailable", "proxy"],
)
@pytest.mark.parametrize("act", [start, describe, stop, events], ids=["start", "describe", "stop", "events"])
async def test_an_error_that_can_pass_is_tried_three_times(
    act: Act, reply: Reply, expected: ErrorCode
) -> None:
    heard, peer = await refused(act, reply)

    assert (heard.code, len(peer.received)) == (expected, 3)
    assert heard.retry_after_s


@pytest.mark.parametrize("code", EXPIRED_CODES)
@pytest.mark.parametrize("act", [start, describe, stop, events], ids=["start", "describe", "stop", "events"])
async def test_expired_credentials_are_told_apart_so_that_others_can_be_had(act: Act, code: str) -> None:
    async with Peer(error(code)) as peer, aws_at(peer.url) as aws:
        with pytest.raises(CredentialsExpired):
            await act(aws)

    assert len(peer.received) == 1


async def test_a_peer_that_does_not_answer_is_given_up_at_the_deadline() -> None:
    async with Peer(stays_silent()) as peer, aws_at(peer.url) as aws:
        with pytest.raises(Unavailable) as caught:
            await aws.executions.describe(STANDARD, NAME, HELD, deadline=within(0.3))

    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(answers("<html>"), id="HTML"),
        pytest.param(answers("[]"), id="list"),
        pytest.param(ok({}), id="empty object"),
        pytest.param(described("EXPLODED"), id="unknown status"),
        pytest.param(described(executionArn=ARN.replace("deploy", "other")), id="another machine"),
        pytest.param(described(executionArn=ARN[:-1] + "c"), id="another execution"),
        pytest.param(described(startDate="yesterday"), id="no date"),
        pytest.param(described(startDate=True), id="a boolean for a date"),
        pytest.param(described(startDate=1e300), id="a date beyond all calendars"),
        pytest.param(described(startDate=10**400), id="a date beyond all floats"),
        pytest.param(described(startDate=float("nan")), id="a date that is no number"),
        pytest.param(described(startDate=-1e12), id="a date before all calendars"),
    ],
)
async def test_an_answer_about_something_else_is_not_used(reply: Reply) -> None:
    heard, _ = await refused(describe, reply)

    assert heard.code is ErrorCode.AWS_ANSWER_MISMATCH


# Looking, stopping, following.


@pytest.mark.requirement("SF-09")
async def test_output_error_and_cause_are_dropped_unless_the_workflow_shows_them() -> None:
    hidden, _ = await done(describe, described("FAILED", DONE))
    shown, _ = await done(lambda aws: describe(aws, VISIBLE), described("FAILED", DONE))

    assert isinstance(hidden, Execution)
    assert isinstance(shown, Execution)
    assert (hidden.output, hidden.error, hidden.cause) == (None, None, None)
    assert (shown.output, shown.error, shown.cause) == ('{"o":1}', "E", "because")
    assert shown.ended_at == START_S + 5


@pytest.mark.requirement("SF-09")
async def test_the_data_of_a_workflow_is_neither_logged_nor_represented(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", logger="gateway")
    data = {"stopDate": START_S, "output": '"canary"', "cause": "canary", "error": "canary"}

    shown, _ = await done(lambda aws: describe(aws, VISIBLE), described("FAILED", data))

    assert "canary" not in f"{caplog.text} {shown!r}"


@pytest.mark.requirement("SF-09")
async def test_an_output_longer_than_aws_allows_is_not_passed_on() -> None:
    data = {"stopDate": START_S, "output": "x" * 262_145}

    heard, _ = await refused(lambda aws: describe(aws, VISIBLE), described("SUCCEEDED", data))

    assert heard.code is ErrorCode.AWS_ANSWER_MISMATCH


@pytest.mark.requirement("SF-10")
@pytest.mark.parametrize("status", ["SUCCEEDED", "FAILED", "TIMED_OUT"])
async def test_a_synchronous_workflow_reports_how_it_ended_although_aws_says_200(status: str) -> None:
    execution, peer = await done(
        lambda aws: start(aws, SYNC), described(status, DONE, executionArn=EXPRESS_ARN)
    )

    assert isinstance(execution, Execution)
    assert (execution.status, execution.done, execution.output) == (status, True, None)
    assert asked(peer) == ["StartSyncExecution"]


@pytest.mark.requirement("SF-08")
@pytest.mark.parametrize("act", [describe, stop, events], ids=["describe", "stop", "events"])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 81, id="long"),
        pytest.param(f"{NAME}:x", id="colon"),
        pytest.param("../other", id="path"),
        pytest.param("a b", id="blank"),
        pytest.param("٠" * 8, id="digits of another script"),
        pytest.param("*", id="wildcard"),
        pytest.param(f"{NAME}\n", id="line end"),
    ],
)
async def test_a_name_that_no_execution_can_have_is_unknown_without_a_call(
    act: Callable[..., Awaitable[object]], name: str
) -> None:
    heard, peer = await refused(lambda aws: act(aws, name=name), described())

    assert (heard.code, peer.received) == (ErrorCode.EXECUTION_UNKNOWN, [])


@pytest.mark.requirement("SF-08")
@pytest.mark.parametrize("act", [describe, stop, events], ids=["describe", "stop", "events"])
async def test_an_execution_that_aws_does_not_know_is_unknown(act: Act) -> None:
    heard, _ = await refused(act, error("ExecutionDoesNotExist"))

    assert (type(heard), heard.code) == (RequestRejected, ErrorCode.EXECUTION_UNKNOWN)


@pytest.mark.parametrize("act", [describe, stop, events], ids=["describe", "stop", "events"])
async def test_executions_of_express_workflows_cannot_be_asked_about(
    act: Callable[..., Awaitable[object]],
) -> None:
    heard, peer = await refused(lambda aws: act(aws, of=EXPRESS), described())

    assert (heard.code, peer.received) == (ErrorCode.EXECUTION_UNSUPPORTED, [])


async def test_a_stop_says_why_and_answers_with_the_execution() -> None:
    execution, peer = await done(
        stop, ok({"stopDate": START_S + 9}), described("ABORTED", stopDate=START_S + 9)
    )

    assert json.loads(peer.received[0].body) == {"executionArn": ARN, "cause": "superseded"}
    assert isinstance(execution, Execution)
    assert (execution.status, execution.ended_at) == ("ABORTED", START_S + 9)


async def test_a_stopped_execution_is_aborted_although_its_description_lags_behind() -> None:
    execution, _ = await done(stop, ok({"stopDate": START_S + 9}), described("RUNNING"))

    assert isinstance(execution, Execution)
    assert (execution.status, execution.ended_at) == ("ABORTED", START_S + 9)


async def test_stopping_what_has_ended_answers_as_it_ended() -> None:
    execution, _ = await done(
        stop, ok({"stopDate": START_S + 9}), described("SUCCEEDED", stopDate=START_S + 5)
    )

    assert isinstance(execution, Execution)
    assert (execution.status, execution.ended_at) == ("SUCCEEDED", START_S + 5)


async def test_a_stop_that_is_called_invalid_because_all_is_over_answers_as_it_ended() -> None:
    over = described("SUCCEEDED", stopDate=START_S)

    execution, _ = await done(stop, error("ValidationException"), over)

    assert isinstance(execution, Execution)
    assert execution.status == "SUCCEEDED"


async def test_a_stop_that_is_called_invalid_while_the_execution_runs_is_a_failure() -> None:
    heard, _ = await refused(stop, error("ValidationException"), described("RUNNING"))

    assert heard.code is ErrorCode.AWS_ERROR


@pytest.mark.parametrize(
    "arn",
    [
        EXPRESS_ARN.replace("deploy", "other"),
        EXPRESS_ARN.replace("111122223333", "999988887777"),
        EXPRESS_ARN.replace(NAME, f"{'c' * 32}-{'d' * 32}"),
    ],
    ids=["machine", "account", "name"],
)
async def test_an_express_start_that_is_answered_with_another_execution_is_not_believed(arn: str) -> None:
    heard, _ = await refused(lambda aws: start(aws, EXPRESS), ok({"executionArn": arn, "startDate": START_S}))

    assert heard.code is ErrorCode.AWS_ANSWER_MISMATCH


@pytest.mark.parametrize(
    ("workflow", "advice"),
    [
        pytest.param(STANDARD, "with the same Idempotency-Key again", id="standard"),
        pytest.param(EXPRESS, "before you start it again", id="express"),
    ],
)
async def test_an_unusable_answer_to_a_start_says_that_it_may_have_happened(
    workflow: Workflow, advice: str
) -> None:
    heard, _ = await refused(lambda aws: start(aws, workflow), answers("<html>"))

    assert isinstance(heard, UpstreamFailed)
    assert heard.code is ErrorCode.AWS_ANSWER_MISMATCH
    assert str(heard.hint).startswith("It may have been started as ")
    assert advice in str(heard.hint)


def _entry(number: int, **members: object) -> dict[str, object]:
    return {"id": number, "timestamp": START_S + number, "type": "PassStateEntered", **members}


async def test_events_come_oldest_first_over_all_pages_with_the_name_of_their_state_only() -> None:
    entered = {"stateEnteredEventDetails": {"name": "Deploy", "input": "canary"}}
    left = {"stateExitedEventDetails": {"name": "Deploy", "output": "canary"}}
    pages = (
        ok({"events": [_entry(1, type="ExecutionStarted"), _entry(2, **entered)], "nextToken": "more"}),
        ok({"events": [_entry(3, **left)]}),
    )

    found, peer = await done(events, *pages)

    assert found == [
        Event(id=1, at=START_S + 1, type="ExecutionStarted", state=None),
        Event(id=2, at=START_S + 2, type="PassStateEntered", state="Deploy"),
        Event(id=3, at=START_S + 3, type="PassStateEntered", state="Deploy"),
    ]
    bodies = [json.loads(one.body) for one in peer.received]
    assert [body.get("nextToken") for body in bodies] == [None, "more"]
    assert all(body["includeExecutionData"] is False for body in bodies)


async def test_later_events_are_read_from_the_end_and_no_page_more_than_needed() -> None:
    pages = (
        ok({"events": [_entry(9), _entry(8)], "nextToken": "more"}),
        ok({"events": [_entry(7), _entry(6)], "nextToken": "even more"}),
        ok({"events": [_entry(5)]}),
    )

    found, peer = await done(lambda aws: events(aws, after=6), *pages)

    assert isinstance(found, list)
    assert [event.id for event in found] == [7, 8, 9]
    assert len(peer.received) == 2


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"events": {}},
        {"events": ["x"]},
        {"events": [{"id": True}]},
        {"events": [{"id": 1, "timestamp": "x"}]},
    ],
)
async def test_a_history_that_is_none_is_not_used(page: dict[str, object]) -> None:
    heard, _ = await refused(events, ok(page))

    assert heard.code is ErrorCode.AWS_ANSWER_MISMATCH


async def test_an_unknown_region_is_a_wrong_mapping() -> None:
    machine = parse_state_machine("arn:aws:states:nowhere:111122223333:stateMachine:deploy")
    async with aws_at("http://127.0.0.1:1") as aws:
        with pytest.raises(ConfigurationInvalid) as caught:
            await start(aws, replace(STANDARD, state_machine=machine))

    assert caught.value.code is ErrorCode.MAPPING_INVALID_FOR_AWS


@pytest.mark.requirement("SF-05")
def test_what_must_not_happen_twice_is_repeated_only_where_nothing_was_sent() -> None:
    again = {
        (kind, sent)
        for kind in get_args(FailureKind)
        for sent in (True, False)
        if repeatable_unless_done(OutboundFailure(kind, "a reason", sent=sent))
    }

    assert again == {("connect", False)}
