"""Calls to AWS: signed or not, measured, repeated only where that can help, inside one deadline."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from gateway.metrics import Metrics
from gateway.outbound.aws_answers import AwsFault, date_of, fault_of, request_id_of
from gateway.outbound.aws_endpoints import Service
from gateway.outbound.http import Answer, HttpClient, OutboundFailure, Outgoing
from gateway.outbound.sigv4 import sign_post
from gateway.outbound.words import said_by_upstream
from gateway.secret import Secret
from gateway.tracing import Span, span

_log = logging.getLogger("gateway.aws")

_CONNECT_S: Final = 1.0
# Below this nothing can come of another attempt.
_LEAST_S: Final = 0.2
_PAUSE_S: Final = 0.2
# Of AWS, for the log.
_WORDS: Final = 300
_MAX_PAUSE_S: Final = 2.0

#: Says whether the same call may be made again after this failure.
Repeatable = Callable[[AwsFault | OutboundFailure], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A complete triple; there is no way to sign with less, nor with anything found in the environment."""

    access_key_id: str
    secret_access_key: Secret = field(repr=False)
    session_token: Secret = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCall:
    """One operation of one service.

    key:       None leaves the call unsigned.
    private:   what of the body no log may repeat, when AWS repeats it: a token, an input.
    attempt_s: longest time of one attempt, in seconds.
    retries:   how often it may be repeated where `Repeatable` agrees.
    """

    service: Service
    operation: str
    region: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    private: tuple[str, ...] = field(default=(), repr=False)
    key: SigningKey | None = field(default=None, repr=False)
    max_answer_bytes: int = 65_536
    attempt_s: float = 7.0
    retries: int = 2


class AwsCalls:
    """Makes calls to AWS over one HTTP client."""

    def __init__(self, http: HttpClient, *, metrics: Metrics, jitter: Callable[[], float]) -> None:
        """Prepare. jitter: a number from 0 to 1, drawn anew before each repetition."""
        self._http = http
        self._metrics = metrics
        self._jitter = jitter
        # Services, operations and outcomes are few, and looking one up takes longer than counting.
        self._seconds = cache(metrics.upstream_seconds.labels)
        self._clock_offset = cache(metrics.clock_offset.labels)

    async def make(self, call: AwsCall, repeatable: Repeatable, *, deadline: float) -> Answer:
        """Return the successful answer (status 200).

        deadline: the event loop's time for all attempts together.
        Raises AwsFault for an error answer and OutboundFailure when none came; both tell whether any of the attempts
        may have been carried out.
        """
        lost = False
        for attempt in range(call.retries + 1):
            try:
                return await self._attempt(call, deadline)
            except (AwsFault, OutboundFailure) as failure:
                ended: AwsFault | OutboundFailure = failure
            lost = lost or (isinstance(ended, OutboundFailure) and ended.sent)
            pause = self._jitter() * min(_MAX_PAUSE_S, _PAUSE_S * 2**attempt)
            left = deadline - asyncio.get_running_loop().time() - pause
            if attempt == call.retries or left < _LEAST_S or not repeatable(ended):
                raise _telling(ended, lost=lost) from None
            self._metrics.upstream_retries.labels(call.service, call.operation).inc()
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, call: AwsCall, deadline: float) -> Answer:
        headers = dict(call.headers) if call.key is None else signed(call, call.key)
        request = Outgoing(
            method="POST",
            url=call.url,
            headers=headers,
            body=call.body,
            max_answer_bytes=call.max_answer_bytes,
            connect_s=_CONNECT_S,
        )
        with span(f"{call.service} {call.operation}", "client") as told:
            told.say(service=call.service, operation=call.operation)
            return await self._measured(call, request, deadline, told)

    async def _measured(self, call: AwsCall, request: Outgoing, deadline: float, told: Span) -> Answer:
        began = time.perf_counter()
        until = min(deadline, asyncio.get_running_loop().time() + call.attempt_s)
        outcome = "ok"
        try:
            answer = await self._http.call(request, deadline=until)
            told.say(status=answer.status, aws_request_id=request_id_of(answer) or "none")
            self._compare_clocks(call.service, answer, time.perf_counter() - began)
            if answer.status != 200:
                raise self._reported(call, fault_of(answer))
            return answer
        except AwsFault as fault:
            outcome = "throttled" if fault.throttled else "failed" if fault.unavailable else "refused"
            raise
        except OutboundFailure as failure:
            outcome = failure.kind
            _log.warning("%s %s: %s (%s)", call.service, call.operation, failure, failure.kind)
            raise
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            seconds = time.perf_counter() - began
            told.say(outcome=outcome)
            self._seconds(call.service, call.operation, outcome).observe(seconds)

    def _compare_clocks(self, service: Service, answer: Answer, seconds: float) -> None:
        at = date_of(answer)
        # An answer that took long says little about now; half a second is what `Date` cuts off on average.
        if at is not None and seconds < 1:
            self._clock_offset(service).set(round(at + 0.5 - time.time()))

    def _reported(self, call: AwsCall, fault: AwsFault) -> AwsFault:
        # The only place where AWS's own words go: they hold ARNs, which callers need not know.
        _log.warning(
            "%s %s: AWS answered %s, status %d, request id %s: %s",
            call.service,
            call.operation,
            fault.code,
            fault.status,
            fault.request_id,
            said_by_upstream(fault.text, limit=_WORDS, sent=_private(call)),
        )
        return fault


def _private(call: AwsCall) -> tuple[str, ...]:
    key = call.key
    return (
        call.private
        if key is None
        else (*call.private, key.session_token.reveal(), key.secret_access_key.reveal())
    )


def signed(call: AwsCall, key: SigningKey) -> dict[str, str]:
    """Return the call's headers with a Signature Version 4 made now, session token included."""
    return sign_post(
        call.url,
        call.headers,
        call.body,
        key_id=key.access_key_id,
        secret=key.secret_access_key.reveal(),
        session_token=key.session_token.reveal(),
        service=call.service,
        region=call.region,
        stamp=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
    )


def _telling(ended: AwsFault | OutboundFailure, *, lost: bool) -> AwsFault | OutboundFailure:
    if isinstance(ended, AwsFault):
        ended.maybe_done = lost
        return ended
    return ended if ended.sent == lost else OutboundFailure(ended.kind, str(ended), sent=lost)
