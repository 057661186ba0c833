"""Long work on a thread, in turns with the thread that answers callers.

Python's lock changes hands every 5 ms when nobody gives it up, and whoever answers callers asks for it after every wait
for a socket: several times a request. So long work gives it up by itself, much sooner, and asks for it again when
nobody else works: with a turn for each of theirs, callers would be answered at half the speed, and wait in a queue.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

#: So long one turn takes at most, but for a single step.
TURN_S: Final = 0.0005
_REST_S: Final = 0.0005
# However busy others are, a fifth of the time is left for this work: a change must come into force.
_MOST_RESTS: Final = 4
# Others work when they use more than this share of a rest.
_BUSY: Final = 0.2

_begun: ContextVar[list[float] | None] = ContextVar("turns", default=None)


@contextmanager
def in_turns() -> Iterator[None]:
    """Let `step` give way to other threads meanwhile."""
    token = _begun.set([time.perf_counter()])
    try:
        yield
    finally:
        _begun.reset(token)


@contextmanager
def at_a_stretch() -> Iterator[None]:
    """Let `step` not give way meanwhile: for what is short, and must be done before something else changes."""
    token = _begun.set(None)
    try:
        yield
    finally:
        _begun.reset(token)


def step() -> None:
    """Give way where it is time to; called once for each of many small things, at hardly any cost."""
    begun = _begun.get()
    if begun is not None and time.perf_counter() - begun[0] > TURN_S:
        _rest()
        begun[0] = time.perf_counter()


def _rest() -> None:
    """Wait while other threads of this process work, but not for ever."""
    for _ in range(_MOST_RESTS):
        used = time.process_time()
        time.sleep(_REST_S)
        if time.process_time() - used < _BUSY * _REST_S:
            return
