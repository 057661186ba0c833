"""Roles, Vault roles and workflows: complete literals that agree with each other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.arn import ArnInvalid, StateMachineArn, parse_state_machine
from gateway.compiling.aws import compile_role_arn, region_partition
from gateway.compiling.report import Report, Spot, unknown_reference
from gateway.compiling.schemas import read_schema
from gateway.compiling.vaults import Vaults, compile_engine, judge_vault_role, twins
from gateway.files.schema.targets import RoleShape, TargetsShape, VaultRoleShape, WorkflowShape
from gateway.files.schema.values import duration_s
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode, Source, show
from gateway.policy.input_schema import InputSchema
from gateway.policy.rule import AwsRole, Target, VaultRole, Workflow

_SHORTEST_S: Final = 900
_LONGEST_S: Final = 43_200
_LONGEST_SYNC_S: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What rules may name.

    roles:     IAM roles and Vault roles, which share one space of names.
    written_*: names that stand in the files, those of faulty entries included.
    spots:     where each of `roles` stands.
    complete:  every file could be read; otherwise nothing follows from a name that is not there.
    """

    roles: Mapping[str, Target]
    workflows: Mapping[str, Workflow]
    written_roles: frozenset[str]
    written_workflows: frozenset[str]
    spots: Mapping[str, Spot]
    complete: bool = True


def compile_targets(
    files: Iterable[Shaped[TargetsShape]],
    attachments: Mapping[str, Source],
    teams: frozenset[str] | None,
    vaults: Vaults,
    report: Report,
    *,
    teams_unreadable: bool = False,
) -> Targets:
    """Return roles, Vault roles and workflows of all files. teams: None when the installation has none."""
    compiled = _Targets(attachments, teams, vaults, report)
    compiled.teams_unreadable = teams_unreadable
    for file in files:
        compiled.take(file)
    return Targets(
        roles=compiled.roles,
        workflows=compiled.workflows,
        written_roles=frozenset(compiled.written_roles),
        written_workflows=frozenset(compiled.written_workflows),
        spots=compiled.spots,
        complete=compiled.complete,
    )


