"""The decision: may these claims have this wish, as what, and why. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, assert_never

from gateway.errors import ErrorCode
from gateway.identity.token import Claims
from gateway.policy.claims import MISSING, ClaimCheck, actor_depth, check_claim, find_claim, satisfies
from gateway.policy.holdings import NOTHING, Held, Holdings
from gateway.policy.index import Drawer, Filed
from gateway.policy.rule import (
    Condition,
    Obtain,
    Operator,
    Replay,
    Rule,
    Start,
    Stop,
    Target,
    View,
    Wish,
    Workflow,
    strictest,
)
from gateway.policy.snapshot import Policy

#: The longest chain of actors (RFC 8693 section 4.1) that a rule may describe.
LONGEST_ACTOR_CHAIN = 4
#: How many claim names a refusal lists at most.
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """The only branch that carries power.

    rules:  ids of all rules that grant it, for the record.
    checks: every comparison of the first of them, all matched.
    replay: the strictest of those rules.
    """

    target: Target
    workflow: Workflow | None
    rules: tuple[str, ...]
    checks: tuple[ClaimCheck, ...]
    replay: Replay = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """A refusal that explains itself.

    checks:  of the nearest rule or of the issuer's requirements, failures and matches alike.
    targets: names to choose from (`target_ambiguous`).
    nearest: the rule that came closest; for the record, never for the caller.
    """

    code: ErrorCode
    checks: tuple[ClaimCheck, ...] = ()
    targets: tuple[str, ...] = ()
    nearest: str | None = None


class _Judged(NamedTuple):
    entry: Filed
    checks: tuple[ClaimCheck, ...]
    failures: int


def decide(
    claims: Claims, wish: Wish, policy: Policy, *, now: float, off: frozenset[str] = frozenset()
) -> Allowed | Denied:
    """Say whether these claims may have this wish, and why.

    now: wall seconds; only `last_day` depends on it. The same arguments give the same answer; no I/O, no log.
    off: ids of rules that grant nothing now.
    """
    required = _check_all(policy.requirements.get(claims.issuer, ()), claims.members)
    if any(check.outcome != "matched" for check in required):
        # Judged before any name is looked up: answers alike for names that exist and names that do not.
        return Denied(code=_mismatch(required, claims.members), checks=required)
    drawers = _drawers(claims.issuer, wish, policy)
    if isinstance(wish, Obtain):
        # What nobody may obtain in this form is as unknown as what nobody may obtain at all.
        drawers = tuple(drawer for drawer in drawers if wish.form in drawer.forms)
    if not drawers:
        return Denied(
            code=ErrorCode.TARGET_UNKNOWN if isinstance(wish, Obtain) else ErrorCode.WORKFLOW_UNKNOWN
        )
    named = None if isinstance(wish, Obtain) else wish.target
    if named is not None and not any(named in drawer.targets for drawer in drawers):
        return Denied(code=ErrorCode.TARGET_UNKNOWN)
    entries = [
        entry
        for drawer in drawers
        for entry in drawer.candidates(claims.members)
        if named is None or entry.grant.target.name == named
        if not isinstance(wish, Obtain) or entry.grant.form == wish.form
    ]
    matching = [entry for entry in entries if _holds(entry, claims.members)]
    if not matching:
        return _denied(entries, drawers, claims.members)
    return _answer(matching, claims.members, now, off)


def judge(
    claims: Claims, conditions: Iterable[Condition], policy: Policy
) -> tuple[bool, tuple[ClaimCheck, ...]]:
    """Say whether these claims satisfy what is required of their issuer and all of these conditions, as a rule's would.

    Nothing holds where there are no conditions. The checks name what was compared, failures and matches alike.
    """
    required = _check_all(policy.requirements.get(claims.issuer, ()), claims.members)
    if any(check.outcome != "matched" for check in required):
        return False, required
    wanted = tuple(conditions)
    checks = _check_all(wanted, claims.members)
    actor = _check_actors(max((actor_depth(one.claim) for one in wanted), default=0), claims.members)
    if actor is not None:
        checks = (*checks, actor)
    return bool(checks) and all(check.outcome == "matched" for check in checks), checks


def grants_of(
    claims: Claims, policy: Policy, *, now: float, off: frozenset[str] = frozenset()
) -> tuple[Held, ...]:
    """Return every grant these claims hold now, each once, in the order in which they are filed. off: as in `decide`."""
    return holdings_of(claims, policy, now=now, off=off).grants


def holdings_of(claims: Claims, policy: Policy, *, now: float, off: frozenset[str] = frozenset()) -> Holdings:
    """Return the same as one value, which a policy has once for all tokens that satisfy the same rules."""
    members = claims.members
    for required in policy.requirements.get(claims.issuer, ()):
        if not satisfies(required, members):
            return NOTHING
    drawer = policy.index.of_issuer(claims.issuer)
    entries = []
    judged, verdict = None, False
    for entry in drawer.candidates(members):
        if entry.rule is not judged:
            # The grants of a rule stand together.
            judged = entry.rule
            verdict = judged.id not in off and _holds(entry, members) and not _over(judged, now)
        if verdict:
            entries.append(entry)
    return drawer.holdings(entries)


def _drawers(issuer: str, wish: Wish, policy: Policy) -> tuple[Drawer, ...]:
    index = policy.index
    found: list[Drawer | None] = []
    match wish:
        case Start():
            found = [index.drawer(issuer, "start", wish.workflow)]
        case View():
            found = [index.drawer(issuer, "view", wish.workflow)]
        case Stop():
            found = [index.drawer(issuer, "stop", wish.workflow)]
        case Obtain():
            found = [index.drawer(issuer, "obtain", wish.target)]
        case _:
            assert_never(wish)
    if isinstance(wish, View | Stop) and wish.own:
        # Whoever may start a workflow sees and stops what it started itself.
        found.append(index.drawer(issuer, "start", wish.workflow))
    return tuple(drawer for drawer in found if drawer is not None)


def _answer(
    matching: list[Filed], members: Mapping[str, object], now: float, off: frozenset[str]
) -> Allowed | Denied:
    in_time = [entry for entry in matching if not _over(entry.rule, now)]
    valid = [entry for entry in in_time if entry.rule.id not in off]
    targets = {entry.grant.target.name for entry in valid}
    if len(targets) > 1:
        return Denied(code=ErrorCode.TARGET_AMBIGUOUS, targets=tuple(sorted(targets)))
    if valid:
        first = valid[0]
        return Allowed(
            target=first.grant.target,
            workflow=first.grant.workflow,
            rules=tuple(dict.fromkeys(entry.rule.id for entry in valid)),
            checks=_judge(first, members).checks,
            replay=strictest(entry.rule.replay for entry in valid),
        )
    nearest = in_time[0] if in_time else matching[0]
    return Denied(
        code=ErrorCode.RULE_DISABLED if in_time else ErrorCode.RULE_EXPIRED,
        checks=_judge(nearest, members).checks,
        nearest=nearest.rule.id,
    )


def _denied(entries: list[Filed], drawers: Iterable[Drawer], members: Mapping[str, object]) -> Denied:
    """Explain a refusal by the rule that came closest, or else by the claims that rules are filed under."""
    if entries:
        nearest = min((_judge(entry, members) for entry in entries), key=lambda one: one.failures)
        return Denied(
            code=_mismatch(nearest.checks, members), checks=nearest.checks, nearest=nearest.entry.rule.id
        )
    checks = tuple(_unfiled(claim, members) for drawer in drawers for claim in drawer.claims)[:_MOST_NAMED]
    return Denied(code=_mismatch(checks, members), checks=checks)


def _judge(entry: Filed, members: Mapping[str, object]) -> _Judged:
    checks = _check_all(entry.rule.conditions, members)
    actor = _check_actors(entry.actors, members)
    if actor is not None:
        checks = (*checks, actor)
    return _Judged(entry, checks, sum(check.outcome != "matched" for check in checks))


def _holds(entry: Filed, members: Mapping[str, object]) -> bool:
    """Say whether everything that `_judge` compares matches, without the words for it."""
    for condition in entry.rule.conditions:
        if not satisfies(condition, members):
            return False
    # A rule without conditions grants nothing: empty means deny.
    return bool(entry.rule.conditions) and _check_actors(entry.actors, members) is None


def _check_all(conditions: Iterable[Condition], members: Mapping[str, object]) -> tuple[ClaimCheck, ...]:
    return tuple(check_claim(condition, members) for condition in conditions)


def _check_actors(described: int, members: Mapping[str, object]) -> ClaimCheck | None:
    """Return a failed check when a rule describes actors and the token's chain of them is longer than that.

    Otherwise a delegate of the named actor would pass for the actor itself (RFC 8693 section 4.1).
    """
    if described == 0:
        return None
    chain = 0
    found: object = members.get("act", MISSING)
    while found is not MISSING and chain <= LONGEST_ACTOR_CHAIN:
        chain += 1
        # An actor that is no object is one all the same: it must not hide behind its shape.
        found = found.get("act", MISSING) if isinstance(found, Mapping) else MISSING
    if chain <= min(described, LONGEST_ACTOR_CHAIN):
        return None
    return ClaimCheck(
        claim="act", outcome="value", presented=chain, wanted=(described,), operator=Operator.EQUALS
    )


def _unfiled(claim: str, members: Mapping[str, object]) -> ClaimCheck:
    """Name a claim under whose value no rule is filed; which values are filed is nobody's business."""
    presented = find_claim(members, claim)
    return ClaimCheck(
        claim=claim,
        outcome="missing" if presented is MISSING else "value",
        presented=presented,
        wanted=(),
        operator=Operator.EQUALS,
    )


def _mismatch(checks: Iterable[ClaimCheck], members: Mapping[str, object]) -> ErrorCode:
    failed = [check for check in checks if check.outcome != "matched"]
    distributed = members.get("_claim_names")
    if isinstance(distributed, Mapping) and any(
        check.outcome == "missing" and check.claim in distributed for check in failed
    ):
        return ErrorCode.CLAIM_DISTRIBUTED
    if failed and all(actor_depth(check.claim) > 0 for check in failed):
        return ErrorCode.ACTOR_MISMATCH
    return ErrorCode.CLAIM_MISMATCH


def _over(rule: Rule, now: float) -> bool:
    return rule.last_day is not None and datetime.fromtimestamp(now, tz=UTC).date() > rule.last_day
