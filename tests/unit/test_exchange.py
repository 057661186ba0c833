"""The order of events of one call: what is recorded when, what a caller who leaves leaves behind, what is renewed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

import pytest

from gateway.audit.record import Record
from gateway.credentials.session import AwsCredentials, RoleSession, VaultToken
from gateway.errors import AccessDenied, ErrorCode, GatewayError, Unavailable, UpstreamFailed
from gateway.exchange.call import Call, ExecutionRequest, StartRequest
from gateway.exchange.exchange import Exchange
from gateway.exchange.replay import ReplayGuard
from gateway.executions.execution import CredentialsExpired, Event, Execution, StartPlan, execution_name
from gateway.executions.follow import Ended
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.token import VerifiedToken
from gateway.metrics import Metrics
from gateway.policy.rule import Grant, Target, Vault, VaultRole, Workflow
from gateway.policy.snapshot import Policy, PolicyState
from gateway.secret import Secret
from gateway.state.memory import MemoryReservations
from gateway.state.switches import Switch
from tests.support.clocks import START_S, SettableClock
from tests.support.policies import is_, obtain, policy, rule, start
from tests.support.switches import Board, off
from tests.support.tokens import verified

TOKEN = verified("github")
VAULT_ROLE = VaultRole(
    name="ci",
    vault=Vault(name="main", address="https://vault.example"),
    mount="jwt",
    role="ci",
    user_claim="repository_id",
    policies=("ci",),
    ttl_s=900,
)
VAULT_TOKEN = Grant(verb="obtain", workflow=None, target=VAULT_ROLE, form="vault-token")
RULES = policy(rule("prod", [is_("repository_id", "4711")], start(), obtain(), VAULT_TOKEN))
OWN = execution_name(TOKEN.principal, "deploy", "991-1")
UNUSED = ReplayGuard(MemoryReservations(SettableClock()), SettableClock(), shared=False)
STARTED = Execution(workflow="deploy", name=OWN, arn=f"arn:…:{OWN}", status="RUNNING", started_at=START_S)


class Asked:
    """Identifies by asking, never at once."""

    def __init__(self, ask: Callable[..., Awaitable[VerifiedToken]]) -> None:
        self._ask = ask

    async def __call__(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float, deadline: float
    ) -> VerifiedToken:
        return await self._ask(text, issuers, now=now, deadline=deadline)

    def at_once(self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float) -> None:
        return None


class House:
    """Everything around an exchange, with one list of what happened in which order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.deadlines: list[float | None] = []
        self.records: list[Record] = []
        self.expired = 0
        self.looks: list[Execution] = []
        self.intent_fails: GatewayError | None = None
        self.start_fails: Exception | None = None
        self.hold_intent = asyncio.Event()
        self.hold_start = asyncio.Event()
        self.started = asyncio.Event()
        self.hold_intent.set()
        self.hold_start.set()
        self.metrics = Metrics()
        self.switches = Board()
        self.exchange = Exchange(
            identify=Asked(self.identify),
            policies=self,
            credentials=self,
            executions=self,
            journal=self,
            clock=SettableClock(),
            metrics=self.metrics,
            gate=self.switches.gate,
            replay=UNUSED,
        )

    # Identify, PolicySource
    async def identify(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float, deadline: float
    ) -> VerifiedToken:
        self.happened.append("identify")
        self.deadlines.append(deadline)
        return TOKEN

    def current(self) -> Policy:
        return RULES

    def state(self) -> PolicyState:
        raise NotImplementedError

    # Journal
    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        self.deadlines.append(deadline)
        await self.hold_intent.wait()
        if self.intent_fails:
            raise self.intent_fails
        self._keep("intend", record)

    async def conclude(self, record: Record) -> None:
        self._keep("conclude", record)

    def refuse(self, record: Record) -> None:
        self._keep("refuse", record)

    def _keep(self, what: str, record: Record) -> None:
        self.happened.append(what)
        self.records.append(record)

    # CredentialSource
    async def aws(
        self,
        token: VerifiedToken,
        target: Target,
        session: RoleSession,
        *,
        region: str,
        deadline: float,
        instead_of: AwsCredentials | None = None,
    ) -> AwsCredentials:
        self.happened.append("renew" if instead_of else "obtain")
        self.deadlines.append(deadline)
        return AwsCredentials(
            access_key_id="ASIA",
            secret_access_key=Secret("s"),
            session_token=Secret("t"),
            expires_at=START_S + 900,
            identity=f"arn:aws:sts::111122223333:assumed-role/{target.name}/{session.name}",
        )

    def give_back(self, unclaimed: VaultToken, target: VaultRole) -> None:
        self.happened.append(f"give back {unclaimed.identity}")

    async def vault_token(self, token: VerifiedToken, target: Target, *, deadline: float) -> VaultToken:
        self.started.set()
        await self.hold_start.wait()
        self.happened.append("vault-token")
        return VaultToken(
            token=Secret("hvs.a-token"),
            identity=f"auth/jwt/role/{target.name}",
            expires_at=START_S + 600,
            wrapped=False,
        )

    # Executions
    async def start(self, plan: StartPlan, held: AwsCredentials, *, deadline: float) -> Execution:
        self.deadlines.append(deadline)
        self.started.set()
        await self.hold_start.wait()
        self._maybe_expired()
        if self.start_fails:
            raise self.start_fails
        self.happened.append("start")
        return STARTED

    async def describe(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, deadline: float
    ) -> Execution:
        self._maybe_expired()
        self.happened.append("describe")
        return self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]

    async def stop(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, reason: str, deadline: float
    ) -> Execution:
        self.happened.append(f"stop {reason}")
        return replace(STARTED, status="ABORTED", ended_at=START_S)

    async def events(
        self, workflow: Workflow, name: str, held: AwsCredentials, *, after: int, deadline: float
    ) -> AsyncIterator[Event]:
        self._maybe_expired()
        for number in range(after + 1, after + 3):
            yield Event(id=number, at=START_S, type="TaskStateEntered", state="Deploy")

    def _maybe_expired(self) -> None:
        if self.expired:
            self.expired -= 1
            raise CredentialsExpired