class _Targets:
    def __init__(
        self,
        attachments: Mapping[str, Source],
        teams: frozenset[str] | None,
        vaults: Vaults,
        report: Report,
    ) -> None:
        self._attachments = attachments
        self._teams = teams
        self._vaults = vaults
        self._report = report
        self._schemas: dict[str, InputSchema | None] = {}
        self._places: dict[str, Spot] = {}
        self._arns: dict[str, str] = {}
        self.roles: dict[str, Target] = {}
        self.spots: dict[str, Spot] = {}
        self.workflows: dict[str, Workflow] = {}
        self.written_roles: set[str] = set()
        self.written_workflows: set[str] = set()
        self.complete = True
        self.teams_unreadable = False

    def take(self, file: Shaped[TargetsShape]) -> None:
        self.written_roles |= file.written("roles") | file.written("vault_roles")
        self.written_workflows |= file.written("workflows")
        if any(file.is_unreadable(section) for section in ("roles", "vault_roles", "workflows")):
            self.complete = False
        if file.shape is None:
            return
        for name, role in file.shape.roles.items():
            spot = Spot(file.document, ("roles", name), self._report)
            if self._is_new("role", name, spot):
                self._keep(self._role(name, role, spot), spot)
        for name, vault_role in file.shape.vault_roles.items():
            spot = Spot(file.document, ("vault_roles", name), self._report)
            # Grants name both kinds alike, so they share their names.
            if self._is_new("role", name, spot):
                self._keep(self._vault_role(name, vault_role, spot), spot)
        for name, workflow in file.shape.workflows.items():
            spot = Spot(file.document, ("workflows", name), self._report)
            if self._is_new("workflow", name, spot):
                found = self._workflow(name, workflow, spot)
                if found is not None:
                    self.workflows[name] = found

    def _keep(self, role: Target | None, spot: Spot) -> None:
        if role is not None:
            self.roles[role.name] = role
            self.spots[role.name] = spot

    def _is_new(self, kind: str, name: str, spot: Spot) -> bool:
        first = self._places.setdefault(f"{kind} {name}", spot)
        if first is spot:
            return True
        place = first.document.place(first.path, key=True)
        spot.error(
            FindingCode.NAME_TAKEN,
            f'A {kind} "{name}" stands in {place} already.',
            "Rename one of them.",
            key=True,
        )
        return False

    def _role(self, name: str, shape: RoleShape, spot: Spot) -> AwsRole | None:
        arn = compile_role_arn(shape.arn, spot / "arn")
        duration_s_ = duration_s(shape.duration)
        if not _SHORTEST_S <= duration_s_ <= _LONGEST_S:
            (spot / "duration").error(
                FindingCode.VALUE_INVALID,
                f"AWS STS gives no session of {shape.duration}.",
                "Write 15m to 12h.",
            )
        teams = self._owners(shape.teams, spot)
        if arn is None or (spot / "arn").is_hole:
            return None
        first = self._arns.setdefault(str(arn), name)
        if first != name:
            (spot / "arn").warning(
                FindingCode.NAME_TAKEN,
                f"{first} is the same role; whoever asks for it by its ARN may get either.",
                "Keep every ARN once, unless two teams need the role for different times.",
            )
        return AwsRole(name=name, arn=arn, duration_s=duration_s_, teams=teams)

    def _vault_role(self, name: str, shape: VaultRoleShape, spot: Spot) -> VaultRole | None:
        before = self._report.errors
        judge_vault_role(shape, spot)
        vault = self._vaults.known.get(shape.vault)
        if vault is None and not self._vaults.unreadable and shape.vault not in self._vaults.written:
            unknown_reference(spot / "vault", "vault", shape.vault, self._vaults.known)
        engine = None if shape.aws is None else compile_engine(shape.aws, spot / "aws")
        teams = self._owners(shape.teams, spot)
        # What is wrong by itself is not held against the rules a second time.
        if vault is None or self._report.errors > before or spot.has_hole:
            return None
        made = VaultRole(
            name=name,
            vault=vault,
            mount=shape.mount,
            role=shape.role,
            user_claim=shape.user_claim,
            policies=tuple(dict.fromkeys(shape.policies)),
            ttl_s=duration_s(shape.ttl),
            wrap_s=None if shape.wrap is None else duration_s(shape.wrap),
            aws=engine,
            teams=teams,
        )
        twins(made, (one for one in self.roles.values() if isinstance(one, VaultRole)), spot)
        return made

    def _workflow(self, name: str, shape: WorkflowShape, spot: Spot) -> Workflow | None:
        machine = self._machine(shape.state_machine, spot / "state_machine")
        timeout_s = None if shape.timeout is None else duration_s(shape.timeout)
        if shape.type == "express-sync" and timeout_s is not None and timeout_s > _LONGEST_SYNC_S:
            (spot / "timeout").error(
                FindingCode.VALUE_INVALID,
                f"A synchronous workflow ends after 5 minutes in AWS; {shape.timeout} is longer.",
                "Write at most 300s, or make the workflow standard.",
            )
        schema = self._schema(shape.input_schema)
        teams = self._owners(shape.teams, spot)
        if machine is None or (spot / "state_machine").is_hole:
            return None
        return Workflow(
            name=name,
            state_machine=machine,
            type=shape.type,
            # A schema that is wrong keeps the whole policy from coming into force; its grants are judged all the same.
            input_schema=schema or InputSchema.nothing(),
            output_visible=shape.output == "visible",
            timeout_s=timeout_s,
            teams=teams,
        )

    def _machine(self, text: str, spot: Spot) -> StateMachineArn | None:
        try:
            machine = parse_state_machine(text)
        except ArnInvalid as error:
            spot.error(
                FindingCode.VALUE_INVALID,
                f"{show(text)} is no state machine: {error}.",
                "Write the complete ARN; there are no patterns and no templates.",
            )
            return None
        if region_partition(machine.region) != machine.partition:
            spot.error(
                FindingCode.AWS_MISMATCH,
                f"The Region {machine.region} is not in the partition {machine.partition}.",
                f"Write arn:{region_partition(machine.region)}:…, or another Region.",
            )
        return machine

    def _owners(self, teams: Sequence[str] | None, spot: Spot) -> tuple[str, ...]:
        if self.teams_unreadable:
            return tuple(teams or ())
        if self._teams is None:
            if teams is not None:
                (spot / "teams").error(
                    FindingCode.FIELD_UNKNOWN,
                    "gateway.yaml has no teams, so nothing can belong to one.",
                    "Remove teams here, or add them to gateway.yaml.",
                    key=True,
                )
            return ()
        if (spot / "teams").is_hole:
            # Whoever names it is not to blame.
            return tuple(sorted(self._teams))
        if teams is None:
            spot.error(
                FindingCode.FIELD_MISSING,
                f"{spot.path[-1]} has no teams, and gateway.yaml has: nobody may use it.",
                "Add teams: [those whose rules may name it].",
                key=True,
            )
            return ()
        for index, team in enumerate(teams):
            if team not in self._teams:
                unknown_reference(spot / "teams" / index, "team", team, sorted(self._teams))
        return tuple(teams)

    def _schema(self, name: str | None) -> InputSchema | None:
        if name is None:
            return InputSchema.nothing()
        if name == "any":
            return InputSchema.anything()
        if name not in self._schemas:
            source = self._attachments.get(name)
            self._schemas[name] = (
                read_schema(source, self._report) if source is not None and source.readable else None
            )
        return self._schemas[name]
