"""One pooled connection to Redis or Valkey: bounded in time, watched, and given up on while it is away.

[edge]
"""

import asyncio
import contextlib
import os
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Self, TypeVar

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.connection import Connection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import NoScriptError, RedisError

from gateway.clock import Clock
from gateway.errors import ConfigurationInvalid, ErrorCode
from gateway.metrics import Metrics
from gateway.outbound.tls import client_context
from gateway.secret import is_open_to_others
from gateway.state.address import RedisAddress
from gateway.state.redis_faults import DOWN, RedisFailed, RedisFault, fault_of
from gateway.state.redis_scripts import Script

_T = TypeVar("_T")

# Redis does one thing at a time; more connections would only make a burst begin with more handshakes.
_MAX_CONNECTIONS: Final = 16
_CUT_OFF: Final = (exceptions.ConnectionError, ConnectionError)


class SharedRedis:
    """Runs commands against one Redis; every part that shares state uses the same.

    Starts whether Redis is there or not. A command costs at most the address's timeout; after one that Redis did not
    answer nobody waits for it until `RedisWatch` got an answer again.
    """

    def __init__(self, address: RedisAddress, *, clock: Clock, metrics: Metrics) -> None:
        self.address = address
        self._clock = clock
        self._metrics = metrics
        self._client: Redis | None = None
        self._down: RedisFault | None = None
        self.went_down = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Make the pool; raises ConfigurationInvalid for files that cannot be used. Connects to nothing."""
        self._client = Redis.from_pool(await asyncio.to_thread(_pool, self.address))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await client.aclose()

    @property
    def client(self) -> Redis:
        """Return the client, for libraries that bring commands of their own; bound them with `run`."""
        if self._client is None:
            raise RuntimeError("Shared state is used outside of its life.")
        return self._client

    def key(self, *parts: str) -> str:
        """Return a key of ours."""
        return self.address.prefix + ":".join(parts)

    async def run(
        self,
        operation: str,
        do: Callable[[Redis], Awaitable[_T]],
        *,
        deadline: float | None = None,
        even_if_down: bool = False,
    ) -> _T:
        """Return what `do` returns; raises RedisFailed, at once while Redis is away.

        operation: from a fixed set, for the metrics. deadline: monotonic seconds, when it is nearer than the timeout.
        """
        if self._down is not None and not even_if_down:
            raise RedisFailed(self._down)
        began = self._clock.monotonic()
        limit_s = self.address.timeout_s
        if deadline is not None:
            limit_s = min(limit_s, deadline - began)
        try:
            async with asyncio.timeout(limit_s):
                done = await do(self.client)
        except (RedisError, OSError, RedisFailed) as fault:  # a TimeoutError is an OSError
            found = fault_of(fault)
            # That a caller could wait no longer says nothing of Redis.
            hurried = found.reason == "timeout" and limit_s < self.address.timeout_s
            self._failed(operation, began, found, counts=not hurried)
            raise RedisFailed(found) from None
        self._took(operation, began, "ok")
        return done

    async def script(
        self,
        operation: str,
        script: Script,
        key: str,
        *arguments: str | bytes,
        deadline: float | None = None,
        even_if_down: bool = False,
    ) -> object:
        """Run a script on its one key; raises RedisFailed. It must not matter whether the script runs once or twice."""

        async def evaluate(client: Redis) -> object:
            try:
                return await _call(client, "EVALSHA", script.sha1, 1, key, *arguments)
            except NoScriptError:
                return await _call(client, "EVAL", script.text, 1, key, *arguments)

        async def evaluate_again(client: Redis) -> object:
            try:
                return await evaluate(client)
            except _CUT_OFF:
                # Of a pooled connection one learns only by using it that Redis was restarted.
                return await evaluate(client)

        return await self.run(operation, evaluate_again, deadline=deadline, even_if_down=even_if_down)

    @property
    def down(self) -> RedisFault | None:
        """Return why nobody waits for Redis now, None while it answers."""
        return self._down

    def is_up(self) -> None:
        """Let commands through again; called by whoever got an answer."""
        self._down = None
        self._metrics.state_up.set(1)

    def is_down(self, fault: RedisFault) -> None:
        """Let no command wait for Redis until `is_up`."""
        self._down = fault
        self._metrics.state_up.set(0)
        self.went_down.set()

    def _failed(self, operation: str, began: float, fault: RedisFault, *, counts: bool) -> None:
        self._took(operation, began, "failed")
        self._metrics.state_failures.labels(fault.reason).inc()
        if fault.reason in DOWN and counts:
            self.is_down(fault)
        else:
            # Redis answers, but not as it must: whoever watches looks at once and says what is wrong.
            self.went_down.set()

    def _took(self, operation: str, began: float, outcome: str) -> None:
        took_s = self._clock.monotonic() - began
        self._metrics.state_seconds.labels(operation, outcome).observe(took_s)


async def _call(client: Redis, *words: str | bytes | int) -> object:
    answer: object = await client.execute_command(*words)  # type: ignore[no-untyped-call]
    return answer


class _PasswordFile(CredentialProvider):
    """Reads the password when a connection is made, so that a rotated one is taken without a restart."""

    def __init__(self, username: str | None, path: str) -> None:
        self._username = username
        self._path = path

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        password = _read(self._path, "state.password_file", secret=True).strip()
        return (self._username, password) if self._username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        try:
            return await asyncio.to_thread(self.get_credentials)
        except ConfigurationInvalid as fault:
            # It was there at the start; like a wrong password it may be mended while we run.
            raise RedisFailed(RedisFault(reason="password", what=fault.message)) from None


class _TlsConnection(Connection):
    """A connection under our own TLS context: the library's would write secrets to the file of SSLKEYLOGFILE."""

    def __init__(self, *, context: ssl.SSLContext, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._context = context

    def _connection_arguments(self) -> Mapping[str, object]:
        return {**super()._connection_arguments(), "ssl": self._context}


def _pool(address: RedisAddress) -> BlockingConnectionPool:
    options: dict[str, object] = {
        "max_connections": _MAX_CONNECTIONS,
        "timeout": address.timeout_s,
        "db": address.database,
        "username": address.username,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),  # who calls decides whether to repeat
        "socket_timeout": None,  # `run` bounds everything together
        "socket_connect_timeout": None,
        "driver_info": None,  # a command less, and none that an ACL would have to allow
    }
    if address.password_file is not None:
        credentials = _PasswordFile(address.username, address.password_file)
        credentials.get_credentials()
        options |= {"username": None, "credential_provider": credentials}
    match address.scheme:
        case "unix":
            options |= {"connection_class": UnixDomainSocketConnection, "path": address.socket}
        case "rediss":
            options |= {"connection_class": _TlsConnection, "context": _context(address)}
    if address.scheme != "unix":
        options |= {"host": address.host, "port": address.port}
    return BlockingConnectionPool(**options)  # type: ignore[arg-type]


