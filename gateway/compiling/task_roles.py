"""Roles of Vault's AWS auth, with which tasks log in: literal IAM roles, each role of Vault once, one server id a mount."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.arn import RoleArn
from gateway.compiling.aws import compile_role_arn
from gateway.compiling.report import Report, Spot, unknown_reference
from gateway.compiling.targets import Targets
from gateway.compiling.vaults import Vaults, judge_login
from gateway.files.schema.targets import TargetsShape, TaskRoleShape
from gateway.files.schema.values import duration_s, duration_text
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode, show
from gateway.policy.rule import TaskRole, VaultRole, Workflow

# What a header can carry; `vault login` takes no other.
_SERVER_ID: Final = re.compile(r"[!-~]{1,256}")
#: A token that lives no longer than this is short enough for any task.
_SHORT_S: Final = 300


def compile_task_roles(
    files: Iterable[Shaped[TargetsShape]], targets: Targets, vaults: Vaults, report: Report
) -> Mapping[str, TaskRole]:
    """Return the task roles of all files, by name."""
    compiled = _TaskRoles(targets, vaults, report)
    for file in files:
        for name, shape in (file.shape.task_roles if file.shape is not None else {}).items():
            compiled.take(name, shape, Spot(file.document, ("task_roles", name), report))
    return compiled.roles


class _TaskRoles:
    def __init__(self, targets: Targets, vaults: Vaults, report: Report) -> None:
        self._targets = targets
        self._vaults = vaults
        self._report = report
        self._places: dict[str, Spot] = {}
        self.roles: dict[str, TaskRole] = {}

    def take(self, name: str, shape: TaskRoleShape, spot: Spot) -> None:
        first = self._places.setdefault(name, spot)
        if first is not spot:
            place = first.document.place(first.path, key=True)
            message = f'A task role "{name}" stands in {place} already.'
            spot.error(FindingCode.NAME_TAKEN, message, "Rename one of them.", key=True)
            return
        made = self._task_role(name, shape, spot)
        if made is not None:
            self._judge_beside_others(made, spot)
            self.roles[name] = made

    def _task_role(self, name: str, shape: TaskRoleShape, spot: Spot) -> TaskRole | None:
        before = self._report.errors
        judge_login(shape, spot)
        vault = self._vaults.known.get(shape.vault)
        if vault is None and not self._vaults.unreadable and shape.vault not in self._vaults.written:
            unknown_reference(spot / "vault", "vault", shape.vault, self._vaults.known)
        principals = _principals(shape.principals, spot / "principals")
        _judge_server_id(shape.server_id, spot / "server_id")
        for index, workflow in enumerate(shape.for_ or ()):
            self._judge_workflow(workflow, duration_s(shape.ttl), spot / "for" / index)
        if vault is None or self._report.errors > before or spot.has_hole:
            return None
        return TaskRole(
            name=name,
            vault=vault,
            mount=shape.mount,
            role=shape.role,
            principals=principals,
            policies=tuple(dict.fromkeys(shape.policies)),
            ttl_s=duration_s(shape.ttl),
            server_id=shape.server_id,
        )

    def _judge_workflow(self, name: str, ttl_s: int, spot: Spot) -> None:
        workflow = self._targets.workflows.get(name)
        if workflow is not None:
            _judge_lifetime(workflow, ttl_s, spot)
        elif self._targets.complete and name not in self._targets.written_workflows:
            unknown_reference(spot, "workflow", name, self._targets.workflows)

    def _judge_beside_others(self, role: TaskRole, spot: Spot) -> None:
        """Report what one Vault cannot hold together: a role twice, a mount of two types or with two server ids."""
        callers = [one for one in self._targets.roles.values() if isinstance(one, VaultRole)]
        for caller in callers:
            if _mount(caller) == _mount(role):
                (spot / "mount").error(
                    FindingCode.VAULT_MISMATCH,
                    f"auth/{role.mount} is the JWT mount of {caller.name}; a mount of Vault is of one type.",
                    "Name another mount.",
                )
                break
        for other in self.roles.values():
            if _mount(other) != _mount(role):
                continue
            if other.role == role.role:
                (spot / "role").error(
                    FindingCode.VAULT_MISMATCH,
                    f"{other.name} is the same role of Vault, which holds it in one way only.",
                    "Keep it once; it may have several principals.",
                )
            if other.server_id != role.server_id:
                (spot / "server_id").error(
                    FindingCode.VAULT_MISMATCH,
                    f"{other.name} is at the same mount with another server_id, or one of them has none: Vault demands one "
                    "value of every login at a mount.",
                    "Write it alike in all roles of the mount, or use two mounts.",
                )
                break
        self._judge_policies(role, callers, spot)

    def _judge_policies(self, role: TaskRole, callers: Iterable[VaultRole], spot: Spot) -> None:
        for caller in callers:
            same = (caller.vault.address, caller.vault.namespace) == _mount(role)[:2]
            if same and caller.aws is not None and caller.policies[0] in role.policies:
                (spot / "policies" / role.policies.index(caller.policies[0])).warning(
                    FindingCode.VAULT_WIDER,
                    f"{caller.policies[0]} leads to the AWS engine of {caller.name}, so a task that has it gets AWS "
                    "credentials there too.",
                    "Give tasks policies of their own.",
                )


def _mount(role: TaskRole | VaultRole) -> tuple[str, str | None, str]:
    return role.vault.address, role.vault.namespace, role.mount


def _principals(texts: Sequence[str], spot: Spot) -> tuple[RoleArn, ...]:
    found = []
    for index, text in enumerate(texts):
        # In a path AWS allows an asterisk; here it would only look like a pattern.
        if "*" in text or "?" in text:
            (spot / index).error(
                FindingCode.VALUE_INVALID,
                f"{show(text)} has a wildcard, so roles that nobody has thought of could log in.",
                "Write the complete ARN of every role.",
            )
        elif (arn := compile_role_arn(text, spot / index)) is not None:
            found.append(arn)
    return tuple(dict.fromkeys(found))


def _judge_server_id(server_id: str | None, spot: Spot) -> None:
    if server_id is not None and _SERVER_ID.fullmatch(server_id) is None:
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{show(server_id)} cannot stand in a header.",
            "Use visible ASCII characters without blanks, such as Vault's host name.",
        )


def _judge_lifetime(workflow: Workflow, ttl_s: int, spot: Spot) -> None:
    timeout_s = workflow.timeout_s
    if timeout_s is None:
        return
    if ttl_s < timeout_s:
        spot.warning(
            FindingCode.TTL_MISMATCH,
            f"Its tokens end after {duration_text(ttl_s)}, before {workflow.name} may: its timeout is {duration_text(timeout_s)}.",
            "Raise ttl, lower timeout, or leave the workflow out here when its tasks log in anew.",
        )
    elif ttl_s > max(_SHORT_S, 4 * timeout_s):
        spot.warning(
            FindingCode.TTL_MISMATCH,
            f"Its tokens live {duration_text(ttl_s)}, much longer than {workflow.name} can last: its timeout is "
            f"{duration_text(timeout_s)}.",
            f"Lower ttl to {duration_text(max(_SHORT_S, timeout_s))}.",
        )
