"""Vault's credentials are shared like those of STS; its tokens never are."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.credentials.broker import CredentialBroker
from gateway.credentials.cache import CredentialCache
from gateway.credentials.session import AwsCredentials, RoleSession, VaultToken, session_for
from gateway.errors import ErrorCode, RequestRejected
from gateway.identity.token import VerifiedToken
from gateway.metrics import Metrics
from gateway.policy.rule import AwsRole, VaultRole
from gateway.secret import Secret
from tests.support.aws import held, within
from tests.support.clocks import SettableClock
from tests.support.policies import role, workflow
from tests.support.tokens import verified
from tests.support.vault_edge import engine, vault_role

TOKEN = verified()
TARGET = vault_role(aws=engine(), ttl_s=3600)


class Edges:
    """Counts what is asked of STS and Vault: a stand-in for both edges, whose own tests are beside."""

    def __init__(self, clock: SettableClock) -> None:
        self.clock = clock
        self.asked: list[str] = []

    async def assume(
        self, token: VerifiedToken, role: AwsRole, session: RoleSession, *, region: str, deadline: float
    ) -> AwsCredentials:
        self.asked.append("sts")
        return held(expires_at=self.clock.wall() + session.duration_s)

    async def aws(
        self, token: VerifiedToken, role: VaultRole, session: RoleSession, *, deadline: float
    ) -> AwsCredentials:
        self.asked.append("engine")
        await asyncio.sleep(0)
        return held(expires_at=self.clock.wall() + session.duration_s)

    async def login(self, token: VerifiedToken, role: VaultRole, *, deadline: float) -> VaultToken:
        self.asked.append("login")
        return VaultToken(
            token=Secret("hvs.x"), identity="x", expires_at=self.clock.wall() + 1, wrapped=False
        )

    def give_back(self, unclaimed: VaultToken, role: VaultRole) -> None:
        self.asked.append("give back")


class House:
    """A broker over its parts."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.edges = Edges(self.clock)
        self.cache = CredentialCache(clock=self.clock, metrics=Metrics())
        self.broker = CredentialBroker(sts=self.edges, vault=self.edges, cache=self.cache)

    async def ask(self, session: RoleSession, *, region: str = "eu-west-1") -> AwsCredentials:
        return await self.broker.aws(TOKEN, TARGET, session, region=region, deadline=within(5))


@pytest.fixture
async def house() -> AsyncIterator[House]:
    one = House()
    async with one.cache:
        yield one


OWN = session_for(TOKEN, TARGET, workflow=workflow())
HANDED_OUT = session_for(TOKEN, TARGET, workflow=None, duration_s=900)


@pytest.mark.requirement("ST-13")
async def test_a_vault_target_is_asked_of_vault_and_of_nobody_else(house: House) -> None:
    await house.ask(OWN)

    assert house.edges.asked == ["engine"]


async def test_two_hundred_who_want_the_same_of_vault_cost_one_login(house: House) -> None:
    await asyncio.gather(*(house.ask(OWN) for _ in range(200)))

    assert house.edges.asked == ["engine"]


async def test_all_regions_share_what_vault_issued(house: House) -> None:
    for region in ("eu-west-1", "us-east-1"):
        await house.ask(OWN, region=region)

    assert house.edges.asked == ["engine"]


@pytest.mark.requirement("ST-07")
async def test_what_the_gateway_uses_itself_is_never_handed_out_though_it_was_asked_for_alike(
    house: House,
) -> None:
    assert (OWN.name, OWN.duration_s, OWN.session_policy) == (HANDED_OUT.name, HANDED_OUT.duration_s, None)

    await house.ask(OWN)
    await house.ask(HANDED_OUT)

    assert house.edges.asked == ["engine", "engine"]


async def test_what_was_handed_out_is_shared_for_half_a_minute_and_no_longer(house: House) -> None:
    await house.ask(HANDED_OUT)
    house.clock.advance(29)
    await house.ask(HANDED_OUT)
    shared = len(house.edges.asked)
    house.clock.advance(1)
    await house.ask(HANDED_OUT)

    assert (shared, len(house.edges.asked)) == (1, 2)


@pytest.mark.requirement("VA-03")
async def test_a_token_of_vault_is_made_anew_for_every_call(house: House) -> None:
    for _ in range(2):
        await house.broker.vault_token(TOKEN, TARGET, deadline=within(5))

    assert house.edges.asked == ["login", "login"]


async def test_an_iam_role_yields_no_token_of_vault(house: House) -> None:
    with pytest.raises(TypeError, match="deployer is no Vault role"):
        await house.broker.vault_token(TOKEN, role(), deadline=within(5))


async def test_a_token_that_aws_would_refuse_may_still_go_to_vault(house: House) -> None:
    no_audience = verified("cognito-access")

    await house.broker.aws(no_audience, TARGET, OWN, region="eu-west-1", deadline=within(5))

    assert house.edges.asked == ["engine"]


def test_a_caller_may_ask_for_less_than_the_vault_target_allows_and_not_for_more() -> None:
    asked = session_for(TOKEN, TARGET, workflow=None, duration_s=1200)
    with pytest.raises(RequestRejected) as caught:
        session_for(TOKEN, TARGET, workflow=None, duration_s=3601)

    assert asked.duration_s == 1200
    assert session_for(TOKEN, TARGET, workflow=None).duration_s == 3600
    assert caught.value.code is ErrorCode.REQUEST_MALFORMED
