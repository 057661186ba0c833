"""What the library says about a wrong shape, in our words: what is wrong, and what to write instead."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.files.document import Document
from gateway.files.schema.administration import AdminOidcShape, AdminRuleShape, AdminShape, AdminTlsShape
from gateway.files.schema.cases import CaseShape, CasesShape, WishShape
from gateway.files.schema.claims import ConditionShape
from gateway.files.schema.gateway import AwsShape, EndpointShape, GatewayShape, TeamShape, VaultShape
from gateway.files.schema.issuers import IssuerShape
from gateway.files.schema.keeping import AuditShape, StateShape
from gateway.files.schema.mapping import GrantShape, MappingShape, RuleShape
from gateway.files.schema.serving import LimitsShape, ServerShape, TlsShape, TracingShape
from gateway.files.schema.targets import (
    RoleShape,
    TargetsShape,
    TaskRoleShape,
    VaultAwsShape,
    VaultRoleShape,
    WorkflowShape,
)
from gateway.files.schema.values import NAME
from gateway.files.source import Finding, FindingCode, show

Path = tuple[str | int, ...]

# Where each shape stands; `*` is a name or an index.
_SHAPES: Final[tuple[tuple[str, type[BaseModel]], ...]] = (
    ("issuers/*", IssuerShape),
    ("issuers/*/require/*", ConditionShape),
    ("teams/*", TeamShape),
    ("aws", AwsShape),
    ("aws/endpoints/*", EndpointShape),
    ("vaults/*", VaultShape),
    ("server", ServerShape),
    ("server/tls", TlsShape),
    ("audit", AuditShape),
    ("limits", LimitsShape),
    ("state", StateShape),
    ("server/tracing", TracingShape),
    ("admin", AdminShape),
    ("admin/tls", AdminTlsShape),
    ("admin/oidc", AdminOidcShape),
    ("admin/oidc/*", AdminRuleShape),
    ("admin/oidc/*/claims/*", ConditionShape),
    ("roles/*", RoleShape),
    ("vault_roles/*", VaultRoleShape),
    ("vault_roles/*/aws", VaultAwsShape),
    ("task_roles/*", TaskRoleShape),
    ("workflows/*", WorkflowShape),
    ("rules/*", RuleShape),
    ("rules/*/claims/*", ConditionShape),
    ("rules/*/grants/*", GrantShape),
    ("tests/*", CaseShape),
    ("tests/*/may/*", WishShape),
    ("tests/*/may_not/*", WishShape),
)
_TOP: Final[Mapping[str, type[BaseModel]]] = {
    "gateway": GatewayShape,
    "targets": TargetsShape,
    "mapping": MappingShape,
    "tests": CasesShape,
}
_DURATIONS: Final = frozenset({"duration", "timeout", "max_age", "drain", "serve_on", "ttl", "wrap"})
_TYPES: Final = {
    "string_type": ("text", 'Write it in quotes: "{}".'),
    "int_type": ("a whole number", "Write the number without quotes."),
    "bool_type": ("true or false", "Write true or false, without quotes."),
    "list_type": ("a list", "Write [{}]."),
    "dict_type": ("a mapping of names to entries", "Write name: {{…}} below it."),
    "model_type": ("a mapping", "Write its members as key: value."),
    "scalar_type": (
        "text, a whole number, true or false",
        "Write one value, or one operator such as any_of: […].",
    ),
}
_NO_NAME: Final = "is no name"
_PATTERNS: Final = {
    "^[a-z0-9](": (
        _NO_NAME,
        "Use 1 to 63 lower-case letters, digits, - and _; begin and end with a letter or digit.",
    ),
    "^[1-9][0-9]{0,6}": ("is no duration", "Write a whole number and a unit: 30s, 15m, 1h."),
    "^[0-9]{4}-": ("is no day", 'Write it as "2027-01-31", in quotes.'),
    "^[a-z]{2,4}": ("is no AWS Region", "Write its code, such as eu-west-1."),
    "^(?:unix:/": (
        "is no address for administrators",
        "Write unix:/PATH, 127.0.0.1:PORT or [::1]:PORT: it is never reachable from other machines.",
    ),
    "^https?://": ("is no URL", "Write it whole: https://HOST, without a query."),
}
_CUSTOM: Final = {
    "one_operator": (
        "A claim has exactly one operator.",
        "Keep one of any_of, contains, contains_any, contains_all, scope, absent.",
    ),
    "one_verb": (
        "A grant is exactly one power.",
        "Keep one of start, view, stop, obtain; write others on lines of their own.",
    ),
    "as_missing": ("This grant does not say as which target.", "Add as: TARGET."),
    "as_extra": ("obtain names the target itself.", "Remove as."),
    "form_extra": ("form belongs to obtain alone.", "Remove form."),
    "nothing_asked": ("This test asks nothing.", "Add may: or may_not:, with grants as rules have them."),
}


def explain(document: Document, path: Path, mistake: ErrorDetails) -> Finding:
    """Say what is wrong. path: in the file."""
    kind, given = mistake["type"], mistake["input"]
    if kind == "extra_forbidden":
        return _unknown(document, path)
    if kind == "missing":
        return _missing(document, path, str(mistake["loc"][-1]))
    if kind in _CUSTOM:
        message, fix = _CUSTOM[kind]
        return document.finding(FindingCode.VALUE_INVALID, path, message, fix)
    if kind in _TYPES:
        wanted, fix = _TYPES[kind]
        if path and path[-1] in _DURATIONS:
            wanted, fix = "a duration", "Write a whole number and a unit: 30s, 15m, 1h."
        message = f"{_name(document, path)} is not {wanted}."
        return document.finding(FindingCode.VALUE_TYPE, path, message, fix.format(show(given).strip('"')))
    if kind == "literal_error":
        return _not_one_of(document, path, str(given), mistake)
    if kind == "string_pattern_mismatch":
        return _pattern(document, path, mistake)
    return _size(document, path, mistake)


def as_name(text: str) -> str:
    """Return the name that a text which is none was probably meant to be."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")


