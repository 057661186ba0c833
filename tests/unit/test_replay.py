"""What is reserved around an effect, and what becomes of it: by how the effect ends, and by who comes second."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from gateway.audit.recorder import Recorder
from gateway.audit.story import Story
from gateway.errors import (
    AccessDenied,
    ErrorCode,
    GatewayError,
    RequestRejected,
    TokenRejected,
    Unavailable,
    UpstreamFailed,
)
from gateway.exchange.call import Call
from gateway.exchange.replay import KEY_LIFE_S, TOKEN_MARGIN_S, Hold, ReplayGuard, Use
from gateway.executions.execution import Execution, StartPlan, plan_start
from gateway.identity.token import VerifiedToken
from gateway.metrics import Metrics
from gateway.policy.rule import Replay, WorkflowType
from gateway.state.memory import MemoryReservations
from gateway.state.store import Claim, Reservation, Taken
from tests.support import policies
from tests.support.clocks import START_S, SettableClock
from tests.support.tokens import verified

TOKEN = verified("github")
OTHER = verified("github", jti="another")
POLICY = policies.policy(policies.rule("prod", [policies.is_("ref", "x")], policies.start()))


class Watched(MemoryReservations):
    """Reservations that note what is asked of them, and may be slow or out of reach."""

    def __init__(self, clock: SettableClock) -> None:
        super().__init__(clock)
        self.asked: list[str] = []
        self.claims: list[Claim] = []
        self.unreachable = False
        self.may_reserve = asyncio.Event()
        self.may_reserve.set()

    async def reserve(self, claim: Claim, *, deadline: float) -> Reservation | Taken:
        self.asked.append("reserve")
        self.claims.append(claim)
        await self.may_reserve.wait()
        if self.unreachable:
            raise Unavailable(ErrorCode.REPLAY_STORE_UNAVAILABLE, "Redis is away.")
        return await super().reserve(claim, deadline=deadline)

    async def begin(self, reservation: Reservation, *, deadline: float) -> None:
        self.asked.append("begin")
        await super().begin(reservation, deadline=deadline)

    async def confirm(self, reservation: Reservation, *, answer: bytes | None) -> None:
        self.asked.append("confirm")
        await super().confirm(reservation, answer=answer)

    async def release(self, reservation: Reservation) -> None:
        self.asked.append("release")
        await super().release(reservation)


class Desk:
    """A guard at work. Each `use` is one call; `starts` counts what has really happened."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.store = Watched(self.clock)
        self.guard = ReplayGuard(self.store, self.clock, shared=True)
        self.starts = 0
        self.calls = 0

    def use(
        self,
        replay: Replay = "once",
        *,
        kind: WorkflowType = "standard",
        key: str | None = "991-1",
        version: str = "1",
        target: str = "deployer",
        token: VerifiedToken = TOKEN,
    ) -> Use:
        """A start; what is left out is the same each time."""
        plan = plan_start(
            workflow=policies.workflow(kind=kind),
            principal=token.principal,
            input={"version": version},
            idempotency_key=key,
            express_keys=True,
            unkeyed=token.replay_id if replay == "per-request" else None,
        )
        return self._use(replay, token, ("start", "deploy", target), plan)

    def obtain(self, replay: Replay, *, target: str = "deployer") -> Use:
        """Credentials."""
        return self._use(replay, TOKEN, ("obtain", target, "aws-credentials"), None)

    def _use(
        self, replay: Replay, token: VerifiedToken, wish: tuple[str, ...], plan: StartPlan | None
    ) -> Use:
        self.calls += 1
        call = Call(request_id=f"r{self.calls}", token=token.compact, now=START_S, deadline=1_025.0)
        return Use(
            story=story(call, token),
            call=call,
            token=token,
            replay=replay,
            wish=wish,
            deadline=1_025.0,
            plan=plan,
        )

    async def run(self, use: Use, *, fault: Exception | None = None) -> Execution:
        """Do all of one call; raises its refusal or the fault."""
        hold = await self.guard.take(use)
        return await hold.around(self.act(use, hold, fault))

    def act(self, use: Use, hold: Hold, fault: Exception | None = None) -> Callable[[], Awaitable[Execution]]:
        """The effect."""

        async def start() -> Execution:
            if hold.answer is not None:
                return hold.answer
            if fault is not None:
                raise fault
            self.starts += 1
            name = use.plan.name if use.plan is not None else "credentials"
            return Execution(
                workflow="deploy",
                name=name,
                arn=f"arn:…:{name}",
                status="RUNNING",
                started_at=START_S,
                output="[1]",
            )

        return start


