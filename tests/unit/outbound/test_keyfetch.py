"""Fetching an issuer's documents: what is refused, what stops, and what is never asked."""

import asyncio
import gzip
import logging
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.metrics import Metrics
from gateway.outbound.addresses import LookUp
from gateway.outbound.http import Answer, OutboundFailure
from gateway.outbound.keyfetch import FetchRules, KeyFetch
from gateway.outbound.tls import client_context
from tests.support.certificates import Authority
from tests.support.peer import LOOPBACK, Peer, Reply, answers, closed_port, drips, pours, raw, stays_silent

AUTHORITY = Authority()
TRUSTED = FetchRules(ca_pem=AUTHORITY.pem, allow_addresses=("127.0.0.0/8",))


async def loopback(_host: str, _port: int) -> Sequence[str]:
    return [LOOPBACK]


async def hanging(_host: str, _port: int) -> Sequence[str]:
    await asyncio.Event().wait()
    return []


def tls(*names: str, expired: bool = False) -> ssl.SSLContext:
    return AUTHORITY.server(*(names or ("idp.test", LOOPBACK)), expired=expired)


async def fetch(
    url: str,
    rules: FetchRules = TRUSTED,
    *,
    seconds: float = 5.0,
    max_bytes: int = 1000,
    look_up: LookUp = loopback,
) -> Answer:
    keys = KeyFetch(look_up=look_up, metrics=Metrics())
    deadline = asyncio.get_running_loop().time() + seconds
    return await keys.fetch(url, rules, max_bytes=max_bytes, deadline=deadline)


@pytest.mark.requirement("KS-06", "KS-08")
async def test_a_document_comes_over_tls_from_the_checked_address_under_the_issuers_name() -> None:
    async with Peer(answers('{"keys": []}'), tls=tls("idp.test")) as peer:
        answer = await fetch(f"https://idp.test:{peer.port}/keys")

    assert (answer.status, answer.body) == (200, b'{"keys": []}')
    assert peer.received[0].headers["host"] == f"idp.test:{peer.port}"


@pytest.mark.requirement("KS-06")
@pytest.mark.parametrize(
    ("names", "expired", "rules"),
    [
        pytest.param(("idp.test",), True, TRUSTED, id="expired"),
        pytest.param(("other.test",), False, TRUSTED, id="another name"),
        pytest.param(("idp.test",), False, FetchRules(allow_addresses=("127.0.0.0/8",)), id="unknown CA"),
    ],
)
async def test_a_certificate_that_does_not_hold_ends_the_fetch(
    names: tuple[str, ...], expired: bool, rules: FetchRules
) -> None:
    async with Peer(answers("{}"), tls=tls(*names, expired=expired)) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"https://idp.test:{peer.port}/keys", rules)

    assert (caught.value.kind, peer.received) == ("tls", [])


@pytest.mark.requirement("KS-06")
async def test_a_server_that_speaks_only_old_tls_is_refused() -> None:
    old = tls("idp.test")
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    async with Peer(answers("{}"), tls=old) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"https://idp.test:{peer.port}/keys")

    # Some servers send an alert, some only close.
    assert caught.value.kind in ("tls", "connect")
    assert not peer.received


@pytest.mark.requirement("KS-06")
@pytest.mark.parametrize(
    ("url", "kind"),
    [
        pytest.param("http://idp.test/keys", "tls", id="http"),
        pytest.param("file:///etc/passwd", "address", id="file"),
        pytest.param("data:application/json,{}", "address", id="data"),
        pytest.param("ftp://idp.test/keys", "tls", id="ftp"),
        pytest.param("https://user:secret@idp.test/keys", "address", id="user"),
        pytest.param("https:///keys", "address", id="no host"),
        pytest.param("https://idp.test:99999/keys", "address", id="no port"),
    ],
)
async def test_only_plain_https_urls_are_fetched(url: str, kind: str) -> None:
    with pytest.raises(OutboundFailure) as caught:
        await fetch(url)

    assert (caught.value.kind, caught.value.sent) == (kind, False)
    assert "secret" not in str(caught.value)


