"""Each team's files → its rules, or its last good ones while something in its files is wrong."""

import hashlib
import logging
import operator
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.compiling.cases import CaseResult, Cases, Judgement, judge_cases
from gateway.compiling.central import is_of_a_team
from gateway.compiling.grants import Around
from gateway.compiling.report import Report
from gateway.compiling.rules import compile_team
from gateway.compiling.team_rules import FilePart, Mappings, TeamRules
from gateway.files.folder import Sources, internal_fault
from gateway.files.listing import team_of
from gateway.files.schema.cases import CasesShape
from gateway.files.shapes import Shaped
from gateway.files.source import Finding, FindingCode
from gateway.policy.rule import Rule

_log = logging.getLogger("gateway.compiling.compile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """What a team has in force.

    files:  the last good ones when the team is held.
    tests:  digest of its tests where they hold, of those that held last where they do not.
    blocks: what others changed makes its last good rules allow what its tests forbid.
    judged: what its tests say of `compiled`, and by what.
    """

    name: str
    held: bool
    files: Mappings
    compiled: TeamRules
    cases: tuple[CaseResult, ...] = ()
    tests: str | None = None
    blocks: bool = False
    judged: "_Judged | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What a team had in force. tests: digest of the tests that held then.

    team: what it was compiled to, when it was against the very same issuers and targets as now.
    """

    files: Mappings = ()
    tests: str | None = None
    team: Team | None = None

    @property
    def parts(self) -> Mapping[str, FilePart]:
        """Return what its files came to, as far as that can be taken over."""
        return self.team.compiled.parts if self.team is not None else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What tests say of rules. files: the tests; rules: None where something beside them is wrong, too."""

    files: Cases
    rules: tuple[Rule, ...] | None
    judgement: Judgement


def judge_teams(
    sources: Sources, around: Around | None, kept: Mapping[str, Before], report: Report, *, most: int
) -> tuple[Team, ...]:
    """Judge the files of every team; pure.

    around: None where nobody can say what they may name.
    most:   rules of all teams together; where they are more, those teams are held back that have added most.
    """
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
        if is_of_a_team(finding.place):
            misplaced["" if without_teams else team_of(finding.place.file)].append(finding)
            by_team.setdefault("" if without_teams else team_of(finding.place.file), [])
    judged: dict[str, Team] = {}
    by_name: dict[str, _Written] = {}
    for name, indices in sorted(by_team.items()):
        files = tuple(sources.mappings[index] for index in indices)
        report.add(*misplaced[name])
        broken = any(finding.severity == "error" for finding in misplaced[name])
        written = _Written(files=files, tests=tuple(tests[name]), broken=broken)
        judged[name] = _judge_team(name, written, around, kept.get(name, Before()), report)
        by_name[name] = written
    if around is not None and around.teams is not None:
        judged |= _hold_back_the_most(judged, by_name, kept, around, report, most)
    return tuple(judged.values())


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


def _judge_team(name: str, written: _Written, around: Around | None, last: Before, report: Report) -> Team:
    files = written.files
    if around is None:
        for file in files:
            report.add(*file.findings)
        for test in written.tests:
            report.add(*test.findings)
        return Team(name=name, held=True, files=last.files, compiled=TeamRules(), tests=last.tests)
    compiled = _compile_or_leave(name, files, around, last.parts)
    report.add(*compiled.own.findings, *compiled.outer.findings)
    good = not compiled.own.errors and not written.broken
    cases: tuple[CaseResult, ...] = ()
    forbidden = False
    judged = _judge_tests(written.tests, compiled, around, last.team)
    if judged is not None:
        judgement = judged.judgement
        report.add(*judgement.blocking.findings, *judgement.other.findings)
        cases, forbidden = tuple(judgement.results), judgement.blocking.errors > 0
    kept = Team(
        name=name,
        held=False,
        files=files,
        compiled=compiled,
        cases=cases,
        tests=written.tests_digest,
        judged=judged,
    )
    if good and not forbidden and not (compiled.unknown and last.files):
        return kept
    before = _last_good(name, last, around)
    # What is unknown to the last good rules too was taken away by its owner; what is not, the team has misspelt.
    held = not good or forbidden or not compiled.unknown <= before.unknown
    return _hold_back(kept, written, last, before, around) if held else kept


def _last_good(name: str, last: Before, around: Around) -> TeamRules:
    """Return a team's last good rules, against today's issuers and targets: what those take away is gone at once."""
    return _compile_or_leave(name, last.files, around, last.parts)


def _hold_back(team: Team, written: _Written, last: Before, before: TeamRules, around: Around) -> Team:
    return replace(
        team,
        held=True,
        files=last.files,
        compiled=before,
        tests=last.tests,
        blocks=_forbidden_by_others(written, last, before, around),
    )


def _hold_back_the_most(
    teams: Mapping[str, Team],
    written: Mapping[str, _Written],
    kept: Mapping[str, Before],
    around: Around,
    report: Report,
    most: int,
) -> Mapping[str, Team]:
    """Hold back teams, those first that add most, until all rules together are no more than these.

    Otherwise one team's files could keep every other team's changes, and at a start all rules, from coming into force.
    """
    over = sum(len(team.compiled.rules) for team in teams.values()) - most
    if over <= 0:
        return {}
    before = {
        name: _last_good(name, kept.get(name, Before()), around)
        for name, team in teams.items()
        if not team.held
    }
    added = {name: len(teams[name].compiled.rules) - len(rules.rules) for name, rules in before.items()}
    held: dict[str, Team] = {}
    for name in sorted(added, key=lambda one: (-added[one], one)):
        if over <= 0 or added[name] <= 0:
            break
        team = teams[name]
        report.add(_too_many(team, over, added[name], most))
        held[name] = _hold_back(team, written[name], kept.get(name, Before()), before[name], around)
        over -= added[name]
    return held


def _too_many(team: Team, over: int, added: int, most: int) -> Finding:
    """Name the file with which the rules are too many, which is where a team would begin to take some out."""
    left = len(team.compiled.rules) - over
    file = team.files[-1]
    for file in team.files:
        left -= len(file.shape.rules) if file.shape is not None else 0
        if left < 0:
            break
    return file.document.finding(
        FindingCode.LIMIT_EXCEEDED,
        ("rules",),
        f"All teams together have {over:,} rules more than the {most:,} that there may be, and {team.name} adds {added:,}.",
        "Join some with any_of, or take out what nobody needs; until then a gateway that runs keeps the team's last good "
        "rules, and one that starts has none for it.",
        key=True,
    )


def _judge_tests(tests: Cases, compiled: TeamRules, around: Around, before: Team | None) -> _Judged | None:
    """Judge the tests of a team, unless the same ones have judged the same rules before; None: there are none."""
    if not tests:
        return None
    sound = not (compiled.own.errors or compiled.outer.errors)
    rules = tuple(compiled.rules)
    known = before.judged if before is not None else None
    if (
        known is not None
        and known.rules is not None
        and sound
        and len(known.files) == len(tests)
        and all(one is another for one, another in zip(known.files, tests, strict=True))
        and len(known.rules) == len(rules)
        and all(map(operator.is_, known.rules, rules))
    ):
        return known
    judgement = judge_cases(
        tests, rules, around, complete=not compiled.outer.errors, names_only=compiled.own.errors > 0
    )
    return _Judged(files=tests, rules=rules if sound else None, judgement=judgement)


def _forbidden_by_others(written: _Written, last: Before, before: TeamRules, around: Around) -> bool:
    """Say whether rules that passed these very tests fail them now: then gateway.yaml or the targets made them wider."""
    if not written.tests or last.tests != written.tests_digest:
        return False
    return judge_cases(written.tests, before.rules, around).blocking.errors > 0


def _compile_or_leave(name: str, files: Mappings, around: Around, parts: Mapping[str, FilePart]) -> TeamRules:
    try:
        return compile_team(name, files, around, parts)
    except Exception:  # noqa: BLE001 - a bug of ours must not keep other teams' changes from becoming active
        _log.exception("a team's rules could not be compiled", extra={"team": name})
        left = TeamRules()
        left.own.add(internal_fault(files[0].file if files else "mappings"))
        return left
