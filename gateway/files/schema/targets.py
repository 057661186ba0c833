"""The files of targets: roles and workflows."""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.files.schema.values import Duration, File, Name, Shape, Teams, VaultName

TARGETS_FORMAT: Final = "oidc-gateway/targets.v1"


class RoleShape(Shape):
    """An IAM role that callers' tokens may become."""

    arn: str = Field(description="arn:aws:iam::ACCOUNT:role/NAME, complete.")
    duration: Duration = Field(
        default="1h", description="Session length, 15m to 12h, at most the role's own maximum."
    )
    teams: Teams | None = Field(
        default=None, description="Teams whose rules may name it; compulsory where gateway.yaml has teams."
    )


class VaultAwsShape(Shape):
    """A role of Vault's AWS secrets engine, which assumes an IAM role."""

    mount: VaultName = Field(description="Where the AWS secrets engine is mounted, such as aws.")
    role: VaultName = Field(description="The engine's role, of type assumed_role.")
    role_arn: str = Field(
        description="arn:aws:iam::ACCOUNT:role/NAME that the engine's role assumes; Vault's answer must name it."
    )


class VaultRoleShape(Shape):
    """A role of a Vault JWT auth mount that callers' tokens log in to."""

    vault: Name = Field(description="Name of a Vault in gateway.yaml.")
    mount: VaultName = Field(
        description="Where the JWT auth method is mounted, without auth/. One mount serves one issuer."
    )
    role: VaultName = Field(description="The role there, in lower case, as Vault makes it.")
    user_claim: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Claim that names the caller's entity in Vault: a text in every token, the same in all its runs."
    )
    policies: Annotated[list[VaultName], Field(min_length=1, max_length=64)] = Field(
        description="Exactly these policies the token may have, and Vault's own `default`."
    )
    ttl: Duration = Field(
        description="Longest life of its tokens and of AWS credentials behind it, 30s to 12h; at least 15m for AWS."
    )
    wrap: Duration | None = Field(
        default=None,
        description="Hand tokens out response-wrapped; for how long they can be unwrapped.",
    )
    aws: VaultAwsShape | None = Field(
        default=None,
        description="The AWS secrets engine behind it; compulsory for AWS credentials and for workflows.",
    )
    teams: Teams | None = Field(
        default=None, description="Teams whose rules may name it; compulsory where gateway.yaml has teams."
    )


class TaskRoleShape(Shape):
    """A role of a Vault AWS auth mount that tasks log in to with their IAM role; no rule names it."""

    vault: Name = Field(description="Name of a Vault in gateway.yaml.")
    mount: VaultName = Field(description="Where the AWS auth method is mounted, without auth/.")
    role: VaultName = Field(description="The role there, in lower case, as Vault makes it.")
    principals: Annotated[list[str], Field(min_length=1, max_length=64)] = Field(
        description="IAM roles that may log in: arn:aws:iam::ACCOUNT:role/NAME, complete, without wildcards."
    )
    policies: Annotated[list[VaultName], Field(min_length=1, max_length=64)] = Field(
        description="Exactly these policies the token has, and Vault's own `default`. What they allow is written in Vault."
    )
    ttl: Duration = Field(description="Longest life of its tokens, 30s to 12h, renewed or not.")
    server_id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="What a login must carry in X-Vault-AWS-IAM-Server-ID; a setting of the mount, so alike in all its roles.",
    )
    for_: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        alias="for",
        description="Workflows whose tasks use it; its ttl is compared with their timeouts.",
    )


class WorkflowShape(Shape):
    """A state machine under a name that callers use."""

    state_machine: str = Field(
        description="arn:aws:states:REGION:ACCOUNT:stateMachine:NAME, complete; a version or alias may follow."
    )
    type: Literal["standard", "express", "express-sync"] = Field(
        description="As in AWS; the gateway holds no right to look it up."
    )
    input_schema: File | None = Field(
        default=None,
        description="A JSON Schema file in this folder, or `any`. Without it only the input {} is accepted.",
    )
    output: Literal["hidden", "visible"] = Field(
        default="hidden", description="Whether output, error and cause appear in answers."
    )
    timeout: Duration | None = Field(
        default=None, description="Longest run; for express-sync the longest wait, at most 300s."
    )
    teams: Teams | None = Field(
        default=None, description="Teams whose rules may name it; compulsory where gateway.yaml has teams."
    )


class TargetsShape(Shape):
    """config/targets.yaml or config/targets/*.yaml: every ARN once, under a name."""

    format: Literal["oidc-gateway/targets.v1"] = Field(description="The first key of the file.")
    roles: dict[Name, RoleShape] = Field(default_factory=dict, description="IAM roles, by our name for each.")
    vault_roles: dict[Name, VaultRoleShape] = Field(
        default_factory=dict, description="Roles of Vault's JWT auth, by our name for each."
    )
    task_roles: dict[Name, TaskRoleShape] = Field(
        default_factory=dict, description="Roles of Vault's AWS auth, by our name for each."
    )
    workflows: dict[Name, WorkflowShape] = Field(
        default_factory=dict, description="State machines, by the name callers use."
    )
