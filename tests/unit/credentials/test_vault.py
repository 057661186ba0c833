"""What is sent to Vault, what its answers are held against, and that nothing is left behind whatever it does."""

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.credentials.session import RoleSession, VaultToken, session_for
from gateway.credentials.vault import VaultCredentials
from gateway.errors import (
    ConfigurationInvalid,
    ErrorCode,
    GatewayError,
    Unavailable,
    UpstreamFailed,
)
from gateway.metrics import Metrics
from gateway.outbound.http import Answer
from gateway.outbound.vault import VaultCalls
from gateway.secret import Secret
from tests.support.aws import within
from tests.support.certificates import Authority
from tests.support.clocks import START_S, SettableClock
from tests.support.patience import Patience
from tests.support.peer import (
    LOOPBACK,
    Peer,
    Received,
    Reply,
    answers,
    closed_port,
    cuts_the_connection,
    pours,
    raw,
    stays_silent,
)
from tests.support.policies import role, workflow
from tests.support.tokens import verified
from tests.support.vault_edge import (
    REVOKED,
    SERVICE_TOKEN,
    engine,
    engine_answer,
    login_answer,
    refuses,
    says,
    vault_edge,
    vault_role,
    wrapped_answer,
)

TOKEN = verified()
OWN = session_for(TOKEN, vault_role(aws=engine()), workflow=workflow())
LOGIN = "/v1/auth/jwt-github/login"
ENGINE = "/v1/aws/sts/payments"
REVOKE = "/v1/auth/token/revoke-self"


def paths(peer: Peer) -> list[str]:
    return [request.target for request in peer.received]


async def log_in(peer: Peer, *, seconds: float = 5.0, **changes: object) -> VaultToken:
    target = vault_role(peer.url, **changes)  # type: ignore[arg-type]
    async with vault_edge() as edge:
        return await edge.vault.login(TOKEN, target, deadline=within(seconds))


async def refused(*replies: Reply, seconds: float = 5.0, **changes: object) -> tuple[GatewayError, list[str]]:
    """Return what the caller of a login would hear, and which paths Vault was asked for."""
    async with Peer(*replies) as peer:
        with pytest.raises(GatewayError) as caught:
            await log_in(peer, seconds=seconds, **changes)
    return caught.value, paths(peer)


async def refused_credentials(
    *replies: Reply, session: RoleSession = OWN, **changes: object
) -> tuple[GatewayError, list[str]]:
    async with Peer(*replies) as peer:
        target = vault_role(peer.url, aws=engine(), **changes)  # type: ignore[arg-type]
        async with vault_edge() as edge:
            with pytest.raises(GatewayError) as caught:
                await edge.vault.aws(TOKEN, target, session, deadline=within(5))
    return caught.value, paths(peer)


# What is sent.


@pytest.mark.requirement("VA-01", "VA-02")
async def test_a_login_carries_the_callers_token_and_the_targets_role_and_nothing_else() -> None:
    async with Peer(says(login_answer())) as peer:
        await log_in(peer, namespace="acme/team")

    request = peer.received[0]
    assert (request.method, request.target) == ("POST", LOGIN)
    assert json.loads(request.body) == {"role": "payments-ci", "jwt": TOKEN.compact.reveal()}
    assert request.headers["x-vault-namespace"] == "acme/team"
    assert request.headers["x-vault-request"] == "true"
    assert "x-vault-token" not in request.headers
    assert "authorization" not in request.headers


@pytest.mark.requirement("VA-02")
async def test_the_root_namespace_is_said_by_leaving_the_header_out() -> None:
    async with Peer(says(login_answer())) as peer:
        await log_in(peer)

    assert "x-vault-namespace" not in peer.received[0].headers


@pytest.mark.requirement("VA-01")
@pytest.mark.parametrize(
    "mount", ["../sys", "jwt//x", "jwt/./x", "jwt?x", "jwt%2f", "Jwt", "", "jwt/", "a b"]
)
async def test_a_path_that_could_lead_elsewhere_is_never_sent(mount: str) -> None:
    async with Peer(says(login_answer())) as peer, vault_edge() as edge:
        with pytest.raises(ValueError, match="form that is never sent"):
            await edge.vault.login(TOKEN, vault_role(peer.url, mount=mount), deadline=within(5))

    assert peer.received == []


