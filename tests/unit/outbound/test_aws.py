"""Where AWS is, how calls are signed, what errors say, and when a call is made again."""

import asyncio
import json
import logging
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.regions import EndpointResolver

from gateway.metrics import Metrics
from gateway.outbound.aws import AwsCall, AwsCalls, SigningKey, signed
from gateway.outbound.aws_answers import AnswerInvalid, AwsFault, date_of, fault_of, xml_texts
from gateway.outbound.aws_endpoints import AwsEndpointData, RegionUnknown, Service
from gateway.outbound.http import Answer, OutboundFailure
from gateway.secret import Secret
from tests.support.aws import DATA, aws_at, within
from tests.support.patience import Patience
from tests.support.peer import LOOPBACK, Peer, answers, closed_port, cuts_the_connection, stays_silent

THROTTLED = answers('{"__type": "ThrottlingException"}', status=400)
FAILED = answers('{"__type": "InternalServerError"}', status=500)
DENIED = answers('{"__type": "AccessDeniedException", "message": "arn:aws:iam::1:role/secret"}', status=400)
GOOD = answers("{}")
KEY = SigningKey(
    access_key_id="ASIATESTTESTTEST0001",
    secret_access_key=Secret("secret-signing-key"),
    session_token=Secret("secret-session-token"),
)


def call(url: str, **changes: object) -> AwsCall:
    usual: dict[str, object] = {
        "service": "states",
        "operation": "DescribeExecution",
        "region": "eu-west-1",
        "url": f"{url}/",
        "headers": {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AWSStepFunctions.X"},
        "body": b"{}",
    }
    return AwsCall(**{**usual, **changes})  # type: ignore[arg-type]


def whatever(failure: AwsFault | OutboundFailure) -> bool:
    return not isinstance(failure, AwsFault) or failure.throttled or failure.unavailable


def answer(body: str, status: int = 400, **headers: str) -> Answer:
    return Answer(
        status=status,
        headers={name.replace("_", "-"): text for name, text in headers.items()},
        body=body.encode(),
    )


# Where AWS is.


@pytest.mark.requirement("ST-01")
@pytest.mark.parametrize(
    ("service", "region", "prefix", "url"),
    [
        ("sts", "eu-west-1", "", "https://sts.eu-west-1.amazonaws.com/"),
        ("sts", "us-east-1", "", "https://sts.us-east-1.amazonaws.com/"),
        ("states", "eu-west-1", "sync-", "https://sync-states.eu-west-1.amazonaws.com/"),
        ("states", "cn-north-1", "", "https://states.cn-north-1.amazonaws.com.cn/"),
        ("sts", "us-gov-west-1", "", "https://sts.us-gov-west-1.amazonaws.com/"),
        ("sts", "eusc-de-east-1", "", "https://sts.eusc-de-east-1.amazonaws.eu/"),
    ],
)
def test_endpoints_are_regional_and_of_the_regions_partition(
    service: str, region: str, prefix: str, url: str
) -> None:
    assert DATA.url(service, region, overrides={}, prefix=prefix) == url  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "region", ["", "nowhere", "xx-nowhere-1", "aws-global", "eu-west-1.attacker.example/"]
)
def test_a_region_that_no_partition_has_is_refused(region: str) -> None:
    with pytest.raises(RegionUnknown):
        DATA.url("sts", region, overrides={})


@pytest.mark.parametrize("service", ["sts", "states"])
def test_every_region_has_the_endpoint_that_botocore_gives_it(service: Service) -> None:
    data = Loader().load_data("endpoints")
    resolver = EndpointResolver(data, uses_builtin_data=True)
    regions = {
        name
        for partition in data["partitions"]
        for one in (partition["regions"], partition["services"].get(service, {}).get("endpoints", {}))
        for name in one
    } | {"us-west-9", "cn-new-1", "us-gov-north-1", "eu-isoe-east-2", "xx-west-1", "us-east-1\n", ""}

    for region in regions:
        found = resolver.construct_endpoint(service, region)
        if "\n" in region or not found or found.get("credentialScope", {}).get("region", region) != region:
            with pytest.raises(RegionUnknown):
                DATA.url(service, region, overrides={})
        else:
            assert DATA.url(service, region, overrides={}) == f"https://{found['hostname']}/"
            assert DATA.partition(region) == found["partition"]


