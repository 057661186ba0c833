"""The command as a whole: its help, its exit codes, and how it ends when something is wrong around it."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli import check
from gateway.cli.main import COMMANDS, build_parser, main
from tests.support.command_line import subcommands

ROOT = Path(__file__).parents[3]
WIDTH = 100


def all_commands(parser: argparse.ArgumentParser | None = None) -> Iterator[list[str]]:
    """Yield the words of the command and of every one below it."""
    parser = parser or build_parser()
    yield parser.prog.split()[1:]
    for below in subcommands(parser).values():
        yield from all_commands(below)


EACH = pytest.mark.parametrize("words", list(all_commands()), ids=lambda words: " ".join(words) or "alone")


def run(*arguments: str, code: str = "from gateway.cli.main import main; sys.exit(main())") -> str:
    """Run the command in a process of its own and return what it printed."""
    program = [sys.executable, "-c", f"import sys; {code}", *arguments]
    return subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout


@EACH
def test_help_is_good_names_the_exit_codes_and_fits_a_terminal(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))

    code = main([*words, "--help"])

    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    assert printed.out.startswith(f"usage: {' '.join(['oidc-gateway', *words])}")
    assert "Exit codes: 0 " in printed.out
    assert [line for line in printed.out.splitlines() if len(line) > WIDTH] == []


@EACH
def test_help_says_what_each_command_and_option_is_for(words: list[str]) -> None:
    parser = build_parser()
    for word in words:
        parser = subcommands(parser)[word]

    assert [action.dest for action in parser._actions if not action.help and action.dest != "parser"] in (
        [],
        ["==SUPPRESS=="],  # the list of commands: each has a help text of its own
    )


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--version"])

    assert code == 0
    assert capsys.readouterr().out == "oidc-gateway 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param([], "oidc-gateway: error: the following arguments are required: COMMAND", id="nothing"),
        pytest.param(["sevre"], "invalid choice: 'sevre' (choose from ", id="unknown command"),
        pytest.param(["audit"], "oidc-gateway audit: error: the following arguments are", id="half"),
        pytest.param(["audit", "vrfy"], "argument COMMAND: invalid choice: 'vrfy'", id="unknown subcommand"),
        pytest.param(["--verison"], "oidc-gateway: error: ", id="unknown option"),
        pytest.param(
            ["check", "--strikt"],
            "oidc-gateway check: error: unrecognized arguments: --strikt",
            id="unknown option of a command",
        ),
        pytest.param(
            ["audit", "find", "--who", "me"],
            "oidc-gateway audit find: error: unrecognized arguments: --who me",
            id="unknown option of a subcommand",
        ),
        pytest.param(
            ["check", "--stri"],
            "oidc-gateway check: error: unrecognized arguments: --stri",
            id="abbreviation",
        ),
        pytest.param(
            ["serve", "--port", "http"], "argument --port: invalid int value: 'http'", id="no number"
        ),
        pytest.param(
            ["decide", "--token", "-", "--obtain", "a", "--target", "b"],
            "--target goes with --start; --obtain names the target itself",
            id="options that do not go together",
        ),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_the_usage_of_the_command_that_was_meant(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments)

    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert said in printed.err
    assert printed.err.startswith("usage: oidc-gateway")


def test_every_command_is_a_module_beside_the_parser() -> None:
    assert tuple(subcommands(build_parser())) == COMMANDS


def test_python_m_gateway_is_the_same_command() -> None:
    program = [sys.executable, "-m", "gateway", "--version"]

    answer = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (answer.returncode, answer.stdout) == (0, "oidc-gateway 0.1.0\n")


@pytest.mark.parametrize(
    ("command", "libraries"),
    [
        pytest.param(["--version"], ["pydantic", "aiohappyeyeballs", "boto3", "uvicorn"], id="version"),
        pytest.param(["check", "config"], ["aiohappyeyeballs", "boto3", "uvicorn"], id="check"),
        pytest.param(
            ["audit", "verify", "--audit", "."], ["aiohappyeyeballs", "boto3", "uvicorn"], id="audit"
        ),
        pytest.param(["serve", "--help"], ["boto3"], id="serve"),
    ],
)
def test_a_command_does_not_wait_for_libraries_of_the_others(
    command: list[str], libraries: list[str]
) -> None:
    code = (
        "from gateway.cli.main import main; main(); print([name for name in sys.modules if '.' not in name])"
    )

    loaded = run(*command, code=code).splitlines()[-1]

    assert [library for library in libraries if f"'{library}'" in loaded] == []


def test_ctrl_c_ends_a_command_without_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "run", interrupted)

    code = main(["check"])

    assert code == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["--help"], id="help"),
        pytest.param(["check", "config"], id="check"),
        pytest.param(["check", "config", "--format", "json"], id="json"),
    ],
)
def test_a_reader_that_has_gone_costs_no_traceback_and_is_no_success(words: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    read, write = os.pipe()
    os.close(read)  # as `| head` does when it has seen enough
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "gateway", *words],
            cwd=ROOT,
            env=environment,
            stdout=write,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write)

    assert (answer.returncode, answer.stderr) == (141, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_closed_at_the_start_lends_its_number_to_no_file_or_socket(
    tmp_path: Path, closed: str
) -> None:
    program = (
        "import os, sys; from gateway.cli.main import main; main(['--version']); "
        f"opened = os.open({str(tmp_path / 'journal')!r}, os.O_WRONLY | os.O_CREAT); "
        "print('a line of the log'); print('a complaint', file=sys.stderr); sys.stdin.read(); sys.exit(opened)"
    )

    answer = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", program],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert answer.returncode >= 3
    assert (tmp_path / "journal").read_bytes() == b""


def test_output_that_cannot_be_written_is_said_and_ends_with_2() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("wb") as full:
        answer = subprocess.run(
            [sys.executable, "-m", "gateway", "check", "config"],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )

    assert (answer.returncode, answer.stderr) == (2, "oidc-gateway: No space left on device\n")


def test_a_terminal_that_is_not_utf_8_is_shown_what_it_can() -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "gateway", "decide", "--config", "config", "--token", "-"],
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        input=b"not-a-token",
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert (answer.returncode, answer.stderr) == (1, b"")
    assert answer.stdout.startswith(b"\\u2717 token_opaque: ")