def story(call: Call, token: VerifiedToken) -> Story:
    """Return the story of a start, as far as it goes before the effect."""
    return Story(
        request_id=call.request_id,
        act="start",
        at=call.now,
        policy=POLICY,
        presented=call.token,
        object="deploy",
        source=None,
        user_agent=None,
        notes=call.notes,
        token=token,
    )


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def refused(desk: Desk, use: Use) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await desk.run(use)
    return caught.value


@pytest.mark.requirement("TV-40")
@pytest.mark.parametrize("wanted", ["start", "obtain"])
async def test_without_replay_protection_nothing_is_reserved_and_the_store_may_be_away(
    desk: Desk, wanted: str
) -> None:
    desk.store.unreachable = True
    use = desk.use("off") if wanted == "start" else desk.obtain("off")

    await desk.run(use)
    await desk.run(use)

    assert desk.starts == 2
    assert desk.store.asked == []


@pytest.mark.requirement("TV-43")
async def test_what_is_used_up_is_reserved_before_it_begins_and_confirmed_after(desk: Desk) -> None:
    use = desk.use("once")
    hold = await desk.guard.take(use)
    before = list(desk.store.asked)

    await hold.around(desk.act(use, hold))

    assert before == ["reserve"]
    assert desk.store.asked == ["reserve", "begin", "confirm"]


@pytest.mark.requirement("TV-43", "F-16")
@pytest.mark.parametrize("replay", ["once", "per-request"])
async def test_of_a_hundred_calls_with_one_token_at_once_one_acts(desk: Desk, replay: Replay) -> None:
    uses = [desk.use(replay, key=f"k{number}") for number in range(100)]

    ends = await asyncio.gather(*(desk.run(use) for use in uses), return_exceptions=True)

    refusals = [end for end in ends if isinstance(end, GatewayError)]
    assert desk.starts == 1
    assert len(refusals) == 99
    assert {refusal.code for refusal in refusals} <= {ErrorCode.TOKEN_REPLAYED, ErrorCode.REQUEST_IN_PROGRESS}


@pytest.mark.requirement("TV-40")
async def test_a_token_used_once_is_used_up_for_everything(desk: Desk) -> None:
    await desk.run(desk.use("once"))

    same = await refused(desk, desk.use("once"))
    other = await refused(desk, desk.use("once", version="2"))
    credentials = await refused(desk, desk.obtain("once"))

    assert {same.code, other.code, credentials.code} == {ErrorCode.TOKEN_REPLAYED}
    assert isinstance(same, TokenRejected)
    assert same.message == "This token was used before."
    assert desk.starts == 1


@pytest.mark.requirement("TV-40")
async def test_another_token_of_the_same_identity_is_not_used_up(desk: Desk) -> None:
    await desk.run(desk.use("once"))

    await desk.run(desk.use("once", token=OTHER))

    assert desk.starts == 2


@pytest.mark.requirement("TV-43")
async def test_the_record_of_a_replay_names_the_call_that_came_first_and_the_caller_learns_neither(
    desk: Desk,
) -> None:
    await desk.run(desk.use("once"))
    desk.clock.advance(5)
    second = desk.use("once")

    refusal = await refused(desk, second)
    record = second.story.record("refused", refusal)

    assert (record.earlier, record.earlier_at) == ("r1", START_S)
    assert second.call.notes["earlier"] == "r1"
    assert "r1" not in f"{refusal.message} {refusal.hint}"


@pytest.mark.requirement("TV-44", "F-19")
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        pytest.param("standard", "991-1", id="standard"),
        pytest.param("express", "991-1", id="express"),
        pytest.param("express", None, id="express-without-key"),
        pytest.param("express-sync", None, id="synchronous"),
    ],
)
async def test_the_exact_repetition_is_answered_as_before_and_starts_nothing(
    desk: Desk, kind: WorkflowType, key: str | None
) -> None:
    first = await desk.run(desk.use("per-request", kind=kind, key=key))

    again = await desk.run(desk.use("per-request", kind=kind, key=key))
    kept = await MemoryReservations.reserve(desk.store, desk.store.claims[0], deadline=1_025.0)

    assert again == replace(first, existed=True, output=None)
    assert desk.starts == 1
    # What a workflow answers is nobody's to keep.
    assert isinstance(kept, Taken)
    assert kept.answer is not None
    assert first.output is not None
    assert first.output not in kept.answer.decode()


