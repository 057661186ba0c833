"""Tells what happened to one request, from its audit records, to an administrator. Pure.

What is told holds the rules' wanted values: it is for administrators, never for callers.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from gateway.admin.advice import ADVICE, INTERRUPTED, UNFINISHED
from gateway.audit.document import moment
from gateway.audit.record import Record, RecordKind
from gateway.audit.safe_text import one_line
from gateway.errors import ErrorCode
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.rule import Operator

Result = Literal["done", "refused", "failed", "unfinished", "unknown", "found"]

_MOST_SHOWN: Final = 200
_DEEDS: Final[Mapping[str, str]] = {
    "start": "start",
    "view": "see an execution of",
    "stop": "stop an execution of",
    "events": "follow an execution of",
    "obtain": "obtain credentials of",
    "whoami": "learn who it is",
    "switch": "switch",
    "reload": "take other files into force:",
    "explain": "have explained",
}
_MUST: Final[Mapping[Operator, str]] = {
    Operator.EQUALS: "must be {}",
    Operator.ANY_OF: "must be one of {}",
    Operator.CONTAINS: "must contain {}",
    Operator.CONTAINS_ANY: "must contain one of {}",
    Operator.CONTAINS_ALL: "must contain all of {}",
    Operator.SCOPE: "must have the scope {}",
    Operator.ABSENT: "must be absent",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What happened. told: the last record, which knows most; next: what to do, as a sentence."""

    told: Record
    result: Result
    next: str | None


def explain(records: Sequence[Record]) -> Explanation:
    """Return what the records of one request, at least one, say together."""
    by_kind = {record.kind: record for record in records}
    if "admin" in by_kind:
        return _of_administrator(by_kind["admin"])
    refused, outcome = by_kind.get("refused"), by_kind.get("outcome")
    if refused is not None:
        return Explanation(told=refused, result="refused", next=_advice(refused))
    if outcome is None:
        return _without_outcome(records[-1], by_kind)
    if outcome.code is None:
        return Explanation(told=outcome, result="done", next=None)
    return Explanation(told=outcome, result="failed", next=_advice(outcome))


def _without_outcome(last: Record, by_kind: Mapping[RecordKind, Record]) -> Explanation:
    if "found" in by_kind:
        return Explanation(told=by_kind["found"], result="found", next=None)
    if "unknown" in by_kind:
        return Explanation(told=by_kind["unknown"], result="unknown", next=INTERRUPTED)
    return Explanation(told=last, result="unfinished", next=UNFINISHED)


def _of_administrator(record: Record) -> Explanation:
    if record.code is None:
        return Explanation(told=record, result="done", next=None)
    return Explanation(told=record, result="refused", next=_advice(record))


