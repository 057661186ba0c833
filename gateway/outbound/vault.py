"""Calls to Vault: one address, one path, one token or none; measured, and repeated only where nothing was done."""

import asyncio
import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from gateway.metrics import Metrics
from gateway.outbound.http import HttpClient, OutboundFailure, Outgoing
from gateway.outbound.vault_answers import VaultFault, answered_object, fault_of
from gateway.outbound.words import said_by_upstream
from gateway.secret import Secret
from gateway.tracing import Span, span

_log = logging.getLogger("gateway.vault")

Operation = Literal["login", "aws", "unwrap", "revoke"]

_CONNECT_S: Final = 1.0
_ATTEMPT_S: Final = 6.0
_MAX_ANSWER_BYTES: Final = 65_536
_PATH: Final = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*")
_REPLICA_BEHIND: Final = 412
_PAUSE_S: Final = 0.2
# Of Vault, for the log; fewer than are kept, so that a cut is seen.
_WORDS: Final = 900
# Three sentences repeat what a claim holds; claim values are never logged.
_CLAIM_VALUE: Final = re.compile(
    r"(?<=value ).*(?= in groups claim)|(?<=int or list: ).*|(?<=not a glob string: ).*", re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultCall:
    """One call.

    address:   base URL without a closing slash; nothing else decides where the call goes.
    ca_pem:    PEM text of the only CA that may have signed the server's certificate; None: system roots.
    path:      below `/v1/`, lower case, without empty or dot segments.
    body:      becomes a JSON object; for a login it holds the caller's token.
    token:     sent as `X-Vault-Token`; None for a login.
    wrap_s:    asks Vault to wrap its answer, in seconds.
    """

    operation: Operation
    address: str
    namespace: str | None
    ca_pem: str | None
    path: str
    body: Mapping[str, object] = field(default_factory=dict, repr=False)
    token: Secret | None = field(default=None, repr=False)
    wrap_s: int | None = None


class CaInvalid(Exception):
    """The CA that is configured for a Vault server cannot be read."""


class Clients(Protocol):
    """Where the client for a CA comes from."""

    async def client(self, ca_pem: str | None) -> HttpClient:
        """Return it. Raises ssl.SSLError."""
        ...


class VaultCalls:
    """Makes calls to Vault. Knows no address, namespace or token but those of each call, whatever the environment says."""

    def __init__(self, clients: Clients, *, metrics: Metrics, jitter: Callable[[], float]) -> None:
        """Prepare. jitter: a number from 0 to 1, drawn anew before a repetition."""
        self._clients = clients
        self._metrics = metrics
        self._jitter = jitter

    async def make(self, call: VaultCall, *, deadline: float) -> dict[str, object]:
        """Return the object that Vault answered; empty for 204.

        A 412 (the replica has not caught up) and a connection that was never made are tried once more; nothing else is,
        because a login whose answer was lost may have made a token. deadline: the event loop's time.
        Raises VaultFault for an error answer, OutboundFailure when none came, CaInvalid, and AnswerUnreadable.
        """
        try:
            return await self._attempt(call, deadline)
        except VaultFault as fault:
            if fault.status != _REPLICA_BEHIND:
                raise
        except OutboundFailure as failure:
            if failure.kind != "connect" or failure.sent:
                raise
        self._metrics.upstream_retries.labels("vault", call.operation).inc()
        await asyncio.sleep(_PAUSE_S * (1 + self._jitter()))
        return await self._attempt(call, deadline)

    async def _attempt(self, call: VaultCall, deadline: float) -> dict[str, object]:
        client = await self._client(call)
        request = _request(call)
        with span(f"vault {call.operation}", "client") as told:
            told.say(service="vault", operation=call.operation)
            return await self._measured(call, client, request, deadline, told)

    async def _measured(
        self, call: VaultCall, client: HttpClient, request: Outgoing, deadline: float, told: Span
    ) -> dict[str, object]:
        began = time.perf_counter()
        until = min(deadline, asyncio.get_running_loop().time() + _ATTEMPT_S)
        outcome = "cancelled"
        try:
            answer = await client.call(request, deadline=until)
            told.say(status=answer.status)
            if answer.status not in (200, 204):
                raise _reported(call, fault_of(answer))
            outcome = "ok"
            return answered_object(answer)
        except VaultFault as fault:
            outcome = "throttled" if fault.status == 429 else "failed" if fault.status >= 500 else "refused"
            raise
        except OutboundFailure as failure:
            outcome = failure.kind
            _log.warning("vault %s: %s (%s)", call.operation, failure, failure.kind)
            raise
        finally:
            seconds = time.perf_counter() - began
            told.say(outcome=outcome)
            self._metrics.upstream_seconds.labels("vault", call.operation, outcome).observe(seconds)

    async def _client(self, call: VaultCall) -> HttpClient:
        try:
            return await self._clients.client(call.ca_pem)
        except ssl.SSLError as error:
            raise CaInvalid("The CA that is configured for Vault cannot be read.") from error


def _request(call: VaultCall) -> Outgoing:
    # Compilation lets no other path through; what leaves us is right in itself, so that no value can climb out of it.
    if _PATH.fullmatch(call.path) is None or ".." in call.path.split("/") or "." in call.path.split("/"):
        raise ValueError("A path of Vault has a form that is never sent.")
    headers = {"Content-Type": "application/json", "User-Agent": "oidc-gateway", "X-Vault-Request": "true"}
    if call.namespace is not None:
        headers["X-Vault-Namespace"] = call.namespace
    if call.token is not None:
        headers["X-Vault-Token"] = call.token.reveal()
    if call.wrap_s is not None:
        headers["X-Vault-Wrap-TTL"] = f"{call.wrap_s}s"
    return Outgoing(
        method="POST",
        url=f"{call.address}/v1/{call.path}",
        headers=headers,
        body=json.dumps(dict(call.body)).encode(),
        max_answer_bytes=_MAX_ANSWER_BYTES,
        connect_s=_CONNECT_S,
    )


def _private(call: VaultCall) -> tuple[str, ...]:
    sent = call.body.get("jwt")
    held = () if call.token is None else (call.token.reveal(),)
    return (*held, sent) if isinstance(sent, str) else held


def _reported(call: VaultCall, fault: VaultFault) -> VaultFault:
    # The only place where Vault's own words go: they name policies and ARNs, which callers need not know.
    _log.warning(
        "vault %s: %s answered with status %d: %s",
        call.operation,
        call.address,
        fault.status,
        said_by_upstream(_CLAIM_VALUE.sub("(not shown)", fault.text), limit=_WORDS, sent=_private(call)),
    )
    return fault
