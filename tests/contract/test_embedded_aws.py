"""The embedded AWS as the policy fills it: it trusts, allows and refuses what AWS would by the shipped templates."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from gateway.dev.environment import Environment, environment
from gateway.dev.tokens import TokenOrder
from tests.support import components

REPOSITORY = Path(__file__).parents[2]
_ROLE = "arn:aws:iam::111122223333:role/"
_MACHINE = "arn:aws:states:eu-west-1:111122223333:stateMachine:"
_INPUT = {"deploy-payments": {"version": "1.4.2"}, "triage-incident": {"incident": "INC-1"}}

pytestmark = components.skip_without("ministack")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    config = tmp_path_factory.mktemp("embedded") / "config"
    shutil.copytree(REPOSITORY / "config", config)
    with environment(config) as started:
        yield started


def client(running: Environment, service: str, credentials: dict[str, str] | None = None) -> Any:
    held = credentials or {}
    return running.aws.session.client(
        service,
        region_name="eu-west-1",
        endpoint_url=running.aws.url,
        aws_access_key_id=held.get("AccessKeyId"),
        aws_secret_access_key=held.get("SecretAccessKey"),
        aws_session_token=held.get("SessionToken"),
        config=Config(
            signature_version=None if held else botocore.UNSIGNED,
            inject_host_prefix=False,
            retries={"total_max_attempts": 1},
        ),
    )


def assume(running: Environment, role: str, order: TokenOrder) -> dict[str, str]:
    answer: dict[str, dict[str, str]] = client(running, "sts").assume_role_with_web_identity(
        RoleArn=_ROLE + role, RoleSessionName="contract", WebIdentityToken=running.mint(order)
    )
    return answer["Credentials"]


def may_start(running: Environment, credentials: dict[str, str], workflow: str) -> bool:
    states = client(running, "stepfunctions", credentials)
    with suppress(states.exceptions.ClientError):
        states.start_execution(
            stateMachineArn=_MACHINE + workflow, input=json.dumps(_INPUT.get(workflow, {}))
        )
        return True
    return False


@pytest.mark.parametrize(
    ("issuer", "role", "workflows"),
    [
        pytest.param("github", "payments-deployer", {"deploy-payments"}, id="github"),
        pytest.param("okta-agents", "incident-agent", {"triage-incident"}, id="okta"),
        pytest.param("operators", "release-operator", set(), id="cognito"),
        pytest.param("partners", "partner-northwind", set(), id="auth0"),
    ],
)
def test_a_role_is_for_the_tokens_of_its_rule_and_starts_its_own_workflow_alone(
    running: Environment, issuer: str, role: str, workflows: set[str]
) -> None:
    credentials = assume(running, role, TokenOrder(issuer=issuer))

    asked = ("deploy-payments", "triage-incident", "migrate-ledger")
    assert {name for name in asked if may_start(running, credentials, name)} == workflows


@pytest.mark.parametrize(
    ("role", "order"),
    [
        pytest.param(
            "payments-migrator", TokenOrder(issuer="github"), id="the trust policy names another repository"
        ),
        pytest.param(
            "payments-deployer",
            TokenOrder(issuer="github", claims={"sub": "repo:acme/payments:ref:refs/heads/main"}),
            id="another subject",
        ),
        pytest.param(
            "payments-deployer",
            TokenOrder(issuer="github", claims={"aud": "sts.amazonaws.com"}),
            id="another audience",
        ),
        pytest.param("incident-agent", TokenOrder(issuer="github"), id="another issuer"),
    ],
)
def test_a_trust_policy_refuses(running: Environment, role: str, order: TokenOrder) -> None:
    with pytest.raises(ClientError) as refusal:
        assume(running, role, order)

    assert refusal.value.response["Error"]["Code"] == "AccessDenied"


def test_a_role_and_a_workflow_that_are_added_to_the_files_can_be_used_at_once(running: Environment) -> None:
    config = running.derived.source
    targets = config / "targets.yaml"
    targets.write_text(
        targets.read_text()
        .replace(
            "roles:\n",
            f"roles:\n  payments-new: {{ arn: {_ROLE}payments-new, duration: 15m, teams: [payments] }}\n",
            1,
        )
        .replace(
            "workflows:\n",
            f"workflows:\n  report: {{ state_machine: '{_MACHINE}report', type: standard, teams: [payments] }}\n",
            1,
        )
    )
    rules = config / "mappings" / "payments" / "deploy.yaml"
    grant = "      - { start: deploy-payments, as: payments-prod }"
    rules.write_text(
        rules.read_text().replace(grant, f"{grant}\n      - {{ start: report, as: payments-new }}")
    )

    assert running.follow_files()

    credentials = assume(running, "payments-new", TokenOrder(issuer="github"))
    assert may_start(running, credentials, "report")
    assert not may_start(running, credentials, "deploy-payments")


def test_files_with_errors_leave_the_embedded_aws_as_it_is(running: Environment) -> None:
    targets = running.derived.source / "targets.yaml"
    good = targets.read_text()
    targets.write_text("format: [")

    followed = running.follow_files()
    targets.write_text(good)

    assert not followed
    assert assume(running, "payments-deployer", TokenOrder(issuer="github"))["AccessKeyId"]
    assert running.follow_files()
