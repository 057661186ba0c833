"""Amazon resource names: the four kinds this product handles, taken apart exactly and put together again."""

import re
from dataclasses import dataclass

_PARTITIONS = "aws|aws-cn|aws-us-gov|aws-iso|aws-iso-b|aws-iso-e|aws-iso-f|aws-eusc"
# `[0-9]` and not `\d`, which accepts digits of every script.
_ROLE = re.compile(
    rf"arn:({_PARTITIONS}):iam::([0-9]{{12}}):role/((?:[!-~]{{1,510}}/)?)([A-Za-z0-9_+=,.@-]{{1,64}})"
)
_ASSUMED = re.compile(
    rf"arn:({_PARTITIONS}):sts::([0-9]{{12}}):assumed-role/([A-Za-z0-9_+=,.@-]{{1,64}})/([A-Za-z0-9_+=,.@-]{{2,64}})"
)
_NAME = r"[A-Za-z0-9_.-]{1,80}"
_MACHINE = re.compile(
    rf"arn:({_PARTITIONS}):states:([a-z0-9-]{{1,32}}):([0-9]{{12}}):stateMachine:({_NAME})(?::([A-Za-z0-9_.-]{{1,80}}))?"
)


class ArnInvalid(ValueError):
    """The text is not an ARN of the kind asked for; the message names the expected form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleArn:
    """An IAM role. path: with its closing slash, empty for the root path; name: without the path."""

    partition: str
    account: str
    path: str
    name: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role/{self.path}{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AssumedRoleArn:
    """A session of a role. AWS leaves the role's path out of it."""

    partition: str
    account: str
    role: str
    session: str

    def __str__(self) -> str:
        return f"arn:{self.partition}:sts::{self.account}:assumed-role/{self.role}/{self.session}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateMachineArn:
    """A state machine. qualifier: a version number or an alias name, None for the latest revision."""

    partition: str
    region: str
    account: str
    name: str
    qualifier: str | None = None

    def __str__(self) -> str:
        tail = f":{self.qualifier}" if self.qualifier else ""
        return f"arn:{self.partition}:states:{self.region}:{self.account}:stateMachine:{self.name}{tail}"

    def execution(self, name: str) -> str:
        """Return the ARN of a STANDARD execution of this machine; the qualifier is no part of it."""
        return f"arn:{self.partition}:states:{self.region}:{self.account}:execution:{self.name}:{name}"


def parse_role(text: str) -> RoleArn:
    """Take an IAM role's ARN apart; raises ArnInvalid."""
    found = _ROLE.fullmatch(text)
    if found is None or "//" in text:
        raise ArnInvalid("expected arn:aws:iam::ACCOUNT:role/NAME")
    partition, account, path, name = found.groups()
    return RoleArn(partition=partition, account=account, path=path, name=name)


def parse_assumed_role(text: str) -> AssumedRoleArn:
    """Take a role session's ARN apart; raises ArnInvalid."""
    found = _ASSUMED.fullmatch(text)
    if found is None:
        raise ArnInvalid("expected arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION")
    partition, account, role, session = found.groups()
    return AssumedRoleArn(partition=partition, account=account, role=role, session=session)


def parse_state_machine(text: str) -> StateMachineArn:
    """Take a state machine's ARN apart, with a version or alias where there is one; raises ArnInvalid."""
    found = _MACHINE.fullmatch(text)
    if found is None:
        raise ArnInvalid("expected arn:aws:states:REGION:ACCOUNT:stateMachine:NAME")
    partition, region, account, name, qualifier = found.groups()
    return StateMachineArn(
        partition=partition, region=region, account=account, name=name, qualifier=qualifier
    )
