"""Where shared state is: one value out of a URL and what stands beside it, with every mistake named. Pure."""

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

Scheme = Literal["redis", "rediss", "unix"]
_SCHEMES: Final[dict[str, Scheme]] = {"redis": "redis", "rediss": "rediss", "unix": "unix"}
_EXAMPLE: Final = "write it as rediss://redis.example:6379/0, or unix:///run/redis/redis.sock"
_DATABASE: Final = re.compile(r"[0-9]{1,5}")


class AddressInvalid(ValueError):
    """The URL cannot be used. The message says why and what to write instead; it shows no part that may be secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A Redis or Valkey, and how we speak to it.

    host, port:       empty and 0 for a unix socket. socket: its path, empty otherwise.
    username:         an ACL user; None is Redis's `default` user.
    password_file:    holds the password alone; read at every connection, so that it may be changed. None: no password.
    ca_file:          PEM; the only CAs that may have signed its certificate. None: the system's.
    certificate, key: PEM files that we present; both or none.
    prefix:           what every key of ours begins with.
    timeout_s:        of one command, connecting and waiting for a connection included.
    """

    scheme: Scheme
    host: str = ""
    port: int = 0
    socket: str = ""
    database: int = 0
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    certificate: str | None = None
    key: str | None = None
    prefix: str = "oidc-gateway:"
    timeout_s: float = 0.25

    def __str__(self) -> str:
        """Return it as a URL for logs; there is nothing secret in it."""
        if self.scheme == "unix":
            return f"unix://{self.socket}?db={self.database}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.database}"


def parse_url(url: str) -> RedisAddress:
    """Return what a URL says: `redis://host:port/db`, `rediss://…` for TLS, `unix:///path?db=`. Raises AddressInvalid."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressInvalid(f"has no host or port that can be read; {_EXAMPLE}") from None
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise AddressInvalid(f"must begin with redis://, rediss:// or unix://; {_EXAMPLE}")
    if "@" in parts.netloc:
        raise AddressInvalid(
            "must not hold a user or a password, because settings are shown; use username and password_file"
        )
    if parts.fragment:
        raise AddressInvalid("must not have a fragment (#)")
    if scheme == "unix":
        return _unix(parts.netloc, parts.path, parts.query)
    if parts.query:
        raise AddressInvalid("must not have a query; its options are settings of their own")
    if not parts.hostname:
        raise AddressInvalid(f"has no host; {_EXAMPLE}")
    return RedisAddress(
        scheme=scheme,
        host=parts.hostname,
        port=6379 if port is None else port,
        database=_database(parts.path.strip("/")),
    )


def _unix(netloc: str, path: str, query: str) -> RedisAddress:
    if netloc or not path.startswith("/"):
        raise AddressInvalid("must name the socket by its whole path, as unix:///run/redis/redis.sock")
    options = dict(parse_qsl(query, keep_blank_values=True))
    database = _database(options.pop("db", ""))
    if options:
        raise AddressInvalid("may have db in its query and nothing else")
    return RedisAddress(scheme="unix", socket=unquote(path), database=database)


def _database(text: str) -> int:
    if text and not _DATABASE.fullmatch(text):
        raise AddressInvalid("names a database that is no number, as in redis://host:6379/0")
    return int(text or 0)
