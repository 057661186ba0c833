"""Files of state: whoever pulls the plug at any moment finds the old one or the new one, whole, and never a third."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from gateway.state.switch_file import SwitchFile

pytestmark = pytest.mark.requirement("CO-07")

# Counts what must reach the disk in this order, and ends the process, as a power cut would, before the step it is told.
_STEPS: Final = """\
import asyncio, os, stat, sys
from pathlib import Path
from gateway.audit.shipped import replace_durably
from gateway.state.switch_file import SwitchFile
from gateway.state.switches import Switch

path, last, taken = Path(sys.argv[2]), int(sys.argv[3]), []

def counted(name, call):
    def step(*arguments):
        taken.append(name(*arguments))
        if len(taken) > last:
            os._exit(9)
        return call(*arguments)
    return step

kind = lambda descriptor: "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
os.fsync = counted(kind, os.fsync)
os.replace = counted(lambda *_: "name", os.replace)
if sys.argv[1] == "cursor":
    replace_durably(path, b"new" * 10_000)
else:
    switch = Switch(kind="workflow", name="deploy", why="a test", by="me", at=1.0)
    asyncio.run(SwitchFile(path, may_be_absent=True).turn_off(switch))
print(*taken)
"""


def write(what: str, path: Path, *, steps: int = 100) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", _STEPS, what, str(path), str(steps)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def names_of(path: Path) -> set[str]:
    """Return which workflows are switched off by the file; raises when it is not whole."""
    board = SwitchFile(path, may_be_absent=True).load()
    return {name for _, name in board.off} if board is not None else set()


@pytest.mark.parametrize("what", ["cursor", "switches"])
def test_the_content_is_on_the_disk_before_its_name_and_the_name_before_anybody_is_told(
    tmp_path: Path, what: str
) -> None:
    written = write(what, tmp_path / "state")

    assert written.stdout.split() == ["file", "name", "folder"], written.stderr


@pytest.mark.parametrize(("steps", "new"), [(0, False), (1, False), (2, True)])
def test_a_switch_is_off_or_not_whenever_the_process_ends(tmp_path: Path, steps: int, *, new: bool) -> None:
    path = tmp_path / "switches.json"

    ended = write("switches", path, steps=steps)

    assert ended.returncode == 9, ended.stderr
    assert names_of(path) == ({"deploy"} if new else set())


@pytest.mark.parametrize(("steps", "new"), [(0, False), (1, False), (2, True)])
def test_a_cursor_is_the_old_or_the_new_one_whenever_the_process_ends(
    tmp_path: Path, steps: int, *, new: bool
) -> None:
    path = tmp_path / "cursor"
    path.write_bytes(b"old")

    ended = write("cursor", path, steps=steps)

    assert ended.returncode == 9, ended.stderr
    assert path.read_bytes() == (b"new" * 10_000 if new else b"old")


@pytest.mark.parametrize("what", ["cursor", "switches"])
def test_what_a_process_left_that_was_ended_keeps_nobody_from_writing(tmp_path: Path, what: str) -> None:
    path = tmp_path / "state"
    write(what, path, steps=1)

    assert write(what, path).returncode == 0


def test_only_modules_that_are_known_for_it_replace_or_open_files_for_writing() -> None:
    # Whoever adds one proves here, or says here, what a crash leaves of it.
    known = {
        "audit/ledger.py": "appends and syncs (tests/unit/audit/test_durability.py)",
        "audit/shipped.py": "the cursor above",
        "audit/signing.py": "a new key, made by a command, never replaced",
        "cli/logs.py": "a lock without content",
        "cli/main.py": "/dev/null",
        "cli/vault_task.py": "a secret for a task, which is fetched again",
        "state/file_board.py": "what workers say of themselves, in a folder that ends with them",
        "state/switch_file.py": "the switches above",
    }
    root = Path(__file__).parents[2] / "gateway"
    words = ("os.O_WRONLY", "os.O_RDWR", "os.O_CREAT", "write_bytes(", "mkstemp(", "os.replace(")

    writing = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(word in path.read_text() for word in words) and path.relative_to(root).parts[0] != "dev"
    }

    assert writing == known.keys()