@pytest.mark.requirement("VA-02", "F-55")
async def test_nothing_of_the_environment_decides_where_a_token_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".vault-token").write_text("hvs.a-trap")
    async with Peer(says(login_answer())) as trap, Peer(says(login_answer())) as peer:
        for name in ("VAULT_ADDR", "VAULT_AGENT_ADDR", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, trap.url)
        for name in ("VAULT_CACERT", "VAULT_NAMESPACE", "VAULT_TOKEN", "VAULT_WRAP_TTL"):
            monkeypatch.setenv(name, "trap")
        monkeypatch.setenv("HOME", str(tmp_path))
        await log_in(peer)

    assert trap.received == []
    assert {"x-vault-token", "x-vault-namespace", "x-vault-wrap-ttl"}.isdisjoint(peer.received[0].headers)


@pytest.mark.requirement("VA-05")
async def test_credentials_are_asked_for_the_one_role_and_session_and_the_service_token_is_then_revoked() -> (
    None
):
    async with Peer(says(login_answer()), says(engine_answer(OWN.name)), REVOKED) as peer:
        target = vault_role(peer.url, aws=engine(), namespace="acme")
        async with vault_edge() as edge:
            credentials = await edge.vault.aws(TOKEN, target, OWN, deadline=within(5))

    _, asked, revoked = peer.received
    assert paths(peer) == [LOGIN, ENGINE, REVOKE]
    assert json.loads(asked.body) == {
        "role_arn": "arn:aws:iam::111122223333:role/deployer",
        "role_session_name": OWN.name,
        "ttl": "900s",
    }
    assert {asked.headers["x-vault-token"], revoked.headers["x-vault-token"]} == {SERVICE_TOKEN}
    assert {asked.headers["x-vault-namespace"], revoked.headers["x-vault-namespace"]} == {"acme"}
    assert credentials.lease == "aws/sts/payments/AbCdEf"


def test_behind_vault_no_session_policy_is_asked_for_because_none_can_be_sent() -> None:
    assert OWN.session_policy is None
    assert OWN.handed_out is False
    assert session_for(TOKEN, role(), workflow=workflow()).session_policy is not None


@pytest.mark.requirement("VA-08")
async def test_a_lifetime_that_vault_cut_is_reported_as_it_is() -> None:
    session = session_for(TOKEN, vault_role(aws=engine(), ttl_s=3600), workflow=None)
    async with Peer(says(login_answer()), says(engine_answer(session.name, ttl=1200)), REVOKED) as peer:
        target = vault_role(peer.url, aws=engine(), ttl_s=3600)
        async with vault_edge(clock=SettableClock()) as edge:
            credentials = await edge.vault.aws(TOKEN, target, session, deadline=within(5))

    assert session.duration_s == 3600
    assert credentials.expires_at == START_S + 1200


async def test_a_token_that_is_handed_out_is_not_revoked_and_says_when_it_ends() -> None:
    async with Peer(says(login_answer(lease_duration=300))) as peer:
        held = await log_in(peer)

    assert paths(peer) == [LOGIN]
    assert (held.token.reveal(), held.expires_at, held.wrapped) == (SERVICE_TOKEN, START_S + 300, False)
    assert held.policies == ("default", "payments-ci")


@pytest.mark.requirement("VA-05")
async def test_a_token_that_nobody_received_is_revoked() -> None:
    async with Peer(says(login_answer()), REVOKED) as peer:
        target = vault_role(peer.url)
        async with vault_edge() as edge:
            held = await edge.vault.login(TOKEN, target, deadline=within(5))
            edge.vault.give_back(held, target)

    assert paths(peer) == [LOGIN, REVOKE]


