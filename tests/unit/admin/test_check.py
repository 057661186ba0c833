import json
from datetime import date
from pathlib import Path

import pytest

from gateway.admin.check import render_github, render_json, render_summary, render_text, report_on
from gateway.compiling.compile import compile_policy
from gateway.files.folder import load_sources
from gateway.files.source import Finding, FindingCode, Place, Severity

GOLDEN = Path(__file__).parents[2] / "golden" / "check"


def finding(
    message: str = "It is wrong.",
    *,
    excerpt: str = "",
    column: int = 1,
    severity: Severity = "error",
    file: str = "a.yaml",
) -> Finding:
    return Finding(
        code=FindingCode.VALUE_INVALID,
        severity=severity,
        place=Place(file=file, line=3, column=column),
        message=message,
        fix="Mend it.",
        excerpt=excerpt,
    )


@pytest.mark.requirement("MP-01")
def test_a_folder_full_of_mistakes_reads_like_this() -> None:
    sources = load_sources(GOLDEN / "mistakes", lenient=True)
    compiled = compile_policy(sources, dev=False, today=date(2026, 11, 22))
    report = report_on(one for one in compiled.findings if one.code != FindingCode.FILE_PERMISSIONS)

    written = f"{render_text(report.findings)}\n{render_summary(report)}\n"

    assert compiled.policy is None
    assert written == (GOLDEN / "mistakes.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("excerpt", "column", "shown", "caret"),
    [
        pytest.param("  a: no", 6, "      a: no", "         ^", id="plain"),
        pytest.param("名前: no", 5, "    名前: no", "          ^", id="wide-characters-take-two-columns"),
        pytest.param(
            "cafe\u0301: no", 8, "    cafe\u0301: no", "          ^", id="combining-marks-take-none"
        ),
        pytest.param("\ta: b", 2, "    →a: b", "     ^", id="tabs-are-visible"),
        pytest.param(
            "a: \u202eb", 5, "    a: \\u{202E}b", "               ^", id="hidden-characters-are-visible"
        ),
        pytest.param("a: \x1b[31mb", 4, "    a: \\u{1B}[31mb", "       ^", id="terminal-commands-are-text"),
    ],
)
def test_the_caret_stands_under_the_column(excerpt: str, column: int, shown: str, caret: str) -> None:
    lines = render_text([finding(excerpt=excerpt, column=column)]).split("\n")

    assert lines == [
        "a.yaml:3:" + str(column) + ": error[value_invalid]: It is wrong.",
        shown,
        caret,
        "  fix: Mend it.",
    ]


@pytest.mark.parametrize("column", [1, 500, 1000])
def test_of_a_long_line_the_part_around_the_column_is_shown(column: int) -> None:
    line = "x" * (column - 1) + "HERE" + "y" * (1000 - column)

    _, shown, caret, _ = render_text([finding(excerpt=line, column=column)]).split("\n")

    assert len(shown) < 130
    assert shown[caret.index("^") :].startswith("HERE")


def test_a_file_s_name_is_shown_without_what_it_would_do_to_a_terminal() -> None:
    written = render_text([finding(file="schemas/\x1b[31ma\u202e.json")])

    assert written.startswith("schemas/\\u{1B}[31ma\\u{202E}.json:3:1: error")


def test_without_an_excerpt_no_caret_is_drawn() -> None:
    assert render_text([finding()]) == "a.yaml:3:1: error[value_invalid]: It is wrong.\n  fix: Mend it."


@pytest.mark.parametrize(
    ("findings", "summary", "failed", "failed_strictly"),
    [
        ([], "No findings.", False, False),
        ([finding(severity="warning")], "1 warning in 1 file.", False, True),
        (
            [finding(), finding("Too."), finding(file="b.yaml", severity="warning")],
            "2 errors, 1 warning in 2 files.",
            True,
            True,
        ),
    ],
    ids=["none", "warning", "errors"],
)
def test_errors_fail_and_warnings_when_asked(
    findings: list[Finding], summary: str, failed: bool, failed_strictly: bool
) -> None:
    report = report_on(findings)

    assert render_summary(report) == summary
    assert (report.failed(strict=False), report.failed(strict=True)) == (failed, failed_strictly)


def test_findings_are_sorted_by_place_and_told_once() -> None:
    report = report_on([finding(file="b.yaml"), finding(column=9), finding(column=2), finding(column=9)])

    assert [str(one.place) for one in report.findings] == ["a.yaml:3:2", "a.yaml:3:9", "b.yaml:3:1"]


def test_programs_read_one_json_object() -> None:
    written = json.loads(render_json(report_on([finding(excerpt="a")]), policy="sha256:0"))

    assert written == {
        "errors": 1,
        "warnings": 0,
        "policy": "sha256:0",
        "remarks": [],
        "findings": [
            {
                "code": "value_invalid",
                "severity": "error",
                "file": "a.yaml",
                "line": 3,
                "column": 1,
                "message": "It is wrong.",
                "fix": "Mend it.",
            }
        ],
    }


def test_a_pull_request_shows_findings_beside_its_lines() -> None:
    written = render_github(report_on([finding()]), folder="config/")

    assert (
        written == "::error file=config/a.yaml,line=3,col=1,title=value_invalid::It is wrong.%0Afix: Mend it."
    )


@pytest.mark.parametrize(
    "message", ["x\n::add-mask::y", "100%", "x\r\n::stop-commands::z"], ids=["command", "percent", "crlf"]
)
def test_a_file_cannot_give_commands_to_the_workflow_that_checks_it(message: str) -> None:
    written = render_github(report_on([finding(message, file="a,b:c.yaml")]), folder=".")

    assert len(written.splitlines()) == 1
    assert "file=a%2Cb%3Ac.yaml," in written
    assert "100%25" in written or "%" not in message


def test_a_command_among_the_fixes_can_be_pasted_from_where_the_reader_stands() -> None:
    one = Finding(
        code=FindingCode.FILE_PERMISSIONS,
        severity="warning",
        place=Place(file="mappings/a b.yaml", line=1, column=1),
        message="It can be written by others.",
        fix="chmod go-w mappings/a b.yaml",
    )

    assert render_text([one], folder="config/").endswith("fix: chmod go-w 'config/mappings/a b.yaml'")
    assert render_text([one], folder=".").endswith("fix: chmod go-w 'mappings/a b.yaml'")