@pytest.mark.requirement("TV-40", "TV-44", "F-20")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"version": "2"}, id="input"),
        pytest.param({"key": "991-2"}, id="key"),
        pytest.param({"target": "other"}, id="target"),
        pytest.param({"replay": "once"}, id="stricter-rule"),
    ],
)
async def test_the_same_token_with_anything_else_is_refused(desk: Desk, other: dict[str, str]) -> None:
    await desk.run(desk.use("per-request"))

    refusal = await refused(desk, desk.use(**{"replay": "per-request", **other}))  # type: ignore[arg-type]

    assert refusal.code is ErrorCode.TOKEN_REPLAYED
    assert desk.starts == 1


@pytest.mark.requirement("TV-44")
async def test_credentials_are_never_stored_so_that_asking_again_is_a_replay(desk: Desk) -> None:
    await desk.run(desk.obtain("per-request"))

    refusal = await refused(desk, desk.obtain("per-request"))
    kept = await MemoryReservations.reserve(desk.store, desk.store.claims[0], deadline=1_025.0)

    assert refusal.code is ErrorCode.TOKEN_REPLAYED
    assert isinstance(kept, Taken)
    assert kept.answer == b'{"v": 1}'


@pytest.mark.requirement("TV-44")
@pytest.mark.parametrize(
    ("kind", "key", "kept"),
    [
        pytest.param("standard", "991-1", [False], id="standard"),
        pytest.param("express-sync", None, [False], id="synchronous"),
        pytest.param("express", "991-1", [False, True], id="express, whose key has the answer"),
    ],
)
async def test_an_answer_that_nobody_gets_again_is_not_kept(
    desk: Desk, kind: WorkflowType, key: str | None, kept: list[bool]
) -> None:
    await desk.run(desk.use("once", kind=kind, key=key))

    found = [
        await MemoryReservations.reserve(desk.store, claim, deadline=1_025.0) for claim in desk.store.claims
    ]

    answers = [one.answer for one in found if isinstance(one, Taken)]
    assert [answer != b'{"v": 1}' for answer in answers] == kept


@pytest.mark.requirement("TV-44")
async def test_a_token_used_while_its_rule_said_once_stays_used_when_the_rule_says_per_request(
    desk: Desk,
) -> None:
    await desk.run(desk.use("once"))

    refusal = await refused(desk, desk.use("per-request"))

    assert refusal.code is ErrorCode.TOKEN_REPLAYED
    assert desk.starts == 1


@pytest.mark.requirement("TV-43")
@pytest.mark.parametrize("replay", ["once", "per-request"])
@pytest.mark.parametrize("version", ["1", "2"])
async def test_whoever_comes_meanwhile_is_told_when_to_come_back(
    desk: Desk, replay: Replay, version: str
) -> None:
    await desk.guard.take(desk.use(replay))
    desk.clock.advance(4.5)

    refusal = await refused(desk, desk.use(replay, version=version))

    assert isinstance(refusal, RequestRejected)
    assert refusal.code is ErrorCode.REQUEST_IN_PROGRESS
    assert refusal.retry_after_s == 31  # 25 s to the deadline, 10 s beyond it, 4.5 s gone


@pytest.mark.requirement("TV-43", "F-18", "F-40")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(AccessDenied(ErrorCode.AWS_DENIED, "no"), id="denied"),
        pytest.param(UpstreamFailed(ErrorCode.AWS_THROTTLED, "slower"), id="throttled"),
        pytest.param(UpstreamFailed(ErrorCode.WORKFLOW_LIMIT, "full"), id="limit"),
        pytest.param(Unavailable(ErrorCode.DEADLINE_EXCEEDED, "late"), id="late"),
        pytest.param(RequestRejected(ErrorCode.IDEMPOTENCY_CONFLICT, "taken"), id="conflict"),
    ],
)
@pytest.mark.parametrize("kind", ["standard", "express"])
async def test_what_certainly_did_not_happen_uses_nothing_up(
    desk: Desk, fault: GatewayError, kind: WorkflowType
) -> None:
    with pytest.raises(type(fault)):
        await desk.run(desk.use("once", kind=kind), fault=fault)

    await desk.run(desk.use("once", kind=kind, version="2"))

    assert desk.starts == 1


@pytest.mark.requirement("TV-43")
async def test_credentials_that_were_not_handed_out_use_nothing_up(desk: Desk) -> None:
    fault = UpstreamFailed(ErrorCode.AWS_ANSWER_MISMATCH, "odd")
    with pytest.raises(UpstreamFailed):
        await desk.run(desk.obtain("once"), fault=fault)

    await desk.run(desk.obtain("once"))

    assert desk.starts == 1


