"""Calls of commands to a Vault that lies, redirects or hangs: nothing is sent on, and each fault is one sentence."""

import asyncio
import json

import pytest

from gateway.admin import vault_session
from gateway.admin.vault_session import VaultAccess, opened
from gateway.errors import ConfigurationInvalid, ErrorCode, GatewayError
from gateway.outbound.vault_answers import VaultFault
from gateway.secret import Secret
from tests.support.certificates import Authority
from tests.support.peer import LOOPBACK, Peer, Reply, answers, closed_port, stays_silent
from tests.support.vault_edge import refuses, says

TOKEN = Secret("hvs.of-an-administrator")


def read(address: str, *, ca_pem: str | None = None) -> object:
    access = VaultAccess(address=address, namespace="acme", ca_pem=ca_pem, token=TOKEN)
    with opened(access) as session:
        return session.read("secret/data/x")


async def failure(address: str, *, ca_pem: str | None = None) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await asyncio.to_thread(read, address, ca_pem=ca_pem)
    return caught.value


async def test_token_and_namespace_go_to_the_address_that_was_given() -> None:
    async with Peer(says({"data": {"a": 1}})) as peer:
        answer = await asyncio.to_thread(read, peer.url)

    (request,) = peer.received
    assert answer == {"data": {"a": 1}}
    assert request.target == "/v1/secret/data/x"
    assert request.headers["x-vault-token"] == TOKEN.reveal()
    assert request.headers["x-vault-namespace"] == "acme"


@pytest.mark.requirement("VA-02")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed_so_no_token_reaches_another_host(status: int) -> None:
    async with (
        Peer(says({"data": {}})) as other,
        Peer(answers(status=status, location=f"{other.url}/v1/x")) as peer,
    ):
        fault = await failure(peer.url)

    assert fault.code is ErrorCode.VAULT_ERROR
    assert fault.message == f"{peer.url} answers as no Vault does (status {status})."
    assert other.received == []


@pytest.mark.requirement("VA-02")
async def test_proxies_token_files_and_addresses_of_the_environment_are_not_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    async with Peer(says({"data": {}})) as trap, Peer(says({"data": {}})) as peer:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "VAULT_ADDR", "VAULT_AGENT_ADDR"):
            monkeypatch.setenv(name, trap.url)
        monkeypatch.setenv("VAULT_TOKEN", "hvs.trap")
        monkeypatch.setenv("HOME", str(tmp_path))
        await asyncio.to_thread(read, peer.url)

    assert trap.received == []
    assert peer.received[0].headers["x-vault-token"] == TOKEN.reveal()


@pytest.mark.parametrize(
    "reply",
    [answers("<html>", status=200), answers("[1]"), answers("", status=202)],
    ids=["html", "list", "202"],
)
async def test_what_no_vault_answers_is_not_believed(reply: Reply) -> None:
    async with Peer(reply) as peer:
        fault = await failure(peer.url)

    assert fault.code is ErrorCode.VAULT_ERROR


@pytest.mark.requirement("VA-07")
async def test_vaults_words_are_kept_for_recognition_and_are_in_no_text_that_is_shown() -> None:
    async with Peer(refuses("a sentence with hvs.secret", status=403)) as peer:
        with pytest.raises(VaultFault) as caught:
            await asyncio.to_thread(read, peer.url)

    assert (caught.value.status, caught.value.text) == (403, "a sentence with hvs.secret")
    assert "hvs.secret" not in str(caught.value) + repr(caught.value)


async def test_a_vault_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_session, "_ANSWER_S", 0.2)
    async with Peer(stays_silent()) as peer:
        fault = await failure(peer.url)

    assert (fault.code, fault.message) == (
        ErrorCode.VAULT_NOT_READY,
        f"{peer.url} did not answer in time.",
    )


async def test_a_vault_that_is_not_there_is_said_so() -> None:
    address = f"http://{LOOPBACK}:{await closed_port()}"

    assert (await failure(address)).message == f"{address} cannot be reached."


async def test_a_private_ca_is_enough_and_the_only_one() -> None:
    authority = Authority()
    async with Peer(says({"data": {}}), tls=authority.server(LOOPBACK)) as peer:
        answer = await asyncio.to_thread(read, peer.url, ca_pem=authority.pem)
        other = await failure(peer.url, ca_pem=Authority().pem)
        public = await failure(peer.url)

    assert answer == {"data": {}}
    assert other.message.startswith(f"TLS to {peer.url} failed:")
    assert public.message.startswith(f"TLS to {peer.url} failed:")


@pytest.mark.parametrize(
    "address", ["http://vault.acme.example:8200", "ftp://127.0.0.1", "vault.acme.example", ""]
)
def test_a_token_is_never_sent_in_the_clear(address: str) -> None:
    with pytest.raises(ConfigurationInvalid, match="is not https"):
        read(address)


def test_no_token_shows_in_a_value_that_is_printed() -> None:
    access = VaultAccess(address="https://vault.acme.example", token=TOKEN)

    assert TOKEN.reveal() not in repr(access)
    assert TOKEN.reveal() not in json.dumps(str(access))
