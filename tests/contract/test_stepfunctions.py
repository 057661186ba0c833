"""Our Step Functions edge against two AWS emulators: ministack enforces role policies, moto knows the rules about names."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Mapping

import pytest

from gateway.credentials.session import AwsCredentials, RoleSession, session_for
from gateway.credentials.sts import request_form
from gateway.errors import AccessDenied, ErrorCode, RequestRejected, UpstreamFailed
from gateway.executions.execution import CredentialsExpired, Execution, StartPlan, plan_start
from gateway.outbound.aws_answers import xml_texts
from gateway.policy.rule import AwsRole, Workflow
from gateway.secret import Secret
from tests.support.aws import REGION, Aws, aws_at, held, within
from tests.support.aws_seed import FAIL, PASS, WAIT, seed_machine, seed_role
from tests.support.loopback import post
from tests.support.tokens import verified

TOKEN = verified()
SUBJECT = TOKEN.principal.subject
ROOT = AwsCredentials(
    access_key_id="test",
    secret_access_key=Secret("test"),
    session_token=Secret(""),
    expires_at=time.time() + 900,
    identity="arn:aws:iam::111122223333:root",
)
EVERYTHING = {"Effect": "Allow", "Action": "states:*", "Resource": "*"}


@pytest.fixture(params=["ministack", "moto"])
async def aws(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Aws, str]]:
    """Each emulator in turn: what holds on both is not one emulator's whim."""
    url: str = request.getfixturevalue(request.param)
    async with aws_at(url, emulator=True) as edges:
        yield edges, url


def plan(workflow: Workflow, *, key: str | None = None, **members: object) -> StartPlan:
    standard = workflow.type == "standard"
    return plan_start(
        workflow=workflow,
        principal=TOKEN.principal,
        input=members,
        idempotency_key=(key or uuid.uuid4().hex) if standard else None,
    )


async def until_done(edges: Aws, workflow: Workflow, name: str) -> Execution:
    async with asyncio.timeout(20):
        while not (  # noqa: ASYNC110  the emulators run executions in threads of their own
            execution := await edges.executions.describe(workflow, name, ROOT, deadline=within(10))
        ).done:
            await asyncio.sleep(0.05)
    return execution


@pytest.mark.requirement("SF-05")
async def test_a_start_begins_an_execution_of_the_planned_name_and_input(aws: tuple[Aws, str]) -> None:
    edges, url = aws
    workflow = seed_machine(url, PASS, visible=True)
    planned = plan(workflow, a=1)

    started = await edges.executions.start(planned, ROOT, deadline=within(20))
    ended = await until_done(edges, workflow, planned.name)

    assert started.arn == workflow.state_machine.execution(planned.name)
    assert not started.existed
    assert (ended.status, json.loads(ended.output or "")) == ("SUCCEEDED", json.loads(planned.input))
    assert ended.ended_at is not None


@pytest.mark.requirement("SF-06")
@pytest.mark.parametrize("state", [WAIT, PASS], ids=["still running", "finished"])
async def test_the_same_start_again_finds_the_same_execution(
    aws: tuple[Aws, str], state: Mapping[str, object]
) -> None:
    edges, url = aws
    workflow = seed_machine(url, state)
    planned = plan(workflow, a=1)
    first = await edges.executions.start(planned, ROOT, deadline=within(20))
    if state is PASS:
        await until_done(edges, workflow, planned.name)

    again = await edges.executions.start(planned, ROOT, deadline=within(20))

    assert again.arn == first.arn
    # A repeat within two seconds of a running execution may be told as a new one: AWS answers both alike.
    assert again.existed or state is WAIT


@pytest.mark.requirement("SF-06")
@pytest.mark.parametrize("state", [WAIT, PASS], ids=["still running", "finished"])
async def test_the_same_key_with_another_input_is_a_conflict(
    aws: tuple[Aws, str], state: Mapping[str, object]
) -> None:
    edges, url = aws
    workflow = seed_machine(url, state)
    await edges.executions.start(plan(workflow, key="k", a=1), ROOT, deadline=within(20))

    with pytest.raises(RequestRejected) as caught:
        await edges.executions.start(plan(workflow, key="k", a=2), ROOT, deadline=within(20))

    assert caught.value.code is ErrorCode.IDEMPOTENCY_CONFLICT


