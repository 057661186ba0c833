"""All files together → one policy, and everything that is wrong; a team's mistakes hold back that team alone."""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from types import MappingProxyType
from typing import Final, Literal

from gateway.files.document import Document
from gateway.files.folder import Sources, collector_paused, internal_fault
from gateway.files.schema.cases import CasesShape
from gateway.files.schema.gateway import GatewayShape
from gateway.files.shapes import Shaped
from gateway.files.source import Finding, FindingCode, Place
from gateway.policy.admin_rights import AdminRights
from gateway.policy.cases import CaseResult, Cases, judge_cases
from gateway.policy.compile_admin import compile_admin
from gateway.policy.compile_aws import compile_endpoints
from gateway.policy.compile_grants import Around
from gateway.policy.compile_issuers import compile_issuers
from gateway.policy.compile_rules import Mappings, TeamRules, compile_team, team_of
from gateway.policy.compile_targets import compile_targets
from gateway.policy.compile_task_roles import compile_task_roles
from gateway.policy.compile_vaults import compile_vaults
from gateway.policy.index import GrantIndex
from gateway.policy.overlap_findings import overlap_findings
from gateway.policy.report import Report, Spot, unknown_reference
from gateway.policy.rule import Condition, Rule, TaskRole
from gateway.policy.snapshot import AwsEndpoints, Policy
from gateway.policy.vault_findings import vault_findings

_log = logging.getLogger("gateway.policy.compile")