def call() -> Call:
    return Call(request_id="r1", token=TOKEN.compact, now=START_S, deadline=2_000.0)


def wish(**changes: object) -> StartRequest:
    return replace(
        StartRequest(workflow="deploy", target=None, input={}, idempotency_key="991-1"),
        **changes,  # type: ignore[arg-type]
    )


@pytest.fixture
async def house() -> House:
    return House()


@pytest.mark.requirement("AU-01")
async def test_the_intent_is_durable_before_anything_is_exchanged_and_the_outcome_names_what_happened(
    house: House,
) -> None:
    shown = await house.exchange.start(call(), wish())

    assert house.happened == ["identify", "intend", "obtain", "start", "conclude"]
    intent, outcome = house.records
    assert (intent.kind, intent.execution, intent.rules, intent.issued) == (
        "intent",
        OWN,
        ("team.prod",),
        None,
    )
    assert (outcome.kind, outcome.execution, outcome.code) == ("outcome", STARTED.arn, None)
    assert outcome.issued is not None
    assert shown.execution is STARTED


@pytest.mark.requirement("AU-01")
async def test_without_an_intent_nothing_is_exchanged(house: House) -> None:
    house.intent_fails = Unavailable(ErrorCode.AUDIT_UNAVAILABLE, "The disk is full.")

    with pytest.raises(Unavailable) as refused:
        await house.exchange.start(call(), wish())

    assert refused.value.code is ErrorCode.AUDIT_UNAVAILABLE
    assert "obtain" not in house.happened


@pytest.mark.requirement("AU-01")
@pytest.mark.parametrize(
    ("request_", "code"),
    [
        pytest.param(wish(workflow="nowhere"), ErrorCode.WORKFLOW_UNKNOWN, id="rule"),
        pytest.param(wish(idempotency_key=None), ErrorCode.IDEMPOTENCY_KEY_MISSING, id="no-key"),
        pytest.param(wish(input={"_caller": {}}), ErrorCode.INPUT_INVALID, id="input"),
    ],
)
async def test_what_is_wrong_with_a_request_is_found_before_any_effect_and_recorded(
    house: House, request_: StartRequest, code: ErrorCode
) -> None:
    with pytest.raises(GatewayError) as refused:
        await house.exchange.start(call(), request_)

    assert refused.value.code is code
    assert house.happened == ["identify", "refuse"]
    assert house.records[0].code is code


@pytest.mark.requirement("SF-07")
async def test_credentials_that_expire_in_mid_flight_are_renewed_once(house: House) -> None:
    house.expired = 1

    await house.exchange.start(call(), wish())

    assert house.happened == ["identify", "intend", "obtain", "renew", "start", "conclude"]


async def test_credentials_that_expire_twice_are_a_failure_and_never_a_loop(house: House) -> None:
    house.expired = 5

    with pytest.raises(UpstreamFailed) as failed:
        await house.exchange.start(call(), wish())

    assert failed.value.code is ErrorCode.AWS_ERROR
    assert house.happened == ["identify", "intend", "obtain", "renew", "conclude"]


@pytest.mark.requirement("HT-09")
async def test_every_step_of_a_call_has_the_calls_own_deadline(house: House) -> None:
    await house.exchange.start(call(), wish())

    assert house.happened == ["identify", "intend", "obtain", "start", "conclude"]
    assert house.deadlines == [call().deadline] * 4