@pytest.mark.requirement("SF-06")
async def test_an_execution_that_runs_since_more_than_two_seconds_is_told_as_a_repeat(moto: str) -> None:
    workflow = seed_machine(moto, WAIT)
    planned = plan(workflow)
    async with aws_at(moto, emulator=True) as edges:
        await edges.executions.start(planned, ROOT, deadline=within(20))
        await asyncio.sleep(3.1)  # moto's clock is the machine's; `Date` has whole seconds
        again = await edges.executions.start(planned, ROOT, deadline=within(20))

    assert again.existed


async def test_a_failure_is_reported_with_its_error_where_the_workflow_shows_it(aws: tuple[Aws, str]) -> None:
    edges, url = aws
    workflow = seed_machine(url, FAIL, visible=True)
    planned = plan(workflow)

    await edges.executions.start(planned, ROOT, deadline=within(20))
    ended = await until_done(edges, workflow, planned.name)

    assert (ended.status, ended.error, ended.cause) == ("FAILED", "Broken", "on purpose")


async def test_a_stop_ends_an_execution_and_may_be_repeated(aws: tuple[Aws, str]) -> None:
    edges, url = aws
    workflow = seed_machine(url, WAIT)
    planned = plan(workflow)
    await edges.executions.start(planned, ROOT, deadline=within(20))

    async def stop() -> Execution:
        return await edges.executions.stop(
            workflow, planned.name, ROOT, reason="superseded", deadline=within(20)
        )

    try:
        stopped = await stop()
    except UpstreamFailed as fault:
        # moto leaves the time out while its execution is still ending.
        if fault.code is not ErrorCode.AWS_ANSWER_MISMATCH:
            raise
        stopped = await stop()
    again = await edges.executions.stop(
        workflow, planned.name, ROOT, reason="superseded", deadline=within(20)
    )

    assert (stopped.status, again.status) == ("ABORTED", "ABORTED")
    assert stopped.ended_at is not None


async def test_stopping_what_has_succeeded_changes_nothing(aws: tuple[Aws, str]) -> None:
    edges, url = aws
    workflow = seed_machine(url, PASS)
    planned = plan(workflow)
    await edges.executions.start(planned, ROOT, deadline=within(20))
    await until_done(edges, workflow, planned.name)

    stopped = await edges.executions.stop(workflow, planned.name, ROOT, reason="late", deadline=within(20))

    assert stopped.status == "SUCCEEDED"


async def test_events_tell_the_states_in_order_and_resume_after_any_of_them(aws: tuple[Aws, str]) -> None:
    edges, url = aws
    workflow = seed_machine(url, PASS)
    planned = plan(workflow)
    await edges.executions.start(planned, ROOT, deadline=within(20))
    await until_done(edges, workflow, planned.name)

    async def after(number: int) -> list[tuple[int, str, str | None]]:
        found = edges.executions.events(workflow, planned.name, ROOT, after=number, deadline=within(20))
        return [(event.id, event.type, event.state) async for event in found]

    everything = await after(0)
    rest = await after(everything[1][0])

    assert [one[1] for one in everything] == [
        "ExecutionStarted",
        "PassStateEntered",
        "PassStateExited",
        "ExecutionSucceeded",
    ]
    assert everything[1][2] == "Only"
    assert rest == everything[2:]


async def test_an_execution_nobody_started_is_unknown(aws: tuple[Aws, str]) -> None:
    edges, url = aws
    workflow = seed_machine(url, PASS)

    with pytest.raises(RequestRejected) as caught:
        await edges.executions.describe(workflow, plan(workflow).name, ROOT, deadline=within(20))

    assert caught.value.code is ErrorCode.EXECUTION_UNKNOWN


@pytest.mark.requirement("SF-10")
@pytest.mark.parametrize(
    ("state", "status"), [(PASS, "SUCCEEDED"), (FAIL, "FAILED")], ids=["good", "failing"]
)
async def test_a_synchronous_workflow_answers_with_its_end(
    ministack: str, state: Mapping[str, object], status: str
) -> None:
    workflow = seed_machine(ministack, state, kind="express-sync", visible=True)
    planned = plan(workflow, a=1)
    async with aws_at(ministack, emulator=True) as edges:
        execution = await edges.executions.start(planned, ROOT, deadline=within(20))

    assert (execution.status, execution.done) == (status, True)


