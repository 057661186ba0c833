"""One attempt to get an issuer's key set over the network: discovery where it is needed, then the set itself."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.identity.discovery import KeyFetchError, discovery_url, read_jwks_uri
from gateway.identity.freshness import fresh_for_s
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.identity.keys import KeyFault
from gateway.outbound.http import Answer, FailureKind, OutboundFailure
from gateway.outbound.keyfetch import FetchRules

_log = logging.getLogger(__name__)

_MAX_DISCOVERY_BYTES: Final = 65_536
_MAX_JWKS_BYTES: Final = 262_144
_FETCH_S: Final = 5.0  # discovery and key set together

_FAULTS: Final[dict[FailureKind, KeyFault]] = {
    "connect": KeyFault.UNREACHABLE,
    "tls": KeyFault.TLS_FAILED,
    "timeout": KeyFault.TIMEOUT,
    "address": KeyFault.ADDRESS_REFUSED,
    "redirect": KeyFault.REDIRECT_REFUSED,
    "too_large": KeyFault.TOO_LARGE,
    "encoding": KeyFault.BAD_ANSWER,
    "broken": KeyFault.BAD_ANSWER,
}


class Fetch(Protocol):
    """The way out: https, checked addresses, no redirects, no proxy, identity encoding."""

    async def __call__(self, url: str, rules: FetchRules, *, max_bytes: int, deadline: float) -> Answer:
        """Return the answer of one GET, whatever its status. deadline: monotonic. Raises OutboundFailure."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """The bytes of a key set, not yet judged. fresh_s: how long they count as fresh. url: where they came from."""

    data: bytes = field(repr=False)
    fresh_s: float
    url: str


class Retrieval:
    """Gets the bytes of key sets. The URL comes from the configuration or the issuer's own discovery document."""

    def __init__(self, *, fetch: Fetch, clock: Clock) -> None:
        self._fetch = fetch
        self._clock = clock

    async def __call__(self, issuer: TrustedIssuer) -> Retrieved:
        """Return the issuer's key set within five seconds. Raises KeyFetchError."""
        try:
            # The transport keeps the deadline itself; this one holds even if it does not.
            async with asyncio.timeout(_FETCH_S + 1):
                url, answer = await self._answer(issuer)
        except TimeoutError:
            raise KeyFetchError(KeyFault.TIMEOUT, "The issuer did not answer in time.") from None
        return Retrieved(data=answer.body, fresh_s=fresh_for_s(answer.headers), url=url)

    async def _answer(self, issuer: TrustedIssuer) -> tuple[str, Answer]:
        location = issuer.keys
        deadline = self._clock.monotonic() + _FETCH_S
        url = location.jwks_uri
        if url is None:
            document = await self._get(
                location.discovery_url or discovery_url(issuer.issuer),
                location,
                max_bytes=_MAX_DISCOVERY_BYTES,
                deadline=deadline,
            )
            url = read_jwks_uri(document.body, issuer=issuer.issuer, location=location)
        return url, await self._get(url, location, max_bytes=_MAX_JWKS_BYTES, deadline=deadline)

    async def _get(self, url: str, location: KeyLocation, *, max_bytes: int, deadline: float) -> Answer:
        rules = FetchRules(
            ca_pem=location.ca_pem, allow_addresses=location.allow_addresses, allow_http=location.allow_http
        )
        try:
            answer = await self._fetch(url, rules, max_bytes=max_bytes, deadline=deadline)
        except OutboundFailure as failure:
            raise KeyFetchError(_FAULTS[failure.kind], str(failure), url=url) from None
        if answer.status != 200:
            raise KeyFetchError(KeyFault.BAD_ANSWER, f"The issuer answered {answer.status}.", url=url)
        if "json" not in answer.headers.get("content-type", "").lower():
            _log.warning("issuer_content_type_unusual", extra={"source": url})
        return answer
