"""What the admin listener answers, as JSON documents. Administrators see the rules' values; callers never do."""

from collections.abc import Iterable, Mapping

from gateway.admin.check import finding_document
from gateway.admin.dry_run import Answer
from gateway.audit.document import moment
from gateway.audit.record import AuditHealth
from gateway.files.schema.values import duration_text
from gateway.files.source import Finding
from gateway.identity.keys import KeySetState
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.decide import Allowed, Denied
from gateway.policy.holdings import Held
from gateway.policy.rule import Condition, Rule
from gateway.policy.snapshot import Policy, PolicyState
from gateway.settings.settings import Settings
from gateway.state.board import Status
from gateway.state.rates import Rate
from gateway.state.switches import Switch, SwitchBoard

Document = dict[str, object]


def policy_document(state: PolicyState, policy: Policy, findings: Iterable[Finding]) -> Document:
    """Say which policy is in force and how it stands to the files."""
    return {
        "digest": state.digest,
        "state": state.state,
        "loaded_at": moment(state.loaded_at),
        "issuers": len(policy.issuers),
        "rules": len(policy.rules),
        "workflows": len(policy.workflows),
        "targets": len(policy.targets),
        "findings": [finding_document(one) for one in findings],
    }


def issuers_document(policy: Policy, states: Iterable[KeySetState]) -> Document:
    """Say of every issuer whose keys are held, by our name."""
    by_name = {state.issuer: state for state in states}
    return {
        one.name: {
            "issuer": one.issuer,
            "preset": one.preset,
            "audiences": list(one.audiences),
            **_keys(by_name.get(one.name)),
        }
        for one in policy.issuers.values()
    }


def _keys(state: KeySetState | None) -> Document:
    return {
        "keys": state.keys if state else 0,
        "source": state.source if state else None,
        "age_s": None if state is None or state.age_s is None else round(state.age_s),
        "last_error": state.fault if state else None,
        "key_set": state.version if state else "",
        "thumbprints": list(state.thumbprints) if state else [],
    }


def board_document(board: SwitchBoard) -> Document:
    """Say what is off, and what was switched on again."""
    return {
        "readable": board.readable,
        "digest": board.digest,
        "off": [switch_document(one) for one in board.off.values()],
        "on_again": [switch_document(one) for one in board.on.values()],
    }


def switch_document(switch: Switch) -> Document:
    """Say how one thing was switched."""
    return {
        "kind": switch.kind,
        "name": switch.name,
        "why": switch.why,
        "by": switch.by,
        "at": moment(switch.at),
    }


def worker_document(status: Status) -> Document:
    """Say what one worker runs on."""
    return {
        "worker": status.worker,
        "pid": status.pid,
        "policy": status.policy,
        "keys": status.keys,
        "switches": status.switches,
        "stale": status.stale,
        "started_at": moment(status.started_at),
        "at": moment(status.at),
    }


def rule_line(rule: Rule) -> Document:
    """Say which rule it is, for a list."""
    return {
        "id": rule.id,
        "team": rule.team or None,
        "why": rule.why,
        "issuers": list(rule.issuers),
        "last_day": rule.last_day.isoformat() if rule.last_day else None,
        "written": str(rule.written),
    }


def rule_document(rule: Rule, policy: Policy) -> Document:
    """Say all of one rule, with what is required of its issuers besides."""
    return {
        **rule_line(rule),
        "claims": [_condition(one) for one in rule.conditions],
        "required": {
            issuer: [_condition(one) for one in policy.requirements.get(issuer, ())]
            for issuer in rule.issuers
        },
        "grants": [
            {
                "verb": grant.verb,
                "workflow": grant.workflow.name if grant.workflow else None,
                "target": grant.target.name,
                "form": grant.form,
            }
            for grant in rule.grants
        ],
    }


def _condition(condition: Condition) -> Document:
    return {
        "claim": condition.claim,
        "operator": condition.operator.value,
        "wanted": list(condition.wanted),
    }


def answer_document(answer: Answer, policy: Policy) -> Document:
    """Say what would happen to a token, check by check, with what was wanted."""
    forecast = answer.forecast
    decision = forecast.decision
    steps = [*forecast.steps, *answer.switches]
    return {
        "allowed": answer.allowed,
        "certain": all(step.mark != "unknown" for step in steps),
        "policy": policy.digest,
        "token": answer.token,
        "issuer": forecast.claims.issuer if forecast.claims else None,
        "code": str(decision.code) if isinstance(decision, Denied) else None,
        "target": decision.target.name if isinstance(decision, Allowed) else None,
        "targets": list(decision.targets) if isinstance(decision, Denied) else [],
        "rules": list(decision.rules) if isinstance(decision, Allowed) else [],
        "nearest_rule": decision.nearest if isinstance(decision, Denied) else None,
        "checks": [_check(check) for check in decision.checks] if decision else [],
        "steps": [{"mark": step.mark, "text": step.text, "hint": step.hint} for step in steps],
        "grants": [_held(held) for held in forecast.grants],
    }


def _check(check: ClaimCheck) -> Document:
    return {
        "claim": check.claim,
        "operator": check.operator.value,
        "outcome": check.outcome,
        "presented": None if check.presented is MISSING else check.presented,
        "wanted": list(check.wanted),
    }


def _held(held: Held) -> Mapping[str, object]:
    grant = held.grant
    return {
        "verb": grant.verb,
        "workflow": grant.workflow.name if grant.workflow else None,
        "target": grant.target.name,
        "form": grant.form,
        "replay": held.replay,
    }


def limits_document(settings: Settings) -> Document:
    """Say what callers may use."""

    def rate(limit: Rate | None) -> str | None:
        return None if limit is None else f"{limit.quota}/{duration_text(limit.window_s)}"

    return {
        "max_concurrency": settings.max_concurrency,
        "max_connections": settings.max_connections,
        "connections_each": settings.limits.connections,
        "waiting_each": settings.limits.waiting,
        "address": rate(settings.limits.address),
        "subject": rate(settings.limits.subject),
        "rule": rate(settings.limits.rule),
    }


def audit_document(health: AuditHealth, settings: Settings) -> Document:
    """Say how the record of this process stands."""
    return {
        "directory": str(settings.audit.directory),
        "failing": health.failing,
        "waiting": health.waiting,
    }
