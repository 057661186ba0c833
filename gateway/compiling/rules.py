"""Rules of mapping files, judged by themselves and against the issuers and targets they name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from difflib import get_close_matches

from gateway.compiling.conditions import GoodConditions, binding_claims, judge_email, read_conditions
from gateway.compiling.grants import Around, GoodGrants, GrantReader
from gateway.compiling.report import MAX_FINDINGS, Report, Spot, unknown_reference
from gateway.compiling.team_rules import FilePart, Mappings, TeamRules
from gateway.compiling.vault_findings import judge_towards_vault
from gateway.files.schema.mapping import MappingShape, RuleShape
from gateway.files.shapes import Shaped
from gateway.files.source import Finding, FindingCode, Place
from gateway.files.turns import step
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.presets import PRESETS, UNKNOWN
from gateway.policy.overlap import satisfiable
from gateway.policy.rule import Condition, Operator, Rule

Path = tuple[str | int, ...]

_SAME_AS_TEXT = frozenset({FindingCode.VALUE_UNLIKELY, FindingCode.CLAIM_TYPE_WRONG})
_MOST_MEANT = 100
_CLIENT_OR_SUBJECT = frozenset({"sub", "azp", "cid", "client_id"})


def compile_team(
    team: str, files: Mappings, against: Around, parts: Mapping[str, FilePart] | None = None
) -> TeamRules:
    """Judge all files of a team; a rule with an error of its own is left out.

    parts: what files have come to for the same team against the very same, by name.
    """
    compiled = TeamRules()
    known = against.teams is None or team in against.teams
    names: dict[str, Place] = {}
    good = _Good()
    for file in files:
        if not known and team not in against.written_teams:
            _misplaced(team, file, against, compiled.outer)
        if file.shape is None or not known:
            compiled.own.add(*file.findings)
        if file.shape is None:
            continue
        if not known:
            # A team that was taken out of gateway.yaml holds nothing any more, at once.
            compiled.written += len(file.shape.rules)
            compiled.inert += sum(len(rule.grants) for rule in file.shape.rules)
            continue
        part = (parts or {}).get(file.file)
        if part is not None and part.file is file and names.keys().isdisjoint(part.names):
            step()
            compiled.take(part)
            names |= part.names
            continue
        begun = compiled.begin()
        of_rules: list[Finding] = []
        for index, shape in zip(file.indices, file.shape.rules, strict=True):
            step()
            compiled.written += 1
            found = _Rule(team, shape, file, index, against, compiled, good).compile(names)
            # Bounded; but one error among a thousand warnings holds the team back.
            if len(of_rules) < MAX_FINDINGS or any(one.severity == "error" for one in found):
                of_rules += found
        compiled.own.add(*_with_better_fixes(file.findings, of_rules))
        compiled.end(begun, file)
    return compiled


def _with_better_fixes(of_file: Iterable[Finding], of_rules: Iterable[Finding]) -> Iterable[Finding]:
    """Join what was found in a text and in what it means.

    Of an unquoted `yes` the text alone cannot say that this issuer writes "true"; its claim can. One place, one finding.
    """
    better = {one.place: one for one in of_rules if one.code in _SAME_AS_TEXT}
    texts = {one.place: one for one in of_file if one.code is FindingCode.YAML_TYPE}
    for finding in of_file:
        meaning = better.get(finding.place) if finding is texts.get(finding.place) else None
        yield finding if meaning is None else replace(finding, fix=meaning.fix)
    for finding in of_rules:
        if finding.code not in _SAME_AS_TEXT or finding.place not in texts:
            yield finding


def _misplaced(team: str, file: Shaped[MappingShape], against: Around, report: Report) -> None:
    near = get_close_matches(team, list(against.teams or ()), n=1, cutoff=0.6)
    Spot(file.document, (), report).error(
        FindingCode.TEAM_MISPLACED,
        f'{file.file} belongs to the team "{team}" by its path, and gateway.yaml has no such team.',
        f"Did you mean mappings/{near[0]}/?" if near else "Add the team to gateway.yaml, or move the file.",
    )


@dataclass(frozen=True, slots=True)
class _Good:
    """What other rules of the team have shown to be good."""

    conditions: GoodConditions = field(default_factory=dict)
    grants: GoodGrants = field(default_factory=dict)


class _Rule:
    def __init__(
        self,
        team: str,
        shape: RuleShape,
        file: Shaped[MappingShape],
        index: int,
        against: Around,
        into: TeamRules,
        good: "_Good",
    ) -> None:
        self._good = good
        self._team = team
        self._shape = shape
        self._against = against
        self._into = into
        self._meant: tuple[TrustedIssuer, ...] = ()
        # A rule's own mistakes are counted apart, so that one does not spoil its neighbours.
        self._own = Report()
        self._own_spot = Spot(file.document, ("rules", index), self._own)
        self._outer_spot = Spot(file.document, ("rules", index), into.outer)

    def compile(self, names: dict[str, Place]) -> list[Finding]:
        """Judge the rule, take it if it is good, and return its own findings."""
        self._read(names)
        return self._own.findings

    def _read(self, names: dict[str, Place]) -> None:
        shape = self._shape
        place = self._own_spot.document.place(self._own_spot.path)
        first = place if (self._own_spot / "name").is_hole else names.setdefault(shape.name, place)
        if first is not place:
            (self._own_spot / "name").error(
                FindingCode.NAME_TAKEN,
                f'A rule "{shape.name}" stands in {first} already.',
                "Rename one of them.",
            )
        last_day = self._last_day()
        self._judge_replay()
        issuers = self._issuers()
        # Claims are judged by the issuer that is meant; the grants of a misspelt one are inert all the same.
        conditions = self._conditions(issuers or self._meant)
        reader = GrantReader(self._team, issuers, self._against, self._outer_spot, self._good.grants)
        grants = [grant for index, one in enumerate(shape.grants) if (grant := reader.read(one, index))]
        self._into.unknown |= reader.unknown
        is_whole = not self._own_spot.has_hole
        if is_whole:
            requirements = self._against.issuers.requirements
            judge_towards_vault(conditions, grants, issuers, requirements, self._own_spot)
        if self._own.errors or not issuers or not is_whole:
            self._into.inert += len(shape.grants)
            return
        self._into.inert += len(shape.grants) - len(grants)
        self._into.rules.append(
            Rule(
                id=f"{self._team}.{shape.name}" if self._team else shape.name,
                team=self._team,
                why=shape.why,
                issuers=tuple(issuer.name for issuer in issuers),
                conditions=conditions,
                grants=tuple(grants),
                last_day=last_day,
                written=place,
                replay=shape.replay,
            )
        )

    def _judge_replay(self) -> None:
        if self._shape.replay != "off" and not self._against.tokens_shared:
            (self._own_spot / "replay").error(
                FindingCode.STORE_NOT_SHARED,
                f"Rule {self._shape.name} counts uses of a token, and the {self._against.workers} workers of the "
                "gateway share no store that could: each would allow as many.",
                "Give gateway.yaml a state with the URL of a Redis, or set server.workers to 1. `serve` takes the URL "
                "by --state or OIDC_GATEWAY_STATE_URL too: give `check` the same flag, or the same variable.",
            )

    def _last_day(self) -> date | None:
        written = self._shape.last_day
        if written is None:
            return None
        spot = self._own_spot / "last_day"
        try:
            last_day = date.fromisoformat(written)
        except ValueError:
            spot.error(
                FindingCode.VALUE_INVALID, f"There is no day {written}.", "Write a day of the calendar."
            )
            return None
        if last_day < self._against.today:
            spot.warning(
                FindingCode.RULE_EXPIRED,
                f"This rule was usable through {written}; its callers are refused now.",
                "Remove it, or set a later day.",
            )
        return last_day

    def _issuers(self) -> tuple[TrustedIssuer, ...]:
        """Return the issuers that exist, may be named by the team, and are of one kind."""
        written = self._shape.issuer
        if isinstance(written, str):
            issuer = self._issuer(written, ("issuer",))
            return () if issuer is None else (issuer,)
        found: dict[str, TrustedIssuer] = {}
        for index, name in enumerate(written):
            issuer = self._issuer(name, ("issuer", index))
            if issuer is not None:
                found[name] = issuer
        presets = {issuer.preset for issuer in found.values()}
        if len(presets) > 1:
            (self._outer_spot / "issuer").error(
                FindingCode.VALUE_INVALID,
                f"The issuers of one rule are of one preset; these are {', '.join(sorted(presets))}.",
                "Write a rule for each preset: their claims mean different things.",
            )
            return ()
        return tuple(found.values())

    def _issuer(self, name: str, at: Path) -> TrustedIssuer | None:
        against = self._against
        if self._own_spot.down(*at).is_hole:
            return None
        issuer = against.issuers.trusted.get(name)
        if issuer is None:
            if name not in against.written_issuers and not against.issuers.unreadable:
                self._into.unknown.add(("issuer", name))
                few = against.issuers.trusted if self._outer_spot.report.errors < _MOST_MEANT else ()
                near = get_close_matches(name, list(few), n=1, cutoff=0.6)
                self._meant = tuple(against.issuers.trusted[one] for one in near)
                unknown_reference(self._outer_spot.down(*at), "issuer", name, sorted(against.written_issuers))
            return None
        if self._team in against.unsure_teams:
            return issuer
        if against.teams is not None and name not in against.teams.get(self._team, frozenset()):
            self._outer_spot.down(*at).error(
                FindingCode.GRANT_NOT_OWNED,
                f"Team {self._team} may not write rules about tokens of {name}.",
                f"The platform team can add {name} to the issuers of {self._team} in gateway.yaml.",
            )
            return None
        return issuer

    def _conditions(self, issuers: Sequence[TrustedIssuer]) -> tuple[Condition, ...]:
        spot = self._own_spot / "claims"
        # Without an issuer, what is wrong for any of them is wrong all the same.
        preset = PRESETS[issuers[0].preset] if issuers else UNKNOWN
        conditions = read_conditions(self._shape.claims, spot, preset, self._good.conditions)
        if spot.is_hole:
            return conditions
        if not spot.has_hole and not any(preset.binds_subject(claim) for claim in binding_claims(conditions)):
            bound = ", ".join(sorted(preset.subject_claims)[:6])
            spot.error(
                FindingCode.RULE_UNBOUND,
                "No claim here says whose tokens are meant, so every token of the issuer could fit.",
                f"Add one that does: {bound}.",
                key=True,
            )
        for issuer in issuers:
            self._against_issuer(conditions, issuer, spot)
        return conditions

    def _against_issuer(self, conditions: tuple[Condition, ...], issuer: TrustedIssuer, spot: Spot) -> None:
        required = self._against.issuers.requirements.get(issuer.name, ())
        if issuer.name not in self._against.issuers.incomplete:
            judge_email(conditions, required, spot)
        if spot.has_hole or issuer.name in self._against.issuers.incomplete:
            return
        all_conditions = (*required, *conditions)
        for_any_client = issuer.preset in {"okta", "auth0"} and not issuer.clients
        if for_any_client and _CLIENT_OR_SUBJECT.isdisjoint(binding_claims(all_conditions)):
            spot.error(
                FindingCode.RULE_UNBOUND,
                f"{issuer.name} signs tokens for several applications, and nothing here says for which.",
                "Add azp, cid, client_id or sub, or list clients with the issuer.",
                key=True,
            )
        _judge_clients(conditions, issuer, spot)
        if not self._own.errors and not satisfiable(all_conditions):
            spot.error(
                FindingCode.RULE_UNSATISFIABLE,
                f"No token of {issuer.name} can have all of these claims and those that gateway.yaml requires of it.",
                "Compare them with require of the issuer.",
                key=True,
            )


def _judge_clients(conditions: Iterable[Condition], issuer: TrustedIssuer, spot: Spot) -> None:
    for condition in conditions:
        if (
            issuer.clients
            and condition.claim in issuer.client_claims
            and condition.operator in {Operator.EQUALS, Operator.ANY_OF}
            and not any(value in issuer.clients for value in condition.wanted)
        ):
            (spot / condition.claim).error(
                FindingCode.RULE_UNSATISFIABLE,
                f"{issuer.name} accepts tokens of other clients only, so this rule fits nobody.",
                f"Known clients: {', '.join(issuer.clients[:10])}.",
            )
