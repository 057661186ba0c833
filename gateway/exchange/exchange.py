"""The order of events for one call: identify, decide, record, obtain, act, record. Nothing else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace

from gateway.audit.record import Act, Journal
from gateway.audit.recorder import Recorder
from gateway.audit.story import Story
from gateway.clock import Clock
from gateway.credentials.session import AwsCredentials, CredentialSource, RoleSession, VaultToken, session_for
from gateway.errors import ErrorCode, UpstreamFailed
from gateway.exchange.admission import Admission, Admitted
from gateway.exchange.call import (
    Call,
    ExecutionRequest,
    Identity,
    Obtained,
    ObtainedVaultToken,
    Shown,
    StartRequest,
)
from gateway.exchange.limits import CallLimits, while_waiting
from gateway.exchange.refusals import Refusals
from gateway.exchange.replay import Hold, ReplayGuard, Use
from gateway.exchange.switching import SwitchGate
from gateway.executions.execution import CredentialsExpired, Event, Execution, Executions, plan_start
from gateway.executions.follow import Ended, Follower
from gateway.identity.token import Identify, VerifiedToken
from gateway.metrics import Metrics
from gateway.policy.decide import Allowed, holdings_of
from gateway.policy.rule import Issued, Obtain, Start, VaultRole, Workflow
from gateway.policy.snapshot import PolicySource


class Exchange:
    """Takes calls from every door. One policy snapshot holds for the whole of a call."""

    def __init__(
        self,
        *,
        identify: Identify,
        policies: PolicySource,
        credentials: CredentialSource,
        executions: Executions,
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        replay: ReplayGuard,
        gate: SwitchGate,
        limits: CallLimits | None = None,
    ) -> None:
        self._limits = limits or CallLimits(metrics=metrics)
        self._admission = Admission(identify, self._limits, gate)
        self._gate = gate
        self._replay = replay
        self._policies = policies
        self._credentials = credentials
        self._executions = executions
        self._clock = clock
        self._follower = Follower(executions, clock)
        self._refusals = Refusals(journal, clock)
        self._recorder = Recorder(journal, metrics, refuse=self._refusals.take)

    async def start(self, call: Call, request: StartRequest) -> Shown:
        """Start a workflow, or find what the same idempotency key started before."""
        story = self._story(call, "start", request.workflow)
        with self._recorder.refusals(story):
            wish = Start(workflow=request.workflow, target=request.target)
            admitted = await self._admission.to_workflow(story, call, wish)
            plan = plan_start(
                workflow=admitted.workflow,
                principal=admitted.token.principal,
                input=request.input,
                idempotency_key=request.idempotency_key,
                express_keys=self._replay.shared,
                unkeyed=admitted.token.replay_id if admitted.replay == "per-request" else None,
            )
            story.planned = plan.name
            deadline = self._start_deadline(call, admitted.workflow)
            hold = await self._replay.take(
                Use(
                    story=story,
                    call=call,
                    token=admitted.token,
                    replay=admitted.replay,
                    wish=("start", admitted.workflow.name, admitted.target.name),
                    plan=plan,
                    deadline=deadline,
                )
            )
        return await self._act_on_execution(
            story, call, admitted, lambda held: self._executions.start(plan, held, deadline=deadline), hold
        )

    async def view(self, call: Call, request: ExecutionRequest, *, wait_s: float) -> Shown:
        """Return an execution: when it is done or after `wait_s` seconds, whichever comes first."""
        with ExitStack() as waiting:
            shown, held = await self._look(call, request, "view", waiting if wait_s else None)
            execution = await self._follower.until_done(shown.workflow, shown.execution, held, wait_s=wait_s)
            return replace(shown, execution=execution)

    async def events(
        self, call: Call, request: ExecutionRequest, *, after: int
    ) -> AsyncIterator[Event | Ended]:
        """Return the events with ids above `after` as they happen. Every refusal is raised before the first."""
        with ExitStack() as waiting:
            shown, held = await self._look(call, request, "events", waiting)
            events = self._follower.events(shown.workflow, shown.execution, held, after=after)
            return while_waiting(waiting.pop_all(), events)

    async def stop(self, call: Call, request: ExecutionRequest, *, reason: str) -> Shown:
        """Stop an execution; one that has ended is returned as it is."""
        story = self._story(call, "stop", request.workflow)
        with self._recorder.refusals(story):
            admitted = await self._admission.to_execution(story, call, request)
        return await self._act_on_execution(
            story,
            call,
            admitted,
            lambda held: self._executions.stop(
                admitted.workflow, request.name, held, reason=reason, deadline=call.deadline
            ),
        )

    async def obtain(self, call: Call, target: str, *, duration_s: int | None = None) -> Obtained:
        """Hand out AWS credentials of a target, named by its name or by its role's ARN.

        duration_s: a shorter session than the target's own; see `session_for` for its limits.
        """
        story = self._story(call, "obtain", target)
        with self._recorder.refusals(story):
            allowed, token = await self._admission.decide(
                story, call, Obtain(target=target, form="aws-credentials")
            )
            session = session_for(token, allowed.target, workflow=None, duration_s=duration_s)
            story.session = session.name
            hold = await self._hold_token(story, call, allowed, "aws-credentials")
        region = story.policy.aws.region

        async def hand_out() -> AwsCredentials:
            story.issued = issued = await self._credentials.aws(
                token, allowed.target, session, region=region, deadline=call.deadline
            )
            return issued

        return Obtained(
            target=allowed.target,
            credentials=await self._recorder.commit(
                story, lambda: hold.around(hand_out), deadline=call.deadline, undone=hold.release
            ),
        )

    async def obtain_vault_token(self, call: Call, target: str) -> ObtainedVaultToken:
        """Hand out a token of a Vault role, response-wrapped where the target says so."""
        story = self._story(call, "obtain", target)
        with self._recorder.refusals(story):
            allowed, token = await self._admission.decide(
                story, call, Obtain(target=target, form="vault-token")
            )
            hold = await self._hold_token(story, call, allowed, "vault-token")
        match allowed.target:
            case VaultRole() as role:
                pass
            case _:
                raise TypeError("A grant of a Vault token is for another kind of target.")

        async def hand_out() -> VaultToken:
            story.issued = issued = await self._credentials.vault_token(token, role, deadline=call.deadline)
            return issued

        issued = await self._recorder.commit(
            story,
            lambda: hold.around(hand_out),
            deadline=call.deadline,
            undone=hold.release,
            unclaimed=lambda made: self._credentials.give_back(made, role),
        )
        return ObtainedVaultToken(target=role, token=issued)

    async def whoami(self, call: Call) -> Identity:
        """Return who the token speaks for; every token that verifies gets an answer, even when it holds nothing."""
        story = self._story(call, "whoami", None)
        with self._recorder.refusals(story):
            return self._identity(story, call, await self._admission.recognise(story, call))

    def whoami_at_once(self, call: Call) -> Identity | None:
        """Return what `whoami` would, None where the token's key has to be asked for first."""
        story = self._story(call, "whoami", None)
        with self._recorder.refusals(story):
            token = self._admission.recognise_at_once(story, call)
            return None if token is None else self._identity(story, call, token)

    def _identity(self, story: Story, call: Call, token: VerifiedToken) -> Identity:
        off = self._gate.rules_off()
        held = holdings_of(token.claims, story.policy, now=call.now, off=off)
        self._recorder.count(story, None)
        return Identity(token=token, holdings=self._gate.what_is_on(held), policy=story.policy.digest)

    def drain(self) -> None:
        """End long polls and event streams early; nothing new is expected after this."""
        self._follower.drain()

    async def finish(self) -> None:
        """Wait until every effect that has begun is concluded and recorded."""
        await self._replay.finish()
        await self._recorder.finish()
        self._refusals.finish()

    def _story(self, call: Call, act: Act, name: str | None) -> Story:
        return Story(
            request_id=call.request_id,
            act=act,
            at=call.now,
            policy=self._policies.current(),
            presented=call.token,
            object=name,
            source=call.source,
            user_agent=call.user_agent,
            notes=call.notes,
            trace=call.trace_id,
        )

    async def _hold_token(self, story: Story, call: Call, allowed: Allowed, form: Issued) -> Hold:
        """Reserve the token for credentials that leave."""
        if story.token is None:
            raise TypeError("Credentials are decided on without a token.")
        return await self._replay.take(
            Use(
                story=story,
                call=call,
                token=story.token,
                replay=allowed.replay,
                wish=("obtain", allowed.target.name, form),
                deadline=call.deadline,
            )
        )

    def _start_deadline(self, call: Call, workflow: Workflow) -> float:
        """Return the call's deadline; a synchronous workflow is waited for as long as it may run."""
        if workflow.type != "express-sync":
            return call.deadline
        return max(call.deadline, self._clock.monotonic() + (workflow.timeout_s or 0))

    # The effect: recorded before and after, and never given up half-way.

    async def _look(
        self, call: Call, request: ExecutionRequest, act: Act, waiting: ExitStack | None
    ) -> tuple[Shown, AwsCredentials]:
        """Describe an execution. waiting: takes the place of a caller who will wait, and gives it back."""
        story = self._story(call, act, request.workflow)
        with self._recorder.refusals(story):
            admitted = await self._admission.to_execution(story, call, request)
            if waiting is not None:
                waiting.callback(self._limits.wait(call, admitted.token.principal).leave)
        shown = await self._act_on_execution(
            story,
            call,
            admitted,
            lambda held: self._executions.describe(
                admitted.workflow, request.name, held, deadline=call.deadline
            ),
        )
        if not isinstance(story.issued, AwsCredentials):
            raise TypeError("An execution was described without credentials.")
        return shown, story.issued

    async def _act_on_execution(
        self,
        story: Story,
        call: Call,
        admitted: Admitted,
        use: Callable[[AwsCredentials], Awaitable[Execution]],
        hold: Hold | None = None,
    ) -> Shown:
        holding = hold or self._replay.nothing
        with self._recorder.refusals(story):
            session = session_for(admitted.token, admitted.target, workflow=admitted.workflow)
            story.session = session.name

        async def act() -> Execution:
            story.execution = holding.answer or await self._under(story, call, admitted, session, use)
            return story.execution

        execution = await self._recorder.commit(
            story, lambda: holding.around(act), deadline=call.deadline, undone=holding.release
        )
        return Shown(
            execution=execution,
            workflow=admitted.workflow,
            target=admitted.target,
            replayed=holding.answer is not None,
        )

    async def _under(
        self,
        story: Story,
        call: Call,
        admitted: Admitted,
        session: RoleSession,
        use: Callable[[AwsCredentials], Awaitable[Execution]],
    ) -> Execution:
        """Use credentials scoped to one workflow; renew them once when AWS calls them expired."""
        region = admitted.workflow.state_machine.region
        held: AwsCredentials | None = None
        for _ in range(2):
            story.issued = held = await self._credentials.aws(
                admitted.token,
                admitted.target,
                session,
                region=region,
                deadline=call.deadline,
                instead_of=held,
            )
            try:
                return await use(held)
            except CredentialsExpired:
                continue
        raise UpstreamFailed(
            ErrorCode.AWS_ERROR, "AWS calls fresh credentials expired.", hint="Check the gateway's clock."
        )
