"""A plan as people and machines read it. Pure."""

import json
from collections.abc import Sequence

from gateway.admin.check import counted
from gateway.admin.vault_plan import Change, FieldChange, VaultPlan

_SIGNS = {"create": "+", "update": "~", "delete": "-"}


def render_plan(found: VaultPlan, *, address: str, pruning: bool) -> str:
    """Return what has to happen, and a last line that sums it up. pruning: deletions will be made."""
    lines = [f"{found.name} ({address})"]
    for change in (*found.changes, *found.prune):
        lines += _change(change, pruning=pruning)
    lines += [f"  ! {problem}" for problem in found.problems]
    lines += [f"  i {remark}" for remark in found.remarks]
    return "\n".join([*lines, f"  {summary(found)}"])


def summary(found: VaultPlan) -> str:
    """Sum it up in a sentence or two."""
    if found.in_step:
        return "Vault is in step with the files."
    counts = [
        counted(len(changes), noun)
        for changes, noun in (
            (found.changes, "change"),
            (found.prune, "deletion"),
            (found.problems, "problem"),
        )
        if changes
    ]
    wider = any(change.wider and change.action != "create" for change in (*found.changes, *found.prune))
    return f"{', '.join(counts)}." + (" Vault is wider than the files." if wider else "")


def to_document(found: VaultPlan, *, address: str) -> dict[str, object]:
    """Return the plan as JSON values."""
    return {
        "vault": found.name,
        "address": address,
        "in_step": found.in_step,
        "wider": any(change.wider and change.action != "create" for change in (*found.changes, *found.prune)),
        "changes": _documents(found.changes),
        "prune": _documents(found.prune),
        "problems": list(found.problems),
        "remarks": list(found.remarks),
    }


def _documents(changes: Sequence[Change]) -> list[dict[str, object]]:
    return [
        {
            "action": change.action,
            "kind": change.kind,
            "path": change.path,
            "wider": change.wider and change.action != "create",
            "fields": [
                {"field": one.field, "held": one.held, "wanted": one.wanted, "effect": one.effect}
                for one in change.fields
            ]
            if change.action == "update"
            else {one.field: one.wanted for one in change.fields},
        }
        for change in changes
    ]


def _change(change: Change, *, pruning: bool) -> list[str]:
    line = f"  {_SIGNS[change.action]} {change.path}  ({change.action} {change.kind})"
    if change.action == "delete":
        return [line + ("" if pruning else "  not in the files; --prune deletes it")]
    if change.action == "create":
        return [line, *(f"      {one.field}: {_shown(one.wanted)}" for one in change.fields)]
    return [line, *(text for one in change.fields for text in _field(one))]


def _field(one: FieldChange) -> list[str]:
    note = {"wider": "  Vault is wider", "narrower": "  Vault is narrower", "different": ""}[one.effect]
    return [f"      {one.field}:{note}", f"        - {_shown(one.held)}", f"        + {_shown(one.wanted)}"]


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str) and "\n" in value:
        text = " ".join(line.strip() for line in value.splitlines() if not line.startswith("#"))
        return "".join(one if one.isprintable() else "?" for one in text)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)
