"""How this process runs: one frozen value, read once at start."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gateway.audit.heads import Pledge
from gateway.state.address import RedisAddress
from gateway.state.rates import Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A worker's place among the workers of one gateway.

    name:    `w1` and so on; a worker that replaces another takes its place.
    workers: names of all of them. family: of this gateway among its replicas.
    runtime: folder that they share, this user's own, gone when the gateway has ended.
    """

    name: str
    workers: tuple[str, ...]
    family: str
    runtime: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SyslogSettings:
    """The second copy of the audit record.

    to:        `tls://HOST:PORT`, `tcp://HOST:PORT` or `unix:/PATH`.
    max_lag_s: age of the oldest record not sent at which nothing more is granted; None: it may lag.
    """

    to: str
    ca_file: Path | None
    max_lag_s: int | None
    max_message_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminSettings:
    """Where administrators are listened to; who may do what is the policy's to say.

    address: `unix:/PATH`, `127.0.0.1:PORT` or `[::1]:PORT`.
    certificate, key, client_ca: PEM files, None without TLS; relative ones stand in the configuration folder.
    """

    address: str
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSettings:
    """How much one of them may use; None: no limit.

    address, connections: one address, or one /64 of IPv6. subject, waiting: one identity. rule: one rule.
    waiting: long polls and event streams at once. connections: open at once.
    """

    address: Rate | None
    subject: Rate | None
    rule: Rate | None
    waiting: int
    connections: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSettings:
    """Where spans go.

    otlp:  URL of a collector; None: nobody listens.
    ratio: share of traces that are kept, 0 to 1. follow_callers: a caller's `sampled` flag stands.
    """

    otlp: str | None
    ratio: float
    follow_callers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSettings:
    """Where it says what is switched off.

    file:   relative to where the process starts. named: a setting names it, so that it must exist.
    shared: they are in shared state and in no file.
    """

    file: Path
    named: bool
    shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """Where the audit record is written, and how.

    directory:   relative to where the process starts.
    signing_key: PEM file; pledge: how often a head is signed with it. syslog: None: no second copy.
    """

    directory: Path
    rotate_bytes: int
    signing_key: Path | None = None
    pledge: Pledge = field(default_factory=Pledge)
    syslog: SyslogSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `serve` needs to know besides the policy.

    config:          the folder of the administrators' files.
    dev:             allows plain http to loopback addresses and emulators, and running as root.
    public_url:      how callers reach this gateway; None: the address it listens on.
    tls_certificate, tls_key: PEM files; relative ones stand in the configuration folder.
    workers:         processes that serve on the one port, 1 to 64.
    hosts:           names it answers under besides its own.
    trusted_proxies: networks whose X-Forwarded-For is believed.
    max_concurrency: requests served at once; one more is refused as overloaded.
    max_connections: open at once; more are closed.
    idle_s:          between an answer and the next request of a connection.
    serve_on_s, drain_s: between a stop signal and the end: readiness is off but everything is served; then only what
                     is in progress.
    state:           the Redis that replicas share; None: this gateway runs alone. Its files stand in the configuration
                     folder when they are relative.
    seat:            of this worker; None where one process does all.
    admin:           the admin listener; None where there is none. Only `gateway.yaml` can turn it on.
    """

    config: Path
    dev: bool
    allow_root: bool
    host: str
    port: int
    public_url: str | None
    log: Literal["json", "console"]
    behind_tls_proxy: bool
    tls_certificate: Path | None
    tls_key: Path | None
    workers: int
    hosts: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    max_concurrency: int
    max_connections: int
    idle_s: int
    serve_on_s: int
    drain_s: int
    limits: LimitSettings
    tracing: TracingSettings
    state: RedisAddress | None
    switches: SwitchSettings
    audit: AuditSettings
    seat: Seat | None = None
    admin: AdminSettings | None = None
