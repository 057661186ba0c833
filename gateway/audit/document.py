"""A record as a JSON object of version 1: fixed members, texts wherever the caller had a say, bounded."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from gateway.ascii_json import ascii_json, written_once
from gateway.audit.record import Record
from gateway.audit.safe_text import cut, is_suspect, mask_secrets
from gateway.policy.claims import MISSING, ClaimCheck

VERSION: Final = 1
MAX_BODY_BYTES: Final = 262_144
CUT: Final = "cut"
MISSING_TYPE: Final = "missing"

Document = dict[str, object]

# `default` only for what JSON cannot say; its repr may hold anything, so only the class is named.
_encoder: Final = json.JSONEncoder(ensure_ascii=False, default=lambda odd: f"<{type(odd).__name__}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a record is written. text: characters of one text; name: of one name.

    items: claims, checks or rules; wanted: values of one check.
    """

    text: int = 512
    name: int = 128
    items: int = 64
    wanted: int = 16


USUAL: Final = Limits()
# Tried in turn until a record fits: a caller who fills every claim gets a record with less of each, never none.
_TIGHTER: Final = (
    USUAL,
    Limits(text=96, name=64, items=32, wanted=4),
    Limits(text=16, name=16, items=16, wanted=2),
)


def encode(record: Record) -> str:
    """Return the record as one line of ASCII JSON of at most MAX_BODY_BYTES."""
    line = ""
    for limits in _TIGHTER:
        line = dump(to_document(record, limits, _shared(record) if limits is USUAL else None))
        if len(line) <= MAX_BODY_BYTES:
            break
    return line


def to_document(
    record: Record, limits: Limits = USUAL, shared: tuple[object, object] | None = None
) -> Document:
    """Return the record as version 1: every member always there, null where nothing is known.

    shared: claims and checks, where they are in words already.

    A claim is {name, value, type} with `value` always a text (JSON for anything but a string), so that no claim of
    any issuer changes the shape of the data.
    """
    principal = record.principal
    return {
        "v": VERSION,
        "kind": record.kind,
        "request_id": _text(record.request_id),
        "at": moment(record.at),
        "act": record.act,
        "policy": _text(record.policy),
        "code": record.code.value if record.code else None,
        "token": _maybe(record.token),
        "token_alias": _maybe(record.token_alias),
        "token_bytes": record.token_bytes,
        "key_id_digest": _maybe(record.key_id_digest),
        "issuer_name": _maybe(record.issuer),
        "issuer": _maybe(principal.issuer if principal else None),
        "subject": _maybe(principal.subject if principal else None),
        "principal": _maybe(record.principal_digest),
        "claims": shared[0] if shared else _claims(record.claims, limits),
        "rules": [_text(rule) for rule in record.rules[: limits.items]],
        "checks": shared[1] if shared else _checks(record.checks, limits),
        "object": _maybe(record.object),
        "target": _maybe(record.target),
        "session": _maybe(record.session),
        "issued": _maybe(record.issued),
        "lease": _maybe(record.lease),
        "execution": _maybe(record.execution),
        "existed": record.existed,
        "status": _maybe(record.status),
        "found_by": _maybe(record.found_by),
        "expires_at": None if record.expires_at is None else moment(record.expires_at),
        "earlier": _maybe(record.earlier),
        "earlier_at": None if record.earlier_at is None else moment(record.earlier_at),
        "repeated": record.repeated,
        "upstream": _maybe(record.upstream),
        "source": _maybe(record.source),
        "user_agent": _maybe(record.user_agent),
        "trace": _maybe(record.trace),
        "actor": _maybe(record.actor),
        "why": _maybe(record.why),
        "changes": _changes(record.changes, limits),
    }


def dump(document: Mapping[str, object]) -> str:
    """Return the object on one ASCII line: no line end, control or bidirectional character survives unescaped."""
    return ascii_json(document)


def moment(seconds: float) -> str:
    """Return wall seconds as RFC 3339 UTC with microseconds."""
    whole, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_second(whole)}.{micros:06d}Z"


@lru_cache(maxsize=8)
def _second(whole: int) -> str:
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _text(value: str, limit: int = USUAL.text) -> str:
    if len(value) <= limit and not is_suspect(value):
        return value
    # Bounded before it is masked, masked before it is cut: a piece of a token would have no shape any more.
    return cut(mask_secrets(value[:65_536]), limit)


# An issuer's tokens all have the same claims.
@lru_cache(maxsize=256)
def _name(name: str, limit: int) -> str:
    return _text(name, limit)


def _maybe(value: str | None) -> str | None:
    return None if value is None else _text(value)


def _claims(claims: Sequence[tuple[str, object]], limits: Limits) -> list[Document]:
    written = [
        _valued({"name": _name(name, limits.name)}, value, limits) for name, value in claims[: limits.items]
    ]
    if len(claims) > limits.items:
        written.append({"name": "…", "value": f"{len(claims) - limits.items} more claims", "type": CUT})
    return written


def _checks(checks: Sequence[ClaimCheck], limits: Limits) -> list[Document]:
    return [_check(check, limits) for check in checks[: limits.items]]


def _shared(record: Record) -> tuple[object, object] | None:
    """Return claims and checks put into words for all records of the call; None where it has no such room."""
    wording = record.wording
    if wording is None or wording.claims is not record.claims or wording.checks is not record.checks:
        return None
    if wording.words is None:
        wording.words = (
            written_once(_claims(record.claims, USUAL)),
            written_once(_checks(record.checks, USUAL)),
        )
    return wording.words


def _changes(changes: Sequence[str], limits: Limits) -> list[str]:
    written = [_text(line) for line in changes[: limits.items]]
    if len(changes) > limits.items:
        written.append(f"… {len(changes) - limits.items} more")
    return written


def _check(check: ClaimCheck, limits: Limits) -> Document:
    wanted = [_valued({}, value, limits) for value in check.wanted[: limits.wanted]]
    if len(check.wanted) > limits.wanted:
        wanted.append({"value": f"{len(check.wanted) - limits.wanted} more values", "type": CUT})
    written: Document = {
        "name": _name(check.claim, limits.name),
        "operator": check.operator.value,
        "outcome": check.outcome,
    }
    _valued(written, check.presented, limits)["wanted"] = wanted
    return written


def _valued(named: Document, value: object, limits: Limits) -> Document:
    """Put a value and its type behind what it is the value of."""
    if value is MISSING:
        named["value"], named["type"] = "", MISSING_TYPE
    elif isinstance(value, str):
        named["value"], named["type"] = _text(value, limits.text), "string"
    elif type(value) is int:
        named["value"], named["type"] = _text(str(value), limits.text), "integer"
    else:
        named["value"], named["type"] = _text(_encoder.encode(value), limits.text), _type_name(value)
    return named


def _type_name(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case list() | tuple():
            return "list"
        case _:
            return "object"
