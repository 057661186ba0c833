"""What the real components enforce, as far as our claims rest on it, and what they do not: both asked with boto3."""

import json
import os
import subprocess
import time
import urllib.parse
import uuid
import xml.etree.ElementTree as ET
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.boto import ROOT, Keys, allow, client, create_machine, create_role, trust_policy
from tests.support.cognito import create_pool
from tests.support.envoy import JudgedIssuer
from tests.support.loopback import get_json, post
from tests.support.processes import descendants, listening_addresses
from tests.support.provider import OidcProvider

STS = "{https://sts.amazonaws.com/doc/2011-06-15/}"


@pytest.fixture(scope="module")
def role(ministack: str, oidc_provider: OidcProvider) -> str:
    """A role for the Okta-shaped issuer's client `agent`, and nobody else."""
    okta = oidc_provider.okta
    return create_role(ministack, trust_policy(okta.issuer, audience=okta.audience, subject="agent"))


@pytest.fixture(scope="module")
def machine(ministack: str, role: str) -> str:
    """The one state machine that the role may start."""
    arn = create_machine(ministack, role)
    allow(ministack, role, action="states:StartExecution", resource=arn)
    return arn


def assume(ministack: str, role: str, token: str) -> Keys:
    sts = client("sts", ministack, keys=None)
    answer = sts.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="session", WebIdentityToken=token
    )
    return Keys.of(answer["Credentials"])


def start(endpoint: str, keys: Keys, machine: str, *, name: str | None = None, document: str = "{}") -> str:
    states = client("stepfunctions", endpoint, keys)
    started = states.start_execution(stateMachineArn=machine, name=name or uuid.uuid4().hex, input=document)
    return str(started["executionArn"])


def code(refused: pytest.ExceptionInfo[ClientError]) -> str:
    return str(refused.value.response["Error"]["Code"])


# --- ministack: the AWS that enforces ---


def test_the_token_that_the_trust_policy_names_starts_the_machine_that_the_role_may_start(
    ministack: str, oidc_provider: OidcProvider, role: str, machine: str
) -> None:
    keys = assume(ministack, role, oidc_provider.okta.token("agent"))

    assert start(ministack, keys, machine).startswith(machine.replace(":stateMachine:", ":execution:"))


def test_the_trust_policy_denies_another_subject_of_the_same_issuer(
    ministack: str, oidc_provider: OidcProvider, role: str
) -> None:
    token = oidc_provider.okta.token("reporter")

    with pytest.raises(ClientError) as refused:
        assume(ministack, role, token)

    assert code(refused) == "AccessDenied"


def test_the_trust_policy_denies_another_issuer(
    ministack: str, oidc_provider: OidcProvider, role: str
) -> None:
    token = oidc_provider.auth0.token("machine")

    with pytest.raises(ClientError) as refused:
        assume(ministack, role, token)

    assert code(refused) == "AccessDenied"


def test_the_trust_policy_denies_another_audience(ministack: str, oidc_provider: OidcProvider) -> None:
    okta = oidc_provider.okta
    elsewhere = create_role(ministack, trust_policy(okta.issuer, audience="api://elsewhere", subject="agent"))

    with pytest.raises(ClientError) as refused:
        assume(ministack, elsewhere, okta.token("agent"))

    assert code(refused) == "AccessDenied"


def test_the_role_s_credentials_cannot_start_another_state_machine(
    ministack: str, oidc_provider: OidcProvider, role: str, machine: str
) -> None:
    other = create_machine(ministack, role)
    keys = assume(ministack, role, oidc_provider.okta.token("agent"))

    with pytest.raises(ClientError) as refused:
        start(ministack, keys, other)

    assert machine != other
    assert code(refused) == "AccessDeniedException"


def test_a_request_signed_with_another_secret_is_refused(
    ministack: str, oidc_provider: OidcProvider, role: str, machine: str
) -> None:
    keys = assume(ministack, role, oidc_provider.okta.token("agent"))
    forged = Keys(key_id=keys.key_id, secret="0" * 40, session_token=keys.session_token)

    with pytest.raises(ClientError) as refused:
        start(ministack, forged, machine)

    assert code(refused) == "InvalidSignatureException"


def test_credentials_end_when_they_expire(
    ministack: str, oidc_provider: OidcProvider, role: str, machine: str
) -> None:
    keys = _one_second(ministack, role, oidc_provider.okta.token("agent"))

    with pytest.raises(ClientError) as refused:
        _start_until_refused(ministack, keys, machine)

    assert code(refused) == "ExpiredTokenException"


