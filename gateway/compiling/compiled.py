"""What a set of files amounts to: the policy, what is wrong, and what the next compilation needs of this one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gateway.compiling.cases import CaseResult
from gateway.compiling.central import Settled
from gateway.compiling.team_rules import Mappings
from gateway.compiling.teams import Team
from gateway.files.document import Document
from gateway.files.source import Finding
from gateway.policy.rule import Condition, Rule
from gateway.policy.snapshot import Policy


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
    settled, made: what the central files and each team's came to, for the next compilation, which takes over what has
              not changed; nothing when there is no policy.
    """

    policy: Policy | None
    findings: tuple[Finding, ...]
    teams: Mapping[str, TeamState]
    inert: int
    kept: Mapping[str, Mappings] = field(repr=False)
    ruling: Ruling = field(repr=False)
    cases: tuple[CaseResult, ...] = field(default=(), repr=False)
    kept_tests: Mapping[str, str] = field(default_factory=dict, repr=False)
    settled: Settled | None = field(default=None, repr=False)
    made: Mapping[str, Team] = field(default_factory=dict, repr=False)

    @property
    def errors(self) -> int:
        """Return how many findings are errors."""
        return sum(finding.severity == "error" for finding in self.findings)