@pytest.mark.requirement("VA-05")
async def test_a_wrapped_token_that_nobody_received_is_unwrapped_and_revoked() -> None:
    async with Peer(says(wrapped_answer()), says(login_answer()), REVOKED) as peer:
        target = vault_role(peer.url, wrap_s=60)
        async with vault_edge() as edge:
            held = await edge.vault.login(TOKEN, target, deadline=within(5))
            edge.vault.give_back(held, target)

    assert paths(peer) == [LOGIN, "/v1/sys/wrapping/unwrap", REVOKE]


async def test_a_token_is_known_by_a_digest_of_its_accessor() -> None:
    async with Peer(says(login_answer()), says(login_answer(accessor="another"))) as peer:
        first, second = await log_in(peer), await log_in(peer)

    assert first.identity.startswith("auth/jwt-github/role/payments-ci/")
    assert first.identity != second.identity
    assert "an-accessor" not in first.identity


async def test_a_wrapped_token_is_asked_for_and_named_with_the_path_that_made_it() -> None:
    async with Peer(says(wrapped_answer())) as peer:
        held = await log_in(peer, wrap_s=60)

    assert peer.received[0].headers["x-vault-wrap-ttl"] == "60s"
    assert (held.token.reveal(), held.wrapped) == ("hvs.a-wrapping-token", True)
    assert (held.creation_path, held.expires_at) == ("auth/jwt-github/login", START_S + 60)


async def test_what_the_gateway_uses_itself_is_never_wrapped() -> None:
    async with Peer(says(login_answer()), says(engine_answer(OWN.name)), REVOKED) as peer:
        target = vault_role(peer.url, aws=engine(), wrap_s=60)
        async with vault_edge() as edge:
            await edge.vault.aws(TOKEN, target, OWN, deadline=within(5))

    assert "x-vault-wrap-ttl" not in peer.received[0].headers


async def test_batch_tokens_are_taken_and_not_revoked_because_they_cannot_be() -> None:
    batch = login_answer(token_type="batch", renewable=False, accessor="")
    async with Peer(says(batch), says(engine_answer(OWN.name))) as peer, vault_edge() as edge:
        await edge.vault.aws(TOKEN, vault_role(peer.url, aws=engine()), OWN, deadline=within(5))

    assert paths(peer) == [LOGIN, ENGINE]


# What the answers are held against.


@pytest.mark.requirement("VA-04", "F-52")
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        pytest.param({"policies": ["default", "payments-ci", "admin"]}, "policies", id="a-policy-more"),
        pytest.param(
            {"policies": ["default"], "token_policies": ["default"]}, "policies", id="a-policy-less"
        ),
        pytest.param(
            {"token_policies": ["default", "payments-ci", "admin"]}, "policies", id="hidden-in-token"
        ),
        pytest.param({"identity_policies": ["admin"]}, "policies", id="hidden-in-identity"),
        pytest.param({"policies": "payments-ci"}, "policies", id="no-list"),
        pytest.param({"policies": ["root"], "token_policies": ["root"]}, "root token", id="root"),
        pytest.param({"lease_duration": 901}, "lives longer", id="longer-lease"),
        pytest.param({"lease_duration": 0}, "lives longer", id="for-ever"),
        pytest.param({"lease_duration": True}, "lives longer", id="lease-is-a-boolean"),
        pytest.param({"lease_duration": None}, "lives longer", id="no-lease"),
        pytest.param({"token_type": "batch"}, "type", id="renewable-batch"),
        pytest.param({"token_type": "recovery"}, "type", id="foreign-type"),
        pytest.param({"renewable": "yes"}, "type", id="renewable-is-a-text"),
        pytest.param({"metadata": {"role": "admin"}}, "not one of the role", id="another-role"),
        pytest.param({"metadata": None}, "not one of the role", id="no-role"),
        pytest.param({"mfa_requirement": {"mfa_request_id": "x"}}, "second factor", id="second-factor"),
    ],
)
async def test_an_answer_that_gives_other_than_the_target_allows_is_revoked_and_dropped(
    changes: Mapping[str, object], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    error, asked = await refused(says(login_answer(**changes)), REVOKED)

    assert isinstance(error, UpstreamFailed)
    assert error.code is ErrorCode.VAULT_ANSWER_MISMATCH
    assert what in error.message
    assert asked == [LOGIN, REVOKE]
    assert "dropped" in caplog.text
    assert SERVICE_TOKEN not in caplog.text + error.message


@pytest.mark.requirement("VA-04")
async def test_a_wrong_login_is_revoked_before_the_engine_is_asked() -> None:
    error, asked = await refused_credentials(says(login_answer(policies=["root"])), REVOKED)

    assert error.code is ErrorCode.VAULT_ANSWER_MISMATCH
    assert asked == [LOGIN, REVOKE]


@pytest.mark.requirement("VA-04", "F-52")
@pytest.mark.parametrize(
    "document",
    [
        pytest.param({}, id="empty"),
        pytest.param({"auth": {"client_token": ""}}, id="no-token"),
        pytest.param({"auth": {"client_token": "a\r\nb"}}, id="no-header-value"),
        pytest.param({"auth": ["client_token"]}, id="a-list"),
        pytest.param(wrapped_answer(), id="wrapped-unasked"),
    ],
)
async def test_an_answer_without_a_token_is_a_mismatch(document: Mapping[str, object]) -> None:
    error, _ = await refused(says(document), refuses(status=400))

    assert error.code is ErrorCode.VAULT_ANSWER_MISMATCH


@pytest.mark.requirement("VA-04")
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        pytest.param({"ttl": 61}, "lives longer", id="longer"),
        pytest.param({"ttl": 0}, "lives longer", id="for-ever"),
        pytest.param({"creation_path": "sys/wrapping/wrap"}, "not that of the login", id="another-path"),
    ],
)
async def test_a_wrong_wrapping_is_used_up_and_what_it_held_revoked(
    changes: Mapping[str, object], what: str
) -> None:
    error, asked = await refused(says(wrapped_answer(**changes)), says(login_answer()), REVOKED, wrap_s=60)

    assert what in error.message
    assert asked == [LOGIN, "/v1/sys/wrapping/unwrap", REVOKE]


