"""The administrators' folder, read and compiled again only where it changed.

[edge]
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from gateway.clock import Clock
from gateway.collector import collector_paused
from gateway.compiling.central import Serving
from gateway.compiling.compile import compile_policy, overlaps_of
from gateway.compiling.compiled import Compiled
from gateway.files.folder import Sources, load_sources
from gateway.files.source import Finding, FindingCode
from gateway.policy.snapshot import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the folder said at one moment.

    policy: None when it must not come into force.
    held_back: teams whose files are wrong and whose last good rules stay in force.
    without_rules: those of them that have none, because this process has never read good ones.
    """

    policy: Policy | None
    findings: tuple[Finding, ...]
    held_back: tuple[str, ...] = ()
    without_rules: tuple[str, ...] = ()
    inert_grants: int = 0
    sources: Sources | None = field(default=None, repr=False)
    compiled: Compiled | None = field(default=None, repr=False)

    @property
    def is_stale(self) -> bool:
        """Say whether the files do not mean what they say: a team is held back, or a rule names what is not there."""
        return bool(self.held_back) or any(
            finding.code is FindingCode.REFERENCE_UNKNOWN and finding.severity == "error"
            for finding in self.findings
        )

    @property
    def errors(self) -> int:
        """Return how many findings are errors."""
        return sum(finding.severity == "error" for finding in self.findings)

    def overlaps(self) -> tuple[Finding, ...]:
        """Look for rules that one token satisfies together; takes a second at most, and nothing waits for it."""
        return overlaps_of(self.compiled) if self.compiled is not None else ()

    def without_policy(self, finding: Finding) -> "Loaded":
        """Return the same, but not to come into force, for this reason."""
        return replace(self, policy=None, findings=(*self.findings, finding))


class FolderLoad:
    """Reads and compiles a folder. dev, serving: see `load_sources` and `compile_policy`."""

    def __init__(self, folder: Path, *, dev: bool, clock: Clock, serving: Serving | None = None) -> None:
        self._folder = folder
        self._dev = dev
        self._serving = serving
        self._clock = clock

    def __call__(self, seen: Loaded | None, active: Loaded | None) -> Loaded:
        """Return what the files say now: `seen` itself when their bytes are those of then; raises OSError."""
        before = seen.sources if seen is not None else None
        # Once for both: looking for garbage among half a million new objects takes a sixth of a second.
        with collector_paused(thaw=False):
            sources = load_sources(self._folder, lenient=self._dev, previous=before)
            if seen is not None and before is not None and sources.fingerprint == before.fingerprint:
                return seen
            compiled = compile_policy(
                sources,
                dev=self._dev,
                today=datetime.fromtimestamp(self._clock.wall(), UTC).date(),
                previous=active.compiled if active is not None else None,
                overlaps=False,
                serving=self._serving,
            )
        return Loaded(
            policy=compiled.policy,
            findings=compiled.findings,
            held_back=tuple(name for name, team in compiled.teams.items() if team.state == "held"),
            without_rules=tuple(
                name for name, team in compiled.teams.items() if team.state == "held" and not team.rules
            ),
            inert_grants=compiled.inert,
            sources=sources,
            compiled=compiled,
        )
