"""What every worker and replica runs on, so that they can tell whether they agree."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One process as it describes itself.

    worker:   stable name of the process among its siblings and replicas, such as `host-1/w2`.
    policy:   digest of the policy in force; keys: digest over all issuers' key sets; switches: of the switch board.
    stale:    its files were rejected and an older policy is in force.
    at:       wall seconds of its own clock when it wrote this; a status older than 15 s counts as gone.
    """

    worker: str
    pid: int
    policy: str
    keys: str
    switches: str
    stale: bool
    started_at: float
    at: float


class Board(Protocol):
    """Where processes post their status. Trouble with it stops nothing: it is logged and counted."""

    async def post(self, status: Status) -> None:
        """Replace this process's status."""
        ...

    async def read(self) -> tuple[Status, ...]:
        """Return everybody's, this process's own included, by worker."""
        ...
