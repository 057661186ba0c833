"""The session that is asked for: its name, its length and what it may do."""

import hashlib
import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.arn import parse_state_machine
from gateway.credentials.session import session_for, session_name, session_policy
from gateway.errors import ErrorCode, RequestRejected
from gateway.policy.rule import Workflow
from tests.support.policies import role, workflow
from tests.support.tokens import verified
from tests.support.vault_edge import vault_role

TOKEN = verified()
MACHINE = "arn:aws:states:eu-west-1:111122223333:stateMachine:deploy"
EXECUTIONS = "arn:aws:states:eu-west-1:111122223333:execution:deploy:*"


def at(arn: str) -> Workflow:
    return replace(workflow(), state_machine=parse_state_machine(arn))


@pytest.mark.requirement("ST-09")
def test_the_session_name_is_the_target_the_principal_and_the_token() -> None:
    name = session_name(TOKEN, "payments-prod")

    assert name == f"payments-prod.{TOKEN.principal.digest[:8]}.{TOKEN.digest[:8]}"


@pytest.mark.requirement("ST-09")
@given(
    target=st.text(min_size=1, max_size=200), repository=st.text(st.characters(codec="ascii"), max_size=20)
)
def test_every_session_name_is_one_that_aws_takes_and_does_not_change(target: str, repository: str) -> None:
    token = replace(TOKEN, digest=TOKEN.digest[::-1] if repository else TOKEN.digest)

    name = session_name(token, target)

    assert re.fullmatch(r"[A-Za-z0-9_+=,.@-]{2,64}", name)
    assert name == session_name(token, target)


@pytest.mark.requirement("ST-09")
@given(first=st.text(min_size=1, max_size=80), second=st.text(min_size=1, max_size=80))
def test_two_targets_never_share_a_session_name(first: str, second: str) -> None:
    assert (session_name(TOKEN, first) == session_name(TOKEN, second)) is (first == second)


@pytest.mark.requirement("ST-09")
def test_the_session_is_a_function_of_token_and_target_and_not_of_the_request() -> None:
    again = verified()

    assert session_for(TOKEN, role(), workflow=workflow()) == session_for(again, role(), workflow=workflow())


@pytest.mark.requirement("ST-06")
def test_what_the_gateway_uses_itself_lasts_900_seconds_whatever_the_target_says() -> None:
    session = session_for(TOKEN, replace(role(), duration_s=43_200), workflow=workflow())

    assert session.duration_s == 900
    assert session.session_policy is not None


@pytest.mark.requirement("ST-06")
def test_a_standard_workflow_needs_its_machine_and_its_executions_and_nothing_else() -> None:
    policy = json.loads(session_policy(workflow()))

    assert policy == {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "states:StartExecution", "Resource": MACHINE},
            {
                "Effect": "Allow",
                "Action": ["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution"],
                "Resource": EXECUTIONS,
            },
        ],
    }


@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize(
    ("kind", "action"),
    [("express", "states:StartExecution"), ("express-sync", "states:StartSyncExecution")],
)
def test_an_express_workflow_needs_nothing_but_its_start(kind: str, action: str) -> None:
    policy = json.loads(session_policy(workflow(kind=kind)))  # type: ignore[arg-type]

    assert policy["Statement"] == [{"Effect": "Allow", "Action": action, "Resource": MACHINE}]


@pytest.mark.requirement("ST-06")
@pytest.mark.parametrize("qualifier", ["3", "PROD"], ids=["version", "alias"])
def test_a_version_or_alias_is_a_condition_on_the_machine_as_iam_wants_it(qualifier: str) -> None:
    policy = json.loads(session_policy(at(f"{MACHINE}:{qualifier}")))

    start, follow = policy["Statement"]
    assert start["Resource"] == MACHINE
    assert start["Condition"] == {"ForAnyValue:StringEquals": {"states:StateMachineQualifier": [qualifier]}}
    assert follow["Resource"] == EXECUTIONS


@pytest.mark.requirement("ST-06")
def test_the_longest_names_make_a_policy_that_aws_takes() -> None:
    longest = at(f"arn:aws-us-gov:states:{'r' * 32}:111122223333:stateMachine:{'m' * 80}:{'q' * 80}")

    assert len(session_policy(longest)) <= 2048


def test_credentials_that_leave_the_gateway_have_the_targets_duration_and_no_session_policy() -> None:
    session = session_for(TOKEN, replace(role(), duration_s=3600), workflow=None)

    assert (session.duration_s, session.session_policy) == (3600, None)


def test_a_caller_may_ask_for_a_shorter_session() -> None:
    target = replace(role(), duration_s=3600)

    assert session_for(TOKEN, target, workflow=None, duration_s=900).duration_s == 900


@pytest.mark.requirement("ST-02")
@pytest.mark.parametrize("asked", [-1, 0, 899, 3601, 43_201])
def test_a_session_shorter_than_aws_allows_or_longer_than_the_targets_is_refused(asked: int) -> None:
    target = replace(role(), duration_s=3600)

    with pytest.raises(
        RequestRejected, match="duration_s must lie between 900 and 3600 for deployer"
    ) as caught:
        session_for(TOKEN, target, workflow=None, duration_s=asked)

    assert caught.value.code is ErrorCode.REQUEST_MALFORMED


@pytest.mark.requirement("ST-09")
@pytest.mark.parametrize(
    ("target", "shown"),
    [
        pytest.param("pay/ments prod", "pay-ments-prod-", id="foreign characters"),
        pytest.param("p" * 47, "p" * 37 + "-", id="one too long"),
        pytest.param("p" * 200, "p" * 37 + "-", id="far too long"),
        pytest.param("é", "--", id="one that is foreign"),
    ],
)
def test_a_target_that_does_not_fit_is_cleaned_cut_and_told_apart_by_its_hash(
    target: str, shown: str
) -> None:
    name = session_name(TOKEN, target)

    hashed = hashlib.sha256(target.encode()).hexdigest()[:8]
    assert name == f"{shown}{hashed}.{TOKEN.principal.digest[:8]}.{TOKEN.digest[:8]}"
    assert len(name) <= 64


def test_what_leaves_the_gateway_and_what_it_uses_itself_are_told_apart() -> None:
    out = session_for(TOKEN, role(), workflow=None)
    own = session_for(TOKEN, role(), workflow=workflow())

    assert (out.handed_out, own.handed_out) == (True, False)
    assert out.name == own.name == session_name(TOKEN, "deployer")


def test_behind_vault_no_session_policy_is_sent() -> None:
    session = session_for(TOKEN, vault_role(), workflow=workflow())

    assert session.session_policy is None


@pytest.mark.requirement("ST-06")
def test_a_session_policy_is_written_without_blanks_because_its_length_counts() -> None:
    written = session_policy(workflow())

    assert written == json.dumps(json.loads(written), separators=(",", ":"))
    assert " " not in written


@pytest.mark.parametrize("asked", [900, 3_600])
def test_both_ends_of_the_allowed_duration_are_allowed(asked: int) -> None:
    target = replace(role(), duration_s=3_600)

    assert session_for(TOKEN, target, workflow=None, duration_s=asked).duration_s == asked
