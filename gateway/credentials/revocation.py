"""Tokens of Vault that nobody needs any more are revoked beside the answer, which never waits for it nor fails with it."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Final, Protocol, Self

from gateway.outbound.http import OutboundFailure
from gateway.outbound.vault_answers import AnswerUnreadable, VaultFault
from gateway.policy.rule import Vault
from gateway.secret import Secret

_log = logging.getLogger("gateway.vault")

#: Longest time for one attempt, in seconds.
ATTEMPT_S: Final = 2.0
# A Vault that hangs keeps each of them for some seconds; further tokens then end by their own lease.
_MOST: Final = 1_000


class Revoke(Protocol):
    """One call that revokes a token with itself."""

    async def __call__(self, vault: Vault, token: Secret, *, deadline: float) -> None:
        """Raises VaultFault, OutboundFailure or AnswerUnreadable. deadline: the event loop's time."""
        ...


class Revocations:
    """Revokes each token it is given, once more after a pause when that failed; open inside `async with`.

    The log names tokens by the first 16 hex digits of the SHA-256 of their accessor.

    Leaving ends every pause at once and waits for the last attempts, so that an orderly end leaves no token behind.
    """

    def __init__(self, revoke: Revoke, *, pause_s: float = 10.0) -> None:
        self._revoke = revoke
        self._pause_s = pause_s
        self._running: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._running:
            await asyncio.wait(self._running, timeout=2 * ATTEMPT_S)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def soon(self, vault: Vault, token: Secret, *, accessor: str) -> None:
        """Revoke a token beside whatever the caller does next. accessor: its digest, for the log."""
        self._take(vault, token, accessor)

    async def now(self, vault: Vault, token: Secret) -> None:
        """Revoke a token of which nothing else is believed, and wait for the first attempt, two seconds at most."""
        task = self._take(vault, token, "unknown")
        if task is not None:
            await asyncio.wait({task}, timeout=ATTEMPT_S)

    def beside(self, work: Coroutine[object, object, None]) -> None:
        """Run what leads to a revocation beside whatever the caller does next; leaving waits for it too."""
        task = asyncio.create_task(work, name="vault give-back")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _take(self, vault: Vault, token: Secret, accessor: str) -> asyncio.Task[None] | None:
        if len(self._running) >= _MOST:
            _log.error("vault revoke: too many wait; the token of accessor %s ends by its lease", accessor)
            return None
        task = asyncio.create_task(self._work(vault, token, accessor), name="vault revocation")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _work(self, vault: Vault, token: Secret, accessor: str) -> None:
        if await self._attempt(vault, token):
            return
        _log.warning("vault revoke: the token of accessor %s is not revoked; it is tried once more", accessor)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s):
                await self._closing.wait()
        if not await self._attempt(vault, token):
            _log.error(
                "vault revoke: the token of accessor %s is not revoked and ends by its lease", accessor
            )

    async def _attempt(self, vault: Vault, token: Secret) -> bool:
        deadline = asyncio.get_running_loop().time() + ATTEMPT_S
        try:
            await self._revoke(vault, token, deadline=deadline)
        except (VaultFault, OutboundFailure, AnswerUnreadable):
            return False
        return True