@pytest.mark.requirement("HT-15")
async def test_a_caller_who_leaves_before_the_intent_leaves_nothing(house: House) -> None:
    async def never(*_: object, **__: object) -> VerifiedToken:
        await asyncio.Event().wait()
        raise AssertionError

    exchange = Exchange(
        identify=Asked(never),
        policies=house,
        credentials=house,
        executions=house,
        journal=house,
        clock=SettableClock(),
        metrics=house.metrics,
        gate=house.switches.gate,
        replay=UNUSED,
    )
    caller = asyncio.create_task(exchange.start(call(), wish()))
    await asyncio.sleep(0)

    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await exchange.finish()

    assert house.happened == []


@pytest.mark.requirement("HT-15")
async def test_a_caller_who_leaves_after_the_intent_leaves_one_recorded_execution(house: House) -> None:
    house.hold_start.clear()
    caller = asyncio.create_task(house.exchange.start(call(), wish()))
    await house.started.wait()

    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    house.hold_start.set()
    await house.exchange.finish()

    assert house.happened == ["identify", "intend", "obtain", "start", "conclude"]


async def test_a_vault_token_that_nobody_receives_is_given_back(house: House) -> None:
    house.hold_start.clear()
    caller = asyncio.create_task(house.exchange.obtain_vault_token(call(), "ci"))
    await house.started.wait()

    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    house.hold_start.set()
    await house.exchange.finish()
    await asyncio.sleep(0)

    assert house.happened == ["identify", "intend", "vault-token", "conclude", "give back auth/jwt/role/ci"]


async def test_a_vault_token_that_is_received_is_not_given_back(house: House) -> None:
    obtained = await house.exchange.obtain_vault_token(call(), "ci")

    assert obtained.target is VAULT_ROLE
    assert house.happened == ["identify", "intend", "vault-token", "conclude"]


@pytest.mark.requirement("AU-01")
async def test_a_failed_start_is_recorded_with_its_code_and_what_aws_said(house: House) -> None:
    house.start_fails = UpstreamFailed(ErrorCode.WORKFLOW_THROTTLED, "Step Functions is throttling.")

    with pytest.raises(UpstreamFailed):
        await house.exchange.start(call(), wish())

    assert house.records[-1].kind == "outcome"
    assert house.records[-1].code is ErrorCode.WORKFLOW_THROTTLED


@pytest.mark.requirement("TV-48")
async def test_a_bug_becomes_an_internal_error_that_says_nothing_and_is_recorded(house: House) -> None:
    house.start_fails = KeyError("secret detail")

    with pytest.raises(GatewayError) as failed:
        await house.exchange.start(call(), wish())

    assert failed.value.code is ErrorCode.INTERNAL_ERROR
    assert "secret" not in failed.value.message
    assert house.records[-1].code is ErrorCode.INTERNAL_ERROR


async def test_a_long_poll_returns_early_when_the_execution_is_done(house: House) -> None:
    house.looks = [STARTED, replace(STARTED, status="SUCCEEDED", ended_at=START_S + 1)]

    shown = await house.exchange.view(call(), ExecutionRequest(workflow="deploy", name=OWN), wait_s=50)

    assert shown.execution.done
    assert house.happened.count("describe") == 2


async def test_a_long_poll_ends_when_the_process_drains(house: House) -> None:
    house.looks = [STARTED]
    house.exchange.drain()

    shown = await house.exchange.view(call(), ExecutionRequest(workflow="deploy", name=OWN), wait_s=50)

    assert not shown.execution.done


@pytest.mark.requirement("SF-08")
async def test_an_execution_of_somebody_else_is_not_shown_without_a_view_grant(house: House) -> None:
    other = execution_name(replace(TOKEN.principal, subject="other"), "deploy", "991-1")

    with pytest.raises(GatewayError) as refused:
        await house.exchange.view(call(), ExecutionRequest(workflow="deploy", name=other), wait_s=0)

    assert refused.value.code is ErrorCode.WORKFLOW_UNKNOWN
    assert "obtain" not in house.happened


async def test_events_are_followed_to_the_end_and_say_why_they_end(house: House) -> None:
    house.looks = [STARTED, replace(STARTED, status="SUCCEEDED", ended_at=START_S + 1)]

    stream = await house.exchange.events(call(), ExecutionRequest(workflow="deploy", name=OWN), after=0)
    seen = [event async for event in stream]

    assert [event.id for event in seen if isinstance(event, Event)] == [1, 2, 3, 4]
    assert seen[-1] == Ended(reason="done", status="SUCCEEDED")


async def test_an_event_stream_ends_when_its_credentials_expire(house: House) -> None:
    house.looks = [STARTED]
    stream = await house.exchange.events(call(), ExecutionRequest(workflow="deploy", name=OWN), after=0)
    house.expired = 1

    seen = [event async for event in stream]

    assert seen == [Ended(reason="credentials_expired", status=None)]


