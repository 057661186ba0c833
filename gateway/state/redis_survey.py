"""What a Redis says about itself, and whether used tokens may be entrusted to it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

#: A used token is remembered at least this long after it can be accepted anywhere.
MAX_CLOCK_OFFSET_S: Final = 60.0
_OLDEST: Final = (6, 2)
_VERSION: Final = re.compile(r"([0-9]+)\.([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """One look at a Redis.

    version:  as Redis counts; Valkey says the Redis it is compatible with. run_id: another one after every restart.
    eviction: its `maxmemory-policy`, None when it does not say. offset_s: its clock minus ours.
    """

    version: str
    run_id: str
    replica: bool
    eviction: str | None
    offset_s: float

    @property
    def old(self) -> bool:
        """Say whether it is older than what we are tested with."""
        found = _VERSION.match(self.version)
        return found is None or (int(found[1]), int(found[2])) < _OLDEST

    @property
    def evicts(self) -> bool:
        """Say whether it may throw away keys that are alive; one that does not say counts as if it did."""
        return self.eviction != "noeviction"


def survey_of(info: Mapping[str, object], offset_s: float) -> Survey:
    """Return the survey of what INFO said."""
    policy = info.get("maxmemory_policy")
    return Survey(
        version=str(info.get("redis_version", "")),
        run_id=str(info.get("run_id", "")),
        replica=info.get("role") == "slave",
        eviction=None if policy is None else str(policy),
        offset_s=offset_s,
    )
