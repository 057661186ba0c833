"""Python's garbage collector, kept from looking for garbage among what is made to stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# More objects than this are worth being spared the younger generations.
_MANY_OBJECTS: Final = 50_000


@contextmanager
def collector_paused(*, thaw: bool = True) -> Iterator[None]:
    """Keep the garbage collector from running while very much is made and kept.

    Looking for garbage among half a million new objects takes as long as making them; among a thousand modules that are
    loaded, a fifth of the time.

    thaw: whether the collector may look through frozen objects again; not in a process that serves, which froze them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            _spare_the_new(thaw=thaw)
            gc.enable()


def _spare_the_new(*, thaw: bool) -> None:
    if gc.get_count()[0] <= _MANY_OBJECTS:
        return
    # Straight to the oldest generation: what was made lives long, and going through all of it once for each generation
    # took a fifth of a load, at whose end everybody waited for it.
    if not thaw:
        # In a process that serves they join what it froze, which thawing would have it look through again. None of them
        # is part of a cycle, so they go when nobody holds them any more; what requests left meanwhile would stay.
        gc.collect()
    gc.freeze()
    if thaw:
        gc.unfreeze()