async def test_stopping_passes_the_reason_on_and_shows_the_execution(house: House) -> None:
    shown = await house.exchange.stop(
        call(), ExecutionRequest(workflow="deploy", name=OWN), reason="superseded"
    )

    assert shown.execution.status == "ABORTED"
    assert "stop superseded" in house.happened


async def test_who_am_i_answers_for_every_verified_token_and_has_no_effect(house: House) -> None:
    identity = await house.exchange.whoami(call())

    assert house.happened == ["identify"]
    assert [held.grant.verb for held in identity.holdings.grants] == ["start", "obtain", "obtain"]
    assert identity.policy == RULES.digest


async def test_every_decision_is_counted_by_act_code_and_issuer(house: House) -> None:
    await house.exchange.start(call(), wish())

    text = house.metrics.exposition().decode()
    assert 'oidc_gateway_decisions_total{act="start",code="allowed",issuer="github"} 1.0' in text


# Switches.


@pytest.mark.requirement("MP-15")
@pytest.mark.parametrize(
    ("switch", "code"),
    [
        pytest.param(
            off("subject", f"github {TOKEN.principal.subject}"), ErrorCode.SUBJECT_DISABLED, id="subject"
        ),
        pytest.param(off("rule", "team.prod"), ErrorCode.RULE_DISABLED, id="rule"),
        pytest.param(off("workflow", "deploy"), ErrorCode.WORKFLOW_DISABLED, id="workflow"),
    ],
)
async def test_what_is_off_refuses_a_start_before_any_effect_and_the_refusal_is_recorded(
    house: House, switch: Switch, code: ErrorCode
) -> None:
    house.switches.switch_off(switch)

    with pytest.raises(AccessDenied) as refused:
        await house.exchange.start(call(), wish())

    assert refused.value.code is code
    assert house.happened == ["identify", "refuse"]
    assert house.records[0].code is code
    assert house.records[0].principal == TOKEN.principal


@pytest.mark.requirement("MP-15")
async def test_the_record_names_the_rule_that_is_off_and_the_caller_never_reads_it(house: House) -> None:
    house.switches.switch_off(off("rule", "team.prod"))

    with pytest.raises(AccessDenied) as refused:
        await house.exchange.start(call(), wish())

    assert house.records[0].rules == ("team.prod",)
    assert "prod" not in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.requirement("MP-15")
async def test_credentials_that_are_held_already_are_not_reached_by_what_is_off(house: House) -> None:
    # Every use of the cache stands behind the decision, so nothing has to be dropped from it.
    house.switches.switch_off(off("rule", "team.prod"))

    with pytest.raises(AccessDenied):
        await house.exchange.obtain(call(), "deployer")

    assert "obtain" not in house.happened


@pytest.mark.requirement("MP-15")
async def test_an_execution_of_a_workflow_that_is_off_can_still_be_seen_and_stopped(house: House) -> None:
    house.looks = [STARTED]
    house.switches.switch_off(off("workflow", "deploy"))
    request = ExecutionRequest(workflow="deploy", name=OWN)

    await house.exchange.view(call(), request, wait_s=0)
    stopped = await house.exchange.stop(call(), request, reason="switched off")

    assert stopped.execution.status == "ABORTED"


@pytest.mark.requirement("MP-15")
async def test_whoami_lists_only_what_is_not_off(house: House) -> None:
    house.switches.switch_off(off("workflow", "deploy"))

    found = await house.exchange.whoami(call())

    assert {one.grant.verb for one in found.holdings.grants} == {"obtain"}


@pytest.mark.requirement("MP-15")
async def test_whoami_answers_nobody_who_is_off(house: House) -> None:
    house.switches.switch_off(off("subject", f"github {TOKEN.principal.subject}"))

    with pytest.raises(AccessDenied) as refused:
        await house.exchange.whoami(call())

    assert refused.value.code is ErrorCode.SUBJECT_DISABLED


@pytest.mark.requirement("AD-06", "F-38")
async def test_while_nobody_can_tell_what_is_off_nothing_happens(house: House) -> None:
    house.switches.break_down()
    request = ExecutionRequest(workflow="deploy", name=OWN)

    codes = [
        (await refusal_of(house.exchange.start(call(), wish()))).code,
        (await refusal_of(house.exchange.obtain(call(), "deployer"))).code,
        (await refusal_of(house.exchange.stop(call(), request, reason="x"))).code,
        (await refusal_of(house.exchange.whoami(call()))).code,
    ]

    assert codes == [ErrorCode.SWITCHES_UNAVAILABLE] * 4
    assert set(house.happened) == {"identify", "refuse"}


async def refusal_of(doing: Awaitable[object]) -> GatewayError:
    with pytest.raises(GatewayError) as refused:
        await doing
    return refused.value
