"""Removes a folder when its starter has ended, however it ended; started by `folder.py` as a file of its own.

The programs that `children.py` started end at the same moment as the starter, and write until then; each has a scratch folder in
here that its tether removes last.
"""

import shutil
import sys
import time
from pathlib import Path

_PATIENCE_S = 15.0
_SCRATCH = "oidc-gateway-*"


def main(folder: str) -> None:
    """Wait until standard input closes and the programs have ended, then remove the folder."""
    sys.stdin.read()
    deadline = time.monotonic() + _PATIENCE_S
    while any(Path(folder).glob(_SCRATCH)) and time.monotonic() < deadline:
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])
