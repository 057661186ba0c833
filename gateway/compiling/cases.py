"""The tests that stand beside rules: what they must and must not allow, judged with every load. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Final

from gateway.compiling.grants import Around
from gateway.compiling.report import Report, Spot, unknown_reference
from gateway.errors import ErrorCode
from gateway.files.schema.cases import CaseShape, CasesShape, WishShape
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode
from gateway.identity.token import Claims
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.decide import Allowed, Denied, decide
from gateway.policy.index import GrantIndex
from gateway.policy.rule import Obtain, Operator, Rule, Start, Stop, View, Wish
from gateway.policy.snapshot import AwsEndpoints, Policy

Cases = tuple[Shaped[CasesShape], ...]

_WANTED: Final[Mapping[Operator, str]] = {
    Operator.EQUALS: "{}",
    Operator.ANY_OF: "one of {}",
    Operator.CONTAINS: "a list with {}",
    Operator.CONTAINS_ANY: "a list with one of {}",
    Operator.CONTAINS_ALL: "a list with all of {}",
    Operator.SCOPE: "the scope {}",
    Operator.ABSENT: "no such claim",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """How one test went. faults: a sentence for each expectation that was not met; empty when it passed."""

    file: str
    name: str
    faults: tuple[str, ...]


@dataclass(slots=True)
class Judgement:
    """What a team's tests say of its rules.

    blocking: what keeps the rules from coming into force: a must-not that failed, or a file that cannot be read.
    other:    what must be mended and keeps nothing back: a must that failed, a name that is not there.
    """

    results: list[CaseResult] = field(default_factory=list)
    blocking: Report = field(default_factory=Report)
    other: Report = field(default_factory=Report)


def judge_cases(
    files: Cases, rules: Iterable[Rule], around: Around, *, complete: bool = True, names_only: bool = False
) -> Judgement:
    """Judge the tests of a team against its rules as they would hold.

    complete:   nothing that was found elsewhere made a grant inert; else a must that fails follows from that, and is no
                finding of its own.
    names_only: the rules are wrong themselves, so that nothing follows from what they allow.
    """
    judgement = Judgement()
    policy = _policy(tuple(rules), around)
    for file in files:
        # What cannot be read may have been a must-not.
        (judgement.other if file.sound else judgement.blocking).add(*file.findings)
        for index, case in enumerate(file.shape.tests if file.shape else ()):
            one = _Case(file, case, index, policy, around, judgement, complete)
            if file.sound and not names_only:
                one.judge()
            else:
                one.look_names_up()
    return judgement


@dataclass(frozen=True, slots=True)
class _Case:
    file: Shaped[CasesShape]
    case: CaseShape
    index: int
    policy: Policy
    around: Around
    judgement: Judgement
    complete: bool

    def judge(self) -> None:
        faults: list[str] = []
        now = self._now()
        known = self._is_known(("issuer",), "issuer", self.case.issuer)
        if now is None or not known:
            self._look_up_powers()
        else:
            claims = Claims(issuer=self.case.issuer, members=self.case.claims)
            for number, shape in enumerate(self.case.may):
                if self._names_are_known(("may", number), shape):
                    faults += self._must(("may", number), claims, _wish(shape), now)
            for number, shape in enumerate(self.case.may_not):
                if self._names_are_known(("may_not", number), shape):
                    faults += self._must_not(("may_not", number), claims, _wish(shape), now)
        self.judgement.results.append(
            CaseResult(file=self.file.file, name=self.case.name, faults=tuple(faults))
        )

    def look_names_up(self) -> None:
        """Say which names nothing bears; nothing is decided."""
        self._now()
        self._is_known(("issuer",), "issuer", self.case.issuer)
        self._look_up_powers()

    def _look_up_powers(self) -> None:
        for member, shapes in (("may", self.case.may), ("may_not", self.case.may_not)):
            for number, shape in enumerate(shapes):
                self._names_are_known((member, number), shape)

    def _must(self, at: tuple[str | int, ...], claims: Claims, wish: Wish, now: float) -> Iterator[str]:
        answer = decide(claims, wish, self.policy, now=now)
        if isinstance(answer, Denied):
            fault = f"may not {_said(wish)}, but should: {_why(answer)}"
            if self.complete:
                self._spot(at, self.judgement.other).error(
                    FindingCode.FIXTURE_FAILED,
                    f'"{self.case.name}" {fault}',
                    "Mend the rule, or the test when the rule is right.",
                )
            yield fault

    def _must_not(self, at: tuple[str | int, ...], claims: Claims, wish: Wish, now: float) -> Iterator[str]:
        answer = decide(claims, wish, self.policy, now=now)
        rules = answer.rules if isinstance(answer, Allowed) else ()
        targets = answer.targets if isinstance(answer, Denied) else ()
        if rules or targets:
            by = f"rule {', '.join(rules)} allows it" if rules else f"as {' or as '.join(targets)}"
            fault = f"may {_said(wish)}, but must not: {by}."
            self._spot(at, self.judgement.blocking).error(
                FindingCode.FIXTURE_FAILED,
                f'"{self.case.name}" {fault}',
                "Narrow the rule; until then a gateway that runs keeps the team's last good rules, and one that starts has "
                "none for it.",
            )
            yield fault

    def _now(self) -> float | None:
        try:
            today = date.fromisoformat(self.case.today) if self.case.today else self.around.today
        except ValueError:
            self._spot(("today",), self.judgement.blocking).error(
                FindingCode.VALUE_INVALID,
                f"There is no day {self.case.today}.",
                "Write a day of the calendar.",
            )
            return None
        return datetime(today.year, today.month, today.day, 12, tzinfo=UTC).timestamp()

    def _names_are_known(self, at: tuple[str | int, ...], shape: WishShape) -> bool:
        """A must-not about a name that nothing bears would hold for ever and guard nothing."""
        verb = next(verb for verb in ("start", "view", "stop", "obtain") if getattr(shape, verb) is not None)
        named = str(getattr(shape, verb))
        is_there = self._is_known((*at, verb), "target" if verb == "obtain" else "workflow", named)
        return is_there and (shape.as_ is None or self._is_known((*at, "as"), "target", shape.as_))

    def _is_known(self, at: tuple[str | int, ...], kind: str, name: str) -> bool:
        known: Mapping[str, object] = {
            "issuer": self.around.issuers.trusted,
            "target": self.around.targets.roles,
            "workflow": self.around.targets.workflows,
        }[kind]
        if name not in known:
            unknown_reference(self._spot(at, self.judgement.other), kind, name, known)
        return name in known

    def _spot(self, at: tuple[str | int, ...], report: Report) -> Spot:
        return Spot(self.file.document, ("tests", self.index, *at), report)


def _policy(rules: tuple[Rule, ...], around: Around) -> Policy:
    return Policy(
        digest="",
        issuers={},
        requirements=around.issuers.requirements,
        workflows=around.targets.workflows,
        targets=around.targets.roles,
        rules={rule.id: rule for rule in rules},
        index=GrantIndex.build(rules),
        aws=AwsEndpoints(region=around.region),
    )


def _wish(shape: WishShape) -> Wish:
    if shape.start is not None:
        return Start(workflow=shape.start, target=shape.as_)
    if shape.view is not None:
        return View(workflow=shape.view, own=False, target=shape.as_)
    if shape.stop is not None:
        return Stop(workflow=shape.stop, own=False, target=shape.as_)
    return Obtain(target=shape.obtain or "", form=shape.form or "aws-credentials")


def _said(wish: Wish) -> str:
    match wish:
        case Obtain():
            return f"obtain {wish.target}" + (" as a token of Vault" if wish.form == "vault-token" else "")
        case Start():
            return _of_workflow("start", wish)
        case View():
            return _of_workflow("view", wish)
        case Stop():
            return _of_workflow("stop", wish)


def _of_workflow(verb: str, wish: Start | View | Stop) -> str:
    return f"{verb} {wish.workflow}" + (f" as {wish.target}" if wish.target else "")


def _why(denied: Denied) -> str:
    failed = [check for check in denied.checks if check.outcome != "matched"]
    if denied.code is ErrorCode.TARGET_AMBIGUOUS:
        return f"several targets would do, so name one with `as`: {', '.join(denied.targets)}."
    if not failed:
        return f"{denied.code}."
    whose = f"rule {denied.nearest}" if denied.nearest else "what the issuer or every rule here requires"
    return f"{denied.code}; by {whose}, {'; '.join(_failed(check) for check in failed)}."


def _failed(check: ClaimCheck) -> str:
    presented = "is missing" if check.presented is MISSING else f"is {_shown(check.presented)}"
    if not check.wanted and check.operator is not Operator.ABSENT:
        return f"{check.claim} {presented}, for which no rule is written"
    wanted = _WANTED[check.operator].format(", ".join(_shown(value) for value in check.wanted))
    return f"{check.claim} {presented}, wanted {wanted}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"