def _unknown(document: Document, path: Path) -> Finding:
    name = str(path[-1])
    fields = _fields(document.data, path[:-1])
    near = get_close_matches(name, fields, n=1, cutoff=0.6)
    fix = f"Did you mean {near[0]}?" if near else f"Known here: {', '.join(fields)}."
    where = _name(document, path[:-1]) if len(path) > 1 else "this file"
    return document.finding(
        FindingCode.FIELD_UNKNOWN, path, f"{show(name)} is not known in {where}.", fix, key=True
    )


def meant_field(data: object, path: Path) -> str | None:
    """Return the member that an unknown one is a misspelling of, as far as can be told."""
    near = get_close_matches(str(path[-1]), _fields(data, path[:-1]), n=1, cutoff=0.6)
    return near[0] if near else None


def _shape_at(data: object, parent: Path) -> type[BaseModel] | None:
    if not parent:
        kind = str(data.get("format", "")) if isinstance(data, dict) else ""
        return _TOP.get(kind.removeprefix("oidc-gateway/").split(".")[0])
    for pattern, shape in _SHAPES:
        parts = pattern.split("/")
        if len(parts) == len(parent) and all(
            want in ("*", have) for want, have in zip(parts, parent, strict=True)
        ):
            return shape
    return None


def _fields(data: object, parent: Path) -> list[str]:
    shape = _shape_at(data, parent)
    return [] if shape is None else [field.alias or name for name, field in shape.model_fields.items()]


def _missing(document: Document, path: Path, name: str) -> Finding:
    shape = _shape_at(document.data, path)
    field = shape.model_fields.get(name) if shape is not None else None
    description = field.description if field is not None else None
    return document.finding(
        FindingCode.FIELD_MISSING,
        path,
        f"{_name(document, path)} has no {name}.",
        f"Add {name}: {description}" if description else f"Add {name}.",
        key=True,
    )


