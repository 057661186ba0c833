"""Which addresses may be dialled when an issuer's keys are fetched."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address

import pytest

from gateway.outbound.addresses import (
    AddressRefused,
    CheckedResolver,
    ThreadedLookUp,
    is_public,
    may_dial,
    networks,
)

PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2a00:1450:4001::200e"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:1.1.1.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:a9fe:a9fe::1",
    "2001:0:1::1",
    "2001:db8::1",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
]


def look_up(*answers: Sequence[str]) -> CheckedResolver:
    left = list(answers)

    async def scripted(_host: str, _port: int) -> Sequence[str]:
        return left.pop(0)

    return CheckedResolver(networks(["10.1.0.0/16", "fd12::/16"]), scripted)


@pytest.mark.requirement("KS-08")
@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_public_internet_may_be_dialled(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.requirement("KS-08")
@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_an_address_that_leads_inside_or_through_a_tunnel_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.requirement("KS-08")
@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        pytest.param("10.1.2.3", True, id="inside"),
        pytest.param("10.2.0.1", False, id="beside"),
        pytest.param("fd12::1", True, id="inside v6"),
        pytest.param("::ffff:10.1.2.3", False, id="mapped form of an allowed address"),
    ],
)
def test_a_private_address_may_be_dialled_only_where_the_administrators_name_its_network(
    text: str, allowed: bool
) -> None:
    assert may_dial(ip_address(text), networks(["10.1.0.0/16", "fd12::/16"])) is allowed


@pytest.mark.requirement("KS-08")
async def test_a_checked_name_resolves_to_numeric_addresses_so_that_nothing_is_looked_up_twice() -> None:
    resolver = look_up(["93.184.216.34", "2606:4700::1111"])

    found = await resolver.resolve("idp.example", 443)

    assert [address for *_, address in found] == [("93.184.216.34", 443), ("2606:4700::1111", 443)]


@pytest.mark.requirement("KS-08")
async def test_one_bad_address_among_good_ones_refuses_the_whole_name() -> None:
    resolver = look_up(["93.184.216.34", "127.0.0.1"])

    with pytest.raises(AddressRefused, match="leads to an address that is not public"):
        await resolver.resolve("idp.example", 443)


@pytest.mark.requirement("KS-08")
async def test_a_name_that_changes_to_loopback_after_a_good_answer_is_refused_the_next_time() -> None:
    resolver = look_up(["93.184.216.34"], ["127.0.0.1"])
    await resolver.resolve("rebinding.example", 443)

    with pytest.raises(AddressRefused):
        await resolver.resolve("rebinding.example", 443)


async def test_a_name_without_addresses_is_an_error() -> None:
    resolver = look_up([])

    with pytest.raises(OSError, match="has no address"):
        await resolver.resolve("empty.example", 443)


async def test_the_system_is_asked_in_a_thread_of_our_own() -> None:
    assert "127.0.0.1" in await ThreadedLookUp()("localhost", 443)


async def test_a_look_up_that_nobody_waits_for_any_more_frees_its_place() -> None:
    look = ThreadedLookUp()

    for _ in range(20):  # more than there are places
        waiting = asyncio.ensure_future(look("localhost", 443))
        await asyncio.sleep(0)
        waiting.cancel()

    assert await asyncio.wait_for(look("localhost", 443), 5)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".invalid"], ids=["unknown", "not a name"])
async def test_a_name_that_cannot_be_found_is_an_error_and_not_a_bug(host: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011  every resolver words it differently
        await ThreadedLookUp()(host, 443)
