"""`POST /token`: RFC 8693 to the letter, and credentials that AWS takes."""

import json
import re
from datetime import UTC, datetime, timedelta

import boto3
import httpx2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.dev.aws import REPORTS_BUCKET
from tests.support.caller import GRANT_TYPE, JWT_TYPE
from tests.support.world import World

ISSUED = "urn:oidc-gateway:token-type:aws-credentials"


def error(answer: httpx2.Response, status: int = 400) -> tuple[str, str]:
    """Return error and code of an answer, held against RFC 6749 section 5.2."""
    document = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert document["request_id"] == answer.headers["x-request-id"]
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", document["error_description"])
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    return document["error"], document["code"]


@pytest.mark.parametrize("json_body", [False, True], ids=["form", "JSON"])
def test_a_token_is_exchanged_for_credentials(world: World, json_body: bool) -> None:
    token = world.mint("partners")
    fields = {
        "grant_type": GRANT_TYPE,
        "subject_token_type": JWT_TYPE,
        "subject_token": token,
        "audience": "partner-northwind",
        "requested_token_type": ISSUED,
    }

    answer = (
        world.client.post("/token", json=fields) if json_body else world.client.post("/token", data=fields)
    )

    document = answer.json()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    credentials = json.loads(document.pop("access_token"))
    assert document.pop("request_id") == answer.headers["x-request-id"]
    assert 3000 < document.pop("expires_in") <= 3600
    assert document == {"issued_token_type": ISSUED, "token_type": "N_A", "target": "partner-northwind"}
    assert credentials.keys() == {
        "Version",
        "AccessKeyId",
        "SecretAccessKey",
        "SessionToken",
        "Expiration",
        "AccountId",
    }
    assert (credentials["Version"], credentials["AccountId"]) == (1, "111122223333")
    ends = datetime.strptime(credentials["Expiration"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert timedelta(minutes=50) < ends - datetime.now(tz=UTC) <= timedelta(hours=1)


def test_the_credentials_are_the_targets_and_nothing_more(world: World) -> None:
    found = world.ask("POST", "/v1/credentials", world.mint("partners"), body={"target": "partner-northwind"})

    s3 = boto3.session.Session().client(
        "s3",
        region_name="eu-west-1",
        endpoint_url=world.environment.aws.url,
        aws_access_key_id=found.json()["AccessKeyId"],
        aws_secret_access_key=found.json()["SecretAccessKey"],
        aws_session_token=found.json()["SessionToken"],
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )
    own = s3.get_object(Bucket=REPORTS_BUCKET, Key="northwind/2026-10.csv")["Body"].read()
    with pytest.raises(ClientError, match=r"AccessDenied|Forbidden"):
        s3.get_object(Bucket=REPORTS_BUCKET, Key="tailspin/2026-10.csv")
    assert own.startswith(b"day,payouts")


def test_the_target_may_be_named_by_its_roles_arn(world: World) -> None:
    resource = "arn:aws:iam::111122223333:role/partner-northwind"

    answer = world.exchange(world.mint("partners"), resource=resource)

    assert (answer.status_code, answer.json()["target"]) == (200, "partner-northwind")


def test_an_unknown_parameter_and_one_without_a_value_are_ignored(world: World) -> None:
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token_type": JWT_TYPE,
        "subject_token": world.mint("partners"),
        "audience": "partner-northwind",
        "client_id": "anybody",
        "scope": "",
    }

    answer = world.client.post("/token", data=form)

    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"grant_type": ""}, ("invalid_request", "request_malformed"), id="no grant type"),
        pytest.param(
            {"grant_type": "client_credentials"},
            ("unsupported_grant_type", "grant_type_unsupported"),
            id="another grant type",
        ),
        pytest.param({"audience": ""}, ("invalid_request", "request_malformed"), id="no target"),
        pytest.param({"audience": "nobody"}, ("invalid_target", "target_unknown"), id="unknown target"),
        pytest.param(
            {"resource": "arn:aws:iam::111122223333:role/partner-northwind"},
            ("invalid_target", "target_unknown"),
            id="audience and resource",
        ),
        pytest.param(
            {"audience": "", "resource": "https://api.example"},
            ("invalid_target", "target_unknown"),
            id="another resource",
        ),
        pytest.param(
            {"subject_token_type": ""}, ("invalid_request", "request_malformed"), id="no token type"
        ),
        pytest.param(
            {"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"},
            ("invalid_request", "request_malformed"),
            id="another token type",
        ),
        pytest.param(
            {"requested_token_type": JWT_TYPE}, ("invalid_request", "request_malformed"), id="wants a JWT"
        ),
        pytest.param({"actor_token": "x"}, ("invalid_request", "request_malformed"), id="actor token"),
        pytest.param({"scope": "admin"}, ("invalid_request", "request_malformed"), id="scope"),
        pytest.param({"subject_token": ""}, ("invalid_request", "token_missing"), id="no token"),
        pytest.param({"subject_token": "x.y.z"}, ("invalid_request", "token_"), id="bad token"),
    ],
)
def test_every_refusal_is_an_rfc_8693_error(
    world: World, fields: dict[str, str], expected: tuple[str, str]
) -> None:
    answer = world.exchange(world.mint("partners"), **{"audience": "partner-northwind", **fields})

    oauth, code = error(answer)
    assert (oauth, code[: len(expected[1])]) == expected
    assert "www-authenticate" not in answer.headers


