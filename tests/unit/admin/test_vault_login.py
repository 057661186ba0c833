"""A task's login: what is signed, for which Region, what Vault's refusals mean, and what is never sent at all."""

import asyncio
import base64
import json

import pytest

from gateway.admin.vault_login import IamLogin, VaultLogin, login_with_iam_role, read_secret
from gateway.admin.vault_refusals import login_refusal, refusal
from gateway.admin.vault_session import VaultAccess
from gateway.errors import ErrorCode, GatewayError, RequestRejected, UpstreamFailed
from gateway.outbound.vault_answers import VaultFault
from gateway.secret import Secret
from tests.support.boto import Keys
from tests.support.peer import Peer
from tests.support.vault_edge import login_answer, says
from tests.support.vault_tasks import as_task

KEYS = Keys(key_id="ASIATESTTESTTEST0001", secret="a-secret-that-signs", session_token="a-session-token")


async def log_in(peer: Peer, login: IamLogin) -> VaultLogin:
    return await asyncio.to_thread(login_with_iam_role, VaultAccess(address=peer.url), login)


def signed_request(peer: Peer) -> tuple[str, dict[str, list[str]], str]:
    """Return URL, header fields and body of the request that was handed over."""
    sent = json.loads(peer.received[0].body)
    url, headers, body = (
        base64.b64decode(sent[f"iam_request_{part}"]).decode() for part in ("url", "headers", "body")
    )
    return url, json.loads(headers), body


@pytest.mark.parametrize(
    ("region", "host"),
    [
        pytest.param("us-east-1", "sts.amazonaws.com", id="global"),
        pytest.param("eu-west-1", "sts.eu-west-1.amazonaws.com", id="regional"),
        pytest.param("cn-north-1", "sts.cn-north-1.amazonaws.com.cn", id="China"),
    ],
)
async def test_the_request_is_signed_for_the_sts_that_vault_asks_and_can_do_nothing_else(
    monkeypatch: pytest.MonkeyPatch, region: str, host: str
) -> None:
    as_task(monkeypatch, KEYS)
    async with Peer(says(login_answer())) as peer:
        await log_in(peer, IamLogin(role="task", region=region, header_value="vault.acme.example"))

    url, headers, body = signed_request(peer)
    (authorization,) = headers["Authorization"]
    assert (url, headers["Host"]) == (f"https://{host}/", [host])
    assert body == "Action=GetCallerIdentity&Version=2011-06-15"
    assert f"/{region}/sts/aws4_request" in authorization
    assert "x-vault-aws-iam-server-id" in authorization
    assert headers["X-Amz-Security-Token"] == ["a-session-token"]
    assert KEYS.secret.encode() not in peer.received[0].body
    assert "x-vault-token" not in peer.received[0].headers


async def test_the_answer_is_read_into_a_value_that_shows_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    as_task(monkeypatch, KEYS)
    async with Peer(says(login_answer())) as peer:
        login = await log_in(peer, IamLogin(role="task"))

    assert login.token == Secret("hvs.a-token-of-the-role")
    assert (login.lease_s, login.renewable, login.policies) == (900, True, ("default", "payments-ci"))
    assert "hvs." not in repr(login)


@pytest.mark.parametrize(
    "answer", [{}, {"auth": None}, login_answer(client_token=None)], ids=["empty", "no auth", "no token"]
)
async def test_an_answer_without_a_token_is_said_so(
    monkeypatch: pytest.MonkeyPatch, answer: dict[str, object]
) -> None:
    as_task(monkeypatch, KEYS)
    async with Peer(says(answer)) as peer:
        with pytest.raises(UpstreamFailed) as caught:
            await log_in(peer, IamLogin(role="task"))

    assert caught.value.code is ErrorCode.VAULT_ANSWER_MISMATCH


@pytest.mark.requirement("VA-01")
@pytest.mark.parametrize(
    "login",
    [
        IamLogin(role="../sys"),
        IamLogin(role=""),
        IamLogin(role="task", mount="aws/../token"),
        IamLogin(role="task", mount="/aws"),
        IamLogin(role="task", mount="aws//x"),
        IamLogin(role="task", region="eu-west-1.evil.example"),
        IamLogin(role="task", header_value="two\r\nlines"),
    ],
    ids=repr,
)
def test_what_could_climb_out_of_its_place_is_refused_before_anything_is_sent(login: IamLogin) -> None:
    with pytest.raises(RequestRejected):
        login_with_iam_role(VaultAccess(address="https://vault.acme.example"), login)


@pytest.mark.requirement("VA-01")
@pytest.mark.parametrize(
    "path", ["", "secret", "a//b", "a/../b", "a/./b", "a/b?c", "a/b#c", "a/b c", "a/%2e%2e/b", "a/\n"]
)
def test_a_path_that_is_none_of_a_secret_is_refused_before_anything_is_sent(path: str) -> None:
    access = VaultAccess(address="https://vault.acme.example", token=Secret("hvs.x"))

    with pytest.raises(RequestRejected):
        read_secret(access, path)


@pytest.mark.requirement("VA-06")
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ErrorCode.VAULT_ERROR),
        (403, ErrorCode.VAULT_DENIED),
        (404, ErrorCode.MAPPING_INVALID_FOR_VAULT),
        (412, ErrorCode.VAULT_NOT_READY),
        (429, ErrorCode.VAULT_THROTTLED),
        (500, ErrorCode.VAULT_ERROR),
        (502, ErrorCode.VAULT_ERROR),
        (503, ErrorCode.VAULT_SEALED),
    ],
)
def test_every_status_of_vault_has_a_code_a_sentence_and_something_to_do(
    status: int, code: ErrorCode
) -> None:
    fault = refusal(VaultFault(status, text="words of Vault"), "read secret/data/x")

    assert fault.code is code
    assert fault.message.startswith("Cannot read secret/data/x: ")
    assert fault.hint
    assert "words of Vault" not in fault.message + fault.hint


def logged_in_refusal(text: str, status: int = 400) -> GatewayError:
    return login_refusal(VaultFault(status, text=text), mount="aws", role="task")


@pytest.mark.requirement("VA-07")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "error making upstream request: received error code 403 from STS: <Code>ExpiredToken</Code>",
            "has expired",
        ),
        (
            "error making upstream request: received error code 403 from STS: InvalidClientTokenId",
            "does not accept",
        ),
        (
            'error making upstream request: error making request: Post "https://sts/": EOF',
            "could not ask AWS",
        ),
        ("unable to get regional STS endpoint for region: x", "about the Region"),
        ("auth method iam not allowed for role task", "for EC2 instances"),
    ],
)
def test_what_vault_says_of_an_aws_identity_is_said_in_our_words(text: str, said: str) -> None:
    fault = logged_in_refusal(text)

    assert fault.code is ErrorCode.VAULT_DENIED
    assert said in fault.message
    assert "STS: " not in fault.message
