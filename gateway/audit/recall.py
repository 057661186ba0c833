"""A record recalled from its JSON object: what the look-up and the explanation read."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast, get_args

from gateway.audit.document import CUT, MISSING_TYPE, VERSION
from gateway.audit.record import Act, Record, RecordKind
from gateway.errors import ErrorCode
from gateway.identity.token import Principal
from gateway.policy.claims import MISSING, ClaimCheck, Outcome
from gateway.policy.rule import Operator, Scalar


class DocumentInvalid(ValueError):
    """The object is no record of a version that is understood; the message names the failing member."""


def to_record(document: Mapping[str, object]) -> Record:
    """Return the record a document stands for; raises DocumentInvalid.

    Texts that were cut stay cut; everything else comes back as it was.
    """
    if document.get("v") != VERSION:
        raise DocumentInvalid("member `v` names a version this gateway does not know")
    kind, act = document.get("kind"), document.get("act")
    if kind not in get_args(RecordKind) or act not in get_args(Act):
        raise DocumentInvalid("member `kind` or `act` is not one of the known words")
    try:
        return Record(
            kind=cast(RecordKind, kind),
            request_id=_need(document, "request_id"),
            at=_seconds(_need(document, "at")),
            act=cast(Act, act),
            policy=_need(document, "policy"),
            code=_code(document),
            token=_read(document, "token"),
            token_alias=_read(document, "token_alias"),
            token_bytes=_number(document, "token_bytes"),
            key_id_digest=_read(document, "key_id_digest"),
            issuer=_read(document, "issuer_name"),
            principal=_principal(document),
            principal_digest=_read(document, "principal"),
            claims=tuple((_need(claim, "name"), _value(claim)) for claim in _objects(document, "claims")),
            rules=tuple(str(rule) for rule in _list(document, "rules")),
            checks=tuple(_to_check(check) for check in _objects(document, "checks")),
            object=_read(document, "object"),
            target=_read(document, "target"),
            session=_read(document, "session"),
            issued=_read(document, "issued"),
            lease=_read(document, "lease"),
            execution=_read(document, "execution"),
            existed=_flag(document, "existed"),
            status=_read(document, "status"),
            found_by=_read(document, "found_by"),
            expires_at=_seconds(_need(document, "expires_at")) if document.get("expires_at") else None,
            earlier=_read(document, "earlier"),
            earlier_at=_seconds(_need(document, "earlier_at")) if document.get("earlier_at") else None,
            repeated=_number(document, "repeated"),
            upstream=_read(document, "upstream"),
            source=_read(document, "source"),
            user_agent=_read(document, "user_agent"),
            trace=_read(document, "trace"),
            actor=_read(document, "actor"),
            why=_read(document, "why"),
            # Records of earlier releases do not have it.
            changes=tuple(str(line) for line in _list(document, "changes")) if "changes" in document else (),
        )
    except ValueError as fault:
        raise DocumentInvalid(str(fault)) from fault


def _value(typed: Mapping[str, object]) -> object:
    kind, value = typed.get("type"), typed.get("value")
    if not isinstance(value, str):
        raise DocumentInvalid("member `value` is not a text")
    if kind == MISSING_TYPE:
        return MISSING
    if kind in ("string", CUT):
        return value
    try:
        return cast(object, json.loads(value))
    except ValueError:  # it was cut, and stays the text it is
        return value


def _to_check(document: Mapping[str, object]) -> ClaimCheck:
    wanted = tuple(cast(Scalar, _value(item)) for item in _objects(document, "wanted"))
    outcome = _need(document, "outcome")
    if outcome not in get_args(Outcome):
        raise DocumentInvalid("member `outcome` is not one of the known words")
    return ClaimCheck(
        claim=_need(document, "name"),
        outcome=cast(Outcome, outcome),
        presented=_value(document),
        wanted=wanted,
        operator=Operator(_need(document, "operator")),
    )


def _principal(document: Mapping[str, object]) -> Principal | None:
    issuer, subject = _read(document, "issuer"), _read(document, "subject")
    return None if issuer is None or subject is None else Principal(issuer=issuer, subject=subject)


def _code(document: Mapping[str, object]) -> ErrorCode | None:
    code = _read(document, "code")
    return None if code is None else ErrorCode(code)


def _seconds(text: str) -> float:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC).timestamp()


def _need(document: Mapping[str, object], member: str) -> str:
    value = document.get(member)
    if not isinstance(value, str):
        raise DocumentInvalid(f"member `{member}` is not a text")
    return value


def _read(document: Mapping[str, object], member: str) -> str | None:
    return None if document.get(member) is None else _need(document, member)


def _number(document: Mapping[str, object], member: str) -> int | None:
    value = document.get(member)
    return value if type(value) is int else None


def _flag(document: Mapping[str, object], member: str) -> bool | None:
    value = document.get(member)
    return value if isinstance(value, bool) else None


def _list(document: Mapping[str, object], member: str) -> list[object]:
    value = document.get(member)
    if not isinstance(value, list):
        raise DocumentInvalid(f"member `{member}` is not a list")
    return cast(list[object], value)


def _objects(document: Mapping[str, object], member: str) -> list[Mapping[str, object]]:
    items = _list(document, member)
    if not all(isinstance(item, dict) for item in items):
        raise DocumentInvalid(f"member `{member}` holds something that is no object")
    return cast(list[Mapping[str, object]], items)
