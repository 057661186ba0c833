"""Following a running execution: long polling and its events, under credentials that are held already."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Literal

from gateway.clock import Clock
from gateway.credentials.session import AwsCredentials
from gateway.executions.execution import CredentialsExpired, Event, Execution, Executions
from gateway.policy.rule import Workflow

#: Pauses between two looks, in seconds: quick at first, then sparing AWS's quota.
_PAUSES_S: Final = (0.2, 0.4, 0.8, 1.5, 2.0)
#: Longest time one look may take.
_LOOK_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The end of an event stream. status: the execution's, None when it could not be read any more."""

    reason: Literal["done", "credentials_expired", "draining"]
    status: str | None


class Follower:
    """Looks again and again, until something ends it: the execution, its credentials, or `drain`."""

    def __init__(self, executions: Executions, clock: Clock) -> None:
        self._executions = executions
        self._clock = clock
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """End everything that is being followed at its next pause, which begins now."""
        self._draining.set()

    async def until_done(
        self, workflow: Workflow, seen: Execution, held: AwsCredentials, *, wait_s: float
    ) -> Execution:
        """Return the execution when it is done, or as last seen after `wait_s` or when the credentials expire."""
        until = self._clock.monotonic() + wait_s
        pauses = iter(_PAUSES_S)
        pause = next(pauses)
        while not seen.done and not self._draining.is_set() and self._clock.monotonic() < until:
            await self._pause(min(pause, until - self._clock.monotonic()))
            pause = next(pauses, pause)
            try:
                seen = await self._look(workflow, seen.name, held)
            except CredentialsExpired:
                break
        return seen

    async def events(
        self, workflow: Workflow, seen: Execution, held: AwsCredentials, *, after: int
    ) -> AsyncIterator[Event | Ended]:
        """Yield the events with ids above `after` as they happen, and last of all why there are no more."""
        pauses = iter(_PAUSES_S)
        pause = next(pauses)
        try:
            while True:
                # `seen` is older than the page read now, so a finished execution has shown all its events.
                async for event in self._executions.events(
                    workflow, seen.name, held, after=after, deadline=self._clock.monotonic() + _LOOK_S
                ):
                    after = event.id
                    yield event
                if seen.done:
                    yield Ended(reason="done", status=seen.status)
                    return
                if self._draining.is_set():
                    yield Ended(reason="draining", status=seen.status)
                    return
                await self._pause(pause)
                pause = next(pauses, pause)
                seen = await self._look(workflow, seen.name, held)
        except CredentialsExpired:
            yield Ended(reason="credentials_expired", status=None)

    async def _look(self, workflow: Workflow, name: str, held: AwsCredentials) -> Execution:
        return await self._executions.describe(
            workflow, name, held, deadline=self._clock.monotonic() + _LOOK_S
        )

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._draining.wait(), seconds)
        except TimeoutError:
            return