async def test_an_express_workflow_starts(ministack: str) -> None:
    workflow = seed_machine(ministack, PASS, kind="express")
    planned = plan(workflow)
    async with aws_at(ministack, emulator=True) as edges:
        execution = await edges.executions.start(planned, ROOT, deadline=within(20))

    assert execution.status == "RUNNING"


# Under credentials of a role, which ministack enforces.


async def credentials(edges: Aws, role: AwsRole, workflow: Workflow) -> AwsCredentials:
    session: RoleSession = session_for(TOKEN, role, workflow=workflow)
    return await edges.sts.assume(TOKEN, role, session, region=REGION, deadline=within(20))


@pytest.mark.requirement("SF-01", "ST-05")
async def test_a_role_that_may_start_one_machine_starts_that_and_no_other(ministack: str) -> None:
    allowed, other = seed_machine(ministack, PASS), seed_machine(ministack, PASS)
    role = seed_role(
        ministack,
        {"Effect": "Allow", "Action": "states:StartExecution", "Resource": str(allowed.state_machine)},
        subject=SUBJECT,
    )
    async with aws_at(ministack, emulator=True) as edges:
        mine = await credentials(edges, role, allowed)
        started = await edges.executions.start(plan(allowed), mine, deadline=within(20))
        with pytest.raises(AccessDenied) as caught:
            await edges.executions.start(plan(other), mine, deadline=within(20))

    assert started.status == "RUNNING"
    assert caught.value.code is ErrorCode.AWS_DENIED
    assert caught.value.upstream is not None
    assert caught.value.upstream.service == "states"


@pytest.mark.requirement("ST-06")
async def test_what_the_session_policy_lists_is_enough_for_everything_we_do(ministack: str) -> None:
    """ministack ignores session policies of web identities, so the same statements stand as the role's own policy."""
    workflow = seed_machine(ministack, WAIT)
    policy = session_for(TOKEN, seed_role(ministack, subject=SUBJECT), workflow=workflow).session_policy
    assert policy is not None
    role = seed_role(ministack, *json.loads(policy)["Statement"], subject=SUBJECT)
    planned = plan(workflow)
    async with aws_at(ministack, emulator=True) as edges:
        mine = await credentials(edges, role, workflow)
        await edges.executions.start(planned, mine, deadline=within(20))
        await edges.executions.describe(workflow, planned.name, mine, deadline=within(20))
        seen = [
            event
            async for event in edges.executions.events(
                workflow, planned.name, mine, after=0, deadline=within(20)
            )
        ]
        stopped = await edges.executions.stop(
            workflow, planned.name, mine, reason="done", deadline=within(20)
        )

    assert seen
    assert stopped.status == "ABORTED"


async def test_expired_credentials_are_recognised(ministack: str) -> None:
    workflow = seed_machine(ministack, PASS)
    role = seed_role(ministack, EVERYTHING, subject=SUBJECT)
    expired = _credentials_of_one_second(ministack, role)
    await asyncio.sleep(1.5)  # ministack's clock is the machine's
    async with aws_at(ministack, emulator=True) as edges:
        with pytest.raises(CredentialsExpired):
            await edges.executions.start(plan(workflow), expired, deadline=within(20))


def _credentials_of_one_second(url: str, role: AwsRole) -> AwsCredentials:
    session = RoleSession(name="short", duration_s=1, session_policy=None, handed_out=True)
    form = request_form(TOKEN, role, session).decode()
    answer = xml_texts(post(url + "/", form, {"Content-Type": "application/x-www-form-urlencoded"}))
    issued = {path.rpartition("/")[2]: text for path, text in answer.items() if "/Credentials/" in path}
    return AwsCredentials(
        access_key_id=issued["AccessKeyId"],
        secret_access_key=Secret(issued["SecretAccessKey"]),
        session_token=Secret(issued["SessionToken"]),
        expires_at=0,
        identity="",
    )


async def test_credentials_that_aws_never_issued_start_nothing(ministack: str) -> None:
    workflow = seed_machine(ministack, PASS)
    async with aws_at(ministack, emulator=True) as edges:
        with pytest.raises(UpstreamFailed) as caught:
            await edges.executions.start(plan(workflow), held(), deadline=within(20))

    assert caught.value.code is ErrorCode.AWS_ERROR
    assert caught.value.upstream is not None
    assert caught.value.upstream.code == "UnrecognizedClientException"
