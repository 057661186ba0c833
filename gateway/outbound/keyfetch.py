"""Fetching discovery documents and key sets: https, checked addresses, nothing ambient, one connection per fetch."""

import asyncio
import ssl
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from gateway.metrics import Metrics
from gateway.outbound.addresses import (
    CheckedResolver,
    LookUp,
    Network,
    literal_address,
    may_dial,
    networks,
)
from gateway.outbound.http import Answer, OutboundFailure, Outgoing
from gateway.outbound.pooled import PooledHttp
from gateway.outbound.request_bytes import UrlInvalid, place_of
from gateway.outbound.tls import client_context
from gateway.tracing import span

_CONNECT_S: Final = 2.0
_CONTEXTS: Final = 64  # as many as there may be issuers


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRules:
    """Which network rules hold for one issuer.

    ca_pem:          PEM text of the only CA that may have signed the issuer's certificate; None: system roots.
    allow_addresses: CIDR networks that may be dialled although they are not public.
    allow_http:      plain http to a literal loopback address is allowed (`--dev` only).
    """

    ca_pem: str | None = None
    allow_addresses: tuple[str, ...] = ()
    allow_http: bool = False


class KeyFetch:
    """Fetches one document of an issuer. Nothing is shared between two fetches but verified CA contexts."""

    def __init__(self, *, look_up: LookUp, metrics: Metrics) -> None:
        self._look_up = look_up
        self._metrics = metrics
        self._contexts: OrderedDict[str | None, ssl.SSLContext] = OrderedDict()

    async def fetch(self, url: str, rules: FetchRules, *, max_bytes: int, deadline: float) -> Answer:
        """Return whatever was answered, of any status but a redirect; raises OutboundFailure.

        max_bytes: longest body that is read. deadline: the event loop's time for the whole exchange.
        """
        began = time.perf_counter()
        outcome = "ok"
        with span("issuer fetch", "client") as told:
            try:
                answer = await self._fetch(url, rules, max_bytes=max_bytes, deadline=deadline)
                told.say(status=answer.status)
                return answer
            except OutboundFailure as failure:
                outcome = failure.kind
                raise
            finally:
                seconds = time.perf_counter() - began
                told.say(service="issuer", operation="fetch", outcome=outcome)
                self._metrics.upstream_seconds.labels("issuer", "fetch", outcome).observe(seconds)

    async def _fetch(self, url: str, rules: FetchRules, *, max_bytes: int, deadline: float) -> Answer:
        allowed = networks(rules.allow_addresses)
        _check_url(url, allowed, allow_http=rules.allow_http)
        resolver = CheckedResolver(allowed, self._look_up)
        request = Outgoing(
            method="GET",
            url=url,
            headers={"Accept": "application/json", "User-Agent": "oidc-gateway"},
            max_answer_bytes=max_bytes,
            connect_s=_CONNECT_S,
        )
        async with PooledHttp(tls=await self._context(rules.ca_pem), resolver=resolver, reuse=False) as http:
            return await http.call(request, deadline=deadline)

    async def _context(self, ca_pem: str | None) -> ssl.SSLContext:
        found = self._contexts.get(ca_pem)
        if found is None:
            # Reading the system's roots takes tens of milliseconds, which verification of others must not pay.
            try:
                found = await asyncio.to_thread(client_context, ca_pem)
            except ssl.SSLError:
                raise OutboundFailure(
                    "tls", "the issuer's CA file holds no usable certificate", sent=False
                ) from None
            self._contexts[ca_pem] = found
            while len(self._contexts) > _CONTEXTS:
                self._contexts.popitem(last=False)
        return found


def _check_url(text: str, allowed: tuple[Network, ...], *, allow_http: bool) -> None:
    try:
        place = place_of(text)
    except UrlInvalid as fault:
        raise OutboundFailure("address", str(fault), sent=False) from None
    host = place.host
    literal = literal_address(host)
    if place.scheme == "http" and allow_http and literal is not None and literal.is_loopback:
        return
    if place.scheme != "https":
        raise OutboundFailure("tls", f"{host}: only https is fetched", sent=False)
    if literal is not None and not may_dial(literal, allowed):
        raise OutboundFailure("address", f"{host} is not a public address", sent=False)
