"""One run of `check` finds everything, and its fixes can be followed as they are written."""

import re
import shutil
from datetime import date
from pathlib import Path

import pytest

from gateway.admin.check import CheckReport, render_summary, render_text, report_on
from gateway.compiling.compile import compile_policy
from gateway.files.folder import load_sources
from gateway.files.source import Finding, FindingCode

GOLDEN = Path(__file__).parents[2] / "golden" / "check"

# Fixes that name the very text to write in place of what stands there.
LITERAL = (
    re.compile(r"Did you mean (\S+)\?"),
    re.compile(r'Write (".*") in quotes\.'),
    re.compile(r'Write it in quotes: (".*")\.'),
    re.compile(r"Write ([a-z0-9_-]+)\. Use .*"),
    re.compile(r"Write (\[.*\])\."),
    re.compile(r"Write (https://\S+)"),
    re.compile(r"Write (\S+): the name alone\."),
    re.compile(r"Write (\S+) for a branch, .*"),
)
WORD = re.compile(r'"[^"]*"|[^\s,\[\]{}]+?(?=:(?:\s|$)|[\s,\]}]|$)')
# Fixes that leave something to choose: what their reader would write.
CHOSEN = {
    "leeway_s is not a whole number.": ('leeway_s: "30"', "leeway_s: 30"),
    "audiences is empty.": ("audiences: []", "audiences: [https://gateway.acme.example]"),
    '"RS265" is not': ("RS265", "RS256"),
    "legacy has no audiences": (
        "    max_age:",
        "    audiences: [https://gateway.acme.example]\n    max_age:",
    ),
    '"http://legacy': ("http://legacy.acme.example", "https://legacy.acme.example/oidc"),
    "max_age is not a duration.": ("max_age: 3600", "max_age: 30s"),
    '"Ireland" is no AWS Region.': ("Ireland", "eu-west-1"),
    '"gateway.acme.example" is no URL.': ("public_url: ", "public_url: https://"),
    "email is compared": ("{ email:", "{ email_verified: true, email:"),
    '"tomorrow" is no day.': ("tomorrow", '"2027-01-31"'),
    'A rule "look" stands': ("- name: look\n    why: OPS-2", "- name: look-again\n    why: OPS-2"),
    "jti is not a claim": (", jti: x", ""),
    '"until" is not known': ("until:", "last_day:"),
    "why is empty.": ('why: ""', "why: PAY-1, a sentence"),
    "aud is not a claim": (", aud: x", ""),
    '"acme/*" looks like': ("acme/*", "acme/payments"),
    "absent cannot be false.": (", environment: { absent: false }", ""),
    "grants is empty.": ("grants: []", "grants: [{ start: deploy, as: prod }]"),
    "This grant does not say": ("{ start: deploy }", "{ start: deploy, as: prod }"),
    "okta sends groups as a list": ("groups: ops", "groups: { contains: ops }"),
    "No claim here says": ("claims: { run_attempt", "claims: { sub: x, run_attempt"),
    "obtain names the target": ("{ obtain: prod, as: prod }", "{ obtain: prod }"),
    "duration is not a duration.": ("duration: 900", "duration: 15m"),
    "AWS STS gives no session": ("duration: 5m", "duration: 15m"),
    "other is in account": ("{ start: deploy, as: other }", "{ start: deploy, as: prod }"),
}


def checked(folder: Path) -> CheckReport:
    sources = load_sources(folder, lenient=True)
    compiled = compile_policy(sources, dev=False, today=date(2026, 11, 22))
    return report_on(one for one in compiled.findings if one.code != FindingCode.FILE_PERMISSIONS)


def follow(finding: Finding, folder: Path) -> None:
    """Do literally what a fix says."""
    path = folder / finding.place.file
    if finding.code is FindingCode.FILE_MISSING:
        (folder / "schemas").mkdir()
        (folder / "schemas" / "missing.json").write_text('{"type": "object"}')
        return
    text = path.read_text()
    written = next((found[1] for one in LITERAL if (found := one.fullmatch(finding.fix))), None)
    if written is None:
        old, new = next(change for start, change in CHOSEN.items() if finding.message.startswith(start))
        assert old in text, finding
        path.write_text(text.replace(old, new, 1))
        return
    lines = text.split("\n")
    line, start = lines[finding.place.line - 1], finding.place.column - 1
    word = WORD.match(line, start)
    assert word is not None, finding
    lines[finding.place.line - 1] = line[:start] + written + line[word.end() :]
    path.write_text("\n".join(lines))


@pytest.mark.requirement("MP-01")
def test_mistakes_of_all_kinds_are_found_in_one_run() -> None:
    report = checked(GOLDEN / "at_once")

    written = f"{render_text(report.findings)}\n{render_summary(report)}\n"

    assert written == (GOLDEN / "at_once.txt").read_text(encoding="utf-8")


@pytest.mark.requirement("MP-01")
def test_who_does_what_the_fixes_say_has_no_finding_in_the_second_run(tmp_path: Path) -> None:
    folder = shutil.copytree(GOLDEN / "at_once", tmp_path / "config")
    findings = checked(folder).findings

    # From the end of each file, so that places before it stay true; then what changes lines as a whole.
    is_literal = [any(one.fullmatch(finding.fix) for one in LITERAL) for finding in findings]
    for finding, literal in reversed(list(zip(findings, is_literal, strict=True))):
        if literal:
            follow(finding, folder)
    for finding, literal in zip(findings, is_literal, strict=True):
        if not literal:
            follow(finding, folder)

    assert render_text(checked(folder).findings) == ""
