"""Everything before an effect: who calls, and may it? A caller who leaves here leaves nothing behind."""

from dataclasses import dataclass

from gateway.audit.story import Story
from gateway.errors import ErrorCode, RequestRejected
from gateway.exchange.call import Call, ExecutionRequest
from gateway.exchange.limits import CallLimits
from gateway.exchange.switching import SwitchGate
from gateway.executions.execution import owns
from gateway.identity.token import Identify, VerifiedToken
from gateway.policy.decide import Allowed, Denied, decide
from gateway.policy.refuse import refusal
from gateway.policy.rule import Replay, Start, Stop, Target, View, Wish, Workflow
from gateway.tracing import span


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A call that may have its effect."""

    token: VerifiedToken
    target: Target
    workflow: Workflow
    replay: Replay


class Admission:
    """Judges calls by the policy snapshot of their story, and tells the story what it finds."""

    def __init__(self, identify: Identify, limits: CallLimits, gate: SwitchGate) -> None:
        self._identify = identify
        self._limits = limits
        self._gate = gate

    async def recognise(self, story: Story, call: Call) -> VerifiedToken:
        """Return the verified token; raises TokenRejected, RateLimited, AccessDenied or Unavailable."""
        token = self.recognise_at_once(story, call)
        if token is not None:
            return token
        with span("identify") as told:
            token = await self._identify(
                call.token, story.policy.issuers, now=call.now, deadline=call.deadline
            )
            told.say(issuer=token.issuer.name)
        return self._believe(token, story, call)

    def recognise_at_once(self, story: Story, call: Call) -> VerifiedToken | None:
        """Return the verified token, None where its key has to be asked for; raises as `recognise` does."""
        with span("identify") as told:
            token = self._identify.at_once(call.token, story.policy.issuers, now=call.now)
            if token is None:
                return None
            told.say(issuer=token.issuer.name)
        return self._believe(token, story, call)

    def _believe(self, token: VerifiedToken, story: Story, call: Call) -> VerifiedToken:
        story.token = token
        self._gate.subject(token)
        self._limits.admit_subject(call, token.principal)
        return token

    async def decide(self, story: Story, call: Call, wish: Wish) -> tuple[Allowed, VerifiedToken]:
        """Return what the token may become for this wish; raises also what `refusal` makes of a denial."""
        token = story.token or await self.recognise(story, call)
        with span("decide") as told:
            decision = decide(token.claims, wish, story.policy, now=call.now, off=self._gate.rules_off())
            story.decision = decision
            if isinstance(decision, Denied):
                raise refusal(wish, decision)
            told.say(target=decision.target.name)
            if decision.workflow is not None:
                told.say(workflow=decision.workflow.name)
        if isinstance(wish, Start) and decision.workflow is not None:
            self._gate.start(decision.workflow)
        self._limits.admit_rules(call, decision.rules)
        return decision, token

    async def to_workflow(self, story: Story, call: Call, wish: Wish) -> Admitted:
        """Admit a call that is about a workflow."""
        allowed, token = await self.decide(story, call, wish)
        if allowed.workflow is None:
            raise TypeError("A grant about a workflow carries none.")
        return Admitted(token=token, target=allowed.target, workflow=allowed.workflow, replay=allowed.replay)

    async def to_execution(self, story: Story, call: Call, request: ExecutionRequest) -> Admitted:
        """Admit a call that looks at an execution or stops it; one's own needs no more than a `start` grant."""
        story.planned = request.name
        token = await self.recognise(story, call)
        own = owns(token.principal, request.name)
        wish: View | Stop
        if story.act == "stop":
            wish = Stop(workflow=request.workflow, own=own, target=request.target)
        else:
            wish = View(workflow=request.workflow, own=own, target=request.target)
        admitted = await self.to_workflow(story, call, wish)
        if admitted.workflow.type != "standard":
            raise RequestRejected(
                ErrorCode.EXECUTION_UNSUPPORTED,
                f"{admitted.workflow.name} is an EXPRESS workflow, whose executions AWS neither describes nor stops.",
                hint="Use a STANDARD workflow where executions must be followed.",
            )
        return admitted