@pytest.mark.requirement("VA-04")
async def test_a_token_that_should_have_been_wrapped_is_revoked() -> None:
    error, asked = await refused(says(login_answer()), REVOKED, wrap_s=60)

    assert "not wrapped" in error.message
    assert asked == [LOGIN, REVOKE]


@pytest.mark.requirement("VA-08")
@pytest.mark.parametrize(
    ("changes", "what"),
    [
        pytest.param({"arn": "arn:aws:sts::111122223333:assumed-role/admin/x"}, "role and name", id="role"),
        pytest.param(
            {"arn": f"arn:aws:sts::999999999999:assumed-role/deployer/{OWN.name}"},
            "role and name",
            id="account",
        ),
        pytest.param(
            {"arn": "arn:aws:sts::111122223333:assumed-role/deployer/another"}, "role and name", id="session"
        ),
        pytest.param({"arn": None}, "role and name", id="no-arn"),
        pytest.param({"ttl": 961}, "expiry", id="longer"),
        pytest.param({"ttl": 0}, "expiry", id="expired"),
        pytest.param({"ttl": "899"}, "expiry", id="a-text"),
        pytest.param({"access_key": "AK"}, "not complete", id="key-id"),
        pytest.param({"secret_key": ""}, "not complete", id="no-secret"),
        pytest.param({"session_token": None, "security_token": None}, "not complete", id="no-session-token"),
    ],
)
async def test_aws_credentials_of_vault_are_held_against_the_target_like_those_of_sts(
    changes: Mapping[str, object], what: str
) -> None:
    error, asked = await refused_credentials(
        says(login_answer()), says(engine_answer(OWN.name, **changes)), REVOKED
    )

    assert error.code is ErrorCode.VAULT_ANSWER_MISMATCH
    assert what in error.message
    assert asked == [LOGIN, ENGINE, REVOKE]


@pytest.mark.requirement("VA-08")
async def test_credentials_without_a_lease_are_a_mismatch() -> None:
    document = {**engine_answer(OWN.name), "lease_id": ""}

    error, _ = await refused_credentials(says(login_answer()), says(document), REVOKED)

    assert "without a lease" in error.message


