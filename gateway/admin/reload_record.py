"""Every change of the files that comes into force leaves a record, whoever made it."""

import asyncio
from dataclasses import replace

from gateway.admin.reload import reload_changes
from gateway.audit.administration import AdminLog
from gateway.files.turns import in_turns
from gateway.policy.snapshot import Policy, PolicySource, PolicyState


class ReloadRecord:
    """Compares each policy that comes into force with the one before it."""

    def __init__(self, log: AdminLog, policies: PolicySource) -> None:
        self._log = log
        self._policies = policies
        self._before: Policy | None = None

    async def note(self, policy: Policy) -> None:
        """Record that this policy has come into force."""
        before, self._before = self._before, policy
        if before is None:
            self._log.note(
                "reload",
                actor="oidc-gateway",
                object="files",
                why="the gateway started",
                changes=(f"+ policy {policy.digest}",),
            )
            return
        # What was rejected is no change; the log and the metrics say it.
        state = replace(self._policies.state(), state="current")
        # A hundred thousand rules take longer to compare than calls may wait.
        changes = await asyncio.to_thread(_changes, before, policy, state)
        self._log.note("reload", actor="the files", object="files", why="the files changed", changes=changes)


def _changes(before: Policy, after: Policy, state: PolicyState) -> tuple[str, ...]:
    with in_turns():
        return reload_changes(before, after, state, ())
