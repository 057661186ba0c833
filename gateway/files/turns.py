"""Long work on a thread, in turns with the thread that answers callers.

Python's lock changes hands every 5 ms when nobody gives it up, and whoever answers callers asks for it after every wait
for a socket: several times a request. So long work gives it up by itself, much sooner.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: So long one turn takes at most, but for a single step.
TURN_S: Final = 0.0005
# Any wait lets the others in: whoever waits for the lock has it before this thread asks for it again.
_REST_S: Final = 0.00005

_begun: ContextVar[list[float] | None] = ContextVar("turns", default=None)


@contextmanager
def in_turns() -> Iterator[None]:
    """Let `step` give way to other threads meanwhile."""
    token = _begun.set([time.perf_counter()])
    try:
        yield
    finally:
        _begun.reset(token)


def step() -> None:
    """Give way where it is time to; called once for each of many small things, at hardly any cost."""
    begun = _begun.get()
    if begun is not None and time.perf_counter() - begun[0] > TURN_S:
        time.sleep(_REST_S)
        begun[0] = time.perf_counter()