@pytest.mark.parametrize("override", ["http://127.0.0.1:4566", "http://127.0.0.1:4566/"])
def test_a_configured_endpoint_replaces_the_one_of_its_region_and_gets_no_prefix(override: str) -> None:
    url = DATA.url("states", "eu-west-1", overrides={"eu-west-1": override}, prefix="sync-")

    assert url == "http://127.0.0.1:4566/"


@pytest.mark.requirement("ST-01")
def test_neither_variables_nor_files_of_the_aws_tools_move_an_endpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    models = tmp_path / ".aws" / "models"
    models.mkdir(parents=True)
    (models / "endpoints.json").write_text('{"partitions": [], "version": 3}')
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nendpoint_url = http://127.0.0.1:1\nregion = us-west-2\n"
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DATA_PATH", str(models))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")

    assert AwsEndpointData().url("sts", "us-east-1", overrides={}) == "https://sts.us-east-1.amazonaws.com/"


# How calls are signed.


@pytest.mark.requirement("ST-05")
async def test_what_arrives_carries_a_signature_that_botocore_makes_too() -> None:
    async with Peer(GOOD) as peer, aws_at(peer.url) as aws:
        await aws.calls.make(call(peer.url, key=KEY), whatever, deadline=within(5))

    got = peer.received[0].headers
    again = AWSRequest(
        method="POST",
        url=f"{peer.url}/",
        headers={name: got[name] for name in ("content-type", "x-amz-target")},
        data=peer.received[0].body,
    )
    signer = SigV4Auth(
        Credentials(KEY.access_key_id, "secret-signing-key", "secret-session-token"), "states", "eu-west-1"
    )
    again.headers["X-Amz-Date"] = got["x-amz-date"]
    again.headers["X-Amz-Security-Token"] = got["x-amz-security-token"]
    again.context["timestamp"] = got["x-amz-date"]
    text = signer.string_to_sign(again, signer.canonical_request(again))
    assert got["x-amz-security-token"] == "secret-session-token"
    assert got["authorization"].endswith(f"Signature={signer.signature(text, again)}")
    assert "Credential=ASIATESTTESTTEST0001/" in got["authorization"]


@pytest.mark.requirement("ST-05")
def test_ambient_credentials_take_no_part_in_a_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, "ambient")

    assert "ambient" not in str(signed(call("http://127.0.0.1"), KEY))


async def test_a_call_without_a_key_is_not_signed() -> None:
    async with Peer(GOOD) as peer, aws_at(peer.url) as aws:
        await aws.calls.make(call(peer.url), whatever, deadline=within(5))

    assert "authorization" not in peer.received[0].headers


def test_a_call_shows_neither_body_nor_headers() -> None:
    assert "secret" not in repr(call("http://127.0.0.1", body=b"secret", headers={"a": "secret"}, key=KEY))


# What errors say.


@pytest.mark.parametrize(
    ("given", "code", "request_id"),
    [
        pytest.param(
            answer('{"__type": "com.amazonaws.states#ExecutionAlreadyExists"}', x_amzn_requestid="r-1"),
            "ExecutionAlreadyExists",
            "r-1",
            id="JSON with a namespace",
        ),
        pytest.param(
            answer('{"__type": "AccessDeniedException", "Message": "no"}'),
            "AccessDeniedException",
            None,
            id="JSON",
        ),
        pytest.param(
            answer("{}", x_amzn_errortype="ThrottlingException:http://internal.amazon.com/"),
            "ThrottlingException",
            None,
            id="header",
        ),
        pytest.param(
            answer(
                '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
                "<Code>IDPCommunicationError</Code><Message>m</Message></Error><RequestId>r-2</RequestId></ErrorResponse>"
            ),
            "IDPCommunicationError",
            "r-2",
            id="XML",
        ),
        pytest.param(
            answer("<Response><Errors><Error><Code>AccessDenied</Code></Error></Errors></Response>", 403),
            "AccessDenied",
            None,
            id="XML of EC2",
        ),
        pytest.param(answer("<html><body>Bad gateway</body></html>", 502), "unknown", None, id="HTML"),
        pytest.param(answer("", 503), "unknown", None, id="nothing"),
        pytest.param(answer("[" * 100_000, 500), "unknown", None, id="deep JSON"),
        pytest.param(answer("<a>" * 100_000, 500), "unknown", None, id="deep XML"),
        pytest.param(answer('{"__type": "<script>"}'), "unknown", None, id="a code that is none"),
        pytest.param(
            answer('{"__type": "X"}', x_amzn_requestid="a b\u2028"), "X", None, id="an id that is none"
        ),
    ],
)
def test_an_error_of_any_aws_protocol_has_a_code_and_perhaps_a_request_id(
    given: Answer, code: str, request_id: str | None
) -> None:
    fault = fault_of(given)

    assert (fault.code, fault.request_id, fault.status) == (code, request_id, given.status)