def _context(address: RedisAddress) -> ssl.SSLContext:
    try:
        ca_pem = None if address.ca_file is None else _read(address.ca_file, "state.ca_file")
        context = client_context(ca_pem)
        if address.key is not None:
            _read(address.key, "state.key", secret=True)
        if address.certificate is not None:
            context.load_cert_chain(address.certificate, address.key)
    except (ssl.SSLError, OSError) as fault:
        reason = fault.strerror or "unknown reason"
        raise _unusable(f"The files of `state` for TLS cannot be used: {reason}.") from None
    return context


def _read(path: str, setting: str, *, secret: bool = False) -> str:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - paths stay texts in this part
            status = os.fstat(file.fileno())
            if secret and is_open_to_others(status.st_mode, status.st_uid, us=os.geteuid()):
                raise ConfigurationInvalid(
                    ErrorCode.REPLAY_STORE_UNAVAILABLE,
                    f"The file of {setting}, {path}, is open to others.",
                    hint=f"Run: chmod 0600 {path}",
                )
            return file.read(1_048_576)
    except (OSError, UnicodeDecodeError) as fault:
        reason = getattr(fault, "strerror", None) or "it is not UTF-8"
        raise _unusable(f"The file of {setting}, {path}, cannot be read: {reason}.") from None


def _unusable(message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        ErrorCode.REPLAY_STORE_UNAVAILABLE, message, hint="The service itself must be able to read it."
    )
