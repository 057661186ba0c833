"""Who sends what is no request: it counts against its address and is told with it, and a flood of it fills no log."""

import logging

import pytest

from gateway.doors.callers import Callers
from gateway.errors import ErrorCode
from gateway.listening.strangers import Strangers
from gateway.state.rates import Rate, RateTable
from gateway.together import IN_FULL
from tests.support.clocks import SettableClock

MALFORMED = ErrorCode.REQUEST_MALFORMED
PROXY = "10.0.0.1"


@pytest.fixture
def address() -> RateTable:
    return RateTable("address", Rate(quota=100, window_s=60), clock=SettableClock())


@pytest.fixture
def strangers(address: RateTable) -> Strangers:
    return Strangers(clock=SettableClock(), callers=Callers([PROXY]), address=address)


def left(address: RateTable, key: str) -> int:
    """Return how many requests the address has left, this one not among them."""
    return address.hit(key).left + 1


@pytest.mark.requirement("HT-10")
async def test_what_is_no_request_counts_against_the_address_it_came_from(
    strangers: Strangers, address: RateTable
) -> None:
    for number in range(40):
        strangers.refused(f"2001:db8::{number:x}", MALFORMED, "r", counted=False)

    assert left(address, "2001:db8::/64") == 60


@pytest.mark.requirement("HT-10")
async def test_neither_a_request_counts_twice_nor_anything_against_a_proxy_for_others(
    strangers: Strangers, address: RateTable
) -> None:
    strangers.refused("192.0.2.1", ErrorCode.REQUEST_TIMEOUT, "r", counted=True)
    strangers.refused(PROXY, MALFORMED, "r", counted=False)

    assert left(address, "192.0.2.1") == 100
    assert left(address, PROXY) == 100


@pytest.mark.requirement("HT-10", "F-27")
async def test_of_a_flood_the_first_have_lines_with_the_address_and_one_tells_how_many_followed(
    strangers: Strangers, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.access")

    for number in range(200):
        strangers.refused("192.0.2.1", MALFORMED, f"req-{number}", counted=False)
    strangers.refused("192.0.2.2", MALFORMED, "other", counted=False)
    strangers.finish()

    told = [record.__dict__ for record in caplog.records]
    assert [one["source"] for one in told] == ["192.0.2.1"] * IN_FULL + ["192.0.2.2", "192.0.2.1"]
    assert (told[-1]["request_id"], told[-1]["repeated"]) == ("req-199", 200 - IN_FULL)
