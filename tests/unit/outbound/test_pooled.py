"""One bounded call over a pool of connections."""

import asyncio

import pytest

from gateway.outbound.addresses import CheckedResolver
from gateway.outbound.http import OutboundFailure, Outgoing
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.tls import client_context
from tests.support.aws import TLS, within
from tests.support.certificates import Authority
from tests.support.peer import LOOPBACK, Peer, answers, closed_port, cuts_the_connection, stays_silent


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
@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_a_server_whose_ca_is_not_configured_is_refused_whatever_bundles_the_environment_names(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SSL_CERT_FILE is OpenSSL's way to say where the system's roots are; with a CA of our own it has no say either.
    trusted, other = Authority(), Authority()
    monkeypatch.setenv(name, "/nonexistent/bundle.pem")
    http = PooledHttp(tls=client_context(trusted.pem))
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
