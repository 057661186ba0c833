"""What `check` says about rules that one token satisfies together."""

import json
from collections.abc import Iterable, Mapping

from gateway.files.document import Document
from gateway.files.source import Finding, FindingCode, Place, show
from gateway.policy.overlap_search import MAX_FOUND, Overlap, find_overlaps
from gateway.policy.rule import Condition, Rule


def overlap_findings(
    rules: Iterable[Rule],
    requirements: Mapping[str, tuple[Condition, ...]],
    documents: Mapping[str, Document],
) -> tuple[Finding, ...]:
    """Return a finding for each pair; an error when two teams decide about the same token."""
    searched = find_overlaps(rules, requirements)
    found = [_finding(overlap, documents) for overlap in searched.overlaps]
    if not searched.complete:
        found.append(
            Finding(
                code=FindingCode.LIMIT_EXCEEDED,
                severity="warning",
                place=Place(file="mappings", line=1, column=1),
                message=f"Not every pair of rules was compared: there are more than {MAX_FOUND} overlaps, or too many pairs.",
                fix="Bind rules to one subject each, with a claim such as repository_id, and look again.",
            )
        )
    return tuple(found)


def _finding(overlap: Overlap, documents: Mapping[str, Document]) -> Finding:
    first, second = sorted((overlap.first, overlap.second), key=lambda rule: rule.written)
    swapped = first is not overlap.first
    ours, theirs = overlap.targets[::-1] if swapped else overlap.targets
    place = second.written
    document = documents.get(place.file)
    sample = json.dumps(overlap.sample, ensure_ascii=False)
    return Finding(
        code=FindingCode.RULE_OVERLAP,
        severity="warning" if first.team == second.team else "error",
        place=place,
        message=(
            f"One token can satisfy {first.id} (as {_names(ours)}) and {second.id} (as {_names(theirs)}) "
            f"to {overlap.verb} {overlap.workflow}: {_hidden(sample)}."
        ),
        fix="Tell them apart by a claim; otherwise callers must name the target, or are refused as target_ambiguous.",
        excerpt=document.excerpt(place.line) if document is not None else "",
    )


def _names(targets: frozenset[str]) -> str:
    return " or ".join(sorted(targets))


def _hidden(sample: str) -> str:
    return (
        "(a secret)" if show(sample) == "(a secret)" else sample if len(sample) <= 400 else f"{sample[:397]}…"
    )
