"""Programs that we start answer before anybody uses them, and end with us, however we end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.dev import children
from gateway.dev.children import ChildFailed, Server, answers, running
from tests.support.processes import descendants, listening_addresses

# Serves HTTP, and starts a grandchild that ignores the polite request to stop.
PROGRAM = """
import http.server, os, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
open("env", "w").write("\\n".join(sorted(os.environ)))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
# Starts that program as we do, says so, and waits to be killed.
STARTER = """
import sys, time
from pathlib import Path
from gateway.dev.children import running
from tests.unit.dev.test_children import program
with running(program(), workdir=Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(600)
"""
ROOT = Path(__file__).parents[3]


def program(text: str = PROGRAM) -> Server:
    return Server(
        name="example",
        command=lambda port, _scratch: [sys.executable, "-c", text, str(port)],
        environment=lambda _port: {"GIVEN": "1"},
        health="/",
    )


def eventually(fact: Callable[[], bool]) -> bool:
    """Other processes end when the kernel gets to them; nothing tells us."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if fact():
            return True
        time.sleep(0.02)
    return False


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_program_answers_on_loopback_when_it_is_handed_over(tmp_path: Path) -> None:
    with running(program(), workdir=tmp_path) as port:
        ready = answers(port, "/")
        listening = listening_addresses(descendants(os.getpid()))

    assert ready
    assert ("127.0.0.1", port) in listening


def test_nothing_is_left_of_a_program_that_was_stopped(tmp_path: Path) -> None:
    before = descendants(os.getpid())
    with running(program(), workdir=tmp_path):
        started = descendants(os.getpid()) - before

    assert len(started) == 3  # tether, program, grandchild
    assert not any(alive(process) for process in started)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_program_whose_starter_was_killed(tmp_path: Path) -> None:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert starter.stdout is not None
    assert starter.stdout.readline() == "ready\n"
    started = descendants(starter.pid) - {starter.pid}

    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()

    assert len(started) == 3
    assert eventually(lambda: not any(alive(process) for process in started))
    assert eventually(lambda: list(tmp_path.iterdir()) == [])


def test_a_program_does_not_see_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")

    with running(program(), workdir=tmp_path):
        seen = next(tmp_path.glob("*/env")).read_text().split()

    assert {"PATH", "HOME", "TMPDIR", "GIVEN"} <= set(seen)
    assert "AWS_SECRET_ACCESS_KEY" not in seen


def test_a_program_that_ends_at_once_is_reported_with_what_it_said(tmp_path: Path) -> None:
    failing = program("import sys; sys.exit('cannot find my settings')")

    with pytest.raises(ChildFailed, match=r"example ended with status 1\.\ncannot find my settings"):
        running(failing, workdir=tmp_path).__enter__()

    assert list(tmp_path.iterdir()) == []


def test_a_program_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "START_S", 0.2)
    silent = program("import time; time.sleep(600)")

    with pytest.raises(ChildFailed, match="example did not answer within"):
        running(silent, workdir=tmp_path).__enter__()

    assert list(tmp_path.iterdir()) == []
