"""Policies built from values, for tests of decisions: no files, no tokens."""

from datetime import date

from gateway.arn import parse_role, parse_state_machine
from gateway.files.source import Place
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.policy.index import GrantIndex
from gateway.policy.input_schema import InputSchema
from gateway.policy.rule import AwsRole, Condition, Grant, Operator, Rule, Scalar, Workflow, WorkflowType
from gateway.policy.snapshot import AwsEndpoints, Policy

GITHUB = "https://token.actions.githubusercontent.com"


def is_(claim: str, *values: Scalar) -> Condition:
    """Return the condition that a claim is one of these values."""
    operator = Operator.EQUALS if len(values) == 1 else Operator.ANY_OF
    return Condition(claim=claim, operator=operator, wanted=values)


def role(name: str = "deployer") -> AwsRole:
    return AwsRole(name=name, arn=parse_role(f"arn:aws:iam::111122223333:role/{name}"), duration_s=900)


def workflow(name: str = "deploy", kind: WorkflowType = "standard") -> Workflow:
    machine = parse_state_machine(f"arn:aws:states:eu-west-1:111122223333:stateMachine:{name}")
    return Workflow(
        name=name,
        state_machine=machine,
        type=kind,
        input_schema=InputSchema.anything(),
        output_visible=False,
        timeout_s=None,
    )


def start(name: str = "deploy", target: str = "deployer") -> Grant:
    return Grant(verb="start", workflow=workflow(name), target=role(target))


def view(name: str = "deploy", target: str = "deployer") -> Grant:
    return Grant(verb="view", workflow=workflow(name), target=role(target))


def stop(name: str = "deploy", target: str = "deployer") -> Grant:
    return Grant(verb="stop", workflow=workflow(name), target=role(target))


def obtain(target: str = "deployer") -> Grant:
    return Grant(verb="obtain", workflow=None, target=role(target), form="aws-credentials")


def rule(
    name: str,
    conditions: list[Condition],
    *grants: Grant,
    issuer: str = "github",
    last_day: date | None = None,
) -> Rule:
    return Rule(
        id=f"team.{name}",
        team="team",
        why="a test",
        issuers=(issuer,),
        conditions=tuple(conditions),
        grants=grants,
        last_day=last_day,
        written=Place(file="mappings/team.yaml", line=1, column=1),
    )


def policy(*rules: Rule, require: tuple[Condition, ...] = ()) -> Policy:
    """Return a policy of these rules, with one GitHub-shaped issuer called `github`."""
    issuer = TrustedIssuer(
        name="github",
        preset="github-actions",
        issuer=GITHUB,
        audiences=("https://gateway.example",),
        keys=KeyLocation(static_jwks="{}"),
    )
    grants = [grant for one in rules for grant in one.grants]
    return Policy(
        digest="sha256:test",
        issuers={GITHUB: issuer},
        requirements={"github": require},
        workflows={grant.workflow.name: grant.workflow for grant in grants if grant.workflow},
        targets={grant.target.name: grant.target for grant in grants},
        rules={one.id: one for one in rules},
        index=GrantIndex.build(rules),
        aws=AwsEndpoints(region="eu-west-1"),
    )
