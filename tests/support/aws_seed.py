"""Roles and state machines in an emulated AWS, as the values that a policy would hold."""

import json
import uuid
from collections.abc import Mapping
from typing import Final

from gateway.arn import parse_role, parse_state_machine
from gateway.policy.input_schema import InputSchema
from gateway.policy.rule import AwsRole, Workflow, WorkflowType
from tests.support.boto import client, create_role, trust_policy
from tests.support.tokens import AUDIENCE, trusted

#: One state that is over at once.
PASS: Final[Mapping[str, object]] = {"Type": "Pass", "End": True}
#: One state that lasts longer than any test.
WAIT: Final[Mapping[str, object]] = {"Type": "Wait", "Seconds": 300, "End": True}
#: One state that fails.
FAIL: Final[Mapping[str, object]] = {"Type": "Fail", "Error": "Broken", "Cause": "on purpose"}


def seed_machine(
    url: str, state: Mapping[str, object], *, kind: WorkflowType = "standard", visible: bool = False
) -> Workflow:
    """Create a state machine of one state and return it as a workflow."""
    name = f"machine-{uuid.uuid4().hex[:8]}"
    made = client("stepfunctions", url).create_state_machine(
        name=name,
        definition=json.dumps({"StartAt": "Only", "States": {"Only": state}}),
        roleArn=str(seed_role(url, subject="nobody").arn),
        type="STANDARD" if kind == "standard" else "EXPRESS",
    )
    return Workflow(
        name=name,
        state_machine=parse_state_machine(made["stateMachineArn"]),
        type=kind,
        input_schema=InputSchema.anything(),
        output_visible=visible,
        timeout_s=None,
    )


def seed_role(url: str, *statements: Mapping[str, object], subject: str) -> AwsRole:
    """Create a role that GitHub tokens of this subject may assume and that may do what the statements say."""
    arn = parse_role(create_role(url, trust_policy(trusted().issuer, audience=AUDIENCE, subject=subject)))
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        client("iam", url).put_role_policy(RoleName=arn.name, PolicyName="granted", PolicyDocument=document)
    return AwsRole(name=arn.name, arn=arn, duration_s=900)