def _administration(told: Record) -> str:
    """Tell what an administrator did."""
    deed = f"{told.act} {_plain(told.object)}" if told.object else told.act
    parts = [
        [
            f"Request {_plain(told.request_id)} at {moment(told.at)}",
            f"Administration: {deed}."
            if told.code is None
            else f"Administration refused with {told.code}: {deed}.",
        ],
        _section(
            "Who", [("actor", _plain(told.actor)), *([("from", _plain(told.source))] if told.source else [])]
        ),
        ["Why", f"  {_plain(told.why)}"] if told.why else [],
        ["What changed", *(f"  {_plain(line)}" for line in told.changes)] if told.changes else [],
        [f"Policy in force {_plain(told.policy)}"],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def as_text(explanation: Explanation) -> str:
    """Tell it in plain words, for a terminal: no text of a caller moves the cursor."""
    told = explanation.told
    if told.kind == "admin":
        return _administration(told)
    parts = [
        [f"Request {_plain(told.request_id)} at {moment(told.at)}", _verdict(explanation)],
        ["Who", *_who(told)],
        _section("Claims", [(name, _shown(value)) for name, value in told.claims]),
        [_rule_title(explanation), *map(_check, told.checks)] if told.checks else [],
        _section("Used before", _earlier(told)),
        _section("AWS", _aws(told)),
        ["What to do", f"  {explanation.next}"] if explanation.next else [],
        [
            f"Decided by policy {_plain(told.policy)}",
            *([f"Trace {_plain(told.trace)}"] if told.trace else []),
        ],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def as_json(explanation: Explanation) -> dict[str, object]:
    """Tell it as a JSON object, members always there."""
    told = explanation.told
    return {
        "request_id": told.request_id,
        "trace": told.trace,
        "at": moment(told.at),
        "act": told.act,
        "object": told.object,
        "result": explanation.result,
        "code": told.code,
        "policy": told.policy,
        "issuer_name": told.issuer,
        "issuer": told.principal.issuer if told.principal else None,
        "subject": told.principal.subject if told.principal else None,
        "token": told.token,
        "source": told.source,
        "user_agent": told.user_agent,
        "claims": dict(told.claims),
        "rules": list(told.rules),
        "checks": [_check_document(check) for check in told.checks],
        "target": told.target,
        "upstream": told.upstream,
        "session": told.issued or told.session,
        "lease": told.lease,
        "execution": told.execution,
        "existed": told.existed,
        "status": told.status,
        "found_by": told.found_by,
        "expires_at": None if told.expires_at is None else moment(told.expires_at),
        "earlier": told.earlier,
        "earlier_at": None if told.earlier_at is None else moment(told.earlier_at),
        "actor": told.actor,
        "why": told.why,
        "changes": list(told.changes),
        "next": explanation.next,
    }


def _advice(record: Record) -> str:
    if record.code is None:
        return ADVICE[ErrorCode.INTERNAL_ERROR]
    failed = [check for check in record.checks if check.outcome != "matched"]
    if record.code is ErrorCode.CLAIM_MISMATCH and failed and not record.rules and not _is_unfiled(failed):
        return (
            f"The token lacks what `require` of issuer {record.issuer} in gateway.yaml asks of every token. "
            "If it should be allowed, change that; no rule can."
        )
    return ADVICE[record.code]


def _is_unfiled(failed: Sequence[ClaimCheck]) -> bool:
    """Say whether these name claims under whose values no rule is written, instead of comparing them with a rule's."""
    return all(not check.wanted and check.operator is not Operator.ABSENT for check in failed)


def _verdict(explanation: Explanation) -> str:
    told = explanation.told
    deed = f"{_DEEDS[told.act]} {_plain(told.object)}" if told.object else _DEEDS[told.act]
    match explanation.result:
        case "done":
            return f"Allowed: it was to {deed}{_as_target(told)}, and that was done."
        case "refused":
            return f"Refused with {told.code}: it was to {deed}."
        case "failed":
            return f"Allowed, but it failed with {told.code}: it was to {deed}{_as_target(told)}."
        case "unfinished":
            return f"Allowed: it was to {deed}{_as_target(told)}. How it ended is not recorded."
        case "unknown":
            return f"Allowed: it was to {deed}{_as_target(told)}. The gateway ended before it knew whether that was done."
        case "found":
            return (
                f"Allowed: it was to {deed}{_as_target(told)}. The gateway ended before it knew whether that was done; "
                f"request {_plain(told.found_by)} found the execution, {_plain(told.status)}."
            )


def _as_target(told: Record) -> str:
    return f" as {_plain(told.target)}" if told.target and told.target != told.object else ""


def _who(told: Record) -> list[str]:
    lines = [("nobody", "the token was not verified, so nothing in it is believed")]
    if told.principal is not None:
        lines = [
            ("subject", _plain(told.principal.subject)),
            ("issuer", f"{_plain(told.principal.issuer)} ({_plain(told.issuer)})"),
        ]
    if told.token is not None:
        size = f", {told.token_bytes} characters" if told.token_bytes is not None else ""
        lines.append(("token", f"SHA-256 {_plain(told.token)}{size}"))
    if told.source or told.user_agent:
        lines.append(("from", ", ".join(_plain(part) for part in (told.source, told.user_agent) if part)))
    return list(_columns(lines))


def _rule_title(explanation: Explanation) -> str:
    rules = ", ".join(map(_plain, explanation.told.rules))
    if not rules:
        failed = [check for check in explanation.told.checks if check.outcome != "matched"]
        return "No rule is near" if _is_unfiled(failed) else "Required of every token of this issuer"
    if explanation.result == "refused" and any(
        check.outcome != "matched" for check in explanation.told.checks
    ):
        return f"Nearest rule: {rules}"
    return (
        f"Rule: {rules}" if len(explanation.told.rules) == 1 else f"Rules: {rules}; the first was checked so"
    )


def _check(check: ClaimCheck) -> str:
    if _is_unfiled([check]):
        return f"  ✗ {_plain(check.claim)}: {_had(check)}, and no rule is written for that"
    wanted = _MUST[check.operator].format(", ".join(map(_shown, check.wanted)))
    if check.outcome == "matched":
        return f"  ✓ {_plain(check.claim)} {wanted}"
    return f"  ✗ {_plain(check.claim)} {wanted}; {_had(check)}"


def _had(check: ClaimCheck) -> str:
    match check.outcome:
        case "missing":
            return "the token does not have it"
        case "type":
            return f"the token has {_shown(check.presented)}, which is of another type"
        case _:
            return f"the token has {_shown(check.presented)}"


def _earlier(told: Record) -> Iterator[tuple[str, str]]:
    if told.earlier is not None and told.earlier_at is not None:
        yield "by request", f"{_plain(told.earlier)} at {moment(told.earlier_at)}"


def _aws(told: Record) -> Iterator[tuple[str, str]]:
    if told.upstream is not None:
        service, code, request_id = [*told.upstream.split(":", 2), "", ""][:3]
        known = f", AWS's request id {_plain(request_id)}" if request_id else ""
        yield "answer", f"{_plain(service)} said {_plain(code)}{known}"
    if told.issued is not None:
        until = f", until {moment(told.expires_at)}" if told.expires_at is not None else ""
        yield "session", f"{_plain(told.issued)}{until}"
    elif told.session is not None and told.kind != "refused":
        yield "session", f"{_plain(told.session)} (its planned name)"
    if told.lease is not None:
        yield "lease", _plain(told.lease)
    planned = told.execution is not None and ":" not in told.execution
    if told.execution is not None and not (planned and told.kind == "refused" and told.act == "start"):
        known = " (its planned name)" if planned and told.act == "start" else ""
        yield "execution", _plain(told.execution) + (" (it existed already)" if told.existed else known)


def _section(title: str, lines: Sequence[tuple[str, str]] | Iterator[tuple[str, str]]) -> list[str]:
    written = list(_columns(list(lines)))
    return [title, *written] if written else []


def _columns(lines: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max((len(_plain(name)) for name, _ in lines), default=0)
    for name, text in lines:
        yield f"  {_plain(name):<{width}}  {text}"


def _plain(text: str | None) -> str:
    return one_line(text or "-", limit=_MOST_SHOWN)


def _shown(value: object) -> str:
    if value is MISSING:
        return "nothing"
    return one_line(json.dumps(value, ensure_ascii=False, default=str), limit=_MOST_SHOWN)


def _check_document(check: ClaimCheck) -> dict[str, object]:
    return {
        "claim": check.claim,
        "operator": check.operator,
        "wanted": list(check.wanted),
        "presented": None if check.presented is MISSING else check.presented,
        "outcome": check.outcome,
        "matched": check.outcome == "matched",
    }
