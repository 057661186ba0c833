"""What a reload changed, as lines of a record: names, never values. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from gateway.files.source import Finding, Place
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
        lines += _differences("rule", _rules(before), _rules(after))
    if (more := len(lines) - _MOST_NAMED) > 0:
        lines = [*lines[:_MOST_NAMED], f"… {more} more"]
    if state.state == "stale":
        errors = [one for one in findings if one.severity == "error"]
        first = f", first {errors[0].code} at {errors[0].place}" if errors else ""
        lines.append(f"= not in force as written: {len(errors)} errors{first}")
    return tuple(lines)


def _differences(kind: str, before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    yield from (f"+ {kind} {name}" for name in sorted(after.keys() - before.keys()))
    yield from (f"- {kind} {name}" for name in sorted(before.keys() - after.keys()))
    yield from (
        f"~ {kind} {name}" for name in sorted(after.keys() & before.keys()) if after[name] != before[name]
    )


def _issuers(policy: Policy) -> dict[str, object]:
    """Return the issuers by our names, each with what is required of its tokens."""
    return {one.name: (one, policy.requirements.get(one.name, ())) for one in policy.issuers.values()}


def _rules(policy: Policy) -> dict[str, Rule]:
    # A line that was inserted above a rule does not change it.
    return {name: replace(rule, written=_NOWHERE) for name, rule in policy.rules.items()}
