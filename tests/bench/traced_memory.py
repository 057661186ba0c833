"""`oidc-gateway serve` with Python's own count of memory on; SIGUSR2 writes it to the file that BENCH_MEMORY names.

Run by scripts/profile alone. Counting makes it several times slower and larger.
"""

import json
import os
import signal
import sys
import tracemalloc
from pathlib import Path
from types import FrameType


def _write(_signal: int, _frame: FrameType | None) -> None:
    found = {
        statistic.traceback[0].filename: statistic.size
        for statistic in tracemalloc.take_snapshot().statistics("filename")
    }
    path = Path(os.environ["BENCH_MEMORY"])
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(found))
    draft.replace(path)


if __name__ == "__main__":
    tracemalloc.start()
    signal.signal(signal.SIGUSR2, _write)
    from gateway.cli.main import main

    sys.exit(main())
