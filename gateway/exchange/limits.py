"""What one identity and one rule may use of the gateway: calls in a time, and calls that wait."""

from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack
from typing import Final, TypeVar

from gateway.errors import ErrorCode, RateLimited
from gateway.exchange.call import Call
from gateway.identity.token import Principal
from gateway.metrics import Metrics
from gateway.state.rates import RateTable, Standing

_LONGEST_KEY: Final = 128
_T = TypeVar("_T")


class CallLimits:
    """Limits behind the signature check: nobody can use up what belongs to somebody else.

    subject, rule: by issuer and subject, and by rule id; None for no limit.
    waiting:       long polls and event streams of one identity at once.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        subject: RateTable | None = None,
        rule: RateTable | None = None,
        waiting: int | None = None,
    ) -> None:
        self._metrics = metrics
        self._subject = subject
        self._rule = rule
        self._waiting = waiting
        self._waiters: dict[str, int] = {}

    def admit_subject(self, call: Call, principal: Principal) -> None:
        """Count a call of this identity; raises RateLimited."""
        if self._subject is None:
            return
        key = f"{principal.issuer}\0{principal.subject}"
        standing = self._subject.hit(key if len(key) <= _LONGEST_KEY else principal.digest)
        call.standings.append(standing)
        if standing.refused:
            raise self._refusal(call, standing, "This identity sends more requests than it may.")

    def admit_rules(self, call: Call, rules: Iterable[str]) -> None:
        """Count a call through these rules; raises RateLimited, which does not name them."""
        if self._rule is None:
            return
        for rule in rules:
            standing = self._rule.hit(rule)
            if standing.refused:
                # Whoever used the rule up before was somebody else: this refusal gets its record.
                standing = standing._replace(repeated=False)
                call.standings.append(standing)
                raise self._refusal(call, standing, "The rule that allows this is used more than it may be.")

    def wait(self, call: Call, principal: Principal) -> "Waiter":
        """Take one of the places of this identity for calls that wait; raises RateLimited."""
        key = principal.digest
        waiting = self._waiters.get(key, 0)
        if self._waiting is not None and waiting >= self._waiting:
            standing = Standing("waiting", b'"waiting";q=%d' % self._waiting, 0, 1, refused=True)
            raise self._refusal(call, standing, f"This identity has {waiting} requests that wait.")
        self._waiters[key] = waiting + 1
        return Waiter(self._waiters, key)

    def _refusal(self, call: Call, standing: Standing, message: str) -> RateLimited:
        self._metrics.rate_limited.labels(standing.limit).inc()
        call.notes["limit"] = standing.limit
        return rate_limited(standing, message)


def rate_limited(standing: Standing, message: str) -> RateLimited:
    """Return the refusal of a request that is one too many."""
    return RateLimited(
        ErrorCode.RATE_LIMITED,
        message,
        hint=f"Send it again in {standing.reset_s} s.",
        retry_after_s=standing.reset_s,
        repeated=standing.repeated,
    )


class Waiter:
    """One place among those of an identity; given back once, however often `leave` is called."""

    def __init__(self, waiters: dict[str, int], key: str) -> None:
        self._waiters = waiters
        self._key: str | None = key

    def leave(self) -> None:
        """Give the place back."""
        if self._key is None:
            return
        left = self._waiters[self._key] - 1
        if left:
            self._waiters[self._key] = left
        else:
            del self._waiters[self._key]
        self._key = None

    # A generator that was never begun runs no `finally`; a stream whose caller left at once must not keep its place.
    __del__ = leave


async def while_waiting(places: ExitStack, events: AsyncIterator[_T]) -> AsyncIterator[_T]:
    """Yield the events, and give the places back at their end."""
    with places:
        async for event in events:
            yield event
