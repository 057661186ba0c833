import json
from pathlib import Path

import pytest

from gateway.cli.main import main
from tests.support.config_folder import GATEWAY, GOOD, PAYMENTS, TARGETS, write_folder


def test_a_good_folder_is_said_to_be_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path, GOOD)

    code = main(["check", str(tmp_path)])

    assert code == 0
    assert capsys.readouterr().out == "No findings. 2 rules, 2 targets, 1 workflow.\n"


@pytest.mark.parametrize(
    ("arn", "options", "expected"),
    [
        pytest.param("role/prod", [], 0, id="warning"),
        pytest.param("role/prod", ["--strict"], 1, id="warning-strict"),
        pytest.param("role/*", [], 1, id="error"),
    ],
)
def test_findings_decide_the_exit_code(
    tmp_path: Path, arn: str, options: list[str], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path, {**GOOD, "targets.yaml": TARGETS.replace("role/shared", arn)})

    code = main(["check", "--config", str(tmp_path), *options])

    assert code == expected
    assert "targets.yaml:4:18" in capsys.readouterr().out


def test_modes_of_files_are_warnings_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path, GOOD)
    (tmp_path / "gateway.yaml").chmod(0o666)

    code = main(["check", str(tmp_path)])

    assert code == 0
    assert "gateway.yaml:1:1: warning[file_permissions]" in capsys.readouterr().out


def test_a_folder_that_is_not_there_could_not_be_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["check", str(tmp_path / "nowhere")])

    assert code == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["json", "github"])
def test_programs_may_read_the_findings(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folder(tmp_path, {**GOOD, "targets.yaml": TARGETS.replace("role/prod", "role/*")})

    code = main(["check", str(tmp_path), "--format", form])

    out = capsys.readouterr().out
    assert code == 1
    if form == "json":
        assert json.loads(out)["errors"] == 1
    else:
        assert out.startswith(f"::error file={str(tmp_path).replace(',', '%2C')}/targets.yaml,line=3,col=16,")


def test_the_schemas_for_editors_are_written_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["check", "--schemas", str(tmp_path)])

    assert code == 0
    assert sorted(path.name for path in (tmp_path / "schemas").iterdir()) == [
        "gateway.v1.json",
        "mapping.v1.json",
        "targets.v1.json",
        "tests.v1.json",
    ]
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.requirement("HT-16")
@pytest.mark.parametrize(
    ("server", "expected"),
    [
        pytest.param("  host: 0.0.0.0", 1, id="everywhere"),
        pytest.param('  host: "::"', 1, id="everywhere-v6"),
        pytest.param("  host: gateway.acme.example", 1, id="name"),
        pytest.param("  host: 127.0.0.1", 0, id="loopback"),
        pytest.param("  host: 0.0.0.0\n  behind_tls_proxy: true", 0, id="proxy"),
        pytest.param("  host: 0.0.0.0\n  tls: { certificate: /run/tls.crt, key: /run/tls.key }", 0, id="tls"),
    ],
)
def test_listening_in_the_clear_is_found_before_serve_refuses_it(
    tmp_path: Path, server: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD["gateway.yaml"] + f"server:\n{server}\n"
    write_folder(tmp_path, {**GOOD, "gateway.yaml": text})
    line = text.splitlines().index(server.splitlines()[0]) + 1

    code = main(["check", str(tmp_path)])

    said = capsys.readouterr().out
    assert code == expected
    assert (f"gateway.yaml:{line}:9: error[value_invalid]" in said) is bool(expected)
    assert ("Set server.tls, or server.behind_tls_proxy: true" in said) is bool(expected)


COUNTED = {
    **GOOD,
    "gateway.yaml": GATEWAY + "server: { workers: 2 }\n",
    "mappings/payments/deploy.yaml": PAYMENTS + "    replay: once\n",
    "mappings/payments/deploy.test.yaml": """\
format: oidc-gateway/tests.v1
tests:
  - name: main deploys
    issuer: github
    claims: { repository_owner_id: "12", repository_id: "4711", ref: refs/heads/main }
    may: [{ start: deploy }]
""",
}
STATE = "rediss://state.acme.example:6379/0"


@pytest.mark.requirement("TV-42")
@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        pytest.param([], {}, 1, id="nothing"),
        pytest.param([], {"OIDC_GATEWAY_STATE_URL": ""}, 1, id="empty-variable"),
        pytest.param(["--state", STATE], {}, 0, id="flag"),
        pytest.param([], {"OIDC_GATEWAY_STATE_URL": STATE}, 0, id="variable"),
        pytest.param([], {"OIDC_GATEWAY_WORKERS": "1"}, 0, id="one-worker"),
    ],
)
@pytest.mark.parametrize("command", ["check", "test"])
def test_files_are_judged_for_the_service_that_flags_and_variables_of_serve_make(
    tmp_path: Path,
    command: str,
    options: list[str],
    variables: dict[str, str],
    expected: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_folder(tmp_path, COUNTED)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    code = main([command, "--config", str(tmp_path), *options])

    told = capsys.readouterr().out
    assert code == expected, told
    assert ("store_not_shared" in told) == bool(expected)
    assert ("--state or OIDC_GATEWAY_STATE_URL" in told) == bool(expected)


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        pytest.param("OIDC_GATEWAY_WORKERS", "many", "must be a whole number, not 'many'", id="workers"),
        pytest.param("OIDC_GATEWAY_STATE_URL", "http://state", "must begin with redis://", id="state"),
    ],
)
def test_a_variable_with_which_serve_would_not_start_is_named(
    tmp_path: Path,
    variable: str,
    value: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_folder(tmp_path, GOOD)
    monkeypatch.setenv(variable, value)

    code = main(["check", str(tmp_path)])

    assert code == 2
    assert f"oidc-gateway check: {variable} {why}" in capsys.readouterr().err