MAX_RULES: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamState:
    """How one team's rules stand. team: empty in an installation without teams.

    state: `held` when its files are wrong and its last good rules, if there are any, stay in force.
    rules: in force. inert: grants that an owner does not allow or that name what is not there.
    """

    team: str
    state: Literal["current", "held"]
    rules: int
    inert: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """The rules, whether or not they come into force, with what is needed to compare them and to say where they stand."""

    rules: tuple[Rule, ...] = ()
    requirements: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    documents: Mapping[str, Document] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What a set of files amounts to.

    policy:   None when it must not replace the one in force (or, at the start, when there is nothing to serve).
    findings: of all files, in the order of their places.
    teams:    by name, those that have files; empty when there is no policy.
    inert:    grants left out, over all teams.
    kept:     each team's last good files, for the next compilation; kept_tests: a digest of the tests that held then.
    cases:    how the tests of the rules went, those of teams whose files are wrong left out.
    ruling:   for `overlaps_of`.
    """

    policy: Policy | None
    findings: tuple[Finding, ...]
    teams: Mapping[str, TeamState]
    inert: int
    kept: Mapping[str, Mappings] = field(repr=False)
    ruling: Ruling = field(repr=False)
    cases: tuple[CaseResult, ...] = field(default=(), repr=False)
    kept_tests: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def errors(self) -> int:
        """Return how many findings are errors."""
        return sum(finding.severity == "error" for finding in self.findings)


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
class _Team:
    """What a team has in force.

    files:  the last good ones when the team is held.
    tests:  digest of its tests where they hold, of those that held last where they do not.
    blocks: what others changed makes its last good rules allow what its tests forbid.
    """

    name: str
    held: bool
    files: Mappings
    compiled: TeamRules
    cases: tuple[CaseResult, ...] = ()
    tests: str | None = None
    blocks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    """What a team had in force. tests: digest of the tests that held then."""

    files: Mappings = ()
    tests: str | None = None


def compile_policy(
    sources: Sources,
    *,
    dev: bool,
    today: date,
    previous: Compiled | None = None,
    overlaps: bool = True,
    serving: Serving | None = None,
) -> Compiled:
    """Compile what was read; pure.

    dev:      accept plain http to loopback addresses and AWS emulators.
    today:    UTC; only a warning depends on it.
    previous: the last result, whose good files stand in for those that a team has broken since.
    overlaps: look for rules that one token satisfies together, too. They are findings and never keep a policy from
              coming into force, so `serve` looks for them afterwards, with `overlaps_of`.
    serving:  how this service runs; None: as gateway.yaml says.
    """
    with collector_paused():
        kept = _kept_by(previous)
        compiled = _compile(sources, kept, dev=dev, today=today, serving=serving)
    if not overlaps:
        return compiled
    findings = (*compiled.findings, *overlaps_of(compiled))
    return replace(compiled, findings=tuple(sorted(dict.fromkeys(findings), key=_order)))


def _kept_by(previous: Compiled | None) -> Mapping[str, _Before]:
    if previous is None:
        return {}
    tests = previous.kept_tests
    return {name: _Before(files=files, tests=tests.get(name)) for name, files in previous.kept.items()}


def overlaps_of(compiled: Compiled) -> tuple[Finding, ...]:
    """Look for rules in force that one token satisfies together, with different targets; takes a second at most."""
    ruling = compiled.ruling
    return overlap_findings(ruling.rules, ruling.requirements, ruling.documents)


def _compile(
    sources: Sources, kept: Mapping[str, _Before], *, dev: bool, today: date, serving: Serving | None
) -> Compiled:
    central, others = Report(), Report()
    around, endpoints, task_roles, admin = _central(sources, central, dev=dev, today=today)
    if around is not None:
        serving = serving or _serving(sources)
        around = replace(around, workers=serving.workers, tokens_shared=serving.tokens_shared)
    teams = _judge_teams(sources, around, kept, others)
    rules = [rule for team in teams for rule in team.compiled.rules]
    # Rules as they are written, not as they hold: when an owner takes everything away, that must take effect.
    empty = not any(team.compiled.written for team in teams)
    _judge_amount(teams, rules, central, empty=empty)
    ruling = Ruling()
    if around is not None:
        documents = _documents(teams)
        ruling = Ruling(rules=tuple(rules), requirements=around.issuers.requirements, documents=documents)
        sound = not (central.errors or others.errors)
        try:
            others.add(*vault_findings(rules, around.targets, around.issuers, documents, complete=sound))
        except Exception:  # noqa: BLE001 - they are advice, for which no change waits
            _log.exception("what Vault makes of the rules could not be judged")
    findings = tuple(sorted(dict.fromkeys((*central.findings, *others.findings)), key=_order))
    cases = tuple(case for team in teams for case in team.cases)
    blocked = any(team.blocks for team in teams)
    if around is None or endpoints is None or central.errors or empty or blocked:
        return Compiled(
            policy=None,
            findings=findings,
            teams={},
            inert=0,
            kept={name: before.files for name, before in kept.items()},
            kept_tests={name: before.tests for name, before in kept.items() if before.tests},
            ruling=ruling,
            cases=cases,
        )
    return Compiled(
        policy=Policy(
            digest=_digest(sources, teams),
            issuers=MappingProxyType({one.issuer: one for one in around.issuers.trusted.values()}),
            requirements=MappingProxyType(dict(around.issuers.requirements)),
            workflows=MappingProxyType(dict(around.targets.workflows)),
            targets=MappingProxyType(dict(around.targets.roles)),
            rules=MappingProxyType({rule.id: rule for rule in rules}),
            index=GrantIndex.build(rules),
            aws=endpoints,
            task_roles=MappingProxyType(dict(task_roles)),
            admin=admin,
        ),
        findings=findings,
        teams=MappingProxyType({team.name: _state(team) for team in teams}),
        inert=sum(team.compiled.inert for team in teams),
        kept=MappingProxyType({team.name: team.files for team in teams if team.files}),
        kept_tests=MappingProxyType({team.name: team.tests for team in teams if team.tests}),
        ruling=ruling,
        cases=cases,
    )


def _central(
    sources: Sources, report: Report, *, dev: bool, today: date
) -> tuple[Around | None, AwsEndpoints | None, Mapping[str, TaskRole], AdminRights | None]:
    """Judge what is all or nothing: gateway.yaml, targets, and the files they name."""
    report.add(*(finding for finding in sources.findings if not _of_a_team(finding.place)))
    for source in sources.attachments.values():
        report.add(*source.findings)
    for file in sources.targets:
        report.add(*file.findings)
    gateway = sources.gateway
    if gateway is None:
        return None, None, {}, None
    report.add(*gateway.findings)
    shape = gateway.shape
    if shape is None:
        return None, None, {}, None
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
    )
    return around, compile_endpoints(gateway, report, dev=dev), task_roles, admin


def _serving(sources: Sources) -> Serving:
    shape = sources.gateway.shape if sources.gateway is not None else None
    if shape is None:
        return Serving()
    return Serving(workers=shape.server.workers, shared=shape.state.url is not None)


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


def _judge_teams(
    sources: Sources, around: Around | None, kept: Mapping[str, _Before], report: Report
) -> tuple[_Team, ...]:
    by_team: dict[str, list[int]] = defaultdict(list)
    tests: dict[str, list[Shaped[CasesShape]]] = defaultdict(list)
    without_teams = around is None or around.teams is None
    for index, file in enumerate(sources.mappings):
        by_team["" if without_teams else team_of(file.file)].append(index)
    for test in sources.tests:
        team = "" if without_teams else team_of(test.file)
        tests[team].append(test)
        by_team.setdefault(team, [])
    misplaced: dict[str, list[Finding]] = defaultdict(list)
    for finding in sources.findings:
        if _of_a_team(finding.place):
            misplaced["" if without_teams else team_of(finding.place.file)].append(finding)
            by_team.setdefault("" if without_teams else team_of(finding.place.file), [])
    judged = []
    for name, indices in sorted(by_team.items()):
        files = tuple(sources.mappings[index] for index in indices)
        report.add(*misplaced[name])
        broken = any(finding.severity == "error" for finding in misplaced[name])
        written = _Written(files=files, tests=tuple(tests[name]), broken=broken)
        judged.append(_judge_team(name, written, around, kept.get(name, _Before()), report))
    return tuple(judged)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A team's files as they are. broken: something is wrong with their folders or names."""

    files: Mappings
    tests: Cases
    broken: bool

    @property
    def tests_digest(self) -> str:
        listing = "\n".join(f"{one.file} {one.document.digest}" for one in self.tests)
        return hashlib.sha256(listing.encode("utf-8", "surrogatepass")).hexdigest()


