"""What is wrong in the files, for people, programs and pull requests. Pure."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Final

from gateway.files.source import Finding, FindingCode

_WIDEST_LINE: Final = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """Findings in the order of their places, and how many of each severity."""

    findings: tuple[Finding, ...]
    errors: int
    warnings: int

    def failed(self, *, strict: bool) -> bool:
        """Say whether the files must change; strict: for a warning too."""
        return self.errors > 0 or (strict and self.warnings > 0)


def report_on(findings: Iterable[Finding]) -> CheckReport:
    """Sort and count."""
    ordered = tuple(sorted(dict.fromkeys(findings), key=lambda one: (one.place, one.code, one.message)))
    counts = Counter(finding.severity for finding in ordered)
    return CheckReport(findings=ordered, errors=counts["error"], warnings=counts["warning"])


def render_text(findings: Iterable[Finding], *, folder: str = "") -> str:
    """Write each finding with its line, a caret under its column, and its fix; no line end after the last.

    folder: as it was given, so that the commands among the fixes can be pasted.
    """
    return "\n".join(_block(finding, folder) for finding in findings)


def render_summary(report: CheckReport) -> str:
    """Write how much is wrong in one line."""
    files = len({finding.place.file for finding in report.findings})
    if not files:
        return "No findings."
    severities = (counted(report.errors, "error"), counted(report.warnings, "warning"))
    return f"{', '.join(one for one in severities if one)} in {counted(files, 'file')}."


def render_json(report: CheckReport, *, policy: str | None, remarks: Sequence[str] = ()) -> str:
    """Write one JSON object. policy: digest of what would be served, None when nothing would."""
    return json.dumps(
        {
            "errors": report.errors,
            "warnings": report.warnings,
            "policy": policy,
            "remarks": list(remarks),
            "findings": [finding_document(finding) for finding in report.findings],
        },
        indent=2,
    )


def render_github(report: CheckReport, *, folder: str) -> str:
    """Write workflow commands that put findings beside the lines of a pull request. folder: from its root."""
    return "\n".join(_annotation(finding, folder) for finding in report.findings)


def visible(text: str) -> str:
    """Write every character that could deceive a reader or a terminal as its escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character == "\t":
        return "→"
    if character.isprintable() and unicodedata.category(character) not in {"Cf", "Zl", "Zp"}:
        return character
    return f"\\u{{{ord(character):X}}}"


def _pasteable(finding: Finding, folder: str) -> str:
    """Return the fix; a command in it names the file from where the reader stands, and as one word of a shell."""
    name = finding.place.file
    is_command = finding.fix.startswith(("chmod ", "chown ")) and finding.fix.endswith(f" {name}")
    if finding.code is not FindingCode.FILE_PERMISSIONS or not is_command:
        return finding.fix
    return f"{finding.fix.removesuffix(name)}{quote(_below(folder) + name)}"


def _block(finding: Finding, folder: str) -> str:
    # A file's name is somebody's text as well.
    lines = [f"{visible(str(finding.place))}: {finding.severity}[{finding.code}]: {visible(finding.message)}"]
    if finding.excerpt.strip():
        line, caret = _excerpt(finding.excerpt, finding.place.column)
        lines += [f"    {line}", f"    {caret}"]
    return "\n".join([*lines, f"  fix: {visible(_pasteable(finding, folder))}"])


def _excerpt(line: str, column: int) -> tuple[str, str]:
    """Return the line as it can be shown and a caret under the column; of a long line the part around it."""
    start = max(0, min(column - 1 - _WIDEST_LINE // 2, len(line) - _WIDEST_LINE))
    head = "…" if start else ""
    tail = "…" if len(line) > start + _WIDEST_LINE else ""
    shown = head + visible(line[start : start + _WIDEST_LINE]) + tail
    before = head + visible(line[start : column - 1])
    return shown.rstrip(), " " * _width(before) + "^"


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes (Unicode Standard Annex 11)."""
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def counted(number: int, noun: str) -> str:
    """Write a number of things; nothing for none."""
    return "" if number == 0 else f"{number} {noun}{'' if number == 1 else 's'}"


def finding_document(finding: Finding) -> Mapping[str, object]:
    """Say what is wrong in a file, for programs."""
    return {
        "code": str(finding.code),
        "severity": finding.severity,
        "file": finding.place.file,
        "line": finding.place.line,
        "column": finding.place.column,
        "message": finding.message,
        "fix": finding.fix,
    }


def _annotation(finding: Finding, folder: str) -> str:
    place = finding.place
    properties = {
        "file": _below(folder) + place.file,
        "line": str(place.line),
        "col": str(place.column),
        "title": str(finding.code),
    }
    written = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    message = _escaped(f"{visible(finding.message)}\nfix: {visible(finding.fix)}", "")
    return f"::{finding.severity} {written}::{message}"


def _below(folder: str) -> str:
    """Return what stands before the name of a file in a folder."""
    return "" if folder in {"", "."} else folder.rstrip("/") + "/"


def _escaped(text: str, also: Sequence[str]) -> str:
    # A line of a file must not become a command of the workflow that reads our output.
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    for character in also:
        escaped = escaped.replace(character, f"%{ord(character):02X}")
    return escaped
