"""What is measured: a running server that lets good tokens in and no others."""

import http.client
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.ask import Ask
from tests.bench.tokens import Supply


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A running server.

    ask:     the request that it is loaded with.
    process: its own, not that of what started it.
    lets_in: whether an answer gives the caller power.
    refuses: the status with which it says no; anything else may be a fault of its own.
    """

    name: str
    version: str
    origin: str
    ask: Ask
    process: int
    lets_in: Callable[[int, bytes], bool]
    refuses: frozenset[int] = frozenset({401, 403})


class PeerUnfit(Exception):
    """A server lets in what it must refuse, or the other way round: what it costs is of no interest."""


def is_ok(status: int, _: bytes) -> bool:
    """Say whether an answer is 200, which is all that some peers answer to those they believe."""
    return status == 200


def prove(peer: Peer, supply: Supply) -> tuple[str, ...]:
    """Send one good token and one of each bad kind; return the kinds that were refused. Raises PeerUnfit."""
    status, body = _exchange(peer, supply.good(), number=-1)
    if not peer.lets_in(status, body):
        raise PeerUnfit(f"{peer.name} refuses a good token: {status} {body[:300]!r}")
    for number, (kind, token) in enumerate(supply.bad().items()):
        status, body = _exchange(peer, token, number=-2 - number)
        if peer.lets_in(status, body):
            raise PeerUnfit(f"{peer.name} lets in a token with {kind}.")
        # An answer without power may be 200: whoami tells every bearer of a valid token who it is.
        if status not in peer.refuses and not 200 <= status < 300:
            raise PeerUnfit(
                f"{peer.name} does not refuse a token with {kind}, it fails: {status} {body[:300]!r}"
            )
    return tuple(supply.bad())


def _exchange(peer: Peer, token: str, *, number: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(peer.origin.removeprefix("http://"), timeout=10)
    headers, body = peer.ask.filled(token, number)
    try:
        connection.request(peer.ask.method, peer.ask.path, headers=headers, body=body or None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder that is removed afterwards."""
    with TemporaryDirectory(prefix="oidc-gateway-bench-") as name:
        yield Path(name)
