"""What a used token takes of Redis's memory: as much as the README says, whoever plans for a million of them."""

import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.story import Story
from gateway.clock import SystemClock
from gateway.exchange.call import Call
from gateway.exchange.replay import ReplayGuard, Use
from gateway.executions.execution import Execution, StartPlan, plan_start
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import Replay
from gateway.secret import Secret
from gateway.state.redis_client import SharedRedis
from tests.support import policies
from tests.support.components import skip_without
from tests.support.redis_server import running_redis
from tests.support.shared_state import SharedState, shared_state
from tests.support.tokens import verified

pytestmark = skip_without("redis")

README = Path(__file__).parents[2] / "README.md"
TOKENS = 2_000
POLICY = policies.policy(policies.rule("prod", [policies.is_("ref", "x")], policies.start()))


@pytest.fixture
async def state() -> AsyncIterator[SharedState]:
    with running_redis() as server:
        async with shared_state(server.url, prefix="oidc-gateway:", period_s=3_600) as state:
            yield state


@pytest.mark.requirement("TV-44")
@pytest.mark.parametrize("replay", ["once", "per-request"])
async def test_a_used_token_takes_the_memory_that_the_readme_says(state: SharedState, replay: Replay) -> None:
    documented = documented_bytes()[replay]
    guard = ReplayGuard(state.reservations, SystemClock(), shared=True)
    token = verified("github", now=time.time())
    await use_up(guard, token, replay, number=0)  # what the connection takes is no part of it
    before = await used_memory(state.redis)

    for number in range(1, TOKENS + 1):
        await use_up(guard, token, replay, number=number)

    each = (await used_memory(state.redis) - before) / TOKENS
    assert abs(each - documented) <= 0.15 * documented, f"{each:.0f} bytes"


def documented_bytes() -> dict[Replay, float]:
    """Return what the README says of each mode."""
    said = re.search(
        r"a used token takes ([0-9.]+) kB of Redis memory under `once`, ([0-9.]+) kB under `per-request`",
        README.read_text("utf-8"),
    )
    assert said is not None
    return {"once": float(said[1]) * 1e3, "per-request": float(said[2]) * 1e3}


async def use_up(guard: ReplayGuard, like: VerifiedToken, replay: Replay, *, number: int) -> None:
    """Start something with a token of its own, as the exchange does."""
    token = replace(like, compact=Secret(f"header.payload-{number}.signature"))
    plan = plan_start(
        workflow=policies.workflow(),
        principal=token.principal,
        input={"version": number},
        idempotency_key=f"run-{number}",
    )
    hold = await guard.take(use_of(token, replay, plan))

    async def start() -> Execution:
        return Execution(
            workflow=plan.workflow.name,
            name=plan.name,
            arn=f"arn:aws:states:eu-west-1:111122223333:execution:deploy:{plan.name}",
            status="RUNNING",
            started_at=time.time(),
        )

    await hold.around(start)


def use_of(token: VerifiedToken, replay: Replay, plan: StartPlan) -> Use:
    request_id, now = "01J0000000000000000000TEST", time.time()
    call = Call(request_id=request_id, token=token.compact, now=now, deadline=time.monotonic() + 25)
    story = Story(
        request_id=request_id,
        act="start",
        at=now,
        policy=POLICY,
        presented=token.compact,
        object="deploy",
        source=None,
        user_agent=None,
        notes=call.notes,
        token=token,
    )
    return Use(
        story=story,
        call=call,
        token=token,
        replay=replay,
        wish=("start", "deploy", "deployer"),
        deadline=call.deadline,
        plan=plan,
    )


async def used_memory(redis: SharedRedis) -> int:
    info = await redis.run("probe", lambda client: client.info("memory"))
    return int(info["used_memory"])
