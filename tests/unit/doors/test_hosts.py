"""Names the gateway answers under."""

import pytest

from gateway.doors.hosts import Hosts, allowed_names

LISTED = Hosts(
    allowed_names(
        listen="192.0.2.7",
        public_url="https://Gateway.Acme.example:8443/base",
        hosts=["internal.example", "2001:DB8::1"],
    )
)


@pytest.mark.requirement("HT-05")
@pytest.mark.parametrize(
    "value",
    [
        "gateway.acme.example",
        "GATEWAY.acme.EXAMPLE",
        "gateway.acme.example.",
        "gateway.acme.example:443",
        "gateway.acme.example:",
        "internal.example:31000",
        "192.0.2.7",
        "192.0.2.7:8080",
        "[2001:db8::1]",
        "[2001:db8:0:0::1]:8080",
        "localhost:8080",
        "127.0.0.1:40001",
        "[::1]:8080",
        " localhost ",
    ],
)
def test_its_own_names_are_answered_on_any_port_and_in_any_spelling(value: str) -> None:
    assert LISTED.allows(value.encode())


@pytest.mark.requirement("HT-05")
@pytest.mark.parametrize(
    "value",
    [
        "",
        "evil.example",
        "gateway.acme.example.evil.example",
        "evil.gateway.acme.example",
        "gateway.acme.example@evil.example",
        "gateway.acme.example:443:443",
        "gateway.acme.example:x",
        "gateway.acme.example:²",
        "gateway.acme.example..",
        "192.0.2.8",
        "169.254.169.254",
        "[2001:db8::2]",
        "[2001:db8::1",
        "[2001:db8::1]x",
        "127.0.0.2",
        "2130706433",
        "0x7f.1",
        "localhost.evil.example",
        "*",
        "\xff",
    ],
)
def test_every_other_name_is_not(value: str) -> None:
    assert not LISTED.allows(value.encode("latin-1", "replace"))


@pytest.mark.requirement("HT-05")
@pytest.mark.parametrize("listen", ["0.0.0.0", "::", ""])
def test_an_address_that_means_all_of_them_is_no_name(listen: str) -> None:
    names = allowed_names(listen=listen, public_url=None, hosts=())

    assert names == ("localhost", "127.0.0.1", "::1")