@pytest.mark.requirement("KS-06")
@pytest.mark.parametrize(
    ("host", "allow_http", "fetched"),
    [
        pytest.param(LOOPBACK, True, True, id="literal loopback in development"),
        pytest.param(LOOPBACK, False, False, id="literal loopback"),
        pytest.param("localhost", True, False, id="a name for loopback"),
    ],
)
async def test_http_is_for_literal_loopback_addresses_in_development_only(
    host: str, allow_http: bool, fetched: bool
) -> None:
    rules = FetchRules(allow_http=allow_http, allow_addresses=("127.0.0.0/8",))
    async with Peer(answers("{}")) as peer:
        await asyncio.gather(fetch(f"http://{host}:{peer.port}/keys", rules), return_exceptions=True)

    assert bool(peer.received) is fetched


@pytest.mark.requirement("KS-06")
async def test_a_ca_file_without_a_certificate_fails_the_fetch_and_not_the_gateway() -> None:
    with pytest.raises(OutboundFailure, match="CA file") as caught:
        await fetch("https://idp.test/keys", FetchRules(ca_pem="nothing"))

    assert caught.value.kind == "tls"


@pytest.mark.requirement("KS-06")
def test_session_secrets_are_not_written_to_a_file_the_environment_names(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "secrets"))

    context = client_context()

    assert not getattr(context, "keylog_filename", None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.requirement("KS-07")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_refused_and_never_followed(status: int) -> None:
    async with (
        Peer(answers("{}"), tls=tls()) as target,
        Peer(answers("", status=status, location=f"{target.url}/keys"), tls=tls()) as peer,
    ):
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"{peer.url}/keys")

    assert (caught.value.kind, target.connections) == ("redirect", 0)


@pytest.mark.requirement("KS-08")
@pytest.mark.parametrize("host", ["idp.test", LOOPBACK, "[::1]"])
async def test_an_address_that_may_not_be_dialled_is_not_dialled(host: str) -> None:
    async with Peer(answers("{}"), tls=tls()) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"https://{host}:{peer.port}/keys", FetchRules(ca_pem=AUTHORITY.pem))

    assert (caught.value.kind, peer.connections) == ("address", 0)


@pytest.mark.requirement("KS-08")
@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]"])
async def test_another_spelling_of_a_forbidden_address_is_not_dialled_either(host: str) -> None:
    async with Peer(answers("{}"), tls=tls()) as peer:
        with pytest.raises(OutboundFailure):
            await fetch(f"https://{host}:{peer.port}/keys", FetchRules(ca_pem=AUTHORITY.pem))

    assert peer.connections == 0


@pytest.mark.requirement("KS-08")
async def test_one_fetch_looks_the_name_up_once() -> None:
    asked: list[str] = []

    async def counting(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return await loopback(host, port)

    async with Peer(answers("{}"), tls=tls()) as peer:
        await fetch(f"https://idp.test:{peer.port}/keys", look_up=counting)

    assert asked == ["idp.test"]


@pytest.mark.requirement("KS-09")
async def test_proxies_netrc_and_cookies_of_the_environment_have_no_effect(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text(f"machine {LOOPBACK} login someone password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with (
        Peer(answers("trapped")) as trap,
        Peer(answers("{}", set_cookie="id=1; Path=/"), tls=tls()) as peer,
    ):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, trap.url)
        await fetch(f"{peer.url}/keys")
        await fetch(f"{peer.url}/keys")

    assert trap.connections == 0
    assert [set(one.headers) for one in peer.received] == [
        {"host", "accept", "accept-encoding", "user-agent", "connection"}
    ] * 2


@pytest.mark.requirement("KS-10")
async def test_compression_is_not_asked_for_and_refused_when_it_comes() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    async with Peer(answers(bomb, content_encoding="gzip"), tls=tls()) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"{peer.url}/keys", max_bytes=100_000)

    assert caught.value.kind == "encoding"
    assert peer.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.requirement("KS-10")
