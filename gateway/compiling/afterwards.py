"""What is said about a policy: its findings in the log, and what takes longer to find than a change may wait.

[edge]
"""

import asyncio
import logging
from typing import Final

from gateway.compiling.folder import Loaded
from gateway.files.source import Finding
from gateway.files.turns import in_turns

_log = logging.getLogger("gateway.compiling.watch")

_MOST_LOGGED: Final = 100


def log_held_back(teams: tuple[str, ...], *, without_rules: tuple[str, ...]) -> None:
    """Say which of these teams go on with earlier rules, and which have none at all."""
    if without_rules:
        _log.warning(
            "teams have no rules in force: their files have errors, and this process has read no good ones",
            extra={"teams": list(without_rules), "hint": "Mend the files; nothing else gives them rules."},
        )
    kept = [name for name in teams if name not in without_rules]
    if kept:
        _log.warning(
            "teams are held back: their last good rules stay in force, in this process only",
            extra={
                "teams": kept,
                "hint": "Mend the files before a restart, after which they would have no rules.",
            },
        )


def log_findings(findings: tuple[Finding, ...]) -> None:
    """Write each finding with its place and fix, the first hundred of them."""
    for finding in findings[:_MOST_LOGGED]:
        level = logging.ERROR if finding.severity == "error" else logging.WARNING
        _log.log(
            level,
            "policy finding",
            extra={
                "place": str(finding.place),
                "finding": finding.code.value,
                "problem": finding.message,
                "fix": finding.fix,
            },
        )
    if len(findings) > _MOST_LOGGED:
        _log.error("more policy findings", extra={"left_out": len(findings) - _MOST_LOGGED})


class OverlapSearch:
    """Looks for rules that one token satisfies together, in the policy that came into force last.

    One search at a time, on a thread: reloads that follow each other quickly cost one search more, not one each.
    """

    def __init__(self) -> None:
        self._next: Loaded | None = None
        self._searching: asyncio.Task[None] | None = None

    def begin(self, loaded: Loaded) -> None:
        """Search this one next, in the background; what it finds is logged."""
        self._next = loaded
        if self._searching is None or self._searching.done():
            self._searching = asyncio.create_task(self._search(), name="policy-overlaps")

    async def end(self) -> None:
        """Search no more."""
        self._next = None
        if self._searching is not None:
            self._searching.cancel()
            await asyncio.gather(self._searching, return_exceptions=True)

    async def _search(self) -> None:
        while (loaded := self._take()) is not None:
            try:
                findings = await asyncio.to_thread(_search, loaded)
            except Exception:  # noqa: BLE001 - a bug of ours in a search for advice
                _log.exception("overlaps could not be looked for")
            else:
                log_findings(() if self._is_waiting() else findings)

    def _take(self) -> Loaded | None:
        taken, self._next = self._next, None
        return taken

    def _is_waiting(self) -> bool:
        return self._next is not None


def _search(loaded: Loaded) -> tuple[Finding, ...]:
    with in_turns():
        return loaded.overlaps()