@pytest.mark.requirement("SF-05", "F-46")
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(UpstreamFailed(ErrorCode.START_UNKNOWN, "lost"), id="lost"),
        pytest.param(UpstreamFailed(ErrorCode.AWS_ANSWER_MISMATCH, "odd"), id="odd"),
        pytest.param(KeyError("a bug"), id="bug"),
    ],
)
async def test_an_express_start_that_may_have_happened_is_never_made_again_and_its_name_is_told(
    desk: Desk, fault: Exception
) -> None:
    use = desk.use("per-request", kind="express")
    with pytest.raises(type(fault)):
        await desk.run(use, fault=fault)

    refusal = await refused(desk, desk.use("per-request", kind="express"))

    assert use.plan is not None
    assert refusal.code is ErrorCode.START_UNKNOWN
    assert use.plan.name in refusal.message
    assert desk.starts == 0


@pytest.mark.requirement("SF-05")
@pytest.mark.parametrize("replay", ["once", "per-request"])
async def test_a_standard_start_that_may_have_happened_can_be_tried_again_by_the_same_request_alone(
    desk: Desk, replay: Replay
) -> None:
    with pytest.raises(UpstreamFailed):
        await desk.run(desk.use(replay), fault=UpstreamFailed(ErrorCode.START_UNKNOWN, "lost"))
    desk.clock.advance(36)

    other = await refused(desk, desk.use(replay, version="2"))
    await desk.run(desk.use(replay))

    assert other.code is ErrorCode.TOKEN_REPLAYED
    assert desk.starts == 1


@pytest.mark.requirement("F-34")
async def test_a_reservation_that_never_began_frees_itself_when_its_lease_is_over(desk: Desk) -> None:
    await desk.guard.take(desk.use("once"))
    desk.clock.advance(36)

    await desk.run(desk.use("once", version="2"))

    assert desk.starts == 1


@pytest.mark.requirement("F-34", "TV-44")
async def test_after_a_crash_between_act_and_confirm_the_same_request_alone_goes_on(desk: Desk) -> None:
    await _crash_while_acting(desk, desk.use("per-request"))
    desk.clock.advance(36)

    other = await refused(desk, desk.use("per-request", version="2"))
    again = await desk.run(desk.use("per-request"))
    third = await desk.run(desk.use("per-request"))

    assert other.code is ErrorCode.TOKEN_REPLAYED
    assert third == replace(again, existed=True, output=None)


@pytest.mark.requirement("F-34", "SF-05")
async def test_after_a_crash_an_express_start_is_unknown_and_never_made_again(desk: Desk) -> None:
    use = desk.use("off", kind="express")
    await _crash_while_acting(desk, use)
    desk.clock.advance(36)

    refusal = await refused(desk, desk.use("off", kind="express"))

    assert use.plan is not None
    assert refusal.code is ErrorCode.START_UNKNOWN
    assert use.plan.name in refusal.message


async def _crash_while_acting(desk: Desk, use: Use) -> None:
    hold = await desk.guard.take(use)
    began = asyncio.Event()

    async def act() -> Execution:
        began.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(hold.around(act))
    await began.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.requirement("TV-42")
async def test_a_used_token_is_remembered_longer_than_it_can_be_used(desk: Desk) -> None:
    await desk.run(desk.use("once"))
    claim = desk.store.claims[0]

    assert TOKEN_MARGIN_S >= 60
    assert claim.until == TOKEN.expires_at + TOKEN.issuer.leeway_s + TOKEN_MARGIN_S
    assert claim.key == TOKEN.replay_id


@pytest.mark.requirement("TV-45")
async def test_a_store_out_of_reach_stops_what_is_protected(desk: Desk) -> None:
    desk.store.unreachable = True

    refusal = await refused(desk, desk.use("once"))

    assert refusal.code is ErrorCode.REPLAY_STORE_UNAVAILABLE
    assert desk.starts == 0


@pytest.mark.requirement("TV-43")
async def test_nothing_is_done_when_the_reservation_is_lost_before_it_begins(desk: Desk) -> None:
    use = desk.use("once")
    hold = await desk.guard.take(use)
    desk.clock.advance(36)

    with pytest.raises(Unavailable):
        await hold.around(desk.act(use, hold))

    assert desk.starts == 0
    assert desk.store.asked == ["reserve", "begin", "release"]


