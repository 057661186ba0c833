"""Where a request comes from."""

import pytest

from gateway.doors.callers import Callers, normal_address
from gateway.listening.connections import RESERVE, Connections
from gateway.state.rates import counted_as

PROXIED = Callers(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.1"])


def source(peer: str | None, *fields: str, callers: Callers = PROXIED) -> str | None:
    headers = [(b"x-forwarded-for", field.encode("latin-1")) for field in fields]
    return callers.source(peer, [(b"host", b"x"), *headers])


@pytest.mark.requirement("HT-06")
@pytest.mark.parametrize(
    ("peer", "fields", "expected"),
    [
        pytest.param("198.51.100.7", ("203.0.113.9",), "198.51.100.7", id="from outside: a spoof"),
        pytest.param("198.51.100.7", ("10.0.0.1",), "198.51.100.7", id="from outside, as a proxy"),
        pytest.param("10.0.0.1", (), "10.0.0.1", id="a proxy that says nothing"),
        pytest.param("10.0.0.1", ("",), "10.0.0.1", id="a proxy that says nothing at length"),
        pytest.param("10.0.0.1", ("203.0.113.9",), "203.0.113.9", id="a proxy that says who"),
        pytest.param("10.0.0.1", ("1.1.1.1, 203.0.113.9",), "203.0.113.9", id="the right-most"),
        pytest.param(
            "10.0.0.1", ("1.1.1.1, 203.0.113.9, 10.9.9.9",), "203.0.113.9", id="through two proxies"
        ),
        pytest.param("10.0.0.1", ("1.1.1.1", "203.0.113.9"), "203.0.113.9", id="two fields are one list"),
        pytest.param("10.0.0.1", ("10.1.1.1, 10.2.2.2",), "10.1.1.1", id="nobody but proxies"),
        pytest.param("10.0.0.1", ("203.0.113.9, unknown",), "10.0.0.1", id="not an address: nobody vouches"),
        pytest.param("10.0.0.1", ("1.1.1.1, evil, 10.2.2.2",), "10.2.2.2", id="not an address further left"),
        pytest.param("10.0.0.1", ("203.0.113.9:4711",), "203.0.113.9", id="with a port"),
        pytest.param("10.0.0.1", ("[2001:db8::9]:4711",), "2001:db8::9", id="IPv6 with a port"),
        pytest.param("10.0.0.1", ("2001:DB8:0::9",), "2001:db8::9", id="IPv6, one spelling"),
        pytest.param("10.0.0.1", ("::ffff:203.0.113.9",), "203.0.113.9", id="IPv4 inside IPv6"),
        pytest.param("::ffff:10.0.0.1", ("203.0.113.9",), "203.0.113.9", id="a proxy as IPv4 inside IPv6"),
        pytest.param("2001:db8:1::5", ("203.0.113.9",), "203.0.113.9", id="a proxy on IPv6"),
        pytest.param("::ffff:198.51.100.7", (), "198.51.100.7", id="a peer as IPv4 inside IPv6"),
        pytest.param("fe80::1%eth0", (), "fe80::1", id="a peer with a zone"),
        pytest.param(None, ("203.0.113.9",), None, id="a Unix socket"),
        pytest.param("", ("203.0.113.9",), None, id="a Unix socket, as uvicorn says it"),
    ],
)
def test_only_a_listed_peer_is_believed_and_only_for_the_right_most_hop_that_is_not_listed(
    peer: str | None, fields: tuple[str, ...], expected: str | None
) -> None:
    assert source(peer, *fields) == expected


@pytest.mark.requirement("HT-06")
def test_without_a_list_nobody_is_believed() -> None:
    assert source("127.0.0.1", "203.0.113.9", callers=Callers()) == "127.0.0.1"


@pytest.mark.requirement("HT-06")
def test_other_fields_are_not_read() -> None:
    fields = [
        (b"forwarded", b"for=203.0.113.9"),
        (b"x-real-ip", b"203.0.113.9"),
        (b"true-client-ip", b"203.0.113.9"),
    ]

    assert PROXIED.source("10.0.0.1", fields) == "10.0.0.1"


@pytest.mark.requirement("HT-10")
def test_one_subscriber_counts_once_however_many_addresses_it_has() -> None:
    assert counted_as("2001:db8::1") == counted_as("2001:db8::ffff:ffff:ffff:ffff") == "2001:db8::/64"
    assert counted_as("2001:db8:0:1::1") != counted_as("2001:db8::1")
    assert counted_as("203.0.113.9") != counted_as("203.0.113.10")
    assert counted_as(None) == "local"


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "01.2.3.4", "1.2.3.4/8", "::1::", "\x00"])
def test_what_is_no_address_has_no_spelling(text: str) -> None:
    assert normal_address(text) is None


# How many connections one may hold.


@pytest.mark.requirement("HT-08")
def test_beyond_the_limit_connections_are_for_health_and_beyond_those_closed() -> None:
    connections = Connections(most=3)

    places = [connections.enter(f"203.0.113.{number % 250}")[0] for number in range(3 + RESERVE + 2)]

    assert places == ["free"] * 3 + ["crowded"] * RESERVE + ["full"] * 2


@pytest.mark.requirement("HT-08", "F-27")
def test_one_address_has_so_many_places_and_a_listed_proxy_all() -> None:
    connections = Connections(most=100, most_each=2, callers=PROXIED)

    noisy = [connections.enter("203.0.113.9")[0] for _ in range(3)]
    quiet = connections.enter("203.0.113.10")[0]
    proxy = [connections.enter("10.0.0.1")[0] for _ in range(10)]

    assert noisy == ["free", "free", "address_full"]
    assert quiet == "free"
    assert set(proxy) == {"free"}


@pytest.mark.requirement("HT-08")
def test_whoever_comes_and_goes_leaves_nothing() -> None:
    counts: list[int] = []
    connections = Connections(most_each=1, on_change=counts.append)

    for number in range(10_000):
        _, key = connections.enter(f"2001:db8:{number:x}::1")
        assert key is not None
        connections.leave(key)

    assert connections.open == 0
    assert connections._by_key == {}
    assert set(counts) == {0, 1}
