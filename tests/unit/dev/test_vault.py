"""Where a Vault for tests and the demo comes from, and that it is nobody else's."""

import os
from pathlib import Path

import pytest

from gateway.dev.vault import HOW_TO_GET_ONE, VaultNotFound, find_vault, running_vault
from tests.support import vault_program


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on PATH but a folder `bin`, and an empty cache."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def put_program(path: Path, says: str, *, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def put_build(machine: Path, name: str, *, complete: bool = True, age_s: int = 0) -> Path:
    folder = machine / "cache" / "oidc-gateway" / name
    program = put_program(folder / "vault", "Vault v1.21.1")
    if complete:
        (folder / ".complete").touch()
    when = folder.stat().st_mtime - age_s
    os.utime(folder, (when, when))
    return program


def test_the_vault_on_path_is_taken_first(machine: Path) -> None:
    put_build(machine, "vault-0123456789ab")
    installed = put_program(machine / "bin" / "vault", "Vault v1.18.0")

    assert find_vault() == installed


@pytest.mark.parametrize(
    ("says", "status"),
    [
        pytest.param("vault: no version is set", 1, id="a-version-manager-that-refuses"),
        pytest.param("vault 3.2, a password store", 0, id="another-program-of-that-name"),
    ],
)
def test_what_is_only_called_vault_is_passed_over(machine: Path, says: str, status: int) -> None:
    put_program(machine / "bin" / "vault", says, status=status)
    built = put_build(machine, "vault-0123456789ab")

    assert find_vault() == built


def test_of_several_builds_the_newest_complete_one_is_taken(machine: Path) -> None:
    put_build(machine, "vault-000000000001", age_s=60)
    newest = put_build(machine, "vault-000000000002", age_s=30)
    put_build(machine, "vault-000000000003", complete=False)

    assert find_vault() == newest


def test_where_there_is_none_it_is_said_how_to_get_one(machine: Path) -> None:
    with pytest.raises(VaultNotFound, match="Install Vault so that `vault` is on PATH"), running_vault():
        pass


def test_looking_never_builds(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put_program(machine / "bin" / "go", "a compiler that must not be started", status=1)

    status = vault_program.main(["--find"])

    said = capsys.readouterr()
    assert (status, said.out, said.err) == (1, "", f"{HOW_TO_GET_ONE}\n")


def test_without_a_compiler_nothing_is_built_and_the_status_says_so(
    machine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = vault_program.main([])

    assert (status, capsys.readouterr().err) == (2, f"{HOW_TO_GET_ONE}\n")


def test_a_build_that_fails_shows_what_the_compiler_said_and_is_not_taken_for_one(
    machine: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_program(machine / "bin" / "go", "the module cannot be downloaded", status=1)
    monkeypatch.setenv("PATH", f"{machine / 'bin'}:/usr/bin:/bin")

    status = vault_program.main([])

    assert status == 2
    assert "the module cannot be downloaded" in capsys.readouterr().err
    assert find_vault() is None


def test_what_was_built_is_found_by_whoever_looks(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = put_build(machine, vault_program.built_folder().name)

    statuses = [vault_program.main([]), vault_program.main(["--find"])]

    assert statuses == [0, 0]
    assert capsys.readouterr().out == f"{built}\n{built}\n"


def test_the_sources_of_the_build_name_no_host_to_fetch_from() -> None:
    text = "".join((Path(__file__).parents[2] / "vault" / name).read_text() for name in ("go.mod", "go.sum"))

    assert "http://" not in text
    assert "https://" not in text
    assert "GOPROXY" not in text
