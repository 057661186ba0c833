"""An environment is complete or not there, and two that want the same one do not get in each other's way."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gateway.dev.environments import (
    EnvironmentNotBuilt,
    build_once,
    cache_folder,
    environment_path,
    is_built,
    run_build_step,
)


def quiet(_: str) -> None:
    """Nobody listens."""


def test_a_folder_is_built_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "thing"
    builds: list[int] = []

    def build() -> None:
        builds.append(1)
        folder.mkdir()

    for _ in range(2):
        build_once(folder, build, log=quiet)

    assert is_built(folder)
    assert builds == [1]


def test_of_several_at_a_time_one_builds_and_the_others_wait_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "thing"
    together = threading.Barrier(4)
    builds: list[int] = []

    def build() -> None:
        builds.append(1)
        folder.mkdir()

    def want() -> bool:
        together.wait()
        build_once(folder, build, log=quiet)
        return is_built(folder)

    with ThreadPoolExecutor(4) as pool:
        complete = [future.result() for future in [pool.submit(want) for _ in range(4)]]

    assert complete == [True] * 4
    assert builds == [1]


def test_what_a_broken_build_left_is_thrown_away(tmp_path: Path) -> None:
    folder = tmp_path / "thing"

    def break_off() -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise EnvironmentNotBuilt("broken off")

    with pytest.raises(EnvironmentNotBuilt):
        build_once(folder, break_off, log=quiet)
    was_built = is_built(folder)
    build_once(folder, folder.mkdir, log=quiet)

    assert not was_built
    assert is_built(folder)
    assert not (folder / "half").exists()


def test_another_lock_file_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lock = tmp_path / "some.lock"
    lock.write_text("a==1")
    first = environment_path("some", lock)

    lock.write_text("a==2")
    second = environment_path("some", lock)

    assert first != second
    assert first.parent == second.parent == tmp_path / "cache" / "oidc-gateway"


@pytest.mark.parametrize("unset", ["", None], ids=["empty", "absent"])
def test_the_cache_folder_has_a_place_without_a_setting(
    unset: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if unset is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", unset)

    assert cache_folder() == tmp_path / ".cache" / "oidc-gateway"


def test_a_failed_step_is_reported_with_what_it_said() -> None:
    with pytest.raises(
        EnvironmentNotBuilt, match=r"thing could not be built \(sh ended with 3\)\.\nno such package"
    ):
        run_build_step("thing", ["sh", "-c", "echo no such package >&2; exit 3"])