@pytest.mark.requirement("TV-43")
async def test_a_caller_who_leaves_while_the_token_is_reserved_leaves_it_unused(desk: Desk) -> None:
    desk.store.may_reserve.clear()
    caller = asyncio.create_task(desk.run(desk.use("once")))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)

    desk.store.may_reserve.set()
    await desk.guard.finish()
    await desk.run(desk.use("once", version="2"))

    assert desk.starts == 1


class _NoDisk:
    """A journal that cannot write."""

    async def intend(self, record: object, *, deadline: float | None = None) -> None:
        raise Unavailable(ErrorCode.AUDIT_UNAVAILABLE, "The disk is full.")

    async def conclude(self, record: object) -> None:
        raise AssertionError

    def refuse(self, record: object) -> None:
        pass


@pytest.mark.requirement("TV-43")
async def test_without_an_intent_nothing_is_used_up(desk: Desk) -> None:
    use = desk.use("once")
    hold = await desk.guard.take(use)
    recorder = Recorder(_NoDisk(), Metrics())

    with pytest.raises(Unavailable):
        await recorder.commit(
            use.story, lambda: hold.around(desk.act(use, hold)), deadline=1_025.0, undone=hold.release
        )

    assert desk.store.asked == ["reserve", "release"]


@pytest.mark.requirement("SF-04")
async def test_an_express_key_starts_once_whatever_token_it_comes_with(desk: Desk) -> None:
    first = await desk.run(desk.use("off", kind="express"))

    again = await desk.run(desk.use("off", kind="express", token=OTHER))

    assert again == replace(first, existed=True, output=None)
    assert desk.starts == 1
    assert desk.store.claims[0].until == START_S + KEY_LIFE_S
    assert KEY_LIFE_S >= 24 * 3600


@pytest.mark.requirement("SF-04", "F-20")
async def test_an_express_key_with_another_input_is_a_conflict_while_it_runs_and_after(desk: Desk) -> None:
    use = desk.use("off", kind="express")
    hold = await desk.guard.take(use)
    meanwhile = await refused(desk, desk.use("off", kind="express", version="2"))
    same = await refused(desk, desk.use("off", kind="express"))
    await hold.around(desk.act(use, hold))

    afterwards = await refused(desk, desk.use("off", kind="express", version="2"))

    assert meanwhile.code is ErrorCode.IDEMPOTENCY_CONFLICT
    assert same.code is ErrorCode.REQUEST_IN_PROGRESS
    assert afterwards.code is ErrorCode.IDEMPOTENCY_CONFLICT


@pytest.mark.requirement("SF-04", "F-20")
@pytest.mark.parametrize(
    "stranger",
    [
        pytest.param(verified("github", sub="repo:acme/other:ref:refs/heads/main"), id="subject"),
        pytest.param(
            replace(TOKEN, principal=replace(TOKEN.principal, issuer="https://other.example")), id="issuer"
        ),
    ],
)
async def test_an_express_key_of_another_identity_is_another_key(desk: Desk, stranger: VerifiedToken) -> None:
    await desk.run(desk.use("off", kind="express"))

    await desk.run(desk.use("off", kind="express", token=stranger))

    assert desk.starts == 2


@pytest.mark.requirement("SF-04")
async def test_an_express_key_of_another_workflow_is_another_key(desk: Desk) -> None:
    use = desk.use("off", kind="express")
    assert use.plan is not None
    elsewhere = replace(use.plan, workflow=replace(use.plan.workflow, name="another"))
    await desk.run(use)

    await desk.run(replace(desk.use("off", kind="express"), plan=elsewhere))

    assert desk.starts == 2


@pytest.mark.requirement("TV-40", "SF-04")
async def test_the_earlier_answer_to_an_express_key_uses_a_protected_token_up(desk: Desk) -> None:
    await desk.run(desk.use("once", kind="express"))
    await desk.run(desk.use("once", kind="express", token=OTHER))

    refusal = await refused(desk, desk.use("once", kind="express", key="991-2", token=OTHER))

    assert refusal.code is ErrorCode.TOKEN_REPLAYED
    assert desk.starts == 1


@pytest.mark.requirement("TV-43", "SF-04")
async def test_a_refused_express_key_leaves_the_token_unused(desk: Desk) -> None:
    await desk.run(desk.use("once", kind="express"))
    conflict = await refused(desk, desk.use("once", kind="express", version="2", token=OTHER))

    await desk.run(desk.use("once", kind="express", key="991-2", token=OTHER))

    assert conflict.code is ErrorCode.IDEMPOTENCY_CONFLICT
    assert desk.starts == 2
