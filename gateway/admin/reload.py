"""What a reload changed, as lines of a record: names, never values. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from gateway.files.source import Finding, Place
from gateway.files.turns import step
from gateway.policy.rule import Rule
from gateway.policy.snapshot import Policy, PolicyState

_MOST_NAMED: Final = 50
_NOWHERE: Final = Place(file="", line=1, column=1)


def reload_changes(
    before: Policy, after: Policy, state: PolicyState, findings: Iterable[Finding]
) -> tuple[str, ...]:
    """Return one line for each thing that came (`+`), went (`-`) or is different (`~`), and how the files stand."""
    lines: list[str] = []
    if before.digest != after.digest:
        lines.append(f"~ policy {before.digest} to {after.digest}")
        lines += _differences("issuer", _issuers(before), _issuers(after))
        lines += _differences("target", before.targets, after.targets)
        lines += _differences("workflow", before.workflows, after.workflows)
        lines += _differences("rule", before.rules, after.rules)
    if (more := len(lines) - _MOST_NAMED) > 0:
        lines = [*lines[:_MOST_NAMED], f"… {more} more"]
    if state.state == "stale":
        errors = [one for one in findings if one.severity == "error"]
        first = f", first {errors[0].code} at {errors[0].place}" if errors else ""
        lines.append(f"= not in force as written: {len(errors)} errors{first}")
    return tuple(lines)


def _differences(kind: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    come, changed = [], []
    for name, one in after.items():
        step()
        if name not in before:
            come.append(name)
        elif one is not before[name] and _as_judged(one) != _as_judged(before[name]):
            changed.append(name)
    yield from (f"+ {kind} {name}" for name in sorted(come))
    yield from (f"- {kind} {name}" for name in sorted(name for name in before if name not in after))
    yield from (f"~ {kind} {name}" for name in sorted(changed))


def _issuers(policy: Policy) -> dict[str, object]:
    """Return the issuers by our names, each with what is required of its tokens."""
    return {one.name: (one, policy.requirements.get(one.name, ())) for one in policy.issuers.values()}


def _as_judged(one: object) -> object:
    # A line that was inserted above a rule does not change it.
    return replace(one, written=_NOWHERE) if isinstance(one, Rule) else one