async def test_the_older_name_of_the_session_token_is_read() -> None:
    document = engine_answer(OWN.name, session_token=None)
    async with Peer(says(login_answer()), says(document), REVOKED) as peer, vault_edge() as edge:
        credentials = await edge.vault.aws(TOKEN, vault_role(peer.url, aws=engine()), OWN, deadline=within(5))

    assert credentials.session_token.reveal() == "an-issued-session-token"


async def test_a_target_whose_ttl_is_below_what_aws_issues_says_so_before_anything_is_sent() -> None:
    error, asked = await refused_credentials(says(login_answer()), ttl_s=600)

    assert isinstance(error, ConfigurationInvalid)
    assert error.message == "AWS issues no session shorter than 900 s, and payments-ci allows 600 s at most."
    assert asked == []


async def test_a_target_without_an_engine_yields_no_aws_credentials() -> None:
    async with Peer(says(login_answer())) as peer, vault_edge() as edge:
        with pytest.raises(ConfigurationInvalid) as caught:
            await edge.vault.aws(TOKEN, vault_role(peer.url), OWN, deadline=within(5))

    assert caught.value.code is ErrorCode.MAPPING_INVALID_FOR_VAULT
    assert peer.received == []


# Faults.


@pytest.mark.requirement("VA-02", "VA-06", "F-51")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_so_the_token_goes_nowhere_else(status: int) -> None:
    async with Peer(says(login_answer())) as elsewhere:
        redirect = answers(status=status, location=f"{elsewhere.url}{LOGIN}")
        error, asked = await refused(redirect)

    assert error.code is ErrorCode.VAULT_ERROR
    assert "redirect" in error.message
    assert elsewhere.received == []
    assert asked == [LOGIN]


@pytest.mark.requirement("VA-06", "F-51")
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        pytest.param(refuses("x", status=400), ErrorCode.VAULT_DENIED, id="400"),
        pytest.param(refuses("permission denied", status=403), ErrorCode.VAULT_DENIED, id="403"),
        pytest.param(refuses(status=404), ErrorCode.MAPPING_INVALID_FOR_VAULT, id="404"),
        pytest.param(refuses("x", status=429), ErrorCode.VAULT_THROTTLED, id="429"),
        pytest.param(refuses("x", status=500), ErrorCode.VAULT_ERROR, id="500"),
        pytest.param(refuses("x", status=502), ErrorCode.VAULT_ERROR, id="502"),
        pytest.param(refuses("Vault is sealed", status=503), ErrorCode.VAULT_SEALED, id="503"),
        pytest.param(
            refuses("local node not active but active cluster node not found", status=500),
            ErrorCode.VAULT_NOT_READY,
            id="standby",
        ),
        pytest.param(refuses("x", status=418), ErrorCode.VAULT_ERROR, id="unexpected"),
        pytest.param(answers("<html>", status=503), ErrorCode.VAULT_SEALED, id="503-without-json"),
        pytest.param(answers("<html>", status=400), ErrorCode.VAULT_DENIED, id="400-without-json"),
        pytest.param(answers("<html>"), ErrorCode.VAULT_ERROR, id="200-without-json"),
        pytest.param(answers('{"auth":1,"auth":2}'), ErrorCode.VAULT_ERROR, id="the-same-member-twice"),
        pytest.param(answers("[" * 500), ErrorCode.VAULT_ERROR, id="nested"),
        pytest.param(answers("{}", content_encoding="gzip"), ErrorCode.VAULT_ERROR, id="compressed"),
        pytest.param(raw(b"SSH-2.0-x\r\n"), ErrorCode.VAULT_NOT_READY, id="not-http"),
        pytest.param(pours(), ErrorCode.VAULT_ERROR, id="endless"),
        pytest.param(cuts_the_connection(), ErrorCode.VAULT_NOT_READY, id="cut"),
    ],
)
async def test_every_fault_of_vault_has_its_code_and_is_asked_for_once(reply: Reply, code: ErrorCode) -> None:
    error, asked = await refused(reply)

    assert error.code is code
    assert asked == [LOGIN]


