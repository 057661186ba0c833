"""What Vault must hold so that tasks log in with their IAM roles: AWS auth mounts and roles, every field of each. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.admin.vault_fields import token_fields
from gateway.admin.vault_items import Item
from gateway.policy.rule import TaskRole


def task_items(roles: Sequence[TaskRole], *, emulated: bool) -> tuple[Item, ...]:
    """Return mounts, server ids and roles for tasks. emulated: AWS is an emulator, whose roles have no lasting ids."""
    items: list[Item] = []
    for mount in task_mounts(roles):
        here = [role for role in roles if role.mount == mount]
        items.append(Item(kind="auth mount", path=f"sys/auth/{mount}", fields={"type": "aws"}))
        # Alike in all roles of a mount. The rest of this configuration, its AWS credentials too, stays as it is.
        if (server_id := here[0].server_id) is not None:
            fields = {"iam_server_id_header_value": server_id}
            items.append(Item(kind="auth config", path=f"auth/{mount}/config/client", fields=fields))
        items += [
            Item(
                kind="auth role",
                path=f"auth/{mount}/role/{role.role}",
                fields=_fields(role, emulated=emulated),
            )
            for role in here
        ]
    return tuple(items)


def task_mounts(roles: Sequence[TaskRole]) -> tuple[str, ...]:
    """Return the AWS auth mounts of these roles, without `auth/`."""
    return tuple(sorted({role.mount for role in roles}))


def task_remarks(roles: Sequence[TaskRole]) -> tuple[str, ...]:
    """Say what stays with the administrator."""
    if not roles:
        return ()
    policies = ", ".join(sorted({policy for role in roles for policy in role.policies}))
    return (
        *(
            f"auth/{mount}: how Vault asks AWS who a task is (its own AWS identity with iam:GetRole, sts_endpoint, sts_region) is "
            f"yours to write, in auth/{mount}/config/client."
            for mount in task_mounts(roles)
        ),
        f"What tasks may do stands in their policies, which are yours to write: {policies}.",
    )


def _fields(role: TaskRole, *, emulated: bool) -> Mapping[str, object]:
    # By name alone Vault compares a role without its path; by its id it does not matter.
    arns = [replace(arn, path="") if emulated else arn for arn in role.principals]
    return {
        "auth_type": "iam",
        "bound_iam_principal_arn": sorted({str(arn) for arn in arns}),
        # Bound to the role's id, which a role of the same name that is made later does not have.
        "resolve_aws_unique_ids": not emulated,
        "inferred_entity_type": "",
        "inferred_aws_region": "",
        "bound_account_id": [],
        "bound_ami_id": [],
        "bound_ec2_instance_id": [],
        "bound_iam_instance_profile_arn": [],
        "bound_iam_role_arn": [],
        "bound_region": [],
        "bound_subnet_id": [],
        "bound_vpc_id": [],
        **token_fields(role.policies, role.ttl_s),
    }
