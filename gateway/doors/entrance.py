"""What is judged of a request before anything is done for it: place, address, name, and the size it declares."""

from collections.abc import Iterable
from typing import Final

from starlette.types import Scope

from gateway.doors.callers import Callers
from gateway.doors.draining import Draining
from gateway.doors.hosts import Hosts
from gateway.errors import ErrorCode, RequestRejected, Unavailable
from gateway.exchange.limits import rate_limited
from gateway.metrics import Metrics
from gateway.state.rates import RateTable, Standing, counted_as

#: Answered under any name, while the process drains or is overloaded, and from any address: probes know a pod's
#: address and nothing else, and whoever looks why a gateway is slow must get an answer.
ALWAYS_OPEN: Final = frozenset({"/livez", "/readyz", "/metrics"})

RateFields = tuple[tuple[bytes, bytes], ...]


class Entrance:
    """Lets requests in, by checks that cost about a microsecond each.

    max_in_flight: requests served at once; one more is `overloaded`.
    hosts:         names that a request may ask for; None lets it ask for any.
    address:       requests by address of the caller; None for no limit.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        draining: Draining,
        max_in_flight: int = 4096,
        hosts: Hosts | None = None,
        callers: Callers | None = None,
        address: RateTable | None = None,
    ) -> None:
        self._metrics = metrics
        self._draining = draining
        self._max_in_flight = max_in_flight
        self._hosts = hosts
        self._callers = callers or Callers()
        self._address = address

    def source(self, scope: Scope) -> str | None:
        """Return the caller's address; see `Callers`."""
        peer = scope.get("client")
        return self._callers.source(peer[0] if peer else None, scope["headers"])

    def admit(self, scope: Scope, *, in_flight: int, max_body_bytes: int) -> None:
        """Raise Unavailable (`draining`, `overloaded`), RateLimited, or RequestRejected (`not_found`, `host_not_allowed`, …).

        Reads `source` and fills `standings` of the request's state.
        """
        if b"%" in scope.get("raw_path", b""):
            # Every address of ours can be written plainly. Starlette routes by the decoded path, and a proxy that
            # keeps callers away from one of them may have looked at the raw one (CVE-2026-48710 was such a pair).
            raise not_found()
        if scope["path"] in ALWAYS_OPEN:
            return
        state = scope["state"]
        if self._draining.refusing:
            raise draining()
        if in_flight > self._max_in_flight:
            raise _overloaded("Too many requests are being served.")
        if state.get("crowded"):
            raise _overloaded("Too many connections are open.")
        if self._address is not None:
            self._count(self._address, state)
        self._judge_headers(scope["headers"], max_body_bytes)

    def _count(self, table: RateTable, state: dict[str, object]) -> None:
        source, standings, notes = state["source"], state["standings"], state["notes"]
        standing = table.hit(counted_as(source if isinstance(source, str) else None))
        if isinstance(standings, list):
            standings.append(standing)
        if standing.refused:
            self._metrics.rate_limited.labels(standing.limit).inc()
            if isinstance(notes, dict):
                notes["limit"] = standing.limit
            raise rate_limited(standing, "This address sends more requests than it may.")

    def _judge_headers(self, headers: Iterable[tuple[bytes, bytes]], max_body_bytes: int) -> None:
        hosts = self._hosts
        for name, value in headers:
            if name == b"host" and hosts is not None and not hosts.allows(value):
                raise RequestRejected(
                    ErrorCode.HOST_NOT_ALLOWED,
                    "The gateway does not answer under this name.",
                    hint="Use its public URL; its operators can list further names in server.hosts.",
                )
            if name == b"content-length" and not (
                value.isdigit() and len(value) < 10 and int(value) <= max_body_bytes
            ):
                raise body_too_large(max_body_bytes)


def rate_fields(standings: list[Standing]) -> RateFields:
    """Return what an answer says of limits (draft-ietf-httpapi-ratelimit-headers-10)."""
    if not standings:
        return ()
    now = ", ".join([f'"{limit}";r={left};t={reset_s}' for limit, _, left, reset_s, _, _ in standings])
    return (
        (b"ratelimit-policy", b", ".join([one.policy for one in standings])),
        (b"ratelimit", now.encode("ascii")),
    )


def not_found() -> RequestRejected:
    """Return the refusal of an address that leads nowhere."""
    return RequestRejected(
        ErrorCode.NOT_FOUND, "There is nothing at this address.", hint="/openapi.json lists what there is."
    )


def body_too_large(limit: int) -> RequestRejected:
    """Return the refusal of a body beyond its limit."""
    return RequestRejected(ErrorCode.BODY_TOO_LARGE, f"The body is larger than {limit} bytes.")


def draining() -> Unavailable:
    """Return what is said at the end of the process."""
    return Unavailable(
        ErrorCode.DRAINING, "This instance is shutting down.", hint="Send the request again.", retry_after_s=1
    )


def _overloaded(message: str) -> Unavailable:
    return Unavailable(ErrorCode.OVERLOADED, message, retry_after_s=1)
