"""boto3 as a client that we did not write, against the AWS of a test; and what a test has to make there first."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

ACCOUNT = "111122223333"
REGION = "eu-west-1"
WAITS = json.dumps({"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 300, "End": True}}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Credentials of one client."""

    key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, answer: Mapping[str, str]) -> "Keys":
        """Read the `Credentials` member of an STS answer."""
        return cls(
            key_id=answer["AccessKeyId"],
            secret=answer["SecretAccessKey"],
            session_token=answer["SessionToken"],
        )


ROOT = Keys(key_id="test", secret="test")  # may do everything in ministack and moto


def client(service: str, endpoint: str, keys: Keys | None = ROOT) -> Any:
    """Return a client that asks once; keys None: it does not sign, as SDKs do for web identities."""
    signing = {"signature_version": UNSIGNED} if keys is None else {}
    return boto3.session.Session().client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys.key_id if keys else None,
        aws_secret_access_key=keys.secret if keys else None,
        aws_session_token=keys.session_token if keys else None,
        config=Config(retries={"total_max_attempts": 1}, **signing),
    )


def trust_policy(issuer: str, *, audience: str, subject: str, account: str = ACCOUNT) -> str:
    """Return the trust policy of a role for one subject of one issuer."""
    host = issuer.split("://", 1)[1]
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:aud": audience, f"{host}:sub": subject}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def create_role(endpoint: str, trust: str) -> str:
    """Make a role that may do nothing yet; return its ARN."""
    name = f"role-{uuid.uuid4().hex[:8]}"
    role = client("iam", endpoint).create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    return str(role["Role"]["Arn"])


def allow(endpoint: str, role: str, *, action: str, resource: str) -> None:
    """Let the role do one thing to one resource."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    client("iam", endpoint).put_role_policy(
        RoleName=role.rsplit("/", 1)[1],
        PolicyName=f"allow-{uuid.uuid4().hex[:8]}",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def create_machine(endpoint: str, role: str, *, definition: str = WAITS) -> str:
    """Make a state machine, by default one whose executions keep running; return its ARN."""
    machine = client("stepfunctions", endpoint).create_state_machine(
        name=f"machine-{uuid.uuid4().hex[:8]}", definition=definition, roleArn=role
    )
    return str(machine["stateMachineArn"])
