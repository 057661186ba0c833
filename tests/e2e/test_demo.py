"""The demo from beginning to end: the real command, real tokens, an AWS that enforces, and every answer checked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.dev.environments import cache_folder
from tests.support import components

REPOSITORY = Path(__file__).parents[2]
pytestmark = components.skip_without("ministack")
_LIMIT_S = 120
_VAULT = components.skip_without("vault")


def run_demo(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gateway", "dev", "demo", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONWARNINGS": "error"} | variables,
        capture_output=True,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def told() -> "subprocess.CompletedProcess[str]":
    return run_demo()


@pytest.mark.requirement("TV-21", "TV-47")
def test_every_step_of_the_demo_is_as_it_should_be(told: "subprocess.CompletedProcess[str]") -> None:
    assert told.returncode == 0, told.stdout + told.stderr
    assert "steps went as they should" in told.stdout


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("201 Created", id="an execution is started"),
        pytest.param("SUCCEEDED", id="its end is seen"),
        pytest.param("idempotency_conflict", id="a key is for one input"),
        pytest.param("refs/heads/quick-fix", id="the claim that failed is named"),
        pytest.param("token_signature_invalid", id="a forgery is refused"),
        pytest.param("aws_denied", id="AWS has the last word"),
        pytest.param("Vault is in step with the files.", id="vault is what the files say", marks=_VAULT),
        pytest.param("['default', 'payments-ci']", id="vault believes the exchanged token", marks=_VAULT),
        pytest.param("yours  staging", id="vault is not asked for another environment", marks=_VAULT),
        pytest.param("tokens  2", id="no login used inside is left in vault", marks=_VAULT),
        pytest.param("ABORTED", id="an operator stops an execution"),
        pytest.param("2026-10-01,12,184300", id="handed out credentials work"),
    ],
)
def test_the_demo_shows(told: "subprocess.CompletedProcess[str]", text: str) -> None:
    assert text in told.stdout


@_VAULT
def test_the_administrators_own_vault_is_never_asked(tmp_path: Path) -> None:
    mine = {"VAULT_ADDR": "http://127.0.0.1:1", "VAULT_TOKEN": "hvs.mine", "VAULT_NAMESPACE": "mine"}

    told = run_demo(**mine)

    assert told.returncode == 0, told.stdout + told.stderr


def test_without_a_vault_the_demo_says_how_to_get_one_and_goes_on(tmp_path: Path) -> None:
    told = run_demo(**machine(tmp_path, has_vault=False))

    assert told.returncode == 0, told.stdout + told.stderr
    assert "Left out. No vault was found. Install Vault so that `vault` is on PATH" in told.stdout
    assert "steps went as they should" in told.stdout
    assert "VAULT_ROOT" not in told.stdout


def machine(folder: Path, *, has_vault: bool) -> dict[str, str]:
    """Return the variables of a machine like ours whose environments are its own: nobody else's run folders are there."""
    cache = folder / "oidc-gateway"
    cache.mkdir()
    wanted = ("ministack-*", "vault-*") if has_vault else ("ministack-*",)
    for built in (one for pattern in wanted for one in cache_folder().glob(pattern)):
        (cache / built.name).symlink_to(built)
    own = {"XDG_CACHE_HOME": str(folder)}
    return own if has_vault else {**own, "PATH": str(folder)}


def left_in(folder: Path) -> list[Path]:
    """Return the folders of environments that are still there."""
    return list((folder / "oidc-gateway" / "run").glob("*"))


def test_asked_to_end_while_it_plays_the_demo_ends_soon_and_leaves_nothing(tmp_path: Path) -> None:
    variables = os.environ | machine(tmp_path, has_vault=True)
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "dev", "demo"],
        cwd=REPOSITORY,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as played:
        assert played.stdout is not None
        assert played.stderr is not None
        while b"1  The production job" not in played.stdout.readline():
            assert played.poll() is None
        asked_at = time.monotonic()
        played.send_signal(signal.SIGINT)
        shown, said = played.communicate(timeout=_LIMIT_S)
        took_s = time.monotonic() - asked_at

    assert (played.returncode, said) == (130, b"")
    assert b"steps went as they should" not in shown
    assert took_s < 20
    assert left_in(tmp_path) == []