@pytest.mark.requirement("VA-06", "F-51")
async def test_a_replica_that_has_not_caught_up_is_asked_once_more() -> None:
    async with Peer(refuses(status=412), says(login_answer())) as peer:
        held = await log_in(peer)

    assert held.token.reveal() == SERVICE_TOKEN
    assert paths(peer) == [LOGIN, LOGIN]


@pytest.mark.requirement("VA-06")
async def test_a_replica_that_stays_behind_is_not_ready() -> None:
    error, asked = await refused(refuses(status=412))

    assert (error.code, error.retry_after_s) == (ErrorCode.VAULT_NOT_READY, 5)
    assert asked == [LOGIN, LOGIN]


@pytest.mark.requirement("VA-06")
async def test_vault_s_own_wish_when_to_come_again_is_passed_on_within_reason() -> None:
    told = [
        (await refused(answers('{"errors":[]}', status=429, retry_after=text)))[0].retry_after_s
        for text in ("7", "9999", "soon")
    ]

    assert told == [7, 60, 5]


@pytest.mark.requirement("VA-02")
async def test_a_connection_has_a_second_and_a_call_six_however_much_time_the_caller_has() -> None:
    clients = Patience(Answer(status=200, headers={}, body=json.dumps(login_answer()).encode()))
    calls = VaultCalls(clients, metrics=Metrics(), jitter=lambda: 0.0)
    async with VaultCredentials(calls=calls, clock=SettableClock()) as vault:
        await vault.login(TOKEN, vault_role(), deadline=within(300))

    assert clients.connect_s == [1.0]
    assert 5.5 < clients.seconds[0] <= 6


def _vault_of_many() -> Reply:
    """Return what gives each login a token of its own, named after the caller, and takes any token for credentials."""

    async def reply(request: Received, writer: asyncio.StreamWriter) -> None:
        asked = json.loads(request.body or b"{}")
        if request.target == LOGIN:
            name = hashlib.sha256(asked["jwt"].encode()).hexdigest()
            await says(login_answer(client_token=f"hvs.{name}", accessor=name))(request, writer)
        elif request.target == ENGINE:
            await says(engine_answer(asked["role_session_name"]))(request, writer)
        else:
            await REVOKED(request, writer)

    return reply


@pytest.mark.requirement("VA-03")
async def test_logins_at_once_over_one_edge_use_and_revoke_each_their_own_token() -> None:
    tokens = [verified(sub=f"caller-{number}") for number in range(20)]
    async with Peer(_vault_of_many()) as peer, vault_edge() as edge:
        target = vault_role(peer.url, aws=engine())
        sessions = [session_for(token, target, workflow=workflow()) for token in tokens]
        await asyncio.gather(
            *(
                edge.vault.aws(token, target, session, deadline=within(5))
                for token, session in zip(tokens, sessions, strict=True)
            )
        )
    asked = {
        json.loads(one.body)["role_session_name"]: one.headers["x-vault-token"]
        for one in peer.received
        if one.target == ENGINE
    }
    revoked = [one.headers["x-vault-token"] for one in peer.received if one.target == REVOKE]
    own = [f"hvs.{hashlib.sha256(token.compact.reveal().encode()).hexdigest()}" for token in tokens]

    assert asked == {session.name: token for session, token in zip(sessions, own, strict=True)}
    assert sorted(revoked) == sorted(own)


@pytest.mark.requirement("VA-02", "VA-06", "F-51")
async def test_a_vault_that_hangs_is_given_up_at_the_calls_deadline() -> None:
    error, _ = await refused(stays_silent(), seconds=0.2)

    assert isinstance(error, Unavailable)
    assert error.code is ErrorCode.DEADLINE_EXCEEDED


@pytest.mark.requirement("VA-06")
async def test_a_vault_that_is_not_there_is_not_ready() -> None:
    port = await closed_port()
    async with vault_edge() as edge:
        with pytest.raises(UpstreamFailed) as caught:
            await edge.vault.login(TOKEN, vault_role(f"http://{LOOPBACK}:{port}"), deadline=within(5))

    assert (caught.value.code, caught.value.message) == (
        ErrorCode.VAULT_NOT_READY,
        "Vault cannot be reached.",
    )


