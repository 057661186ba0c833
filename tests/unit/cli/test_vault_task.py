"""What `vault read` prints, and how it ends: a terminal is not steered by a secret, and a pipe gets it exactly."""

import json
import sys
from collections.abc import Callable, Mapping

import pytest

from gateway.cli import vault_task
from gateway.cli.main import main
from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    GatewayError,
    RequestRejected,
    Unavailable,
    UpstreamFailed,
)

NAUGHTY = "a\x1b[2Jb\r\x07\x7f\x9b\u202eé\U000e0041\n\tc"
ESCAPED = "a\\u001b[2Jb\\r\\u0007\\u007f\\u009b\\u202eé\\udb40\\udc41\n\tc"
READ = ["vault", "read", "secret/data/payments"]


@pytest.fixture
def holds(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, object]], None]:
    """Say what the secret holds; Vault itself is not here."""
    monkeypatch.setenv("VAULT_ADDR", "https://vault.acme.example:8200")
    monkeypatch.setenv("VAULT_TOKEN", "hvs.of-a-test")

    def put(secret: Mapping[str, object]) -> None:
        monkeypatch.setattr(vault_task, "read_secret", lambda _access, _path: secret)

    return put


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        pytest.param(["--field", "password"], f"{ESCAPED}\n", id="field"),
        pytest.param([], f"password: {ESCAPED}\n", id="text"),
    ],
)
def test_on_a_terminal_a_secret_cannot_steer_it(
    holds: Callable[[Mapping[str, object]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    shown: str,
) -> None:
    holds({"password": NAUGHTY})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    code = main([*READ, *options])

    assert code == 0
    assert capsys.readouterr().out == shown


def test_on_a_terminal_json_is_escaped_and_stays_json(
    holds: Callable[[Mapping[str, object]], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    holds({"password": NAUGHTY})
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    main([*READ, "--format", "json"])

    printed = capsys.readouterr().out
    assert all(char.isprintable() or char == "\n" for char in printed)
    assert json.loads(printed) == {"password": NAUGHTY}


def test_into_a_pipe_a_secret_goes_exactly_as_it_is(
    holds: Callable[[Mapping[str, object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    holds({"password": NAUGHTY})

    main([*READ, "--field", "password"])

    assert capsys.readouterr().out == f"{NAUGHTY}\n"


def test_the_names_of_members_cannot_steer_a_terminal_either(
    holds: Callable[[Mapping[str, object]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    holds({"x\x1b[2J": "y"})

    code = main([*READ, "--field", "password"])

    assert code == 1
    assert "It has x\\u001b[2J." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        pytest.param(AccessDenied, 1, id="refused or not there"),
        pytest.param(Unavailable, 2, id="not reached or sealed"),
        pytest.param(UpstreamFailed, 2, id="a redirect or nonsense"),
        pytest.param(ConfigurationInvalid, 2, id="nothing to log in with"),
        pytest.param(RequestRejected, 2, id="no path"),
    ],
)
def test_refused_is_1_and_could_not_run_is_2(
    kind: type[GatewayError], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = vault_task.say_fault("vault read", kind(ErrorCode.VAULT_ERROR, "Why.", hint="Do this."))

    assert ended == code
    assert capsys.readouterr().err == "oidc-gateway vault read: vault_error: Why. Do this.\n"
