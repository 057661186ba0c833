"""A guard against work that grows with the square of its input: given a huge input it hangs, and a test must not."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# No measure of speed: linear work on these inputs takes milliseconds, quadratic work takes hours.
_LIMIT_S = 30


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail when the block does not end; only on the main thread."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("It hangs: its work grows faster than its input.")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(_LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
