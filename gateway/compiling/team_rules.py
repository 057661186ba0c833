"""What one team's files come to, file by file: of files that have not changed it is taken over, and not made again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.compiling.report import MAX_FINDINGS, Report
from gateway.files.schema.mapping import MappingShape
from gateway.files.shapes import Shaped
from gateway.files.source import Finding, Place
from gateway.policy.rule import Rule

Mappings = tuple[Shaped[MappingShape], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePart:
    """What a file without errors, all of whose grants hold, comes to for one team, whatever stands beside it.

    Only names that another file bears too would make it something else.
    names: of its rules, and where they stand. own, outer: warnings, as in TeamRules.
    """

    file: Shaped[MappingShape]
    rules: tuple[Rule, ...]
    names: Mapping[str, Place]
    own: tuple[Finding, ...]
    outer: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Begun:
    """How far a team's rules were when a file was begun."""

    rules: int
    inert: int
    errors: int
    own: int
    outer: int


@dataclass(slots=True)
class TeamRules:
    """One team's rules as they can be used now.

    own:   findings that the team's own files must mend; an error among them holds the team back.
    outer: findings about what others own: issuers, targets, workflows; they make single grants inert.
    inert: grants left out.
    unknown: what the rules name and no file defines: kind and name.
    parts: files that can be taken over as they are, by name.
    """

    rules: list[Rule] = field(default_factory=list)
    own: Report = field(default_factory=Report)
    outer: Report = field(default_factory=Report)
    inert: int = 0
    written: int = 0
    unknown: set[tuple[str, str]] = field(default_factory=set)
    parts: dict[str, FilePart] = field(default_factory=dict)

    def take(self, part: FilePart) -> None:
        """Take what a file has come to before."""
        self.written += len(part.rules)
        self.rules += part.rules
        self.own.add(*part.own)
        self.outer.add(*part.outer)
        self.parts[part.file.file] = part

    def begin(self) -> Begun:
        """Note how far it is, for `end`."""
        return Begun(
            rules=len(self.rules),
            inert=self.inert,
            errors=self.own.errors + self.outer.errors,
            own=len(self.own.findings),
            outer=len(self.outer.findings),
        )

    def end(self, begun: Begun, file: Shaped[MappingShape]) -> None:
        """Keep what a file has come to since, when it comes to the same again."""
        shapes = file.shape.rules if file.shape is not None else []
        rules = tuple(self.rules[begun.rules :])
        is_whole = len(rules) == len(shapes) and self.inert == begun.inert
        is_sound = self.own.errors + self.outer.errors == begun.errors
        has_room = max(len(self.own.findings), len(self.outer.findings)) < MAX_FINDINGS
        if is_whole and is_sound and has_room:
            self.parts[file.file] = FilePart(
                file=file,
                rules=rules,
                names={shape.name: rule.written for shape, rule in zip(shapes, rules, strict=True)},
                own=tuple(self.own.findings[begun.own :]),
                outer=tuple(self.outer.findings[begun.outer :]),
            )
