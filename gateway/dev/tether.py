"""Runs one program for as long as its starter lives, then removes everything that the program left.

Started by `children.py` as a file of its own, so it imports the standard library alone. Standard input is the tether: nothing is
written to it, and the kernel closes it when the starter ends, however it ends. A parent-death signal instead would be bound to
the starting *thread*, and does not exist outside Linux.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time

STOP_S = 3.0  # a program that is asked to stop gets this long before its process group is killed


def main(scratch: str, *command: str) -> int:
    """Run `command` in a process group of its own until it ends or standard input closes; then remove `scratch`."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0)
    try:
        while child.poll() is None and not select.select([sys.stdin], [], [], 0.1)[0]:
            pass
        _stop(child)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return child.returncode


def _stop(child: "subprocess.Popen[bytes]") -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        # The group, not the child: emulators start programs of their own.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, sent)
        if sent is signal.SIGTERM:
            deadline = time.monotonic() + STOP_S
            while child.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
    child.wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
