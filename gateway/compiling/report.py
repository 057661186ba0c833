"""Where compilation puts what it finds: a document, a path in it, and a list that grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from gateway.files.document import Document
from gateway.files.source import Finding, FindingCode, Severity

MAX_FINDINGS: Final = 2_000
_MOST_SUGGESTED: Final = 100
_MOST_COMPARED: Final = 1_000


class Report:
    """Findings of one compilation, bounded in number; errors are counted even when there is no room for them."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.errors = 0

    def add(self, *findings: Finding) -> None:
        """Take findings, while there is room."""
        self.errors += sum(finding.severity == "error" for finding in findings)
        self.findings.extend(findings[: max(0, MAX_FINDINGS - len(self.findings))])


@dataclass(frozen=True, slots=True)
class Spot:
    """A place in a document that is being judged. `/` goes deeper: spot / "claims" / "ref"."""

    document: Document
    path: tuple[str | int, ...]
    report: Report

    def __truediv__(self, part: str | int) -> "Spot":
        return Spot(self.document, (*self.path, part), self.report)

    def down(self, *parts: str | int) -> "Spot":
        """Return the spot several parts deeper."""
        return Spot(self.document, (*self.path, *parts), self.report)

    @property
    def is_hole(self) -> bool:
        """Say whether what stands here was already found wrong, and is not what is written."""
        return self.document.is_hole(self.path)

    @property
    def has_hole(self) -> bool:
        """Say whether anything here was already found wrong or missing."""
        return self.document.has_hole(self.path)

    def error(self, code: FindingCode, message: str, fix: str, *, key: bool = False) -> None:
        """Report that this must change."""
        self._add(code, message, fix, key=key, severity="error")

    def warning(self, code: FindingCode, message: str, fix: str, *, key: bool = False) -> None:
        """Report that this deserves a look."""
        self._add(code, message, fix, key=key, severity="warning")

    def _add(self, code: FindingCode, message: str, fix: str, *, key: bool, severity: Severity) -> None:
        # What stands in for a wrong value is not judged; the name of its key is.
        if key or not self.is_hole:
            self.report.add(self.document.finding(code, self.path, message, fix, key=key, severity=severity))


def unknown_reference(spot: Spot, kind: str, name: str, known: Mapping[str, object] | Sequence[str]) -> None:
    """Report a name that nothing bears, with the nearest one that something does."""
    # Looking for the nearest name takes time, and a file may hold a hundred thousand wrong ones.
    candidates = list(known)[:_MOST_COMPARED] if spot.report.errors < _MOST_SUGGESTED else []
    near = get_close_matches(name, candidates, n=1, cutoff=0.6)
    fix = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(candidates)[:10]) or 'others'}."
    spot.error(FindingCode.REFERENCE_UNKNOWN, f'There is no {kind} "{name}".', fix)