def _judge_team(name: str, written: _Written, around: Around | None, last: _Before, report: Report) -> _Team:
    files = written.files
    if around is None:
        for file in files:
            report.add(*file.findings)
        for test in written.tests:
            report.add(*test.findings)
        return _Team(name=name, held=True, files=last.files, compiled=TeamRules(), tests=last.tests)
    compiled = _compile_or_leave(name, files, around)
    report.add(*compiled.own.findings, *compiled.outer.findings)
    good = not compiled.own.errors and not written.broken
    cases: tuple[CaseResult, ...] = ()
    forbidden = False
    if written.tests and not compiled.own.errors:
        judgement = judge_cases(written.tests, compiled.rules, around, complete=not compiled.outer.errors)
        report.add(*judgement.blocking.findings, *judgement.other.findings)
        cases, forbidden = tuple(judgement.results), judgement.blocking.errors > 0
    kept = _Team(
        name=name, held=False, files=files, compiled=compiled, cases=cases, tests=written.tests_digest
    )
    if good and not forbidden and not (compiled.unknown and last.files):
        return kept
    # Its last good rules, against today's issuers and targets: what those take away is gone at once.
    before = _compile_or_leave(name, last.files, around)
    # What is unknown to the last good rules too was taken away by its owner; what is not, the team has misspelt.
    held = not good or forbidden or not compiled.unknown <= before.unknown
    if not held:
        return kept
    return replace(
        kept,
        held=True,
        files=last.files,
        compiled=before,
        tests=last.tests,
        blocks=_forbidden_by_others(written, last, before, around),
    )


def _forbidden_by_others(written: _Written, last: _Before, before: TeamRules, around: Around) -> bool:
    """Say whether rules that passed these very tests fail them now: then gateway.yaml or the targets made them wider."""
    if not written.tests or last.tests != written.tests_digest:
        return False
    return judge_cases(written.tests, before.rules, around).blocking.errors > 0


def _compile_or_leave(name: str, files: Mappings, around: Around) -> TeamRules:
    try:
        return compile_team(name, files, around)
    except Exception:  # noqa: BLE001 - a bug of ours must not keep other teams' changes from becoming active
        _log.exception("a team's rules could not be compiled", extra={"team": name})
        left = TeamRules()
        left.own.add(internal_fault(files[0].file if files else "mappings"))
        return left


def _judge_amount(teams: Iterable[_Team], rules: list[Rule], report: Report, *, empty: bool) -> None:
    if empty and not any(team.held for team in teams):
        report.add(
            _finding(
                FindingCode.POLICY_EMPTY,
                "No rule is left; an interrupted copy looks the same, so this changes nothing that is in force.",
                "Add a rule below mappings/. To stop everything, stop the gateway or take its targets away.",
            )
        )
    if len(rules) > MAX_RULES:
        report.add(
            _finding(
                FindingCode.LIMIT_EXCEEDED,
                f"There are more than {MAX_RULES:,} rules.",
                "Join some with any_of.",
            )
        )


def _finding(code: FindingCode, message: str, fix: str) -> Finding:
    return Finding(
        code=code,
        severity="error",
        place=Place(file="mappings", line=1, column=1),
        message=message,
        fix=fix,
    )


def _of_a_team(place: Place) -> bool:
    return place.file.startswith("mappings/")


def _documents(teams: Iterable[_Team]) -> Mapping[str, Document]:
    return {file.file: file.document for team in teams for file in team.files}


def _state(team: _Team) -> TeamState:
    return TeamState(
        team=team.name,
        state="held" if team.held else "current",
        rules=len(team.compiled.rules),
        inert=team.compiled.inert,
    )


def _digest(sources: Sources, teams: Iterable[_Team]) -> str:
    """Return a digest of the bytes of all files in force."""
    gateway = (sources.gateway,) if sources.gateway is not None else ()
    used = {one.file: one.document.digest for one in (*gateway, *sources.targets)}
    used |= {source.file: source.digest for source in sources.attachments.values()}
    used |= {file.file: file.document.digest for team in teams for file in team.files}
    listing = "\n".join(f"{file} {digest}" for file, digest in sorted(used.items()))
    return f"sha256:{hashlib.sha256(listing.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _order(finding: Finding) -> tuple[Place, str, str]:
    return finding.place, finding.code, finding.message
