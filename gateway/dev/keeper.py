"""Removes a folder when its starter has ended, however it ended; started by `folder.py` as a file of its own."""

import shutil
import sys
import time
from pathlib import Path

_PATIENCE_S = 15.0  # programs that still write there end within this time: each hangs on a tether of its own


def main(folder: str) -> None:
    """Wait until standard input closes, then remove the folder."""
    sys.stdin.read()
    deadline = time.monotonic() + _PATIENCE_S
    while Path(folder).exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1])
