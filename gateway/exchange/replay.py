"""Replay protection around an effect: reserve before it, begin when it may happen, then confirm or release.

What may be used once is a token, where a rule says so, and the idempotency key of an EXPRESS start, which AWS would
carry out again. Everything else passes through here without a wait.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeGuard, TypeVar

from gateway.audit.story import Story
from gateway.clock import Clock
from gateway.errors import ErrorCode, GatewayError
from gateway.exchange.call import Call
from gateway.exchange.earlier import NO_ANSWER, answer_of, of_key, of_token
from gateway.executions.execution import Execution, StartPlan
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import Replay
from gateway.state.store import Claim, Reservation, Reservations, Taken

_T = TypeVar("_T")

#: A used token is remembered this long after it has expired here: others' clocks may be behind ours (TV-42).
TOKEN_MARGIN_S: Final = 180
#: How long the idempotency key of an EXPRESS start is remembered (SF-04 asks for 24 hours).
KEY_LIFE_S: Final = 25 * 3600
#: Between the deadline of a call and the moment at which its reservation counts as abandoned.
_LEASE_MARGIN_S: Final = 10.0
# After these a start may have happened; every other failure of ours says that it did not.
_PERHAPS_STARTED: Final = frozenset(
    {ErrorCode.START_UNKNOWN, ErrorCode.AWS_ANSWER_MISMATCH, ErrorCode.INTERNAL_ERROR}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a call is about to use a token for.

    wish:     canonical: what is asked for and as which target.
    plan:     of a start; None for credentials.
    deadline: monotonic seconds by which the effect has ended; later than the call's own where it is waited for.
    """

    story: Story
    call: Call
    token: VerifiedToken
    replay: Replay
    wish: tuple[str, ...]
    deadline: float
    plan: StartPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """What a call holds while it acts; nothing, where nothing is protected.

    answer:   what the same request was answered before; then there is nothing left to do.
    starts:   a failure may leave something running. Credentials that were not handed out are nobody's.
    deadline: monotonic seconds, of the call.
    """

    store: Reservations
    held: tuple[Reservation, ...] = ()
    answer: Execution | None = None
    starts: bool = False
    deadline: float = 0.0

    async def around(self, act: Callable[[], Awaitable[_T]]) -> _T:
        """Act, and settle what was reserved by how it ended. Cancelled, it stays as it began."""
        if not self.held:
            return await act()
        await self._begin()
        try:
            result = await act()
        except Exception as fault:
            await self._failed(fault)
            raise
        for reservation in self.held:
            kept = NO_ANSWER
            if reservation.claim.answerable and isinstance(result, Execution):
                kept = answer_of(result)
            await self.store.confirm(reservation, answer=kept)
        return result

    async def release(self) -> None:
        """Give everything back, because nothing was done."""
        for reservation in self.held:
            await self.store.release(reservation)

    async def _begin(self) -> None:
        try:
            for reservation in self.held:
                await self.store.begin(reservation, deadline=self.deadline)
        except Exception:
            await self.release()
            raise

    async def _failed(self, fault: Exception) -> None:
        perhaps = self.starts and _perhaps_started(fault)
        for reservation in self.held:
            if not perhaps:
                await self.store.release(reservation)
            elif not reservation.claim.repeatable:
                await self.store.confirm(reservation, answer=None)
            # Else it stays as it began: when its lease is over, the same request may try again, and no other.


class ReplayGuard:
    """Reserves what a call is about to use up.

    shared:  the store is one that outlives this process, so that it may vouch for EXPRESS starts.
    nothing: what is held where nothing is protected.
    """

    def __init__(self, store: Reservations, clock: Clock, *, shared: bool) -> None:
        self._store = store
        self._clock = clock
        self.shared = shared
        self.nothing = Hold(store=store)
        self._tasks: set[asyncio.Task[object]] = set()

    async def take(self, use: Use) -> Hold:
        """Reserve everything, or nothing; raises what the caller must be told.

        A caller who leaves meanwhile leaves nothing reserved.
        """
        if use.replay == "off" and not _has_express_key(use.plan):
            return self.nothing
        task = self._keep(asyncio.create_task(self._take(use)))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._keep(asyncio.create_task(_give_back(task)))
            raise

    async def finish(self) -> None:
        """Wait until nothing is being reserved or given back."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, use: Use) -> Hold:
        plan = use.plan
        hold = Hold(store=self._store, starts=plan is not None, deadline=use.call.deadline)
        try:
            if use.replay != "off":
                found = await self._reserve(hold, self._of_token(use), use)
                hold = (
                    found
                    if isinstance(found, Hold)
                    else replace(hold, answer=of_token(found, use.replay, plan))
                )
            if hold.answer is None and _has_express_key(plan):
                found = await self._reserve(hold, self._of_key(use, plan), use)
                hold = found if isinstance(found, Hold) else replace(hold, answer=of_key(found, plan))
        except BaseException:
            await hold.release()
            raise
        return hold

    async def _reserve(self, hold: Hold, claim: Claim, use: Use) -> Hold | Taken:
        found = await self._store.reserve(claim, deadline=use.call.deadline)
        if isinstance(found, Reservation):
            return replace(hold, held=(*hold.held, found))
        story = use.story
        story.earlier, story.earlier_at = found.request_id, found.since
        story.notes["earlier"] = found.request_id
        return found

    def _of_token(self, use: Use) -> Claim:
        token, plan = use.token, use.plan
        return Claim(
            # Over issuer and signing input: a second valid signature, which anybody can make (ES256), is no second token.
            key=token.replay_id,
            binding=_binding(use),
            request_id=use.call.request_id,
            lease_s=self._lease_s(use),
            until=token.expires_at + token.issuer.leeway_s + TOKEN_MARGIN_S,
            repeatable=plan is not None and plan.workflow.type == "standard",
            answerable=plan is not None and use.replay == "per-request",
        )

    def _of_key(self, use: Use, plan: StartPlan) -> Claim:
        principal = use.token.principal
        named = f"{principal.issuer}\0{principal.subject}\0{plan.workflow.name}\0{plan.key}"
        return Claim(
            key=hashlib.sha256(named.encode()).hexdigest(),
            binding=_binding(use),
            request_id=use.call.request_id,
            lease_s=self._lease_s(use),
            until=self._clock.wall() + KEY_LIFE_S,
            repeatable=False,
            answerable=True,
        )

    def _lease_s(self, use: Use) -> float:
        return max(0.0, use.deadline - self._clock.monotonic()) + _LEASE_MARGIN_S

    def _keep(self, task: "asyncio.Task[_T]") -> "asyncio.Task[_T]":
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        # Fetched here, so that a refusal whose caller has left is not reported as unhandled.
        if not task.cancelled():
            task.exception()


async def _give_back(task: "asyncio.Task[Hold]") -> None:
    with contextlib.suppress(GatewayError):
        await (await task).release()


def _has_express_key(plan: StartPlan | None) -> TypeGuard[StartPlan]:
    return plan is not None and plan.workflow.type != "standard" and plan.key is not None


def _perhaps_started(fault: Exception) -> bool:
    return not isinstance(fault, GatewayError) or fault.code in _PERHAPS_STARTED


def _binding(use: Use) -> str:
    """Return the digest of everything that the caller asked for."""
    plan = use.plan
    whole = [*use.wish, *([] if plan is None else [plan.key, hashlib.sha256(plan.input).hexdigest()])]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()
