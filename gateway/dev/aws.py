"""Fills the embedded AWS with what the policy names: providers, roles, state machines, and a bucket for the partner."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from gateway.arn import RoleArn, StateMachineArn
from gateway.dev.machines import definition_of
from gateway.dev.ministack import ROOT_KEY_ID, ROOT_SECRET
from gateway.dev.trust import permissions, provider_name, role_behind, trust_policy
from gateway.identity.issuer import TrustedIssuer
from gateway.policy.rule import AwsRole, Workflow
from gateway.policy.snapshot import Policy

REPORTS_BUCKET = "acme-partner-reports"
_REPORTS = {
    "northwind/2026-10.csv": b"day,payouts,amount_cents\n2026-10-01,12,184300\n2026-10-02,9,97750\n",
    "tailspin/2026-10.csv": b"day,payouts,amount_cents\n2026-10-01,3,20100\n",
}
# What the machines themselves run as. It may do nothing: the example machines call nobody.
_MACHINES_ROLE = "state-machine"
_MACHINES_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "states.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAws:
    """An embedded AWS as its root user sees it. url: for every service and Region."""

    url: str
    session: boto3.session.Session

    def client(self, service: str, region: str = "eu-west-1") -> Any:
        """Return a boto3 client of the root user, which may do everything here and is nothing anywhere else."""
        return self.session.client(
            service,
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=ROOT_KEY_ID,
            aws_secret_access_key=ROOT_SECRET,
            config=Config(
                inject_host_prefix=False,
                ignore_configured_endpoint_urls=True,
                proxies={},
                connect_timeout=5,
                read_timeout=20,
                retries={"total_max_attempts": 3},
                s3={"addressing_style": "path"},
            ),
        )


def embedded_aws(url: str) -> EmbeddedAws:
    """Return the AWS behind this URL."""
    return EmbeddedAws(url=url, session=boto3.session.Session())


class AwsNotSeeded(Exception):
    """The embedded AWS refused something that the policy names; the message ends with its reason."""


def seed(aws: EmbeddedAws, policy: Policy, *, templates: Path, real: Mapping[str, str]) -> None:
    """Create or renew what the policy names; may be repeated after the files have changed.

    templates, real: as for `trust_policy`. Raises AwsNotSeeded.
    """
    try:
        _seed(aws, policy, templates=templates, real=real)
    except (ClientError, BotoCoreError) as cause:
        raise AwsNotSeeded(
            f"The embedded AWS could not be brought in step with the files: {cause}"
        ) from cause


def _seed(aws: EmbeddedAws, policy: Policy, *, templates: Path, real: Mapping[str, str]) -> None:
    iam = aws.client("iam")
    _seed_providers(iam, policy.issuers.values())
    for role, longest_s in _roles(policy).items():
        _seed_role(
            iam,
            role,
            trust=trust_policy(role, policy, templates=templates, real=real),
            may=permissions(role, policy, templates=templates),
            longest_s=longest_s,
        )
    _ensure_role(iam, _MACHINES_ROLE, path="/", trust=_MACHINES_TRUST, max_session_s=3600)
    for workflow in policy.workflows.values():
        _seed_machine(aws.client("stepfunctions", workflow.state_machine.region), workflow, templates)


def _roles(policy: Policy) -> dict[RoleArn, int]:
    """Return the roles that targets end in, with the longest session in seconds that one of them asks for."""
    longest: dict[RoleArn, int] = {}
    for target in policy.targets.values():
        if (role := role_behind(target)) is not None:
            asked_s = target.duration_s if isinstance(target, AwsRole) else target.ttl_s
            longest[role] = max(asked_s, longest.get(role, 0))
    return longest


def seed_reports(aws: EmbeddedAws) -> None:
    """Create the bucket that the partner's credentials may read one folder of."""
    s3 = aws.client("s3")
    s3.create_bucket(Bucket=REPORTS_BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    for key, body in _REPORTS.items():
        s3.put_object(Bucket=REPORTS_BUCKET, Key=key, Body=body)


def _seed_providers(iam: Any, issuers: "Any") -> None:
    known = {one["Arn"].split(":oidc-provider/", 1)[-1] for one in _providers(iam)}
    for issuer in issuers:
        if provider_name(issuer.issuer) not in known:
            iam.create_open_id_connect_provider(Url=_provider_url(issuer), ClientIDList=_client_ids(issuer))


def _providers(iam: Any) -> list[dict[str, str]]:
    providers: list[dict[str, str]] = iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
    return providers


def _provider_url(issuer: TrustedIssuer) -> str:
    # AWS takes https only; ministack compares what follows the scheme.
    return f"https://{provider_name(issuer.issuer)}"


def _client_ids(issuer: TrustedIssuer) -> list[str]:
    return [*issuer.audiences, *issuer.clients]


def _seed_role(iam: Any, role: RoleArn, *, trust: str, may: str, longest_s: int) -> None:
    _ensure_role(iam, role.name, path=f"/{role.path}", trust=trust, max_session_s=max(3600, longest_s))
    if json.loads(may)["Statement"]:
        iam.put_role_policy(RoleName=role.name, PolicyName="workflows", PolicyDocument=may)


def _ensure_role(iam: Any, name: str, *, path: str, trust: str, max_session_s: int) -> None:
    try:
        iam.create_role(
            RoleName=name, Path=path, AssumeRolePolicyDocument=trust, MaxSessionDuration=max_session_s
        )
    except iam.exceptions.EntityAlreadyExistsException:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=trust)


def _seed_machine(states: Any, workflow: Workflow, templates: Path) -> None:
    arn = workflow.state_machine
    role = f"arn:{arn.partition}:iam::{arn.account}:role/{_MACHINES_ROLE}"
    definition = definition_of(arn.name, templates=templates)
    try:
        states.create_state_machine(
            name=arn.name,
            type="STANDARD" if workflow.type == "standard" else "EXPRESS",
            definition=definition,
            roleArn=role,
        )
    except states.exceptions.StateMachineAlreadyExists:
        states.update_state_machine(stateMachineArn=_unqualified(arn), definition=definition)


def _unqualified(arn: StateMachineArn) -> str:
    return f"arn:{arn.partition}:states:{arn.region}:{arn.account}:stateMachine:{arn.name}"