def test_several_audiences_are_an_invalid_target(world: World) -> None:
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token_type": JWT_TYPE,
        "subject_token": world.mint("partners"),
        "audience": ["partner-northwind", "payments-prod"],
    }

    answer = world.client.post("/token", data=form)

    assert error(answer) == ("invalid_target", "target_unknown")


@pytest.mark.requirement("TV-01")
@pytest.mark.parametrize("where", ["form twice", "header too"])
def test_two_subject_tokens_are_refused(world: World, where: str) -> None:
    token = world.mint("partners")
    form: dict[str, str | list[str]] = {
        "grant_type": GRANT_TYPE,
        "subject_token_type": JWT_TYPE,
        "subject_token": [token, token] if where == "form twice" else token,
        "audience": "partner-northwind",
    }
    headers = {"Authorization": f"Bearer {token}"} if where == "header too" else {}

    answer = world.client.post("/token", data=form, headers=headers)

    assert error(answer) == ("invalid_request", "request_ambiguous")


def test_a_refusal_by_the_rules_is_400_and_names_the_callers_own_claim(world: World) -> None:
    answer = world.exchange(world.mint(claims={"ref": "refs/heads/x"}), audience="payments-prod")

    assert error(answer) == ("invalid_request", "claim_mismatch")
    assert answer.json()["claims"] == [{"name": "ref", "problem": "value", "value": "refs/heads/x"}]


def test_client_authentication_is_not_used_and_not_ignored(world: World) -> None:
    form = {"grant_type": GRANT_TYPE, "subject_token_type": JWT_TYPE, "subject_token": world.mint("partners")}

    answer = world.client.post("/token", data=form, auth=("client", "secret"))

    assert error(answer) == ("invalid_request", "request_malformed")


@pytest.mark.parametrize(
    ("method", "content", "kind", "status"),
    [
        pytest.param("GET", b"", "", 405, id="GET"),
        pytest.param("POST", b"grant_type=x", "text/plain", 415, id="media type"),
        pytest.param("POST", b"%ff=%ff", "application/x-www-form-urlencoded", 400, id="not UTF-8"),
        pytest.param("POST", b"{}}", "application/json", 400, id="not JSON"),
        pytest.param("POST", b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413, id="large"),
    ],
)
def test_faults_of_http_have_the_same_shape_as_all_others_here(
    world: World, method: str, content: bytes, kind: str, status: int
) -> None:
    headers = {"Content-Type": kind} if kind else {}

    answer = world.client.request(method, "/token", content=content, headers=headers)

    assert error(answer, status)[0] == "invalid_request"
