"""What every worker and replica runs on, so that they can tell whether they agree."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.strict_json import StrictJsonError, parse_json_object


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One process as it describes itself.

    worker:   stable name of the process among its siblings and replicas, such as `host-1/w2`.
    policy:   digest of the policy in force; keys: digest over all issuers' key sets; switches: of the switch board.
    stale:    its files were rejected and an older policy is in force.
    at:       wall seconds of its own clock when it wrote this; a status older than 15 s counts as gone.
    key_sets: by issuer, as `gateway.yaml` names it, the version of the key set held; empty when none is.
    """

    worker: str
    pid: int
    policy: str
    keys: str
    switches: str
    stale: bool
    started_at: float
    at: float
    key_sets: Mapping[str, str] = field(default_factory=dict)


_TYPES: Final[Mapping[str, type]] = {
    "worker": str,
    "pid": int,
    "policy": str,
    "keys": str,
    "switches": str,
    "stale": bool,
    "started_at": float,
    "at": float,
}


class Board(Protocol):
    """Where processes post their status. Trouble with it stops nothing: it is logged and counted."""

    async def post(self, status: Status) -> None:
        """Replace this process's status."""
        ...

    async def read(self) -> tuple[Status, ...]:
        """Return everybody's, this process's own included, by worker."""
        ...


def write_status(status: Status) -> bytes:
    """Return the status as a JSON object."""
    members = {name: getattr(status, name) for name in Status.__dataclass_fields__}
    return json.dumps(members | {"key_sets": dict(status.key_sets)}, separators=(",", ":")).encode()


def read_status(data: bytes) -> Status | None:
    """Return the status that another process wrote; None for what is none, such as half of one or another version's."""
    try:
        members = parse_json_object(data)
    except StrictJsonError:
        return None
    found = {name: members.get(name) for name in Status.__dataclass_fields__}
    if any(type(found[name]) is not wanted for name, wanted in _TYPES.items()):
        return None
    key_sets = found["key_sets"]
    if not isinstance(key_sets, dict) or not all(isinstance(one, str) for one in key_sets.values()):
        return None
    return Status(**found)  # type: ignore[arg-type]  # just looked at