async def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not() -> None:
    async with Peer(answers(b"x" * 1000), answers(b"x" * 1001), tls=tls()) as peer:
        answer = await fetch(f"{peer.url}/keys", max_bytes=1000)
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"{peer.url}/keys", max_bytes=1000)

    assert len(answer.body) == 1000
    assert caught.value.kind == "too_large"


@pytest.mark.requirement("KS-10")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"Content-Length: 1001\r\n\r\n", id="announced"),
        pytest.param(b"\r\n" + b"x" * 1001, id="until the connection ends"),
        pytest.param(
            b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n", id="in chunks"
        ),
    ],
)
async def test_one_byte_beyond_the_limit_is_too_many_however_the_body_is_framed(data: bytes) -> None:
    async with Peer(raw(b"HTTP/1.1 200 OK\r\n" + data), tls=tls()) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"{peer.url}/keys", max_bytes=1000)

    assert caught.value.kind == "too_large"


@pytest.mark.requirement("KS-10")
async def test_reading_stops_at_the_limit_of_a_body_that_never_ends() -> None:
    async with Peer(pours(), tls=tls()) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"{peer.url}/keys", max_bytes=100_000)

    assert caught.value.kind == "too_large"


@pytest.mark.requirement("KS-10")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{}", id="shorter than announced"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n{}", id="length that is no number"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", id="not HTTP"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_an_answer_that_breaks_off_or_is_not_http_is_a_failed_fetch(data: bytes) -> None:
    async with Peer(raw(data), tls=tls()) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"{peer.url}/keys")

    assert (caught.value.kind, caught.value.sent, peer.connections) == ("broken", True, 1)


@pytest.mark.requirement("KS-11")
@pytest.mark.parametrize("reply", [drips(), stays_silent()], ids=["one byte at a time", "silence"])
async def test_one_deadline_holds_for_the_whole_exchange(reply: Reply) -> None:
    async with asyncio.timeout(10), Peer(reply, tls=tls()) as peer:
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"{peer.url}/keys", seconds=0.3, max_bytes=1_000_000)

    assert caught.value.kind == "timeout"


@pytest.mark.requirement("KS-11")
async def test_the_deadline_holds_for_the_name_look_up() -> None:
    with pytest.raises(OutboundFailure) as caught:
        await fetch("https://idp.test/keys", seconds=0.2, look_up=hanging)

    assert (caught.value.kind, caught.value.sent) == ("timeout", False)


@pytest.mark.requirement("KS-11")
async def test_the_deadline_holds_for_a_tls_handshake_that_never_comes() -> None:
    async with Peer(answers("{}")) as plain:  # waits for a request line that a ClientHello does not hold
        with pytest.raises(OutboundFailure) as caught:
            await fetch(f"https://{LOOPBACK}:{plain.port}/keys", seconds=0.3)

    assert (caught.value.kind, caught.value.sent) == ("timeout", False)


async def test_a_peer_that_is_not_there_is_known_to_have_heard_nothing() -> None:
    with pytest.raises(OutboundFailure) as caught:
        await fetch(f"https://{LOOPBACK}:{await closed_port()}/keys")

    assert (caught.value.kind, caught.value.sent) == ("connect", False)


async def test_a_cancelled_fetch_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    async with Peer(stays_silent(), tls=tls()) as peer:
        before = asyncio.all_tasks()
        running = asyncio.ensure_future(fetch(f"{peer.url}/keys"))
        await peer.heard.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        left = {task for task in asyncio.all_tasks() - before if "Peer" not in repr(task)}

    assert running.cancelled()
    assert not left
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
