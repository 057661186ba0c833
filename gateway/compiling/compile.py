"""All files together → one policy, and everything that is wrong; a team's mistakes hold back that team alone."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from types import MappingProxyType
from typing import Final

from gateway.collector import collector_paused
from gateway.compiling.central import Central, Serving, Settled, settle_central
from gateway.compiling.compiled import Compiled, Ruling, TeamState
from gateway.compiling.grants import Around
from gateway.compiling.overlap_findings import overlap_findings
from gateway.compiling.report import Report
from gateway.compiling.teams import Before, Team, judge_teams
from gateway.compiling.vault_findings import vault_findings
from gateway.files.document import Document
from gateway.files.folder import Sources
from gateway.files.source import Finding, FindingCode, Place
from gateway.files.turns import step
from gateway.policy.index import GrantIndex
from gateway.policy.rule import Rule
from gateway.policy.snapshot import AwsEndpoints, Policy

_log = logging.getLogger("gateway.compiling.compile")

MAX_RULES: Final = 100_000
#: When more than this share of the rules has changed, they are filed anew together.
_MOST_ANEW: Final = 4


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
    previous: the last result that came into force: its good files stand in for those that a team has broken since, and
              what it made of files that have not changed is taken over.
    overlaps: look for rules that one token satisfies together, too. They are findings and never keep a policy from
              coming into force, so `serve` looks for them afterwards, with `overlaps_of`.
    serving:  how this service runs; None: as gateway.yaml says.
    """
    with collector_paused():
        compiled = _compile(sources, previous, dev=dev, today=today, serving=serving)
    if not overlaps:
        return compiled
    findings = (*compiled.findings, *overlaps_of(compiled))
    return replace(compiled, findings=tuple(sorted(dict.fromkeys(findings), key=_order)))


def _kept_by(previous: Compiled | None, settled: Settled | None) -> Mapping[str, Before]:
    if previous is None:
        return {}
    tests = previous.kept_tests
    made = previous.made if settled is not None and settled is previous.settled else {}
    return {
        name: Before(
            files=previous.kept.get(name, ()),
            tests=tests.get(name) if name in previous.kept else None,
            team=made.get(name),
        )
        for name in {**previous.kept, **made}
    }


def overlaps_of(compiled: Compiled) -> tuple[Finding, ...]:
    """Look for rules in force that one token satisfies together, with different targets; takes a second at most."""
    ruling = compiled.ruling
    return overlap_findings(ruling.rules, ruling.requirements, ruling.documents)


def _compile(
    sources: Sources, previous: Compiled | None, *, dev: bool, today: date, serving: Serving | None
) -> Compiled:
    aside, others = Report(), Report()
    central, settled = settle_central(
        sources,
        aside,
        dev=dev,
        today=today,
        serving=serving,
        before=previous.settled if previous is not None else None,
    )
    kept = _kept_by(previous, settled)
    around = central.around
    teams = judge_teams(sources, around, kept, others, most=MAX_RULES)
    rules = [rule for team in teams for rule in team.compiled.rules]
    # Rules as they are written, not as they hold: when an owner takes everything away, that must take effect.
    empty = not any(team.compiled.written for team in teams)
    _judge_amount(teams, rules, aside, empty=empty)
    ruling = Ruling()
    if around is not None:
        ruling = Ruling(
            rules=tuple(rules), requirements=around.issuers.requirements, documents=_documents(teams)
        )
        sound = not (aside.errors or others.errors)
        others.add(*_vault_findings(ruling, around, sound=sound))
    compiled = Compiled(
        policy=None,
        findings=tuple(sorted(dict.fromkeys((*aside.findings, *others.findings)), key=_order)),
        teams={},
        inert=0,
        kept={name: before.files for name, before in kept.items() if before.files},
        kept_tests={name: before.tests for name, before in kept.items() if before.tests},
        ruling=ruling,
        cases=tuple(case for team in teams for case in team.cases),
    )
    blocked = any(team.blocks for team in teams)
    if around is None or central.endpoints is None or aside.errors or empty or blocked:
        return compiled
    return replace(
        compiled,
        policy=_policy(
            _digest(sources, teams),
            central,
            around,
            central.endpoints,
            rules,
            previous.policy if previous is not None else None,
        ),
        teams=MappingProxyType({team.name: _state(team) for team in teams}),
        inert=sum(team.compiled.inert for team in teams),
        kept=MappingProxyType({team.name: team.files for team in teams if team.files}),
        kept_tests=MappingProxyType({team.name: team.tests for team in teams if team.tests}),
        settled=settled,
        made=MappingProxyType({team.name: team for team in teams}),
    )


def _index(rules: list[Rule], by_id: Mapping[str, Rule], previous: Policy | None) -> GrantIndex:
    """File all grants, or those alone whose rules are not those of before."""
    if previous is None or len(by_id) != len(rules):
        return GrantIndex.build(rules)
    # Each of these looks at all rules.
    step()
    come = [rule for rule in rules if previous.rules.get(rule.id) is not rule]
    step()
    gone = [rule for rule in previous.rules.values() if by_id.get(rule.id) is not rule]
    if len(come) + len(gone) > len(rules) // _MOST_ANEW:
        return GrantIndex.build(rules)
    try:
        return previous.index.after(gone, come, rules)
    except LookupError:
        _log.exception("the grants of changed rules could not be filed; all are filed anew")
        return GrantIndex.build(rules)


def _policy(
    digest: str,
    central: Central,
    around: Around,
    endpoints: AwsEndpoints,
    rules: list[Rule],
    previous: Policy | None,
) -> Policy:
    by_id = {rule.id: rule for rule in rules}
    return Policy(
        digest=digest,
        issuers=MappingProxyType({one.issuer: one for one in around.issuers.trusted.values()}),
        requirements=MappingProxyType(dict(around.issuers.requirements)),
        workflows=MappingProxyType(dict(around.targets.workflows)),
        targets=MappingProxyType(dict(around.targets.roles)),
        rules=MappingProxyType(by_id),
        index=_index(rules, by_id, previous),
        aws=endpoints,
        task_roles=MappingProxyType(dict(central.task_roles)),
        admin=central.admin,
    )


def _vault_findings(ruling: Ruling, around: Around, *, sound: bool) -> Iterable[Finding]:
    try:
        return vault_findings(ruling.rules, around.targets, around.issuers, ruling.documents, complete=sound)
    except Exception:  # noqa: BLE001 - they are advice, for which no change waits
        _log.exception("what Vault makes of the rules could not be judged")
        return ()


def _judge_amount(teams: Iterable[Team], rules: list[Rule], report: Report, *, empty: bool) -> None:
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


def _documents(teams: Iterable[Team]) -> Mapping[str, Document]:
    return {file.file: file.document for team in teams for file in team.files}


def _state(team: Team) -> TeamState:
    return TeamState(
        team=team.name,
        state="held" if team.held else "current",
        rules=len(team.compiled.rules),
        inert=team.compiled.inert,
    )


def _digest(sources: Sources, teams: Iterable[Team]) -> str:
    """Return a digest of the bytes of all files in force."""
    gateway = (sources.gateway,) if sources.gateway is not None else ()
    used = {one.file: one.document.digest for one in (*gateway, *sources.targets)}
    used |= {source.file: source.digest for source in sources.attachments.values()}
    used |= {file.file: file.document.digest for team in teams for file in team.files}
    listing = "\n".join(f"{file} {digest}" for file, digest in sorted(used.items()))
    return f"sha256:{hashlib.sha256(listing.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _order(finding: Finding) -> tuple[Place, str, str]:
    return finding.place, finding.code, finding.message