@pytest.mark.requirement("VA-06", "VA-07")
async def test_vaults_own_words_stay_in_our_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    error, _ = await refused(refuses("policy secret-plans needs arn:aws:iam::1:role/x"))

    assert "secret-plans" in caplog.text
    said = f"{error} {error.message} {error.hint} {error.claims} {error.upstream} {error.__cause__}"
    assert "secret-plans" not in said
    assert error.__suppress_context__


@pytest.mark.requirement("VA-07")
@pytest.mark.parametrize(
    "sentence",
    [
        "value a-claims-value in groups claim could not be parsed as string",
        "error validating claims: received claim is not a string, bool, int or list: a-claims-value",
        "error validating claims: received claim is not a glob string: a-claims-value",
    ],
)
async def test_a_sentence_of_vault_that_repeats_a_claims_value_is_logged_without_it(
    sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    error, _ = await refused(refuses(sentence))

    assert error.message == "A claim of this token has a type that Vault cannot use."
    assert "(not shown)" in caplog.text
    assert "a-claims-value" not in caplog.text


@pytest.mark.requirement("VA-06")
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        pytest.param(
            refuses("1 error occurred:\n\t* permission denied", status=403), ErrorCode.VAULT_DENIED, id="403"
        ),
        pytest.param(refuses(status=404), ErrorCode.MAPPING_INVALID_FOR_VAULT, id="404"),
        pytest.param(
            refuses("Vault is sealed", status=503), ErrorCode.VAULT_SEALED, id="sealed-in-mid-flight"
        ),
        pytest.param(
            refuses("upstream rate limited", status=502), ErrorCode.VAULT_THROTTLED, id="aws-throttles"
        ),
        pytest.param(cuts_the_connection(), ErrorCode.VAULT_NOT_READY, id="cut"),
        pytest.param(answers("x"), ErrorCode.VAULT_ERROR, id="garbage"),
    ],
)
async def test_whatever_the_engine_answers_the_service_token_is_revoked(
    reply: Reply, code: ErrorCode
) -> None:
    error, asked = await refused_credentials(says(login_answer()), reply, REVOKED)

    assert error.code is code
    assert asked == [LOGIN, ENGINE, REVOKE]


@pytest.mark.requirement("HT-15")
@pytest.mark.requirement("VA-05")
async def test_a_caller_who_leaves_while_the_engine_works_leaves_no_token() -> None:
    engine_asked = asyncio.Event()

    async def works(request: Received, writer: asyncio.StreamWriter) -> None:
        engine_asked.set()
        await stays_silent()(request, writer)

    async with Peer(says(login_answer()), works, REVOKED) as peer, vault_edge() as edge:
        target = vault_role(peer.url, aws=engine())
        asking = asyncio.ensure_future(edge.vault.aws(TOKEN, target, OWN, deadline=within(5)))
        await engine_asked.wait()

        asking.cancel()
        await asyncio.wait({asking})

    assert paths(peer) == [LOGIN, ENGINE, REVOKE]


# Revocation never holds up the answer.


@pytest.mark.requirement("VA-05", "F-53")
@pytest.mark.parametrize(
    "fault",
    [pytest.param(refuses(status=500), id="500"), pytest.param(cuts_the_connection(), id="cut")],
)
async def test_a_revocation_that_fails_is_tried_once_more_and_the_answer_given_all_the_same(
    fault: Reply, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        Peer(says(login_answer()), says(engine_answer(OWN.name)), fault, REVOKED) as peer,
        vault_edge() as edge,
    ):
        credentials = await edge.vault.aws(TOKEN, vault_role(peer.url, aws=engine()), OWN, deadline=within(5))

    assert credentials.access_key_id == "ASIATESTTESTTEST0001"
    assert paths(peer) == [LOGIN, ENGINE, REVOKE, REVOKE]
    assert (
        f"accessor {Secret('an-accessor').digest()[:16]} is not revoked; it is tried once more" in caplog.text
    )
    assert SERVICE_TOKEN not in caplog.text


