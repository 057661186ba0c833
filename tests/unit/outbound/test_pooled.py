"""One bounded call over a pool of connections."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from gateway.outbound import pooled
from gateway.outbound.addresses import CheckedResolver
from gateway.outbound.http import OutboundFailure, Outgoing
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.tls import client_context
from tests.support.aws import TLS, within
from tests.support.certificates import Authority
from tests.support.peer import (
    LOOPBACK,
    Peer,
    Received,
    Reply,
    answers,
    closed_port,
    cuts_the_connection,
    drips,
    raw,
    stays_silent,
)


def post(url: str, body: bytes = b"{}", connect_s: float = 2.0) -> Outgoing:
    return Outgoing(
        method="POST", url=url, body=body, headers={"Content-Type": "application/json"}, connect_s=connect_s
    )


async def test_a_second_call_uses_the_connection_of_the_first() -> None:
    async with Peer(answers("first"), answers("second")) as peer, PooledHttp(tls=TLS) as http:
        first = await http.call(post(f"{peer.url}/"), deadline=within(5))
        second = await http.call(post(f"{peer.url}/"), deadline=within(5))

    assert (first.body, second.body, peer.connections) == (b"first", b"second", 1)


async def test_a_request_goes_out_with_our_headers_and_nothing_about_us() -> None:
    async with Peer(answers()) as peer, PooledHttp(tls=TLS) as http:
        await http.call(post(f"{peer.url}/a%2Fb?c=%20"), deadline=within(5))

    sent = peer.received[0]
    assert (sent.method, sent.target, sent.body) == ("POST", "/a%2Fb?c=%20", b"{}")
    assert set(sent.headers) == {"host", "content-type", "content-length", "accept", "accept-encoding"}


async def test_headers_of_an_answer_have_lower_case_names_and_repeated_ones_are_joined() -> None:
    async with Peer(answers(Warning="one", warning="two", Date="now")) as peer, PooledHttp(tls=TLS) as http:
        answer = await http.call(post(f"{peer.url}/"), deadline=within(5))

    assert (answer.headers["warning"], answer.headers["date"]) == ("one, two", "now")


def writes(*pieces: bytes) -> Reply:
    """Write these bytes, a pause between two pieces, and keep the connection."""

    async def reply(_: Received, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)

    return reply


async def all_closed(http: PooledHttp) -> None:
    """Wait until every connection of the pool has ended; one that it keeps never does."""
    async with asyncio.timeout(10):
        await asyncio.gather(*(connection.gone for connection in http._open))


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(writes(GOOD + GOOD), id="a second answer"),
        pytest.param(writes(GOOD, b"HTTP/1.1 408 Request Timeout\r\n\r\n"), id="an answer to nothing"),
        pytest.param(answers("ok", connection="close"), id="it says so"),
        pytest.param(raw(GOOD), id="it closes"),
    ],
)
async def test_a_connection_in_doubt_is_not_used_again_and_what_it_brought_meets_no_other_request(
    first: Reply,
) -> None:
    async with Peer(first, answers("second")) as peer, PooledHttp(tls=TLS) as http:
        before = await http.call(post(f"{peer.url}/"), deadline=within(5))
        await all_closed(http)  # what comes unasked comes while nobody waits
        after = await http.call(post(f"{peer.url}/"), deadline=within(5))

    assert (before.body, after.body, peer.connections) == (b"ok", b"second", 2)


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        pytest.param(answers(status=302, location="/elsewhere"), "redirect", id="redirect"),
        pytest.param(raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), "broken", id="ends early"),
        pytest.param(writes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"), "broken", id="two lengths"),
        pytest.param(writes(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000), "broken", id="head without end"),
        pytest.param(drips(), "timeout", id="drips"),
    ],
)  # fmt: skip
async def test_a_call_that_fails_takes_its_connection_with_it(first: Reply, kind: str) -> None:
    async with Peer(first, answers("second")) as peer, PooledHttp(tls=TLS) as http:
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(f"{peer.url}/"), deadline=within(0.5))
        after = await http.call(post(f"{peer.url}/"), deadline=within(5))

    assert (caught.value.kind, caught.value.sent) == (kind, True)
    assert (after.body, peer.connections) == (b"second", 2)


async def test_a_caller_who_leaves_takes_the_connection_and_its_answer_along_and_frees_the_place() -> None:
    async with Peer(stays_silent(), answers("second")) as peer, PooledHttp(tls=TLS, connections=1) as http:
        leaving = asyncio.ensure_future(http.call(post(f"{peer.url}/"), deadline=within(5)))
        await peer.heard.wait()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        after = await http.call(post(f"{peer.url}/"), deadline=within(5))

    assert (leaving.cancelled(), after.body, peer.connections) == (True, b"second", 2)


async def test_many_at_once_share_as_many_connections_as_there_may_be_and_all_are_answered() -> None:
    async with Peer(answers("ok")) as peer, PooledHttp(tls=TLS, connections=3) as http:
        found = await asyncio.gather(
            *(http.call(post(f"{peer.url}/"), deadline=within(10)) for _ in range(50))
        )

    assert {answer.body for answer in found} == {b"ok"}
    assert peer.connections <= 3


async def test_a_connection_that_was_idle_for_long_is_closed_and_another_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pooled, "_KEEP_ALIVE_S", 0.05)
    async with Peer(answers("first"), answers("second")) as peer, PooledHttp(tls=TLS) as http:
        await http.call(post(f"{peer.url}/"), deadline=within(5))
        await all_closed(http)
        await http.call(post(f"{peer.url}/"), deadline=within(5))

    assert peer.connections == 2


async def test_after_its_end_nothing_is_open_and_who_still_waits_is_told() -> None:
    async with Peer(stays_silent()) as peer:
        async with PooledHttp(tls=TLS) as http:
            waiting = asyncio.ensure_future(http.call(post(f"{peer.url}/"), deadline=within(5)))
            await peer.heard.wait()
        with pytest.raises(OutboundFailure) as caught:
            await waiting

    assert (caught.value.kind, caught.value.sent, len(http._open)) == ("broken", True, 0)


async def test_a_call_whose_time_is_over_sends_nothing() -> None:
    async with Peer(answers()) as peer, PooledHttp(tls=TLS) as http:
        await http.call(post(f"{peer.url}/"), deadline=within(5))
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(f"{peer.url}/"), deadline=within(-1))

    assert (caught.value.kind, caught.value.sent, len(peer.received)) == ("timeout", False, 1)


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
def test_a_connection_is_kept_and_a_cut_one_told_on_either_event_loop(
    new_loop: Callable[[], asyncio.AbstractEventLoop], tls: bool
) -> None:
    authority = Authority()
    server = authority.server(LOOPBACK) if tls else None
    body = b"x" * 300_000  # more than one write takes

    async def story() -> tuple[bytes, bytes, int, str, int]:
        replies = (answers("first"), answers(body), cuts_the_connection())
        async with Peer(*replies, tls=server) as peer, PooledHttp(tls=client_context(authority.pem)) as http:
            first = await http.call(post(f"{peer.url}/", body), deadline=within(5))
            second = await http.call(post(f"{peer.url}/", body), deadline=within(5))
            with pytest.raises(OutboundFailure) as caught:
                await http.call(post(f"{peer.url}/", body), deadline=within(5))
        return first.body, second.body, peer.connections, caught.value.kind, len(peer.received[0].body)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        found = runner.run(story())

    assert found == (b"first", body, 1, "broken", len(body))


@pytest.mark.requirement("SF-05")
@pytest.mark.parametrize("reply", [cuts_the_connection(), stays_silent()], ids=["cut", "silence"])
async def test_a_request_that_reached_a_connection_may_have_been_carried_out(reply: object) -> None:
    async with Peer(reply) as peer, PooledHttp(tls=TLS) as http:  # type: ignore[arg-type]
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(f"{peer.url}/"), deadline=within(0.3))

    assert (caught.value.sent, len(peer.received)) == (True, 1)


@pytest.mark.requirement("SF-05")
async def test_a_request_without_a_connection_was_certainly_not_carried_out() -> None:
    async with PooledHttp(tls=TLS) as http:
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(f"http://{LOOPBACK}:{await closed_port()}/"), deadline=within(5))

    assert (caught.value.kind, caught.value.sent) == ("connect", False)


class NoSuchName(CheckedResolver):
    """A resolver over a name service that knows nothing."""

    def __init__(self) -> None:
        async def nobody(_host: str, _port: int) -> list[str]:
            raise OSError("Name or service not known")

        super().__init__((), nobody)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        pytest.param(
            "idp.test",
            "idp.test: the name has no address, or the name service did not answer",
            id="name",
        ),
        pytest.param(LOOPBACK, f"{LOOPBACK}: the connection was refused", id="refused"),
    ],
)
async def test_a_connection_that_fails_says_at_which_step_in_our_words(host: str, said: str) -> None:
    async with PooledHttp(tls=TLS, resolver=NoSuchName()) as http:
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(f"http://{host}:{await closed_port()}/"), deadline=within(5))

    assert (caught.value.kind, str(caught.value)) == ("connect", said)


async def test_waiting_for_a_connection_ends_in_time_when_all_are_taken() -> None:
    async with Peer(stays_silent()) as peer, PooledHttp(tls=TLS, connections=1) as http:
        first = asyncio.ensure_future(http.call(post(f"{peer.url}/"), deadline=within(5)))
        await peer.heard.wait()
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(f"{peer.url}/", connect_s=0.2), deadline=within(5))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)

    assert (caught.value.kind, caught.value.sent) == ("connect", False)


@pytest.mark.requirement("ST-12")
@pytest.mark.parametrize(
    ("name", "own"),
    [
        # SSL_CERT_FILE is OpenSSL's way to say where the system's roots are; with a CA of our own it has no say either.
        ("SSL_CERT_FILE", True),
        *(
            (name, own)
            for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
            for own in (True, False)
        ),
    ],
)
async def test_a_server_whose_ca_is_not_configured_is_refused_whatever_bundles_the_environment_names(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, own: bool
) -> None:
    trusted, other = Authority(), Authority()
    (tmp_path / "bundle.pem").write_text(other.pem)
    monkeypatch.setenv(name, str(tmp_path / "bundle.pem"))
    http = PooledHttp(tls=client_context(trusted.pem if own else None))
    async with Peer(answers(), tls=other.server(LOOPBACK)) as peer, http:
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(f"{peer.url}/"), deadline=within(5))

    assert (caught.value.kind, peer.received) == ("tls", [])


async def test_a_failure_names_the_host_and_neither_path_nor_body() -> None:
    async with PooledHttp(tls=TLS) as http:
        url = f"http://{LOOPBACK}:{await closed_port()}/secret-path?secret-query"
        with pytest.raises(OutboundFailure) as caught:
            await http.call(post(url, b"secret-body"), deadline=within(5))

    assert "secret" not in str(caught.value)
    assert LOOPBACK in str(caught.value)


async def test_it_cannot_be_used_while_it_is_not_open() -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await PooledHttp(tls=TLS).call(post("http://127.0.0.1/"), deadline=within(1))
