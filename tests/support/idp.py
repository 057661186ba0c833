"""Identity providers of a test's own behind TLS, in a thread: each at a path, with answers that can be changed at any time."""

import asyncio
import contextlib
import gc
import json
import ssl
import threading
import warnings
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.support.certificates import Authority
from tests.support.peer import LOOPBACK, Peer, Received, Reply, answers
from tests.support.tokens import jwks

_T = TypeVar("_T")
_DISCOVERY = "/.well-known/openid-configuration"
_WAIT_S = 20
#: How many providers have a host name, `named1` and so on, for a name service that fails.
NAMED = 6


class Idps:
    """Providers `https://127.0.0.1:PORT/NAME` of one server that can be taken away, brought back, and given another certificate.

    Each answers truthfully, with the usual session keys, unless `script` says otherwise; `asked` counts what was fetched.
    """

    def __init__(self, authority: Authority, loop: asyncio.AbstractEventLoop) -> None:
        self._authority = authority
        self._loop = loop
        self._good = authority.server(
            LOOPBACK, *(self.host(f"named{number}") for number in range(1, NAMED + 1))
        )
        self._scripts: dict[str, Reply] = {}
        self._peer: Peer | None = None
        self._asked: list[str] = []
        self.port = 0

    @property
    def authority(self) -> Authority:
        """Who vouches for their certificate."""
        return self._authority

    def issuer(self, name: str) -> str:
        """Return the issuer of this name."""
        return f"https://{self.host(name)}:{self.port}/{name}"

    def host(self, name: str) -> str:
        """Return where the provider of this name is: at an address, but for those that have a name."""
        return f"{name}.invalid" if name.startswith("named") else LOOPBACK

    def script(self, name: str, *, keys: Reply | bytes | None = None, discovery: Reply | None = None) -> None:
        """Change what a provider answers; what is not named is truthful again."""
        for path, reply in ((f"/{name}/keys", keys), (f"/{name}{_DISCOVERY}", discovery)):
            self._scripts.pop(path, None)
            if reply is not None:
                self._scripts[path] = answers(reply) if isinstance(reply, bytes) else reply

    def asked(self, name: str, path: str = "/keys") -> int:
        """Return how often the provider was asked for its key set, or for another path."""
        return self._asked.count(f"/{name}{path}")

    @property
    def connections(self) -> int:
        """Return how many connections the present server has accepted."""
        return 0 if self._peer is None else self._peer.connections

    def open(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen, again on the same port. tls: None is a certificate that holds."""
        self._run(self._open(tls or self._good))

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        self._run(self._close())

    @contextmanager
    def away(self) -> Iterator[None]:
        """Be down for a while."""
        self.close()
        try:
            yield
        finally:
            self.open()

    @contextmanager
    def presenting(self, tls: ssl.SSLContext) -> Iterator[None]:
        """Present another certificate for a while."""
        self.close()
        self.open(tls)
        try:
            yield
        finally:
            self.close()
            self.open()

    async def _open(self, tls: ssl.SSLContext) -> None:
        self._peer = Peer(self._reply, tls=tls, port=self.port)
        await self._peer.__aenter__()
        self.port = self._peer.port

    async def _close(self) -> None:
        if self._peer is not None:
            await self._peer.__aexit__(None, None, None)
        self._peer = None

    async def _reply(self, request: Received, writer: asyncio.StreamWriter) -> None:
        self._asked.append(request.target)
        script = self._scripts.get(request.target)
        await (script or self._truth(request.target))(request, writer)

    def _truth(self, target: str) -> Reply:
        name, found, _ = target.removeprefix("/").partition(_DISCOVERY)
        if found:
            issuer = self.issuer(name)
            return answers(document(issuer, jwks_uri=f"{issuer}/keys"))
        return answers(jwks())

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_S)


def document(issuer: str, **members: object) -> bytes:
    """Return a discovery document."""
    found: Mapping[str, object] = {"issuer": issuer, **members}
    return json.dumps(found).encode()


@contextmanager
def running_idps() -> Iterator[Idps]:
    """Serve providers until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    idps = Idps(Authority(), loop)
    idps.open()
    try:
        yield idps
    finally:
        with contextlib.suppress(OSError):
            idps.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_WAIT_S)
        loop.close()
        with warnings.catch_warnings():
            # asyncio forgets to close the socket of a handshake that the client broke off; not in anybody else's test.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
