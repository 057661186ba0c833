"""How a connection is made: which address, how often a name is looked up, what a failure is called."""

import asyncio
import socket
from collections.abc import Sequence

import pytest
from aiohappyeyeballs import AddrInfoType

from gateway.outbound.addresses import AddressRefused
from gateway.outbound.dialling import Dialler, SystemResolver
from gateway.outbound.http import OutboundFailure
from gateway.outbound.request_bytes import place_of
from tests.support.aws import TLS
from tests.support.peer import LOOPBACK, Peer, answers, closed_port


class Scripted:
    """A name service that answers with these addresses, or fails so; counts how often it is asked."""

    def __init__(self, *addresses: str, port: int = 0, fault: OSError | None = None) -> None:
        self._addresses = addresses
        self._port = port
        self._fault = fault
        self.asked = 0
        self.answering = asyncio.Event()
        self.answering.set()

    async def resolve(self, host: str, port: int) -> Sequence[AddrInfoType]:
        self.asked += 1
        await self.answering.wait()
        if self._fault is not None:
            raise self._fault
        return [
            (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))
            for address in self._addresses
        ]


async def dialled(dialler: Dialler, url: str) -> tuple[str, int]:
    connection = await dialler.dial(place_of(url))
    assert connection._transport is not None
    peer: tuple[str, int] = connection._transport.get_extra_info("peername")
    connection.abort()
    await connection.gone
    return peer


async def test_a_name_is_looked_up_once_for_all_who_want_it_and_then_remembered() -> None:
    names = Scripted(LOOPBACK)
    names.answering.clear()
    dialler = Dialler(tls=TLS, resolver=names, remember=True)
    async with Peer(answers()) as peer:
        url = f"http://aws.test:{peer.port}/"
        at_once = [asyncio.ensure_future(dialled(dialler, url)) for _ in range(5)]
        await asyncio.sleep(0)
        at_once.pop().cancel()
        names.answering.set()
        await asyncio.gather(*at_once)
        await dialled(dialler, url)

    assert names.asked == 1


async def test_a_dialler_that_remembers_nothing_asks_every_time() -> None:
    names = Scripted(LOOPBACK)
    dialler = Dialler(tls=TLS, resolver=names, remember=False)
    async with Peer(answers()) as peer:
        for _ in range(2):
            await dialled(dialler, f"http://aws.test:{peer.port}/")

    assert names.asked == 2


async def test_connections_go_to_all_addresses_of_a_peer_in_turn() -> None:
    dialler = Dialler(tls=TLS, resolver=Scripted("127.0.0.1", "127.0.0.2"), remember=True)
    async with Peer(answers()) as one, Peer(answers(), host="127.0.0.2", port=one.port):
        found = [(await dialled(dialler, f"http://aws.test:{one.port}/"))[0] for _ in range(4)]

    assert found == ["127.0.0.1", "127.0.0.2"] * 2


async def test_an_address_where_nobody_listens_is_passed_over() -> None:
    dialler = Dialler(tls=TLS, resolver=Scripted("127.0.0.9", LOOPBACK), remember=True)
    async with Peer(answers()) as peer:
        assert (await dialled(dialler, f"http://aws.test:{peer.port}/"))[0] == LOOPBACK


async def test_a_peer_that_could_not_be_reached_is_looked_up_again() -> None:
    names = Scripted(LOOPBACK)
    dialler = Dialler(tls=TLS, resolver=names, remember=True)
    url = f"http://aws.test:{await closed_port()}/"
    for _ in range(2):
        with pytest.raises(OutboundFailure):
            await dialler.dial(place_of(url))

    assert names.asked == 2


@pytest.mark.parametrize(
    ("names", "kind", "said"),
    [
        pytest.param(
            Scripted(fault=AddressRefused("inside")),
            "address",
            "aws.test: an address of this host may not be dialled",
            id="refused",
        ),
        pytest.param(
            Scripted(fault=OSError("Name or service not known")),
            "connect",
            "aws.test: the name has no address, or the name service did not answer",
            id="unknown",
        ),
    ],
)
@pytest.mark.parametrize("remember", [True, False], ids=["remembering", "forgetting"])
async def test_a_name_that_leads_nowhere_says_so_and_is_asked_for_again(
    names: Scripted, kind: str, said: str, remember: bool
) -> None:
    dialler = Dialler(tls=TLS, resolver=names, remember=remember)
    before = names.asked
    with pytest.raises(OutboundFailure):
        await dialler.dial(place_of("http://aws.test/"))
    with pytest.raises(OutboundFailure) as caught:
        await dialler.dial(place_of("http://aws.test/"))

    assert (caught.value.kind, caught.value.sent, str(caught.value)) == (kind, False, said)
    assert names.asked - before == 2


async def test_only_http_is_spoken() -> None:
    with pytest.raises(OutboundFailure) as caught:
        await Dialler(tls=TLS, resolver=Scripted(), remember=True).dial(place_of("ftp://aws.test/"))

    assert caught.value.kind == "connect"


async def test_an_end_leaves_no_look_up_behind() -> None:
    names = Scripted(LOOPBACK)
    names.answering.clear()
    dialler = Dialler(tls=TLS, resolver=names, remember=True)
    waiting = asyncio.ensure_future(dialler.dial(place_of("http://aws.test/")))
    await asyncio.sleep(0)

    await dialler.close()

    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.done()
    assert dialler._looking == {}


async def test_the_system_is_asked_for_names_and_what_is_none_is_an_error() -> None:
    assert LOOPBACK in {str(address[0]) for *_, address in await SystemResolver().resolve("localhost", 80)}
    with pytest.raises(OSError):  # noqa: PT011 - every resolver words it differently
        await SystemResolver().resolve("a" * 70 + ".invalid", 80)
