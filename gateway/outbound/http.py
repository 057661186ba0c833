"""One bounded call to the outside: every call has a deadline, a size limit, no redirects and no ambient proxy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

FailureKind = Literal["connect", "tls", "timeout", "address", "redirect", "too_large", "encoding", "broken"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One HTTP request.

    max_answer_bytes: reading stops there and the call fails with `too_large`.
    connect_s:        time for name look-up, TCP and TLS together, inside the call's deadline.
    """

    method: Literal["GET", "POST"]
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    max_answer_bytes: int = 1_048_576
    connect_s: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class OutboundFailure(Exception):
    """No complete answer came.

    kind: what failed. sent: whether the request may have reached the peer (then only a repeatable call is repeated).
    The message names the host at most, never the body, the query or a token.
    """

    def __init__(self, kind: FailureKind, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent


class HttpClient(Protocol):
    """What every edge needs of HTTP."""

    async def call(self, request: Outgoing, *, deadline: float) -> Answer:
        """Make one call, once. deadline: monotonic seconds for the whole exchange. Raises OutboundFailure."""
        ...
