"""How another terminal finds a running environment, and what is left when it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gateway.dev.folder import Note, NotRunning, find_running, kept_folder, leave_note

_NOTE = Note(
    gateway="http://127.0.0.1:8080", issuers="http://127.0.0.1:1", aws="http://127.0.0.1:2", mint_key="k"
)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_note_is_found_while_its_environment_runs_and_only_by_its_owner() -> None:
    with kept_folder() as folder:
        leave_note(folder, _NOTE)
        found = find_running()
        modes = {path.stat().st_mode & 0o077 for path in (folder, *folder.iterdir())}

    assert found == _NOTE
    assert modes == {0}
    assert not folder.exists()


def test_nothing_running_says_how_to_start() -> None:
    with pytest.raises(NotRunning) as refusal:
        find_running()

    assert str(refusal.value) == "No environment is running. Start one in another terminal: oidc-gateway dev"


def test_of_several_environments_one_must_be_named() -> None:
    other = Note(gateway="http://127.0.0.1:8081", issuers="", aws="", mint_key="k")
    with kept_folder() as first, kept_folder() as second:
        leave_note(first, _NOTE)
        leave_note(second, other)

        with pytest.raises(NotRunning, match=r"name one with --port \((8080, 8081|8081, 8080)\)"):
            find_running()
        assert find_running("http://127.0.0.1:8081") == other


def test_a_port_where_none_runs_is_answered_with_those_where_one_does() -> None:
    with kept_folder() as folder:
        leave_note(folder, _NOTE)

        with pytest.raises(NotRunning, match=r"^No environment is running at port 1, but at: 8080\.$"):
            find_running("http://127.0.0.1:1")


def test_the_mint_key_is_not_shown_where_notes_are_printed() -> None:
    assert "'k'" not in repr(_NOTE)


def test_the_folder_goes_even_when_its_starter_is_killed() -> None:
    program = (
        "from gateway.dev.folder import kept_folder\nimport time\n"
        "with kept_folder() as folder:\n    print(folder, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        folder = Path(starter.stdout.readline().strip())
        existed = folder.is_dir()
        os.kill(starter.pid, signal.SIGKILL)

    deadline = time.monotonic() + 10
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert existed
    assert not folder.exists()
