"""What is made in great number is kept from the collector's younger generations, and frozen where much is."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
# In a process of its own: what is frozen here would stay frozen for all tests that follow.
_MADE: Final = """
import gc, sys
from gateway.collector import collector_paused

gc.collect()
gc.freeze()
before = gc.get_freeze_count()
with collector_paused(thaw=sys.argv[1] == "thaw"):
    paused = not gc.isenabled()
    made = [[] for _ in range(100_000)]
oldest = gc.get_objects(generation=2)
print(paused, gc.isenabled(), len(oldest) >= 100_000, gc.get_freeze_count() >= before + 100_000)
"""


@pytest.mark.parametrize(
    ("thaw", "oldest", "frozen"),
    [
        pytest.param("thaw", True, False, id="a-command"),
        pytest.param("leave", False, True, id="a-process-that-serves"),
    ],
)
def test_what_is_made_meanwhile_is_spared_the_younger_generations(
    thaw: str, oldest: bool, frozen: bool
) -> None:
    command = [sys.executable, "-c", _MADE, thaw]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["True", "True", str(oldest), str(frozen)]
