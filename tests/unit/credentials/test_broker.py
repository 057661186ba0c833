"""Credentials that are shared: one flight, bounded memory, renewed in time, and never for another key."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gateway.credentials.broker import CredentialBroker
from gateway.credentials.cache import CredentialCache
from gateway.credentials.session import AwsCredentials, RoleSession, VaultToken, session_for
from gateway.errors import AccessDenied, ErrorCode, GatewayError, Unavailable
from gateway.identity.token import VerifiedToken
from gateway.metrics import Metrics
from gateway.policy.rule import AwsRole, VaultRole
from tests.support.aws import held, within
from tests.support.clocks import SettableClock
from tests.support.policies import role, workflow
from tests.support.tokens import verified

TOKEN = verified()
OWN = session_for(TOKEN, role(), workflow=workflow())
HANDED_OUT = session_for(TOKEN, role(), workflow=None)


class Sts:
    """Counts, and answers when it is let: a stand-in for the edge, whose own tests are beside."""

    def __init__(self, clock: SettableClock) -> None:
        self.clock = clock
        self.calls = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.failure: Exception | None = None

    async def assume(
        self, token: VerifiedToken, role: AwsRole, session: RoleSession, *, region: str, deadline: float
    ) -> AwsCredentials:
        del token, role, region, deadline
        self.calls += 1
        number = self.calls
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return held(f"ASIATESTTESTTEST{number:04}", expires_at=self.clock.wall() + session.duration_s)


class NoVault:
    """For tokens that must not go there."""

    async def aws(
        self, token: VerifiedToken, role: VaultRole, session: RoleSession, *, deadline: float
    ) -> AwsCredentials:
        raise AssertionError("Vault was asked.")

    async def login(self, token: VerifiedToken, role: VaultRole, *, deadline: float) -> VaultToken:
        raise AssertionError("Vault was asked.")

    def give_back(self, unclaimed: VaultToken, role: VaultRole) -> None:
        raise AssertionError("Vault was asked.")


class House:
    """A broker over its parts."""

    def __init__(self, *, entries: int = 100, flights: int = 100) -> None:
        self.clock = SettableClock()
        self.metrics = Metrics()
        self.sts = Sts(self.clock)
        self.cache = CredentialCache(clock=self.clock, metrics=self.metrics, entries=entries, flights=flights)
        self.broker = CredentialBroker(sts=self.sts, vault=NoVault(), cache=self.cache)

    async def ask(
        self,
        session: RoleSession = OWN,
        *,
        token: VerifiedToken = TOKEN,
        target: AwsRole | None = None,
        region: str = "eu-west-1",
        seconds: float = 5.0,
        instead_of: AwsCredentials | None = None,
    ) -> AwsCredentials:
        return await self.broker.aws(
            token, target or role(), session, region=region, deadline=within(seconds), instead_of=instead_of
        )

    def counted(self, result: str) -> float:
        labels = {"result": result}
        return self.metrics.registry.get_sample_value("oidc_gateway_credentials_total", labels) or 0.0


@pytest.fixture
async def house() -> AsyncIterator[House]:
    one = House()
    async with one.cache:
        yield one


async def test_two_hundred_who_want_the_same_at_once_cost_one_call(house: House) -> None:
    house.sts.may_answer.clear()
    asking = [asyncio.ensure_future(house.ask()) for _ in range(200)]
    await asyncio.sleep(0)
    house.sts.may_answer.set()

    got = await asyncio.gather(*asking)

    assert house.sts.calls == 1
    assert {one.access_key_id for one in got} == {"ASIATESTTESTTEST0001"}
    assert (house.counted("fetched"), house.counted("shared")) == (1, 199)


async def test_credentials_are_kept_until_a_minute_before_they_expire(house: House) -> None:
    await house.ask()
    house.clock.advance(839)
    await house.ask()
    kept = house.sts.calls
    house.clock.advance(1)
    await house.ask()

    assert (kept, house.sts.calls) == (1, 2)
    assert house.counted("cached") == 1


async def test_a_jump_of_the_wall_clock_does_not_keep_credentials_longer(house: House) -> None:
    await house.ask()
    house.clock.wall_s -= 86_400
    house.clock.monotonic_s += 841
    await house.ask()

    assert house.sts.calls == 2


@pytest.mark.requirement("ST-07")
async def test_credentials_that_leave_the_gateway_are_never_handed_out_half_used(house: House) -> None:
    await house.ask(HANDED_OUT)
    house.clock.advance(29)
    await house.ask(HANDED_OUT)
    burst = house.sts.calls
    house.clock.advance(1)
    await house.ask(HANDED_OUT)

    assert (burst, house.sts.calls) == (1, 2)


@pytest.mark.requirement("ST-07", "ST-13")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"token": replace(TOKEN, digest="0" * 64)}, id="token"),
        pytest.param({"target": replace(role(), arn=replace(role().arn, account="999988887777"))}, id="role"),
        pytest.param({"session": replace(OWN, name="another.name")}, id="session name"),
        pytest.param({"session": HANDED_OUT}, id="session policy"),
        pytest.param({"region": "us-east-1"}, id="Region"),
    ],
)
async def test_nothing_is_shared_between_two_tokens_roles_sessions_or_regions(
    house: House, other: dict[str, object]
) -> None:
    first = await house.ask()

    second = await house.ask(**other)  # type: ignore[arg-type]

    assert first != second
    assert house.sts.calls == 2


@pytest.mark.requirement("ST-13")
async def test_two_who_ask_at_once_for_different_things_are_two_calls_with_an_answer_each(
    house: House,
) -> None:
    house.sts.may_answer.clear()
    asking = [
        asyncio.create_task(house.ask(token=replace(TOKEN, digest=digit * 64))) for digit in ("0", "1", "0")
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    house.sts.may_answer.set()
    first, second, third = await asyncio.gather(*asking)

    assert house.sts.calls == 2
    assert first == third != second


async def test_one_renewal_serves_all_who_hold_the_same_expired_credentials(house: House) -> None:
    expired = await house.ask()

    renewed = await asyncio.gather(*[house.ask(instead_of=expired) for _ in range(50)])
    late = await house.ask(instead_of=expired)

    assert house.sts.calls == 2
    assert {one.access_key_id for one in (*renewed, late)} == {"ASIATESTTESTTEST0002"}


@pytest.mark.requirement("HT-15")
async def test_a_caller_who_leaves_does_not_end_the_flight_of_the_others(house: House) -> None:
    house.sts.may_answer.clear()
    leaving = asyncio.ensure_future(house.ask())
    await asyncio.sleep(0)
    staying = asyncio.ensure_future(house.ask())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    house.sts.may_answer.set()

    assert (await staying).access_key_id == "ASIATESTTESTTEST0001"
    assert house.sts.calls == 1


async def test_every_waiter_keeps_a_deadline_of_their_own(house: House) -> None:
    house.sts.may_answer.clear()
    patient = asyncio.ensure_future(house.ask())
    with pytest.raises(Unavailable) as caught:
        await house.ask(seconds=0.05)
    house.sts.may_answer.set()

    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert (await patient).access_key_id == "ASIATESTTESTTEST0001"


async def test_a_failure_is_told_to_all_who_wait_and_then_forgotten(house: House) -> None:
    house.sts.may_answer.clear()
    house.sts.failure = AccessDenied(ErrorCode.AWS_DENIED, "no")
    asking = [asyncio.ensure_future(house.ask()) for _ in range(3)]
    await asyncio.sleep(0)
    house.sts.may_answer.set()
    told = await asyncio.gather(*asking, return_exceptions=True)
    house.sts.failure = None

    again = await house.ask()

    assert [getattr(one, "code", None) for one in told] == [ErrorCode.AWS_DENIED] * 3
    assert (again.access_key_id, house.sts.calls) == ("ASIATESTTESTTEST0002", 2)


async def test_a_bug_reaches_those_who_wait_as_it_is(house: House) -> None:
    house.sts.failure = KeyError("bug")

    with pytest.raises(KeyError):
        await house.ask()


@pytest.mark.requirement("ST-10")
async def test_one_call_too_many_is_refused_at_once_while_what_is_kept_is_still_served() -> None:
    house = House(flights=2)
    async with house.cache:
        kept = await house.ask()
        house.sts.may_answer.clear()
        hanging = [
            asyncio.ensure_future(house.ask(token=replace(TOKEN, digest=str(number) * 64)))
            for number in (1, 2)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable) as caught:
            await house.ask(token=replace(TOKEN, digest="3" * 64))
        served = await house.ask()
        house.sts.may_answer.set()
        await asyncio.gather(*hanging)
        recovered = await house.ask(token=replace(TOKEN, digest="3" * 64))

    assert (caught.value.code, caught.value.retry_after_s) == (ErrorCode.OVERLOADED, 1)
    assert served is kept
    assert recovered.access_key_id == "ASIATESTTESTTEST0004"


async def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    house = House(entries=2)
    tokens = [replace(TOKEN, digest=str(number) * 64) for number in range(3)]
    async with house.cache:
        for token in (tokens[0], tokens[1], tokens[0], tokens[2]):
            await house.ask(token=token)
        before = house.sts.calls
        await house.ask(token=tokens[0])
        kept = house.sts.calls
        await house.ask(token=tokens[1])

    assert (before, kept, house.sts.calls) == (3, 3, 4)


async def test_closing_ends_running_flights_and_tells_those_who_wait() -> None:
    house = House()
    async with house.cache:
        house.sts.may_answer.clear()
        waiting = asyncio.ensure_future(house.ask())
        await asyncio.sleep(0.01)

    with pytest.raises(GatewayError) as caught:
        await waiting

    assert caught.value.code is ErrorCode.DRAINING


@pytest.mark.requirement("TV-33")
async def test_a_token_that_sts_cannot_take_is_not_sent_to_it(house: House) -> None:
    with pytest.raises(AccessDenied) as caught:
        await house.ask(token=replace(TOKEN, algorithm="EdDSA"))

    assert caught.value.code is ErrorCode.TOKEN_UNUSABLE_FOR_AWS
    assert house.sts.calls == 0


async def test_credentials_do_not_show_their_secrets(house: House) -> None:
    shown = f"{await house.ask()!r} {house.cache._kept!r}"

    assert "a-secret-that-signs" not in shown
    assert "a-session-token" not in shown
