"""Roles, workflows and AWS endpoints: complete literals that agree with each other, and input schemas that work."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.arn import ArnInvalid, RoleArn, StateMachineArn, parse_role, parse_state_machine
from gateway.files.document import read_document
from gateway.files.schema import GatewayShape, RoleShape, TargetsShape, WorkflowShape, duration_s
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode, Source, show
from gateway.policy.compile_keys import url_fault
from gateway.policy.input_schema import InputSchema
from gateway.policy.input_walk import SchemaInvalid
from gateway.policy.report import Report, Spot, unknown_reference
from gateway.policy.rule import AwsRole, Workflow
from gateway.policy.snapshot import AwsEndpoints
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

_SCHEMA_LIMITS: Final = JsonLimits(depth=100, members=50_000, array_length=10_000, string_length=8_192)
_SHORTEST_S: Final = 900
_LONGEST_S: Final = 43_200
_LONGEST_SYNC_S: Final = 300

# A Region's prefix says to which partition it belongs; all others are `aws`.
_PARTITIONS: Final = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
    ("eusc-", "aws-eusc"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """What rules may name. written_*: names that stand in the files, those of faulty entries included."""

    roles: Mapping[str, AwsRole]
    workflows: Mapping[str, Workflow]
    written_roles: frozenset[str]
    written_workflows: frozenset[str]


def region_partition(region: str) -> str:
    """Return the partition that a Region belongs to."""
    return next((partition for prefix, partition in _PARTITIONS if region.startswith(prefix)), "aws")


def compile_endpoints(gateway: Shaped[GatewayShape], report: Report, *, dev: bool) -> AwsEndpoints | None:
    """Return where AWS answers; None when gateway.yaml cannot be used."""
    if gateway.shape is None:
        return None
    aws = gateway.shape.aws
    spot = Spot(gateway.document, ("aws",), report)
    for region, endpoints in (aws.endpoints or {}).items():
        for name, url in (("sts", endpoints.sts), ("states", endpoints.states)):
            if url is not None:
                _judge_endpoint(url, spot / "endpoints" / region / name, dev=dev)
    if aws.emulator and not dev:
        (spot / "emulator").error(
            FindingCode.DEV_ONLY,
            "emulator: true leaves two checks of STS's answers out; it is accepted only with --dev.",
            "Remove it.",
        )
    given = (aws.endpoints or {}).items()
    return AwsEndpoints(
        region=aws.region,
        sts={region: one.sts for region, one in given if one.sts is not None},
        states={region: one.states for region, one in given if one.states is not None},
        emulator=aws.emulator,
    )


def _judge_endpoint(url: str, spot: Spot, *, dev: bool) -> None:
    fault = url_fault(url, of_issuer=True)
    if fault is not None:
        spot.error(FindingCode.VALUE_INVALID, f"{show(url)} {fault}.", "Write it as https://HOST.")
    elif url.startswith("http://") and not dev:
        spot.error(
            FindingCode.DEV_ONLY,
            f"{show(url)} is not encrypted; http is accepted for loopback addresses and only with --dev.",
            "Write https://.",
        )


def compile_targets(
    files: Iterable[Shaped[TargetsShape]],
    attachments: Mapping[str, Source],
    teams: frozenset[str] | None,
    report: Report,
) -> Targets:
    """Return roles and workflows of all files. teams: None when the installation has none."""
    compiled = _Targets(attachments, teams, report)
    for file in files:
        compiled.take(file)
    return Targets(
        roles=compiled.roles,
        workflows=compiled.workflows,
        written_roles=frozenset(compiled.written_roles),
        written_workflows=frozenset(compiled.written_workflows),
    )


class _Targets:
    def __init__(
        self, attachments: Mapping[str, Source], teams: frozenset[str] | None, report: Report
    ) -> None:
        self._attachments = attachments
        self._teams = teams
        self._report = report
        self._schemas: dict[str, InputSchema | None] = {}
        self._places: dict[str, Spot] = {}
        self._arns: dict[str, str] = {}
        self.roles: dict[str, AwsRole] = {}
        self.workflows: dict[str, Workflow] = {}
        self.written_roles: set[str] = set()
        self.written_workflows: set[str] = set()

    def take(self, file: Shaped[TargetsShape]) -> None:
        self.written_roles |= file.written("roles") | file.written("vault_roles")
        self.written_workflows |= file.written("workflows")
        if file.shape is None:
            return
        for name, role in file.shape.roles.items():
            spot = Spot(file.document, ("roles", name), self._report)
            if self._is_new("role", name, spot) and (made := self._role(name, role, spot)) is not None:
                self.roles[name] = made
        for name, workflow in file.shape.workflows.items():
            spot = Spot(file.document, ("workflows", name), self._report)
            if self._is_new("workflow", name, spot):
                found = self._workflow(name, workflow, spot)
                if found is not None:
                    self.workflows[name] = found

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
        arn = self._role_arn(shape.arn, spot / "arn")
        duration_s_ = duration_s(shape.duration)
        if not _SHORTEST_S <= duration_s_ <= _LONGEST_S:
            (spot / "duration").error(
                FindingCode.VALUE_INVALID,
                f"AWS STS gives no session of {shape.duration}.",
                "Write 15m to 12h.",
            )
        teams = self._owners(shape.teams, spot)
        if arn is None:
            return None
        first = self._arns.setdefault(str(arn), name)
        if first != name:
            (spot / "arn").warning(
                FindingCode.NAME_TAKEN,
                f"{first} is the same role; whoever asks for it by its ARN may get either.",
                "Keep every ARN once, unless two teams need the role for different times.",
            )
        return AwsRole(name=name, arn=arn, duration_s=duration_s_, teams=teams)

    def _role_arn(self, text: str, spot: Spot) -> RoleArn | None:
        try:
            return parse_role(text)
        except ArnInvalid as error:
            spot.error(
                FindingCode.VALUE_INVALID,
                f"{show(text)} is no role: {error}.",
                "Write the complete ARN; there are no patterns and no templates.",
            )
            return None

    def _workflow(self, name: str, shape: WorkflowShape, spot: Spot) -> Workflow | None:
        machine = self._machine(shape.state_machine, spot / "state_machine")
        timeout_s = None if shape.timeout is None else duration_s(shape.timeout)
        if shape.type == "express-sync" and timeout_s is not None and timeout_s > _LONGEST_SYNC_S:
            (spot / "timeout").error(
                FindingCode.VALUE_INVALID,
                f"A synchronous workflow ends after 5 minutes in AWS; {shape.timeout} is longer.",
                "Write at most 300s, or make the workflow standard.",
            )
        schema = self._schema(shape.input_schema, spot / "input_schema")
        teams = self._owners(shape.teams, spot)
        if machine is None or schema is None:
            return None
        return Workflow(
            name=name,
            state_machine=machine,
            type=shape.type,
            input_schema=schema,
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
        if self._teams is None:
            if teams is not None:
                (spot / "teams").error(
                    FindingCode.FIELD_UNKNOWN,
                    "gateway.yaml has no teams, so nothing can belong to one.",
                    "Remove teams here, or add them to gateway.yaml.",
                    key=True,
                )
            return ()
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

    def _schema(self, name: str | None, spot: Spot) -> InputSchema | None:
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


def read_schema(source: Source, report: Report) -> InputSchema | None:
    """Compile an input schema; what is wrong with it is reported at its place in its own file."""
    # JSON is read as JSON; the YAML reader is asked for places alone.
    spot = Spot(read_document(source), (), report)
    try:
        document = parse_json_object(source.text.encode(), _SCHEMA_LIMITS)
    except StrictJsonError as error:
        at = _syntax_error(source.text)
        spot.error(
            FindingCode.SCHEMA_UNUSABLE,
            f"{source.file} is no JSON Schema: {error.message}{at}",
            "Write one JSON object, each member once.",
        )
        return None
    try:
        return InputSchema.compile(document)
    except SchemaInvalid as error:
        for part in _path_of(error.pointer, document):
            spot = spot / part
        spot.error(
            FindingCode.SCHEMA_UNUSABLE,
            f"{error.pointer or 'The schema'}: {error.message}.".replace("..", "."),
            "JSON Schema 2020-12 or draft-07, complete in one file.",
        )
        return None


def _syntax_error(text: str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f" Line {error.lineno}, column {error.colno}: {error.msg}."
    except RecursionError:
        return ""
    return ""


def _path_of(pointer: str, document: object) -> list[str | int]:
    path: list[str | int] = []
    here = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list) and name.isdecimal() and int(name) < len(here):
            path.append(int(name))
            here = here[int(name)]
        elif isinstance(here, dict) and name in here:
            path.append(name)
            here = here[name]
        else:
            break
    return path
