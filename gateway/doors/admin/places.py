"""How many requests of one sort are served at once on the admin listener: looking must never keep others from turning."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import ErrorCode, Unavailable

#: Requests that only look, of all that are served at once: the rest of the places is left for those that change.
MOST_READS: Final = 8
#: Looks through the records: each takes a thread, and reads files for as long as there are any.
MOST_LOOKS: Final = 2

Handler = Callable[[Request], Coroutine[object, object, Response]]


class Places:
    """A number of places, taken at once or not at all: nobody queues for one."""

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a place; raises Unavailable (`overloaded`)."""
        if self._taken >= self._most:
            raise Unavailable(
                ErrorCode.OVERLOADED,
                f"Too many {self._what} at once.",
                hint="Switches can still be turned.",
                retry_after_s=1,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    def bounded(self, handler: Handler) -> Handler:
        """Return the handler, which now needs a place."""

        async def held(request: Request) -> Response:
            with self.one():
                return await handler(request)

        return held
