"""`oidc-gateway serve` that keeps no audit record at all, for measuring what keeping one costs; run by the bench alone.

Nothing of the product can do this: there is no setting that turns the record off.
"""

import sys

import gateway.telling
from gateway.audit.journal import JsonlJournal
from gateway.audit.record import Record
from gateway.cli.main import main


class NoJournal(JsonlJournal):
    """Takes the directory as the real one does, and then keeps nothing."""

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        """Say at once that it is durable."""

    async def conclude(self, record: Record) -> None:
        """Forget it."""

    def refuse(self, record: Record) -> None:
        """Forget it."""


if __name__ == "__main__":
    setattr(gateway.telling, "JsonlJournal", NoJournal)  # noqa: B010  mypy rightly refuses the plain form
    sys.exit(main())
