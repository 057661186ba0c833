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
class Garbage(list): pass

with collector_paused(thaw=sys.argv[1] == "thaw"):
    paused = not gc.isenabled()
    made = [[] for _ in range(100_000)]
    ring = Garbage()
    ring.append(ring)
    del ring
oldest = gc.get_objects(generation=2)
print(paused, gc.isenabled(), len(oldest) >= 100_000, gc.get_freeze_count() >= before + 100_000)
gc.unfreeze()
print(any(type(one) is Garbage for one in gc.get_objects()))
"""


@pytest.mark.parametrize(
    ("thaw", "oldest", "frozen", "garbage"),
    [
        pytest.param("thaw", True, False, True, id="a-command"),
        # What is frozen is never looked through again: garbage in it would stay.
        pytest.param("leave", False, True, False, id="a-process-that-serves"),
    ],
)
def test_what_is_made_meanwhile_is_spared_the_younger_generations(
    thaw: str, oldest: bool, frozen: bool, garbage: bool
) -> None:
    command = [sys.executable, "-c", _MADE, thaw]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["True", "True", str(oldest), str(frozen), str(garbage)]
