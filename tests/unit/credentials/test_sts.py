"""What is sent to STS, what its answers are held against, and what its errors mean."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import cast, get_args
from urllib.parse import parse_qsl

import botocore.session
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer

from gateway.arn import parse_role
from gateway.credentials.session import AwsCredentials, RoleSession, session_for
from gateway.credentials.sts import StsCredentials, request_form
from gateway.credentials.sts_errors import repeatable
from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    GatewayError,
    TokenRejected,
    Unavailable,
    UpstreamFailed,
)
from gateway.identity.token import Principal
from gateway.outbound.aws import AwsCall, AwsCalls, Repeatable
from gateway.outbound.http import Answer, FailureKind, OutboundFailure
from gateway.policy.snapshot import AwsEndpoints
from gateway.secret import Secret
from tests.support.aws import DATA, REGION, Aws, aws_at, within
from tests.support.clocks import SettableClock
from tests.support.peer import (
    LOOPBACK,
    Peer,
    Reply,
    answers,
    closed_port,
    cuts_the_connection,
    stays_silent,
)
from tests.support.policies import role, workflow
from tests.support.tokens import verified

TOKEN = verified()
SESSION = session_for(TOKEN, role(), workflow=workflow())
ISSUER = TOKEN.principal.issuer
GOOD: Mapping[str, str] = {
    "SubjectFromWebIdentityToken": TOKEN.principal.subject,
    "Provider": f"arn:aws:iam::111122223333:oidc-provider/{ISSUER.removeprefix('https://')}",
    "Arn": f"arn:aws:sts::111122223333:assumed-role/deployer/{SESSION.name}",
    "AccessKeyId": "ASIATESTTESTTEST0001",
    "SecretAccessKey": "an-issued-secret",
    "SessionToken": "an-issued-session-token",
    "Expiration": "2026-11-22T10:32:03Z",  # 900 seconds after the clock's start
}


def document(**changes: str | None) -> str:
    found = {name: text for name, text in {**GOOD, **changes}.items() if text is not None}

    def tag(*names: str) -> str:
        return "".join(f"<{name}>{found[name]}</{name}>" for name in names if name in found)

    return (
        '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<AssumeRoleWithWebIdentityResult>{tag('SubjectFromWebIdentityToken', 'Provider')}"
        f"<AssumedRoleUser>{tag('Arn')}<AssumedRoleId>AROATEST:{SESSION.name}</AssumedRoleId></AssumedRoleUser>"
        f"<Credentials>{tag('AccessKeyId', 'SecretAccessKey', 'SessionToken', 'Expiration')}</Credentials>"
        "</AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
        "</AssumeRoleWithWebIdentityResponse>"
    )


def error(code: str, *, status: int = 400, message: str = "text of AWS with arn:aws:iam::1:role/x") -> Reply:
    body = (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-7</RequestId></ErrorResponse>"
    )
    return answers(body, status=status, content_type="text/xml")


async def assume(aws: Aws, *, seconds: float = 5.0, session: RoleSession = SESSION) -> AwsCredentials:
    return await aws.sts.assume(TOKEN, role(), session, region=REGION, deadline=within(seconds))


async def refused(*replies: Reply, seconds: float = 5.0) -> tuple[GatewayError, int]:
    """Return what a caller would hear, and how many calls it took."""
    async with Peer(*replies) as peer, aws_at(peer.url, clock=SettableClock()) as aws:
        with pytest.raises(GatewayError) as caught:
            await assume(aws, seconds=seconds)
    return caught.value, len(peer.received)


# What is sent.


@pytest.mark.requirement("ST-01", "ST-06", "ST-13")
async def test_the_callers_token_goes_out_unsigned_with_the_session_that_narrows_the_role() -> None:
    async with Peer(answers(document())) as peer, aws_at(peer.url, clock=SettableClock()) as aws:
        await assume(aws)

    (sent,) = peer.received
    assert dict(parse_qsl(sent.body.decode(), strict_parsing=True)) == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": "arn:aws:iam::111122223333:role/deployer",
        "RoleSessionName": SESSION.name,
        "WebIdentityToken": TOKEN.compact.reveal(),
        "DurationSeconds": "900",
        "Policy": SESSION.session_policy,
    }
    assert "authorization" not in sent.headers
    assert (sent.method, sent.target) == ("POST", "/")


@pytest.mark.requirement("ST-01")
def test_the_form_is_the_one_that_botocore_writes() -> None:
    model = ServiceModel(Loader().load_service_model("sts", "service-2"))
    serialised = create_serializer("query").serialize_to_request(
        {
            "RoleArn": str(role().arn),
            "RoleSessionName": SESSION.name,
            "WebIdentityToken": TOKEN.compact.reveal(),
            "DurationSeconds": 900,
            "Policy": SESSION.session_policy,
        },
        model.operation_model("AssumeRoleWithWebIdentity"),
    )

    ours = dict(parse_qsl(request_form(TOKEN, role(), SESSION).decode()))

    assert ours == {name: str(value) for name, value in serialised["body"].items()}


def test_credentials_that_leave_the_gateway_are_asked_for_without_a_policy() -> None:
    session = session_for(TOKEN, role(), workflow=None)

    assert "Policy" not in dict(parse_qsl(request_form(TOKEN, role(), session).decode()))


@pytest.mark.requirement("ST-01", "ST-05")
async def test_nothing_in_the_environment_redirects_the_call_or_adds_an_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        Peer(answers("trapped")) as trap,
        Peer(answers(document())) as peer,
        aws_at(peer.url, clock=SettableClock()) as aws,
    ):
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_STS", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy"):
            monkeypatch.setenv(name, trap.url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
            monkeypatch.setenv(name, "AMBIENT")
        credentials = await assume(aws)

    assert trap.connections == 0
    assert credentials.access_key_id == "ASIATESTTESTTEST0001"
    assert "AMBIENT" not in str(peer.received)


@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize(
    "session",
    [
        pytest.param(replace(SESSION, name="a"), id="short name"),
        pytest.param(replace(SESSION, name="a" * 65), id="long name"),
        pytest.param(replace(SESSION, name="bad name!"), id="bad name"),
        pytest.param(replace(SESSION, name="name\n"), id="name with a line end"),
        pytest.param(replace(SESSION, duration_s=899), id="short"),
        pytest.param(replace(SESSION, duration_s=43_201), id="long"),
        pytest.param(replace(SESSION, session_policy="x" * 2049), id="policy"),
    ],
)
async def test_what_sts_would_not_take_is_not_sent(session: RoleSession) -> None:
    async with Peer(answers(document())) as peer, aws_at(peer.url) as aws:
        with pytest.raises(GatewayError) as caught:
            await assume(aws, session=session)

    assert caught.value.code is ErrorCode.INTERNAL_ERROR
    assert not peer.received


@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize("length", [3, 20_001])
async def test_a_token_that_sts_would_not_take_is_not_sent(length: int) -> None:
    token = replace(TOKEN, compact=Secret("x" * length))
    async with Peer(answers(document())) as peer, aws_at(peer.url) as aws:
        with pytest.raises(GatewayError, match="the token's length"):
            await aws.sts.assume(token, role(), SESSION, region=REGION, deadline=within(5))

    assert not peer.received


@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize("region", ["cn-north-1", "nowhere-1-x"])
async def test_a_role_of_another_partition_or_an_unknown_region_is_a_wrong_mapping(region: str) -> None:
    async with aws_at("http://127.0.0.1:1") as aws:
        with pytest.raises(ConfigurationInvalid) as caught:
            await aws.sts.assume(TOKEN, role(), SESSION, region=region, deadline=within(5))

    assert caught.value.code is ErrorCode.MAPPING_INVALID_FOR_AWS


# What answers are held against.


@pytest.mark.requirement("ST-04")
@pytest.mark.parametrize(
    "provider",
    [
        pytest.param(GOOD["Provider"], id="the ARN that AWS really writes"),
        pytest.param(ISSUER, id="iss, as the API reference says"),
        pytest.param(ISSUER.removeprefix("https://"), id="without its scheme"),
    ],
)
async def test_an_answer_that_fits_becomes_credentials(provider: str) -> None:
    async with (
        Peer(answers(document(Provider=provider))) as peer,
        aws_at(peer.url, clock=SettableClock()) as aws,
    ):
        credentials = await assume(aws)

    assert credentials == AwsCredentials(
        access_key_id="ASIATESTTESTTEST0001",
        secret_access_key=Secret("an-issued-secret"),
        session_token=Secret("an-issued-session-token"),
        expires_at=1_795_343_523.0,
        identity=f"arn:aws:sts::111122223333:assumed-role/deployer/{SESSION.name}",
    )


@pytest.mark.requirement("ST-04")
async def test_an_issuer_with_a_closing_slash_is_recognised_with_and_without_it() -> None:
    token = replace(TOKEN, principal=Principal(issuer="https://acme.eu.auth0.example/", subject="s"))
    providers = [
        "arn:aws:iam::111122223333:oidc-provider/acme.eu.auth0.example/",
        "arn:aws:iam::111122223333:oidc-provider/acme.eu.auth0.example",
    ]
    replies = [answers(document(Provider=one, SubjectFromWebIdentityToken="s")) for one in providers]

    async with Peer(*replies) as peer, aws_at(peer.url, clock=SettableClock()) as aws:
        for _ in providers:
            await aws.sts.assume(token, role(), SESSION, region=REGION, deadline=within(5))

    assert len(peer.received) == 2


@pytest.mark.requirement("ST-04")
async def test_the_path_of_a_role_is_no_part_of_its_sessions() -> None:
    target = replace(role(), arn=parse_role("arn:aws:iam::111122223333:role/teams/payments/deployer"))
    async with Peer(answers(document())) as peer, aws_at(peer.url, clock=SettableClock()) as aws:
        credentials = await aws.sts.assume(TOKEN, target, SESSION, region=REGION, deadline=within(5))

    assert credentials.identity.endswith(f"assumed-role/deployer/{SESSION.name}")


MISMATCHES = [
    pytest.param({"SubjectFromWebIdentityToken": "someone-else"}, id="subject"),
    pytest.param({"SubjectFromWebIdentityToken": None}, id="no subject"),
    pytest.param({"Provider": "https://other.example"}, id="provider"),
    pytest.param(
        {"Provider": GOOD["Provider"].replace("111122223333", "999988887777")}, id="provider's account"
    ),
    pytest.param({"Provider": None}, id="no provider"),
]
ALWAYS = [
    pytest.param({"Arn": GOOD["Arn"].replace("deployer/", "other/")}, id="role"),
    pytest.param({"Arn": GOOD["Arn"].replace("111122223333", "999988887777")}, id="account"),
    pytest.param({"Arn": GOOD["Arn"].replace("arn:aws:", "arn:aws-cn:")}, id="partition"),
    pytest.param({"Arn": GOOD["Arn"] + "x"}, id="session name"),
    pytest.param({"Arn": "not an ARN"}, id="no ARN"),
    pytest.param({"Arn": None}, id="missing ARN"),
    pytest.param({"Expiration": "2026-11-22T10:17:03Z"}, id="expired"),
    pytest.param({"Expiration": "2026-11-22T10:33:04Z"}, id="lasts longer than asked"),
    pytest.param({"Expiration": "soon"}, id="no time"),
    pytest.param({"Expiration": "2026-11-22T10:32:03"}, id="no time zone"),
    pytest.param({"Expiration": None}, id="missing expiry"),
    pytest.param({"AccessKeyId": None}, id="missing key id"),
    pytest.param({"AccessKeyId": "short"}, id="key id"),
    pytest.param({"SecretAccessKey": None}, id="missing secret"),
    pytest.param({"SessionToken": None}, id="missing session token"),
]


@pytest.mark.requirement("ST-04", "ST-05")
@pytest.mark.parametrize("changes", [*MISMATCHES, *ALWAYS])
async def test_an_answer_to_another_question_drops_the_credentials(
    changes: dict[str, str | None], caplog: pytest.LogCaptureFixture
) -> None:
    heard, calls = await refused(answers(document(**changes)))

    assert isinstance(heard, UpstreamFailed)
    assert (heard.code, calls) == (ErrorCode.AWS_ANSWER_MISMATCH, 1)
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    assert "an-issued" not in caplog.text


@pytest.mark.requirement("ST-04")
@pytest.mark.parametrize("changes", ALWAYS)
async def test_an_emulator_is_believed_about_provider_and_subject_only(
    changes: dict[str, str | None],
) -> None:
    invented = {"Provider": "sts.amazonaws.com", "SubjectFromWebIdentityToken": "test-subject"}
    replies = [answers(document(**invented)), answers(document(**{**invented, **changes}))]
    async with Peer(*replies) as peer, aws_at(peer.url, emulator=True, clock=SettableClock()) as aws:
        await assume(aws)
        with pytest.raises(UpstreamFailed) as caught:
            await assume(aws)

    assert caught.value.code is ErrorCode.AWS_ANSWER_MISMATCH


@pytest.mark.requirement("ST-04")
@pytest.mark.parametrize(
    "body",
    [
        pytest.param("<html><body>Welcome</body></html>", id="HTML"),
        pytest.param("", id="nothing"),
        pytest.param('{"AssumeRoleWithWebIdentityResponse": {}}', id="JSON"),
        pytest.param(
            "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>", id="an error"
        ),
        pytest.param('<!DOCTYPE a [<!ENTITY e "x">]>' + document(), id="entities"),
        pytest.param(
            document().replace("<Credentials>", "<SecretAccessKey>x</SecretAccessKey><Credentials>")[:-10],
            id="cut",
        ),
    ],
)
async def test_a_good_status_with_something_else_in_it_is_no_answer(body: str) -> None:
    heard, calls = await refused(answers(body))

    assert (heard.code, calls) == (ErrorCode.AWS_ANSWER_MISMATCH, 1)


# What errors mean.


@pytest.mark.requirement("ST-03", "ST-08")
@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (error("ExpiredTokenException"), TokenRejected, ErrorCode.TOKEN_EXPIRED),
        (error("ExpiredToken"), TokenRejected, ErrorCode.TOKEN_EXPIRED),
        (error("InvalidIdentityToken"), AccessDenied, ErrorCode.AWS_TOKEN_REJECTED),
        (error("AccessDenied", status=403), AccessDenied, ErrorCode.AWS_DENIED),
        (error("IDPRejectedClaim", status=403), AccessDenied, ErrorCode.AWS_IDP_REJECTED),
        (error("PackedPolicyTooLarge"), ConfigurationInvalid, ErrorCode.MAPPING_INVALID_FOR_AWS),
        (error("MalformedPolicyDocument"), ConfigurationInvalid, ErrorCode.MAPPING_INVALID_FOR_AWS),
        (error("ValidationError"), ConfigurationInvalid, ErrorCode.MAPPING_INVALID_FOR_AWS),
        (
            error("RegionDisabledException", status=403),
            ConfigurationInvalid,
            ErrorCode.MAPPING_INVALID_FOR_AWS,
        ),
        (error("SomethingNew"), UpstreamFailed, ErrorCode.AWS_ERROR),
        (answers("<html/>", status=404), UpstreamFailed, ErrorCode.AWS_ERROR),
    ],
)
async def test_a_refusal_that_cannot_heal_is_one_call_and_has_one_code(
    reply: Reply, kind: type[GatewayError], code: ErrorCode
) -> None:
    heard, calls = await refused(reply)

    assert (type(heard), heard.code, calls) == (kind, code, 1)


@pytest.mark.requirement("ST-03", "ST-08")
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        pytest.param(error("IDPCommunicationError"), ErrorCode.AWS_IDP_UNREACHABLE, id="issuer unreachable"),
        pytest.param(
            error(
                "InvalidIdentityToken",
                message="Couldn't retrieve verification key from your identity provider,  …",
            ),
            ErrorCode.AWS_IDP_UNREACHABLE,
            id="keys not retrievable",
        ),
        pytest.param(error("Throttling"), ErrorCode.AWS_THROTTLED, id="throttled"),
        pytest.param(error("InternalFailure", status=500), ErrorCode.AWS_UNAVAILABLE, id="failed"),
        pytest.param(answers("", status=503), ErrorCode.AWS_UNAVAILABLE, id="unavailable"),
        pytest.param(cuts_the_connection(), ErrorCode.AWS_UNAVAILABLE, id="cut"),
    ],
)
async def test_a_fault_that_can_pass_is_tried_three_times_and_says_when_to_come_again(
    reply: Reply, code: ErrorCode
) -> None:
    heard, calls = await refused(reply)

    assert (type(heard), heard.code, calls) == (UpstreamFailed, code, 3)
    assert heard.retry_after_s


@pytest.mark.requirement("ST-03")
async def test_a_fault_that_passes_costs_the_caller_nothing_but_time() -> None:
    replies = (error("Throttling"), answers(document()))
    async with Peer(*replies) as peer, aws_at(peer.url, clock=SettableClock()) as aws:
        credentials = await assume(aws)

    assert credentials.access_key_id == "ASIATESTTESTTEST0001"
    assert len(peer.received) == 2


@pytest.mark.requirement("ST-08")
@pytest.mark.parametrize(
    "code",
    [
        "AccessDenied",
        "ExpiredToken",
        "IDPCommunicationError",
        "IDPRejectedClaim",
        "InternalFailure",
        "InvalidIdentityToken",
        "SomethingNew",
        "Throttling",
        "ValidationError",
    ],
)
async def test_callers_get_the_request_id_of_aws_and_none_of_its_words(
    caplog: pytest.LogCaptureFixture, code: str
) -> None:
    heard, _ = await refused(error(code, status=500 if code == "InternalFailure" else 403))

    assert heard.upstream is not None
    assert (heard.upstream.service, heard.upstream.code, heard.upstream.request_id) == ("sts", code, "r-7")
    assert "role/x" not in f"{heard} {heard.message} {heard.hint} {heard.claims}"
    assert "role/x" in caplog.text
    assert TOKEN.compact.reveal() not in caplog.text


@pytest.mark.requirement("ST-03")
def test_of_connections_only_those_are_tried_again_that_broke_or_never_were() -> None:
    again = {
        kind
        for kind in get_args(FailureKind)
        if repeatable(OutboundFailure(kind, "a reason", sent=kind != "connect"))
    }

    assert again == {"connect", "broken"}


@pytest.mark.requirement("ST-03")
async def test_a_hanging_sts_ends_with_the_callers_deadline() -> None:
    async with asyncio.timeout(6):  # one attempt alone would take longer
        heard, calls = await refused(stays_silent(), seconds=0.3)

    assert (type(heard), heard.code, calls) == (Unavailable, ErrorCode.DEADLINE_EXCEEDED, 1)


class _Allowances:
    """Stands for `AwsCalls` where only the time that it is given matters, and whom it would call."""

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.seconds: list[float] = []

    async def make(self, call: AwsCall, _again: Repeatable, *, deadline: float) -> Answer:
        self.urls.append(call.url)
        self.seconds.append(deadline - asyncio.get_running_loop().time())
        return Answer(status=200, headers={}, body=document().encode())


def sts_over(calls: _Allowances) -> StsCredentials:
    return StsCredentials(
        calls=cast(AwsCalls, calls),
        data=DATA,
        endpoints=lambda: AwsEndpoints(region=REGION),
        clock=SettableClock(),
    )


@pytest.mark.requirement("ST-01")
@pytest.mark.parametrize("region", [REGION, "us-east-1"])
async def test_the_region_that_is_asked_for_is_the_one_that_is_called(region: str) -> None:
    calls = _Allowances()

    await sts_over(calls).assume(TOKEN, role(), SESSION, region=region, deadline=within(5))

    assert calls.urls == [f"https://sts.{region}.amazonaws.com/"]


@pytest.mark.requirement("ST-03")
@pytest.mark.parametrize(("asked_s", "given_s"), [(60.0, 8.0), (3.0, 3.0)], ids=["longer", "shorter"])
async def test_all_attempts_together_have_eight_seconds_of_the_callers_time_at_most(
    asked_s: float, given_s: float
) -> None:
    calls = _Allowances()

    await sts_over(calls).assume(TOKEN, role(), SESSION, region=REGION, deadline=within(asked_s))

    (seconds,) = calls.seconds
    assert given_s - 0.5 < seconds <= given_s


@pytest.mark.requirement("ST-03")
async def test_an_sts_that_is_not_there_is_unavailable() -> None:
    async with aws_at(f"http://{LOOPBACK}:{await closed_port()}") as aws:
        with pytest.raises(UpstreamFailed) as caught:
            await assume(aws)

    assert caught.value.code is ErrorCode.AWS_UNAVAILABLE


@pytest.mark.requirement("ST-08")
def test_every_error_that_botocores_model_of_sts_knows_has_a_meaning_of_its_own() -> None:
    from gateway.credentials.sts_errors import refusal
    from gateway.outbound.aws_answers import AwsFault

    model = botocore.session.get_session().get_service_model("sts")
    codes = [
        shape.metadata["error"]["code"]
        for shape in model.operation_model("AssumeRoleWithWebIdentity").error_shapes
    ]

    meanings = {refusal(AwsFault(code, status=400, request_id=None, text=""), TOKEN).code for code in codes}

    assert len(codes) == 7
    assert ErrorCode.AWS_ERROR not in meanings
