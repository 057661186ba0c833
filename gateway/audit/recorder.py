"""Records around what a call does: refusals as they come, an intent before every effect and its outcome after it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gateway.audit.record import Journal, Record
from gateway.audit.story import Story, internal_error
from gateway.errors import GatewayError
from gateway.metrics import Metrics
from gateway.tracing import span

_log = logging.getLogger("gateway.exchange")
_T = TypeVar("_T")


class Recorder:
    """Lets nothing happen without its record, and counts every decision."""

    def __init__(
        self, journal: Journal, metrics: Metrics, *, refuse: Callable[[Record], bool] | None = None
    ) -> None:
        """Record in `journal`. refuse: takes refusals in its place, and returns whether one is only counted for now."""
        self._journal = journal
        self._refuse = refuse or self._tell
        self._metrics = metrics
        self._effects: set[asyncio.Task[object]] = set()

    @contextmanager
    def refusals(self, story: Story) -> Iterator[None]:
        """Record whatever failure, deliberate or a bug of ours, leaves the block; a cancelled call leaves no record."""
        try:
            yield
        except Exception as fault:  # noqa: BLE001  a bug of ours becomes internal_error, never a pass
            failure = _as_failure(story, fault)
            self.count(story, failure)
            # Nothing has happened, so nothing waits for the disk; and whoever sends too much does not fill it.
            if not failure.repeated:
                failure.repeated = self._refuse(story.record("refused", failure))
            raise failure from None

    async def commit(
        self,
        story: Story,
        act: Callable[[], Awaitable[_T]],
        *,
        deadline: float,
        unclaimed: Callable[[_T], None] | None = None,
        undone: Callable[[], Awaitable[None]] | None = None,
    ) -> _T:
        """Run an effect in a task of its own: a caller who leaves now gets it finished and recorded.

        deadline:  monotonic seconds until which the intent may take to become durable.
        unclaimed: told of the result when the caller has left meanwhile, so that nobody else will ever have it.
        undone:    awaited when there is no intent, so that nothing will be done.
        """

        async def whole() -> _T:
            with self.refusals(story), span("audit intend"):
                try:
                    await self._journal.intend(story.record("intent"), deadline=deadline)
                except Exception:
                    if undone is not None:
                        await undone()
                    raise
            try:
                result = await act()
            except Exception as fault:  # noqa: BLE001  as above
                failure = _as_failure(story, fault)
                self.count(story, failure)
                await self._journal.conclude(story.record("outcome", failure))
                raise failure from None
            self.count(story, None)
            await self._journal.conclude(story.record("outcome"))
            return result

        task: asyncio.Task[_T] = asyncio.create_task(whole())
        self._effects.add(task)
        task.add_done_callback(self._forget)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if unclaimed is not None:
                task.add_done_callback(lambda done: _pass_on(done, unclaimed))
            raise

    def count(self, story: Story, failure: GatewayError | None) -> None:
        """Count one decision, and note it for the request's log line."""
        labels = story.labels(failure)
        self._metrics.decided(labels["act"], labels["code"], labels["issuer"])
        story.notes.update(labels, **story.pointers())

    async def finish(self) -> None:
        """Wait until every effect that has begun is concluded and recorded."""
        while self._effects:
            await asyncio.gather(*self._effects, return_exceptions=True)

    def _tell(self, record: Record) -> bool:
        self._journal.refuse(record)
        return False

    def _forget(self, task: "asyncio.Task[object]") -> None:
        self._effects.discard(task)
        # Fetched here, so that the failure of an effect whose caller has left is not reported as unhandled.
        if not task.cancelled():
            task.exception()


def _pass_on(done: "asyncio.Task[_T]", unclaimed: Callable[[_T], None]) -> None:
    if not done.cancelled() and done.exception() is None:
        unclaimed(done.result())


def _as_failure(story: Story, fault: Exception) -> GatewayError:
    """Return the deliberate failure; a bug becomes `internal_error`, its place in our log, never a pass."""
    if isinstance(fault, GatewayError):
        return fault
    _log.error("unexpected failure", exc_info=fault, extra={"request_id": story.request_id, "act": story.act})
    return internal_error()
