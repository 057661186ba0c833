import argparse
import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.cli import audit, explain
from tests.support.records import EXECUTION, INTENT, OUTCOME, REFUSAL, TOKEN, chained

LINES, HEAD = chained([INTENT, REFUSAL, OUTCOME])


@pytest.fixture(autouse=True)
def _without_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OIDC_GATEWAY_AUDIT_DIRECTORY", raising=False)
    monkeypatch.delenv("OIDC_GATEWAY_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "audit"
    place.mkdir()
    (place / "audit-000001.jsonl").write_bytes(b"".join(LINES))
    return place


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser(prog="oidc-gateway")
    commands = parser.add_subparsers()
    audit.add_parser(commands)
    explain.add_parser(commands)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    code: int = parsed.run(parsed)
    return code


@pytest.mark.requirement("AU-03")
def test_an_intact_journal_is_called_so_with_the_head_to_note(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("audit", "verify", "--audit", directory)

    assert code == 0
    assert capsys.readouterr().out == f"Intact: 3 records in 1 file. Head 3:{HEAD.hash}\n"


@pytest.mark.requirement("AU-03")
def test_a_finding_is_printed_with_its_place_and_ends_with_1(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (directory / "audit-000001.jsonl").write_bytes(LINES[0] + LINES[2])

    code = run("audit", "verify", "--audit", directory)

    assert code == 1
    assert capsys.readouterr().out == (
        "audit-000001.jsonl:2: Record 2 is missing before this one.\nNot intact: 1 finding in 2 records in 1 file.\n"
    )


@pytest.mark.requirement("AU-03")
def test_a_head_noted_earlier_finds_a_cut_tail(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "audit-000001.jsonl").write_bytes(LINES[0])

    without = run("audit", "verify", "--audit", directory)
    with_head = run("audit", "verify", "--audit", directory, "--head", HEAD)

    assert (without, with_head) == (0, 1)
    assert "its end was cut" in capsys.readouterr().out


@pytest.mark.requirement("AU-03")
def test_archived_files_are_no_finding_when_that_is_said(directory: Path) -> None:
    (directory / "audit-000001.jsonl").write_bytes(LINES[2])

    assert run("audit", "verify", "--audit", directory) == 1
    assert run("audit", "verify", "--audit", directory, "--partial") == 0


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("files", [(), ("audit-000001.jsonl",)], ids=["no-file", "empty-file"])
def test_a_journal_without_records_is_not_called_intact(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: tuple[str, ...]
) -> None:
    for name in files:
        (tmp_path / name).touch()

    code = run("audit", "verify", "--audit", tmp_path)

    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert said.err == (
        f"oidc-gateway audit: There are no records in {tmp_path}, so nothing was verified. A gateway writes one as soon "
        "as it starts: this is another directory, or the records were removed.\n"
    )


@pytest.mark.requirement("AU-03")
def test_a_journal_that_is_gone_is_a_finding_where_its_head_was_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("audit", "verify", "--audit", tmp_path, "--head", HEAD)

    assert code == 1
    assert "its end was cut" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [("audit", "verify"), ("audit", "find"), ("explain", "req-1")], ids=" ".join
)
def test_a_directory_that_is_not_there_is_named_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    code = run(*command, "--audit", tmp_path / "none")

    assert code == 2
    assert (
        f"There is no audit directory {tmp_path / 'none'}. Name it with --audit DIR."
        in capsys.readouterr().err
    )


def test_without_a_directory_or_a_configuration_the_way_out_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = run("audit", "verify", "--config", "elsewhere")

    assert code == 2
    assert capsys.readouterr().err == (
        "oidc-gateway audit: There is no configuration folder elsewhere. Name the audit directory with --audit DIR.\n"
    )


@pytest.mark.parametrize("way", ["configuration", "environment"])
def test_the_directory_is_taken_from_where_serve_takes_it(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "environment":
        monkeypatch.setenv("OIDC_GATEWAY_AUDIT_DIRECTORY", str(directory))
    else:
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "gateway.yaml").write_text(
            f"format: oidc-gateway/gateway.v1\nissuers: {{}}\naudit:\n  directory: {directory}\n"
        )

    assert run("audit", "verify") == 0


@pytest.mark.requirement("AU-06")
@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        pytest.param(("--request", "req-1"), ["intent", "outcome"], id="request"),
        pytest.param(("--token", TOKEN), ["intent", "refused", "outcome"], id="token"),
        pytest.param(("--execution", EXECUTION), ["intent", "outcome"], id="execution"),
        pytest.param(("--rule", "payments.prod", "--request", "req-2"), ["refused"], id="rule"),
    ],
)
def test_records_are_found_and_listed_one_a_line(
    directory: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], kinds: list[str]
) -> None:
    code = run("audit", "find", "--audit", directory, *options)

    assert code == 0
    assert [line.split(" ")[2] for line in capsys.readouterr().out.splitlines()] == kinds


@pytest.mark.requirement("AU-06")
def test_found_records_as_json_are_the_lines_as_they_stand(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("audit", "find", "--audit", directory, "--request", "req-2", "--format", "json")

    assert capsys.readouterr().out == LINES[1].decode()


def test_nothing_found_ends_with_1(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("audit", "find", "--audit", directory, "--request", "none") == 1
    assert run("explain", "none", "--audit", directory) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.requirement("AU-06")
@pytest.mark.parametrize("what", ["req-1", EXECUTION], ids=["request-id", "execution-arn"])
def test_explain_tells_one_request(directory: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    code = run("explain", what, "--audit", directory)

    assert code == 0
    assert capsys.readouterr().out.startswith(
        "Request req-1 at 2026-11-22T10:17:03.123456Z\n"
        "Allowed: it was to start deploy-payments as payments-prod, and that was done.\n"
    )


@pytest.mark.requirement("AU-06")
def test_explain_tells_every_request_of_a_token(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run("explain", TOKEN, "--audit", directory, "--format", "json")

    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(story["request_id"], story["result"]) for story in told] == [
        ("req-1", "done"),
        ("req-2", "refused"),
    ]


def test_nothing_a_caller_sent_reaches_the_terminal_unescaped(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = replace(REFUSAL, object="a\x1b[2J\nb", user_agent="\u202e")
    lines, _ = chained([evil])
    (directory / "audit-000001.jsonl").write_bytes(lines[0])

    run("audit", "find", "--audit", directory, "--request", "req-2")

    assert capsys.readouterr().out.rstrip("\n").isprintable()
