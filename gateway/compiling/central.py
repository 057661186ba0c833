"""gateway.yaml, the targets and the files they name → what rules are judged against; all or nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from gateway.compiling.admin import compile_admin
from gateway.compiling.aws import compile_endpoints
from gateway.compiling.grants import Around
from gateway.compiling.issuers import compile_issuers
from gateway.compiling.report import MAX_FINDINGS, Report, Spot, unknown_reference
from gateway.compiling.targets import compile_targets
from gateway.compiling.task_roles import compile_task_roles
from gateway.compiling.vaults import compile_vaults
from gateway.files.folder import Sources
from gateway.files.listing import team_of
from gateway.files.schema.gateway import GatewayShape
from gateway.files.schema.targets import TargetsShape
from gateway.files.shapes import Shaped
from gateway.files.source import Finding, Place, Source
from gateway.policy.admin_rights import AdminRights
from gateway.policy.rule import TaskRole
from gateway.policy.snapshot import AwsEndpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How the service runs that the rules are for. workers: processes of it; shared: they have a state in common."""

    workers: int = 1
    shared: bool = False

    @property
    def tokens_shared(self) -> bool:
        """Say whether all of it knows which tokens were used."""
        return self.shared or self.workers == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Central:
    """What the central files come to; `around` and `endpoints` are None where gateway.yaml cannot be read."""

    around: Around | None = None
    endpoints: AwsEndpoints | None = None
    task_roles: Mapping[str, TaskRole] = field(default_factory=dict)
    admin: AdminRights | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """All that the central files are judged by."""

    gateway: Shaped[GatewayShape]
    targets: tuple[Shaped[TargetsShape], ...]
    attachments: Mapping[str, Source]
    findings: tuple[Finding, ...]
    dev: bool
    today: date
    serving: Serving | None

    def is_same_as(self, other: "Asked") -> bool:
        """Say whether both come to the same: files that have not changed are the very same objects."""
        return (
            self.gateway is other.gateway
            and len(self.targets) == len(other.targets)
            and all(one is another for one, another in zip(self.targets, other.targets, strict=True))
            and self.attachments == other.attachments
            and self.findings == other.findings
            and (self.dev, self.today, self.serving) == (other.dev, other.today, other.serving)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Central files without errors, and what they came to. findings: warnings."""

    asked: Asked
    central: Central
    findings: tuple[Finding, ...]


def settle_central(
    sources: Sources,
    report: Report,
    *,
    dev: bool,
    today: date,
    serving: Serving | None,
    before: Settled | None = None,
) -> tuple[Central, Settled | None]:
    """Judge what is all or nothing, or take over what it came to before; for the next time, too, when it is good.

    report: holds nothing yet.
    """
    if sources.gateway is None:
        return compile_central(sources, report, dev=dev, today=today, serving=serving), None
    asked = Asked(
        gateway=sources.gateway,
        targets=sources.targets,
        attachments=sources.attachments,
        findings=tuple(one for one in sources.findings if not is_of_a_team(one.place)),
        dev=dev,
        today=today,
        serving=serving,
    )
    if before is not None and asked.is_same_as(before.asked):
        report.add(*before.findings)
        return before.central, before
    central = compile_central(sources, report, dev=dev, today=today, serving=serving)
    # Where teams cannot be read, those that have files stand in for them; and of more findings the last ones are lost.
    if report.errors or len(report.findings) == MAX_FINDINGS or sources.gateway.is_unreadable("teams"):
        return central, None
    return central, Settled(asked=asked, central=central, findings=tuple(report.findings))


def compile_central(
    sources: Sources, report: Report, *, dev: bool, today: date, serving: Serving | None
) -> Central:
    """Judge what is all or nothing; pure. serving: None: as gateway.yaml says."""
    report.add(*(finding for finding in sources.findings if not is_of_a_team(finding.place)))
    for source in sources.attachments.values():
        report.add(*source.findings)
    for file in sources.targets:
        report.add(*file.findings)
    gateway = sources.gateway
    if gateway is None:
        return Central()
    report.add(*gateway.findings)
    shape = gateway.shape
    if shape is None:
        return Central()
    issuers = compile_issuers(gateway, sources.attachments, report, dev=dev)
    admin = compile_admin(gateway, issuers, report)
    teams = None if shape.teams is None else gateway.written("teams")
    vaults = compile_vaults(gateway, sources.attachments, report, dev=dev)
    blind = gateway.is_unreadable("teams")
    targets = compile_targets(
        sources.targets, sources.attachments, teams, vaults, report, teams_unreadable=blind
    )
    if not sources.targets or any(_of_targets(finding) for finding in sources.findings):
        targets = replace(targets, complete=False)
    task_roles = compile_task_roles(sources.targets, targets, vaults, report)
    _judge_team_list(gateway, report)
    serving = serving or Serving(workers=shape.server.workers, shared=shape.state.url is not None)
    around = Around(
        issuers=issuers,
        targets=targets,
        teams=_teams(sources, gateway),
        written_issuers=gateway.written("issuers"),
        written_teams=gateway.written("teams"),
        region=shape.aws.region,
        vaults=bool(shape.vaults),
        today=today,
        unsure_teams=_unsure_teams(sources, gateway),
        workers=serving.workers,
        tokens_shared=serving.tokens_shared,
    )
    endpoints = compile_endpoints(gateway, report, dev=dev)
    return Central(around=around, endpoints=endpoints, task_roles=task_roles, admin=admin)


def _judge_team_list(gateway: Shaped[GatewayShape], report: Report) -> None:
    teams = gateway.shape.teams if gateway.shape is not None else None
    for name, team in (teams or {}).items():
        for index, issuer in enumerate(team.issuers):
            if issuer not in gateway.written("issuers"):
                spot = Spot(gateway.document, ("teams", name, "issuers", index), report)
                unknown_reference(spot, "issuer", issuer, sorted(gateway.written("issuers")))


def _teams(sources: Sources, gateway: Shaped[GatewayShape]) -> Mapping[str, frozenset[str]] | None:
    """Return the issuers that each team may name; of teams that cannot be read those that have files."""
    teams = gateway.shape.teams if gateway.shape is not None else None
    known = {name: frozenset(team.issuers) for name, team in (teams or {}).items()}
    if gateway.is_unreadable("teams"):
        return {team_of(file.file): frozenset() for file in sources.mappings} | known
    return None if teams is None else known


def _unsure_teams(sources: Sources, gateway: Shaped[GatewayShape]) -> frozenset[str]:
    """Return the teams that may name other issuers once gateway.yaml is mended; no rule is blamed for that."""
    if gateway.is_unreadable("teams"):
        return frozenset(team_of(file.file) for file in sources.mappings)
    teams = gateway.shape.teams if gateway.shape is not None else None
    written = gateway.written("issuers")
    return frozenset(
        name
        for name, team in (teams or {}).items()
        if gateway.document.has_hole(("teams", name, "issuers")) or not written.issuperset(team.issuers)
    )


def _of_targets(finding: Finding) -> bool:
    """Say whether a file of targets is missing, so that what it defines may be there all the same."""
    return finding.severity == "error" and finding.place.file.split("/")[0] in {"targets", "targets.yaml"}


def is_of_a_team(place: Place) -> bool:
    """Say whether a file belongs to a team, so that what is wrong with it holds back that team alone."""
    return place.file.startswith("mappings/")