@pytest.mark.requirement("ST-08")
def test_the_words_of_aws_are_no_part_of_the_exception_text() -> None:
    fault = fault_of(answer('{"__type": "X", "message": "arn:aws:iam::1:role/secret"}'))

    assert "secret" not in str(fault)
    assert "secret" in fault.text


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('<?xml version="1.0" encoding="foo"?><a/>', id="an encoding nobody knows"),
        pytest.param('<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', id="entities"),
        pytest.param('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', id="external document type"),
        pytest.param("<a><b>1</b><b>2</b></a>", id="one element twice"),
        pytest.param("<a><b></a>", id="not well-formed"),
        pytest.param("", id="empty"),
    ],
)
def test_xml_with_declarations_or_two_meanings_is_refused(body: str) -> None:
    with pytest.raises(AnswerInvalid):
        xml_texts(body.encode())


@pytest.mark.parametrize(
    ("date", "expected"),
    [("Sun, 22 Nov 2026 10:17:03 GMT", 1795342623.0), ("yesterday", None), ("", None)],
)
def test_the_date_of_an_answer_is_read_where_there_is_one(date: str, expected: float | None) -> None:
    assert date_of(answer("", date=date)) == expected


# When a call is made again.


@pytest.mark.requirement("ST-03", "SF-07")
async def test_throttling_and_failures_of_aws_are_tried_at_most_three_times_in_all() -> None:
    async with Peer(THROTTLED, FAILED, GOOD) as peer, aws_at(peer.url) as aws:
        await aws.calls.make(call(peer.url), whatever, deadline=within(5))

    assert len(peer.received) == 3
    assert aws.metrics.upstream_retries.labels("states", "DescribeExecution")._value.get() == 2


@pytest.mark.requirement("ST-03", "SF-07")
async def test_five_throttlings_are_too_many() -> None:
    async with Peer(*[THROTTLED] * 5, GOOD) as peer, aws_at(peer.url) as aws:
        with pytest.raises(AwsFault, match="ThrottlingException"):
            await aws.calls.make(call(peer.url), whatever, deadline=within(5))

    assert len(peer.received) == 3


@pytest.mark.requirement("ST-03", "SF-07")
async def test_a_permanent_refusal_is_one_call() -> None:
    async with Peer(DENIED) as peer, aws_at(peer.url) as aws:
        with pytest.raises(AwsFault):
            await aws.calls.make(call(peer.url), whatever, deadline=within(5))

    assert len(peer.received) == 1


@pytest.mark.requirement("ST-03", "HT-09")
async def test_nothing_is_repeated_when_no_time_is_left_for_it() -> None:
    async with Peer(FAILED) as peer, aws_at(peer.url) as aws:
        with pytest.raises(AwsFault):
            await aws.calls.make(call(peer.url), whatever, deadline=within(0.15))

    assert len(peer.received) == 1


@pytest.mark.requirement("ST-03")
async def test_a_connection_has_a_second_and_an_attempt_seven_however_much_time_the_caller_has() -> None:
    http = Patience(answer("{}", status=200))
    calls = AwsCalls(http, metrics=Metrics(), jitter=lambda: 0.0)

    await calls.make(call("https://sts.invalid"), whatever, deadline=within(300))

    assert http.connect_s == [1.0]
    assert 6.5 < http.seconds[0] <= 7


@pytest.mark.requirement("ST-03")
async def test_one_attempt_ends_before_the_call_does() -> None:
    async with Peer(stays_silent(), GOOD) as peer, aws_at(peer.url) as aws:
        await aws.calls.make(call(peer.url, attempt_s=0.2), whatever, deadline=within(5))

    assert len(peer.received) == 2