@pytest.mark.requirement("VA-05")
async def test_a_vault_that_never_revokes_is_asked_twice_and_the_token_named_by_its_digest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        Peer(says(login_answer()), says(engine_answer(OWN.name)), refuses(status=500)) as peer,
        vault_edge() as edge,
    ):
        await edge.vault.aws(TOKEN, vault_role(peer.url, aws=engine()), OWN, deadline=within(5))

    assert paths(peer).count(REVOKE) == 2
    assert "ends by its lease" in caplog.text


@pytest.mark.requirement("VA-05")
async def test_the_answer_does_not_wait_for_a_revocation_that_hangs() -> None:
    async with (
        Peer(says(login_answer()), says(engine_answer(OWN.name)), stays_silent()) as peer,
        vault_edge() as edge,
    ):
        async with asyncio.timeout(1.5):
            await edge.vault.aws(TOKEN, vault_role(peer.url, aws=engine()), OWN, deadline=within(5))

    assert paths(peer)[:2] == [LOGIN, ENGINE]


@pytest.mark.requirement("VA-05")
async def test_an_orderly_end_does_not_wait_for_the_pause_and_still_tries_again() -> None:
    async with (
        Peer(says(login_answer()), says(engine_answer(OWN.name)), refuses(status=500), REVOKED) as peer,
        asyncio.timeout(5),
        vault_edge(pause_s=3600) as edge,
    ):
        await edge.vault.aws(TOKEN, vault_role(peer.url, aws=engine()), OWN, deadline=within(5))

    assert paths(peer) == [LOGIN, ENGINE, REVOKE, REVOKE]


# Many at once.


@pytest.mark.requirement("VA-03", "F-54")
async def test_two_hundred_logins_at_once_never_see_each_others_token() -> None:
    async def tagged(request: Received, writer: asyncio.StreamWriter) -> None:
        payload = json.loads(request.body)["jwt"].split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"]
        await asyncio.sleep(0.05)
        await says(login_answer(client_token=f"hvs.{subject}"))(request, writer)

    subjects = [f"caller-{number}" for number in range(200)]
    tokens = [verified(sub=subject) for subject in subjects]
    async with Peer(tagged) as peer, vault_edge() as edge:
        target = vault_role(peer.url)
        held = await asyncio.gather(
            *(edge.vault.login(token, target, deadline=within(20)) for token in tokens)
        )

    assert [one.token.reveal() for one in held] == [f"hvs.{subject}" for subject in subjects]


# A CA of its own.


@pytest.mark.requirement("VA-02")
async def test_a_vault_with_a_private_ca_is_trusted_by_that_ca_alone() -> None:
    ours, theirs = Authority(), Authority()
    async with Peer(says(login_answer()), tls=ours.server(LOOPBACK)) as peer, vault_edge() as edge:
        held = await edge.vault.login(TOKEN, vault_role(peer.url, ca_pem=ours.pem), deadline=within(5))
        for ca in (theirs.pem, None):
            with pytest.raises(UpstreamFailed) as caught:
                await edge.vault.login(TOKEN, vault_role(peer.url, ca_pem=ca), deadline=within(5))
            assert caught.value.message == "Vault's certificate is not trusted."

    assert held.token.reveal() == SERVICE_TOKEN
    assert len(peer.received) == 1


async def test_connections_to_a_vault_with_a_private_ca_are_reused() -> None:
    ca = Authority()
    async with Peer(says(login_answer()), tls=ca.server(LOOPBACK)) as peer, vault_edge() as edge:
        for _ in range(3):
            await edge.vault.login(TOKEN, vault_role(peer.url, ca_pem=ca.pem), deadline=within(5))

    assert (len(peer.received), peer.connections) == (3, 1)


async def test_a_ca_that_cannot_be_read_is_the_administrators_affair() -> None:
    async with vault_edge() as edge:
        with pytest.raises(ConfigurationInvalid) as caught:
            await edge.vault.login(TOKEN, vault_role(ca_pem="no PEM"), deadline=within(5))

    assert caught.value.code is ErrorCode.MAPPING_INVALID_FOR_VAULT