def _one_second(ministack: str, role: str, token: str) -> Keys:
    """Credentials for one second, asked for by hand: boto3 itself asks for 900 at least."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": "session",
        "WebIdentityToken": token,
        "DurationSeconds": "1",
    }
    body = urllib.parse.urlencode(form)
    answer = ET.fromstring(post(f"{ministack}/", body, {"Content-Type": "application/x-www-form-urlencoded"}))
    credentials = answer.find(f".//{STS}Credentials")
    assert credentials is not None
    return Keys.of({member.tag.removeprefix(STS): member.text or "" for member in credentials})


def _start_until_refused(ministack: str, keys: Keys, machine: str) -> None:
    # The component's own clock cannot be moved.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        start(ministack, keys, machine)
        time.sleep(0.1)


def test_a_session_policy_of_a_web_identity_is_not_enforced_so_it_is_proved_elsewhere(
    ministack: str, oidc_provider: OidcProvider, role: str, machine: str
) -> None:
    nothing = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}
    sts = client("sts", ministack, keys=None)

    answer = sts.assume_role_with_web_identity(
        RoleArn=role,
        RoleSessionName="session",
        WebIdentityToken=oidc_provider.okta.token("agent"),
        Policy=json.dumps(nothing),
    )

    assert start(ministack, Keys.of(answer["Credentials"]), machine)


# --- moto: the rules about names ---


@pytest.fixture(scope="module")
def moto_machine(moto: str) -> str:
    """A state machine in moto whose executions keep running."""
    return create_machine(moto, "arn:aws:iam::123456789012:role/any")


def test_the_same_name_and_input_are_the_same_execution(moto: str, moto_machine: str) -> None:
    first = start(moto, ROOT, moto_machine, name="same", document='{"a": 1}')

    second = start(moto, ROOT, moto_machine, name="same", document='{"a": 1}')

    assert first == second


def test_the_same_name_with_another_input_exists_already(moto: str, moto_machine: str) -> None:
    start(moto, ROOT, moto_machine, name="other-input", document='{"a": 1}')

    with pytest.raises(ClientError) as refused:
        start(moto, ROOT, moto_machine, name="other-input", document='{"a": 2}')

    assert code(refused) == "ExecutionAlreadyExists"


def test_the_name_of_a_closed_execution_exists_already_even_with_the_same_input(moto: str) -> None:
    done = json.dumps({"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}})
    machine = create_machine(moto, "arn:aws:iam::123456789012:role/any", definition=done)
    execution = start(moto, ROOT, machine, name="closed")
    _wait_until_closed(moto, execution)

    with pytest.raises(ClientError) as refused:
        start(moto, ROOT, machine, name="closed")

    assert code(refused) == "ExecutionAlreadyExists"


def _wait_until_closed(moto: str, execution: str) -> None:
    states = client("stepfunctions", moto)
    deadline = time.monotonic() + 20
    while states.describe_execution(executionArn=execution)["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_moto_s_sts_checks_nothing_so_no_claim_rests_on_it(moto: str) -> None:
    keys = assume(moto, "arn:aws:iam::123456789012:role/nobody", "not-a-token")

    assert keys.key_id


# --- Cognito ---


def test_cognito_signs_id_and_access_tokens_with_different_keys(ministack: str) -> None:
    tokens = create_pool(ministack).sign_in()

    assert _header(tokens.id_token)["kid"] != _header(tokens.access_token)["kid"]


def test_two_pools_of_moto_share_one_key_and_key_id(moto: str) -> None:
    one, other = create_pool(moto), create_pool(moto)

    headers = {_header(pool.sign_in().id_token)["kid"] for pool in (one, other)}

    assert one.issuer != other.issuer
    assert headers == {"dummy"}


# --- the OpenID provider ---


def test_okta_s_shape_has_no_type_a_client_id_of_its_own_and_scopes_as_a_list(
    oidc_provider: OidcProvider,
) -> None:
    token = oidc_provider.okta.token("agent")

    assert "typ" not in _header(token)
    assert _payload(token)["cid"] == _payload(token)["sub"] == "agent"
    assert _payload(token)["scp"] == ["workflows.start"]


def test_auth0_s_shape_has_a_slash_two_audiences_and_a_claim_named_by_a_url(
    oidc_provider: OidcProvider,
) -> None:
    auth0 = oidc_provider.auth0
    payload = _payload(auth0.token("web"))

    assert payload["iss"] == auth0.issuer
    assert auth0.issuer.endswith("/")
    assert payload["aud"] == [auth0.audience, f"{auth0.issuer}userinfo"]
    assert payload["azp"] == "web"
    assert payload["https://acme.example/team"] == "reporting"


def _header(token: str) -> dict[str, object]:
    return _segment(token, 0)


def _payload(token: str) -> dict[str, object]:
    return _segment(token, 1)


def _segment(token: str, number: int) -> dict[str, object]:
    text = token.split(".")[number]
    decoded: dict[str, object] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


# --- all of them ---


def test_nothing_that_tests_start_listens_beyond_loopback(
    ministack: str, moto: str, oidc_provider: OidcProvider, judge: str
) -> None:
    addresses = listening_addresses(descendants(os.getpid()))

    ports = {urllib.parse.urlsplit(url).port for url in (ministack, moto, oidc_provider.auth0.issuer, judge)}
    assert ports <= {port for _, port in addresses}
    assert {host for host, _ in addresses} == {"127.0.0.1"}


@pytest.fixture
def judge(envoy: Callable[..., AbstractContextManager[str]], oidc_provider: OidcProvider) -> Iterator[str]:
    """An Envoy that trusts one issuer."""
    okta = oidc_provider.okta
    with envoy(
        [JudgedIssuer(issuer=okta.issuer, audiences=[okta.audience], jwks=get_json(okta.jwks_uri))]
    ) as url:
        yield url


def test_the_aws_command_line_answers(awscli: Path, ministack: str, tmp_path: Path) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": ministack,
        "AWS_ACCESS_KEY_ID": ROOT.key_id,
        "AWS_SECRET_ACCESS_KEY": ROOT.secret,
        "AWS_DEFAULT_REGION": "eu-west-1",
    }

    answer = subprocess.run(
        [awscli, "sts", "get-caller-identity"], env=environment, capture_output=True, check=True, timeout=60
    )

    assert json.loads(answer.stdout)["Account"] == "111122223333"
