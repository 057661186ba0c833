"""What a process that is about to end still takes on."""

from collections.abc import Callable


class Draining:
    """Two steps on the way out: first nobody should come any more, then nobody is let in.

    leaving:  readiness is off and answers close their connections; requests are still served.
    refusing: new requests are answered `draining`; those under way are finished.
    """

    def __init__(self) -> None:
        self.leaving = False
        self.refusing = False
        self._callbacks: list[Callable[[], None]] = []

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Have `callback` called, on the event loop, when the process begins to leave."""
        self._callbacks.append(callback)

    def leave(self) -> None:
        """Turn readiness off and tell long answers to come to their end."""
        if not self.leaving:
            self.leaving = True
            for callback in self._callbacks:
                callback()

    def refuse(self) -> None:
        """Let no request in any more."""
        self.leave()
        self.refusing = True