async def test_pauses_before_repetitions_are_drawn_anew_and_grow() -> None:
    draws: list[float] = []

    class Failing:
        async def call(self, _request: object, *, deadline: float) -> Answer:
            del deadline
            return answer("{}", 500)

    def jitter() -> float:
        draws.append(asyncio.get_running_loop().time())
        return 0.5

    async with aws_at("http://127.0.0.1") as aws:
        calls = AwsCalls(Failing(), metrics=aws.metrics, jitter=jitter)
        with pytest.raises(AwsFault):
            await calls.make(call("http://127.0.0.1"), whatever, deadline=within(5))

    first, second, third = draws
    assert 0.09 < second - first < 0.19 < third - second < 0.4


@pytest.mark.requirement("SF-05")
@pytest.mark.parametrize(
    "second", [THROTTLED, DENIED, cuts_the_connection()], ids=["throttled", "denied", "cut"]
)
async def test_a_lost_answer_is_remembered_whatever_the_next_attempt_says(second: object) -> None:
    async with Peer(cuts_the_connection(), second) as peer, aws_at(peer.url) as aws:  # type: ignore[arg-type]
        with pytest.raises((AwsFault, OutboundFailure)) as caught:
            await aws.calls.make(call(peer.url, retries=1), whatever, deadline=within(5))

    failure = caught.value
    assert getattr(failure, "maybe_done", False) or getattr(failure, "sent", False)


@pytest.mark.requirement("SF-05")
async def test_a_peer_that_was_never_reached_has_done_nothing() -> None:
    url = f"http://{LOOPBACK}:{await closed_port()}"
    async with aws_at(url) as aws:
        with pytest.raises(OutboundFailure) as caught:
            await aws.calls.make(call(url), whatever, deadline=within(5))

    assert caught.value.sent is False


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (GOOD, "ok"),
        (DENIED, "refused"),
        (THROTTLED, "throttled"),
        (FAILED, "failed"),
        (cuts_the_connection(), "broken"),
    ],
    ids=["ok", "refused", "throttled", "failed", "broken"],
)
async def test_every_attempt_is_measured_with_its_outcome(reply: object, outcome: str) -> None:
    async with Peer(reply) as peer, aws_at(peer.url) as aws:  # type: ignore[arg-type]
        await asyncio.gather(
            aws.calls.make(call(peer.url, retries=0), whatever, deadline=within(5)), return_exceptions=True
        )

    labels = {"service": "states", "operation": "DescribeExecution", "outcome": outcome}
    assert aws.metrics.registry.get_sample_value("oidc_gateway_upstream_seconds_count", labels) == 1


@pytest.mark.requirement("ST-08")
async def test_the_log_says_on_one_line_what_aws_said_and_holds_no_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    text = json.dumps({"__type": "X", "message": "line one\nline two \u2028 and more"})
    with caplog.at_level(logging.INFO, logger="gateway"):
        async with Peer(answers(text, status=400, x_amzn_requestid="r-9")) as peer, aws_at(peer.url) as aws:
            with pytest.raises(AwsFault):
                await aws.calls.make(call(peer.url, key=KEY), whatever, deadline=within(5))

    (line,) = [record.getMessage() for record in caplog.records if record.name == "gateway.aws"]
    assert "line one line two" in line
    assert "r-9" in line
    assert "\n" not in line
    assert "secret" not in line


@pytest.mark.requirement("ST-11")
async def test_endpoint_data_is_read_once_and_no_call_reads_any(monkeypatch: pytest.MonkeyPatch) -> None:
    data = AwsEndpointData()
    data.load()

    def reading(*_: object) -> None:
        raise AssertionError("botocore's files are read while a caller waits")

    monkeypatch.setattr("importlib.resources.files", reading)
    monkeypatch.setattr("pathlib.Path.read_bytes", reading)

    assert data.url("sts", "eu-west-1", overrides={}) == "https://sts.eu-west-1.amazonaws.com/"
    assert data.partition("cn-north-1") == "aws-cn"
    assert "Authorization" in signed(call("http://127.0.0.1"), KEY)