def test_a_reader_who_leaves_ends_the_demo_quietly_and_wholly(tmp_path: Path) -> None:
    variables = os.environ | machine(tmp_path, has_vault=True)
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "dev", "demo"],
        cwd=REPOSITORY,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as left:
        assert left.stdout is not None
        assert left.stderr is not None
        left.stdout.readline()
        left.stdout.close()
        said = left.stderr.read()
        status = left.wait(_LIMIT_S)

    assert (status, said) == (128 + signal.SIGPIPE, b"")
    assert left_in(tmp_path) == []


def test_the_demo_shows_no_token_and_no_secret(told: "subprocess.CompletedProcess[str]") -> None:
    shown = told.stdout + told.stderr

    assert "eyJ" not in shown
    assert "hvs." not in shown
    assert "Bearer $CI_TOKEN" in shown


def test_the_demo_fits_a_terminal_of_a_hundred_columns(told: "subprocess.CompletedProcess[str]") -> None:
    assert [line for line in told.stdout.splitlines() if len(line) > 100] == []


def pasteable(screen: str) -> list[str]:
    """Return the shell commands of the screen, each with its continuation lines."""
    commands: list[str] = []
    continued = False
    for line in screen.splitlines():
        if line.startswith("    $ "):
            commands.append(line[6:])
        elif continued:
            commands[-1] += "\n" + line
        continued = commands != [] and commands[-1].endswith("\\") and line.endswith("\\")
    return commands


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_commands_on_the_screen_can_be_pasted_while_the_environment_is_kept(tmp_path: Path) -> None:
    with (
        (tmp_path / "output").open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "gateway", "dev", "demo", "--keep"],
            cwd=REPOSITORY,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as kept,
    ):
        try:
            deadline = time.monotonic() + _LIMIT_S
            while "Ctrl-C ends everything" not in (tmp_path / "output").read_text():
                assert kept.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            screen = (tmp_path / "output").read_text()
            variables = screen.partition("pasted after: ")[2].splitlines()[0]
            answers = [
                paste(command, variables) for command in pasteable(screen) if command.startswith("curl")
            ]
            welcome = screen.rpartition("pasted after: ")[2]
        finally:
            kept.send_signal(signal.SIGINT)
            kept.wait(60)

    assert kept.returncode == 0
    assert json.loads(answers[0])["status"] == "SUCCEEDED"  # the same key: the same execution
    assert {json.loads(answer).get("code") for answer in answers[3:9]} == {
        "idempotency_conflict",
        "idempotency_key_missing",
        "input_invalid",
        "claim_mismatch",
        "token_signature_invalid",
        "aws_denied",
    }
    assert "access_token" in json.loads(answers[9])
    assert "gateway.access" not in welcome  # what the gateway logged before would push it off the screen
    assert "Those that begin with oidc-gateway, in this folder after: . " in welcome
    assert "dev token --issuer" not in welcome  # where two environments run, a token needs the port too
    assert "dev token --port " in welcome
    assert answers[-2].startswith("day,payouts")
    assert "AccessDenied" in answers[-1]


def paste(command: str, variables: str) -> str:
    return subprocess.run(
        ["bash", "-c", f"{variables}\n{command}"], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_a_step_that_is_not_as_it_should_be_ends_the_demo_and_says_what_was_expected(tmp_path: Path) -> None:
    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", config)
    rules = config / "mappings" / "payments" / "deploy.yaml"
    rules.write_text(rules.read_text().replace("ref: refs/heads/main", "ref: refs/heads/release"))

    told = run_demo("--config", str(config))

    assert told.returncode == 1, told.stdout + told.stderr
    assert "expected status 201, not 403" in told.stdout
    assert "steps went as they should" not in told.stdout


def test_a_configuration_with_errors_is_not_started(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("issuers: 7\n")

    told = run_demo("--config", str(tmp_path))

    assert told.returncode == 2
    assert "says why" in told.stderr
