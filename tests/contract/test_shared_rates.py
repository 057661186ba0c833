"""Replicas tell each other what they have counted, through a real Redis; without it each goes by its own counts."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest

from gateway.metrics import Metrics
from gateway.state.address import parse_url
from gateway.state.rates import Rate, RateTable
from gateway.state.redis_rates import SharedRates
from tests.support.clocks import SettableClock
from tests.support.redis_server import RedisServer, running_redis
from tests.support.shared_state import SharedState, shared_state

README = Path(__file__).parents[2] / "README.md"
QUOTA = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One gateway's counts, and what exchanges them."""

    table: RateTable
    sharing: SharedRates
    metrics: Metrics

    def send(self, times: int, key: str = "repo:acme/payments") -> int:
        """Send requests; returns how many were let through."""
        return sum(not self.table.hit(key).refused for _ in range(times))

    def unshared(self) -> float | None:
        return self.metrics.registry.get_sample_value("oidc_gateway_rate_sharing_failures_total")


def replica(state: SharedState, clock: SettableClock) -> Replica:
    table = RateTable("subject", Rate(quota=QUOTA, window_s=60), clock=clock)
    table.share()
    metrics = Metrics()
    sharing = SharedRates(state.redis, [table], clock=clock, metrics=metrics)
    return Replica(table=table, sharing=sharing, metrics=metrics)


@pytest.fixture
async def two(redis: RedisServer) -> AsyncIterator[tuple[Replica, Replica]]:
    prefix, clock = f"{uuid4()}:", SettableClock(wall_s=1_795_342_620.0)
    async with shared_state(redis.url, prefix=prefix) as one, shared_state(redis.url, prefix=prefix) as other:
        yield replica(one, clock), replica(other, clock)


@pytest.mark.requirement("HT-10")
async def test_what_one_replica_has_let_through_the_others_do_not_let_through_again(
    two: tuple[Replica, Replica],
) -> None:
    one, other = two
    one.send(QUOTA)
    await one.sharing.share_once()
    # What is known nowhere here yet is let through, until enough of it came to ask.
    first = other.send(QUOTA // 20)

    await other.sharing.share_once()

    assert first == QUOTA // 20
    assert other.send(QUOTA) == 0
    assert other.send(QUOTA, key="another") == QUOTA


@pytest.mark.requirement("HT-10")
async def test_two_replicas_share_one_limit_between_them(two: tuple[Replica, Replica]) -> None:
    through = 0

    for _ in range(40):
        for one in two:
            through += one.send(5)
            await one.sharing.share_once()

    assert QUOTA <= through <= QUOTA + 10


@pytest.mark.requirement("HT-10")
async def test_redis_holds_neither_addresses_nor_subjects_and_nothing_for_long(
    two: tuple[Replica, Replica], redis: RedisServer
) -> None:
    one, _ = two
    one.send(QUOTA)

    await one.sharing.share_once()

    assert "acme" not in redis.say("KEYS", "*:rates:*")
    # Other tests use this Redis, too, and longer windows than a minute.
    keys = redis.say("KEYS", "*:rates:subject:60:*")
    key = next(line for line in keys.split("\r\n") if ":rates:" in line)
    assert 0 < int(redis.say("TTL", key).strip().removeprefix(":")) <= 120


@pytest.mark.requirement("HT-10")
async def test_while_redis_is_away_each_replica_goes_by_its_own_counts_and_says_so() -> None:
    with running_redis() as server:
        async with shared_state(server.url, prefix="p:") as state:
            one = replica(state, SettableClock())
            server.stop()

            first = one.send(50)
            await one.sharing.share_once()
            second = one.send(QUOTA)

    assert first + second == QUOTA
    assert one.unshared() == 1


@pytest.mark.requirement("HT-10")
async def test_the_rights_that_the_readme_gives_a_user_suffice(tmp_path: Path) -> None:
    (line,) = re.findall(r"(?m)^user gateway on .*$", README.read_text("utf-8"))
    (tmp_path / "password").write_text("a-password")
    (tmp_path / "password").chmod(0o600)
    users = [line.replace("PASSWORD", "a-password"), "user default off"]
    with running_redis(users=users) as server:
        address = replace(
            parse_url(server.url),
            username="gateway",
            password_file=str(tmp_path / "password"),
            timeout_s=10.0,
        )
        async with shared_state(address, prefix=address.prefix) as state:
            one = replica(state, SettableClock())
            one.send(QUOTA)

            await one.sharing.share_once()

    assert one.unshared() == 0


@pytest.mark.requirement("HT-10")
async def test_sharing_begins_and_ends_with_the_service(redis: RedisServer) -> None:
    async with shared_state(redis.url, prefix=f"{uuid4()}:") as state:
        table = RateTable("subject", Rate(quota=1, window_s=60), clock=SettableClock())

        async with SharedRates(state.redis, [table], clock=SettableClock(), metrics=Metrics()):
            table.hit("a")

    assert len(table.changes(10)) == 1
