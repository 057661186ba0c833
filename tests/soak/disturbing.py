"""What happens to the gateway meanwhile: files change well and badly, keys rotate, workers are restarted and killed."""

import asyncio
import contextlib
import os
import re
import signal
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.soak.actors import Callers
from tests.soak.judging import Killed
from tests.support.gateways import Gateway, replace
from tests.support.idp import Idps
from tests.support.processes import descendants
from tests.support.tokens import jwk, jwks

RULES = "mappings/soak/rules.yaml"


def workers_of(gateway: Gateway) -> set[int]:
    """Return the process ids of the workers; of the gateway itself where it is one process."""
    found = set()
    for process in descendants(gateway.process.pid) - {gateway.process.pid}:
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes():
                found.add(process)
    return found


@dataclass(slots=True)
class Disturber:
    """Does one thing after the other. done: how often it did which. killed: workers that had no time to say anything."""

    gateway: Gateway
    idps: Idps
    callers: Callers
    provider: str
    done: Counter[str] = field(default_factory=Counter)
    killed: list[Killed] = field(default_factory=list)
    _keys: "count[int]" = field(default_factory=lambda: count(1))
    _next: str = "first"

    async def run(self, *, every_s: float, kills_until: float, until: float) -> None:
        """Disturb every so often. kills_until: no worker is ended after it, on the event loop's clock."""
        now = asyncio.get_running_loop().time
        while now() < until:
            for doing in (
                self.changes_rules,
                self.kills,
                self.publishes,
                self.breaks_rules,
                self.rotates,
                self.restarts,
            ):
                if now() >= until:
                    return
                if now() < kills_until or doing not in (self.kills, self.restarts):
                    doing()
                await asyncio.sleep(every_s)

    def changes_rules(self) -> None:
        """Put a good change in place, which also ends what `breaks_rules` began."""
        rules = self.gateway.config / RULES
        text = rules.read_text().replace("  !", "  -")
        replace(rules, re.sub(r"why: \S+", f"why: SOAK-{uuid.uuid4().hex[:8]}", text).encode())
        self.done["good reloads"] += 1

    def breaks_rules(self) -> None:
        """Put a broken file in place."""
        rules = self.gateway.config / RULES
        replace(rules, rules.read_text().replace("  - ", "  ! ", 1).encode())
        self.done["bad reloads"] += 1

    def publishes(self) -> None:
        """Publish the next key beside the one that signs, as issuers do ahead of a rotation."""
        self._next = f"key-{next(self._keys)}"
        self.idps.script(
            self.provider, keys=jwks(jwk("RS256", self.callers.signing), jwk("RS256", self._next))
        )

    def rotates(self) -> None:
        """Sign with the key that was published, and publish the old one no more."""
        self.callers.signing = self._next
        self.idps.script(self.provider, keys=jwks(jwk("RS256", self._next)))
        self.done["key rotations"] += 1

    def kills(self) -> None:
        """Kill a worker without a word."""
        if process := self._end(signal.SIGKILL, "workers killed"):
            self.killed.append(Killed(process=process, at=time.monotonic()))

    def restarts(self) -> None:
        """Ask a worker to end, as an administrator may."""
        self._end(signal.SIGTERM, "workers ended")

    def _end(self, how: signal.Signals, name: str) -> int | None:
        workers = workers_of(self.gateway)
        if len(workers) < 2:
            return None
        os.kill(min(workers), how)
        self.done[name] += 1
        return min(workers)
