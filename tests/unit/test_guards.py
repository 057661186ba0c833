"""The guards over the whole test run: it stays on this machine, and requirements and tests name each other."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.requirements import disagreements
from tests.support.sockets import OutsideCall


def test_a_test_cannot_connect_to_another_machine() -> None:
    with socket.socket() as outgoing, pytest.raises(OutsideCall):
        outgoing.connect(("192.0.2.1", 443))


@pytest.mark.parametrize("host", ["0.0.0.0", "", "::"])
def test_a_test_cannot_serve_beyond_this_machine(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    with socket.socket(family) as listener, pytest.raises(OutsideCall):
        listener.bind((host, 0))


def test_a_test_cannot_ask_for_a_name() -> None:
    with pytest.raises(OutsideCall):
        socket.getaddrinfo("gateway.acme.example", 443)


def test_a_test_may_serve_and_connect_on_loopback() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as outgoing,
    ):
        assert outgoing.getpeername() == listener.getsockname()


@dataclass
class Item:
    """What the comparison needs of a collected test."""

    nodeid: str
    numbers: tuple[str, ...]

    def iter_markers(self, name: str | None = None) -> Iterator[pytest.Mark]:
        yield pytest.Mark(str(name), self.numbers, {}, _ispytest=True)


LIST = '[TV-01]\ntext = "One token."\n[TV-02]\ntext = "Short."\n'


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        pytest.param(("TV-01", "TV-02"), [], id="all-carried"),
        pytest.param(("TV-01",), ["TV-02: no test carries it: Short."], id="untested"),
        pytest.param(("TV-01", "TV-02", "TV-9"), ["TV-9: not in list.toml, but carried by t"], id="unlisted"),
    ],
)
def test_requirements_and_tests_name_each_other(
    numbers: tuple[str, ...], expected: list[str], tmp_path: Path
) -> None:
    listed = tmp_path / "list.toml"
    listed.write_text(LIST)

    assert disagreements([Item("t", numbers)], listed) == expected