def _not_one_of(document: Document, path: Path, given: str, mistake: ErrorDetails) -> Finding:
    expected = str(mistake.get("ctx", {}).get("expected", "")).replace("'", "").replace(" or ", ", ")
    if expected == "True":  # of `absent`
        return document.finding(
            FindingCode.VALUE_INVALID,
            path,
            f"{_name(document, path)} cannot be {show(mistake['input'])}.",
            "To demand that the claim is there, say what it must be; to leave it open, leave the claim out.",
        )
    choices = expected.split(", ")
    near = get_close_matches(given, choices, n=1, cutoff=0.6)
    fix = (
        f"Did you mean {near[0]}?"
        if near
        else f"Write {expected}."
        if len(choices) == 1
        else f"Choose: {expected}."
    )
    return document.finding(
        FindingCode.VALUE_INVALID, path, f"{_name(document, path)} cannot be {show(mistake['input'])}.", fix
    )


def _pattern(document: Document, path: Path, mistake: ErrorDetails) -> Finding:
    pattern = str(mistake.get("ctx", {}).get("pattern", ""))
    what, fix = next(
        (explained for start, explained in _PATTERNS.items() if pattern.startswith(start)),
        ("has the wrong form", f"It must match {pattern}"),
    )
    name = as_name(str(mistake["input"]))
    if what == _NO_NAME and NAME.fullmatch(name):
        fix = f"Write {name}. {fix}"
    return document.finding(
        FindingCode.VALUE_INVALID,
        path,
        f"{show(mistake['input'])} {what}.",
        fix,
        key=mistake["loc"][-1] == "[key]",
    )


def _size(document: Document, path: Path, mistake: ErrorDetails) -> Finding:
    limits = mistake.get("ctx", {})
    kind = mistake["type"]
    if kind in {"too_short", "string_too_short"}:
        if path and path[-1] == "claims" and path[0] != "tests":
            return document.finding(
                FindingCode.RULE_UNBOUND,
                path,
                "A rule without claims binds nobody.",
                "Name the claims that must hold.",
            )
        return document.finding(
            FindingCode.VALUE_INVALID, path, f"{_name(document, path)} is empty.", _empty_fix(document, path)
        )
    if kind in {"too_long", "string_too_long"}:
        most = limits.get("max_length")
        return document.finding(
            FindingCode.LIMIT_EXCEEDED,
            path,
            f"{_name(document, path)} is longer than {most}.",
            "Shorten or split it.",
        )
    if kind in {"greater_than_equal", "less_than_equal"}:
        bound = f"at least {limits['ge']}" if "ge" in limits else f"at most {limits.get('le')}"
        return document.finding(
            FindingCode.VALUE_INVALID,
            path,
            f"{_name(document, path)} is {show(mistake['input'])}.",
            f"It must be {bound}.",
        )
    return document.finding(
        FindingCode.VALUE_INVALID, path, f"{_name(document, path)} is not valid.", f"{mistake['msg']}."
    )


def _empty_fix(document: Document, path: Path) -> str:
    what = path[-1] if path else ""
    shape = _shape_at(document.data, path[:-1])
    fields = (
        {} if shape is None else {field.alias or name: field for name, field in shape.model_fields.items()}
    )
    field = fields.get(str(what))
    if what == "audiences":
        # Cognito alone can do without, and then its own finding says how.
        return "Write at least one: a value that nobody else uses."
    if field is None or not field.is_required():
        return "Write at least one, or leave the key out." if field is not None else "Write at least one."
    return f"Write {what}: {field.description}" if field.description else "Write at least one."


def _name(document: Document, path: Path) -> str:
    """Name a place by its last key; a rule by its name, other items of a list by their number."""
    if not path:
        return "The file"
    last = path[-1]
    if len(path) == 2 and path[0] == "rules" and isinstance(last, int):
        name = _rule_name(document, last)
        return f'Rule "{name}"' if name else f"Rule {last + 1}"
    if isinstance(last, int):
        return f"Item {last + 1} of {path[-2]}" if len(path) > 1 else f"Item {last + 1}"
    return last


def _rule_name(document: Document, index: int) -> str:
    rules = document.data.get("rules") if isinstance(document.data, dict) else None
    rule = rules[index] if isinstance(rules, list) and index < len(rules) else None
    name = rule.get("name") if isinstance(rule, dict) else None
    return name if isinstance(name, str) and NAME.fullmatch(name) else ""
