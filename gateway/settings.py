"""How this process runs: one frozen value from flags, environment, the files' `server` and `audit` blocks, defaults."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.audit.heads import Pledge
from gateway.files.schema.administration import AdminShape
from gateway.files.schema.keeping import AuditShape, StateShape, SyslogShape
from gateway.files.schema.serving import LimitsShape, ServerShape, TracingShape
from gateway.files.schema.values import duration_s, rate_of
from gateway.state.address import AddressInvalid, RedisAddress, parse_url
from gateway.state.rates import Rate

PREFIX: Final = "OIDC_GATEWAY_"
_Shape = TypeVar("_Shape", bound=BaseModel)
# Of one address, where callers' addresses are seen: far above what the CI runners behind one NAT address send.
_ADDRESS: Final = "6000/1m"
_CONNECTIONS: Final = 1000
#: Where the switches are unless a setting says otherwise, in the audit directory.
SWITCHES_FILE: Final = "switches.json"
#: The word in place of a file's name that puts them into shared state.
SWITCHES_SHARED: Final = "redis"

# What Kubernetes adds to every container for a Service named oidc-gateway, unless the Pod's spec says otherwise.
_SERVICE_LINK: Final = re.compile(
    PREFIX + r"(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_SERVICE_URL: Final = re.compile(r"(?:tcp|udp|sctp)://")

# What texts look like, by the beginning of their path.
_FORMS: Final = (
    ("server.public_url", "a URL such as https://gateway.acme.example, without query and fragment"),
    ("server.tracing.otlp", "a URL such as http://127.0.0.1:4318, without query and fragment"),
    ("limits.", "a rate such as 600/1m, or unlimited"),
    ("state.prefix", "1 to 100 visible characters without braces"),
    ("audit.syslog.to", "tls://HOST:PORT, tcp://HOST:PORT or unix:/PATH"),
    ("audit.syslog.max_lag", "a time such as 30s, 15m or 1h, or unlimited"),
    ("server.hosts", "names without scheme and port, commas between"),
    ("server.trusted_proxies", "networks such as 10.0.0.0/16, commas between"),
)
_A_TIME: Final = "a time such as 30s, 15m or 1h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of `serve`. path: its place in `gateway.yaml`. flag: of `serve`, None when it has none.

    many: a list, which its variable holds with commas between.
    """

    path: str
    flag: str | None = None
    many: bool = False

    @property
    def variable(self) -> str:
        """Return the environment variable that overrides the file."""
        return PREFIX + self.path.removeprefix("server.").replace(".", "_").upper()


#: Every setting; where several places give one, the flag wins over the environment and that over the file.
SETTINGS: Final = (
    Setting(path="server.host", flag="--host"),
    Setting(path="server.port", flag="--port"),
    Setting(path="server.public_url"),
    Setting(path="server.log", flag="--log"),
    Setting(path="server.behind_tls_proxy"),
    Setting(path="server.hosts", many=True),
    Setting(path="server.trusted_proxies", many=True),
    Setting(path="server.tls.certificate"),
    Setting(path="server.tls.key"),
    Setting(path="server.workers", flag="--workers"),
    Setting(path="server.max_concurrency"),
    Setting(path="server.max_connections"),
    Setting(path="server.idle"),
    Setting(path="server.serve_on"),
    Setting(path="server.drain"),
    Setting(path="server.tracing.otlp"),
    Setting(path="server.tracing.ratio"),
    Setting(path="server.tracing.follow_callers"),
    Setting(path="limits.address"),
    Setting(path="limits.subject"),
    Setting(path="limits.rule"),
    Setting(path="limits.waiting"),
    Setting(path="limits.connections"),
    Setting(path="state.url", flag="--state"),
    Setting(path="state.username"),
    Setting(path="state.password_file"),
    Setting(path="state.ca_file"),
    Setting(path="state.certificate"),
    Setting(path="state.key"),
    Setting(path="state.prefix"),
    Setting(path="state.timeout_ms"),
    Setting(path="state.without_tls"),
    Setting(path="state.switches", flag="--switches"),
    Setting(path="audit.directory", flag="--audit"),
    Setting(path="audit.rotate_bytes"),
    Setting(path="audit.signing_key"),
    Setting(path="audit.head_records"),
    Setting(path="audit.head_every"),
    Setting(path="audit.syslog.to"),
    Setting(path="audit.syslog.ca_file"),
    Setting(path="audit.syslog.max_lag"),
    Setting(path="audit.syslog.max_message_bytes"),
)
#: Variables that no block of a file can hold.
OTHER_VARIABLES: Final = (f"{PREFIX}CONFIG", f"{PREFIX}ADMIN_TOKEN")


class SettingInvalid(Exception):
    """A flag or an environment variable cannot be used. The message names it and says what it must be."""


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
class Settings:
    """What `serve` needs to know besides the policy; read once at start.

    config:          the folder of the administrators' files.
    dev:             allows plain http to loopback addresses and emulators, and running as root.
    tls_certificate, tls_key: relative ones stand in the configuration folder.
    public_url:      how callers reach this gateway; None: the address it listens on.
    tls_certificate, tls_key: PEM files; like the audit directory, relative to where the process starts.
    workers:         processes that serve on the one port, 1 to 64.
    hosts:           names it answers under besides its own.
    trusted_proxies: networks whose X-Forwarded-For is believed.
    max_concurrency: requests served at once; one more is refused as overloaded.
    max_connections: open at once; more are closed.
    limit_…:         what one address, identity or rule may use; None: no limit.
    idle_s:          between an answer and the next request of a connection.
    state:           the Redis that replicas share; None: this gateway runs alone. Its files stand in the configuration
                     folder when they are relative.
    switches:        the file of what is switched off; relative to where the process starts. switches_named: a setting
                     names it, so that it must exist. switches_shared: they are in `state` and in no file.
    serve_on_s, drain_s: between a stop signal and the end: readiness is off but everything is served; then only what
                     is in progress.
    tracing_otlp:    URL of a collector; None: nobody listens. tracing_ratio: share of traces that are kept, 0 to 1.
    tracing_follow_callers: a caller's `sampled` flag stands.
    audit_signing_key: PEM file; audit_pledge: how often a head is signed with it. audit_syslog: None: no second copy.
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
    limit_address: Rate | None
    limit_subject: Rate | None
    limit_rule: Rate | None
    limit_waiting: int
    limit_connections: int | None
    idle_s: int
    serve_on_s: int
    drain_s: int
    tracing_otlp: str | None
    tracing_ratio: float
    tracing_follow_callers: bool
    state: RedisAddress | None
    switches: Path
    switches_named: bool
    switches_shared: bool
    audit_directory: Path
    audit_rotate_bytes: int
    audit_signing_key: Path | None = None
    audit_pledge: Pledge = field(default_factory=Pledge)
    audit_syslog: SyslogSettings | None = None
    seat: Seat | None = None
    admin: AdminSettings | None = None


def is_loopback(host: str) -> bool:
    """Say whether nobody outside this machine can reach the address; other names than localhost do not count."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(
    *,
    config: Path,
    server: ServerShape,
    audit: AuditShape,
    environment: Mapping[str, str],
    flags: Mapping[str, object],
    limits: LimitsShape | None = None,
    state: StateShape | None = None,
    admin: AdminShape | None = None,
    dev: bool = False,
    allow_root: bool = False,
) -> Settings:
    """Return the settings; raises SettingInvalid.

    environment: a variable without a value counts as not set. flags: by `Setting.path`, only those that were given.
    """
    _refuse_unknown(environment)
    blocks: dict[str, dict[str, object]] = {
        "server": server.model_dump(),
        "limits": (limits or LimitsShape()).model_dump(),
        "state": (state or StateShape()).model_dump(),
        "audit": audit.model_dump(),
    }
    named: dict[str, str] = {}
    for setting in SETTINGS:
        if setting.path in flags:
            named[setting.path] = setting.flag or setting.path
            _put(blocks, setting.path, flags[setting.path])
        elif environment.get(setting.variable):
            named[setting.path] = setting.variable
            text = environment[setting.variable]
            _put(blocks, setting.path, [one.strip() for one in text.split(",")] if setting.many else text)
    checked_server = _judged(ServerShape, "server", blocks, named)
    checked_limits = _judged(LimitsShape, "limits", blocks, named)
    checked_state = _judged(StateShape, "state", blocks, named)
    checked_audit = _judged(AuditShape, "audit", blocks, named)
    # Otherwise all callers would seem to be one: the proxy on this machine, or the unlisted one in front.
    sees_callers = bool(checked_server.trusted_proxies) or not (
        is_loopback(checked_server.host) or checked_server.behind_tls_proxy
    )
    _need_a_name(checked_server)
    tls, tracing = checked_server.tls, checked_server.tracing or TracingShape()
    return Settings(
        config=config,
        dev=dev,
        allow_root=allow_root or dev,
        host=checked_server.host,
        port=checked_server.port,
        public_url=checked_server.public_url.rstrip("/") if checked_server.public_url else None,
        log=checked_server.log,
        behind_tls_proxy=checked_server.behind_tls_proxy,
        tls_certificate=config / tls.certificate if tls else None,
        tls_key=config / tls.key if tls else None,
        workers=checked_server.workers,
        hosts=tuple(checked_server.hosts or ()),
        trusted_proxies=_networks(checked_server.trusted_proxies or (), named),
        max_concurrency=checked_server.max_concurrency,
        max_connections=checked_server.max_connections,
        limit_address=_rate(checked_limits.address or (_ADDRESS if sees_callers else "unlimited")),
        limit_subject=_rate(checked_limits.subject),
        limit_rule=_rate(checked_limits.rule),
        limit_waiting=checked_limits.waiting,
        limit_connections=checked_limits.connections or (_CONNECTIONS if sees_callers else None),
        idle_s=duration_s(checked_server.idle),
        serve_on_s=duration_s(checked_server.serve_on),
        drain_s=duration_s(checked_server.drain),
        tracing_otlp=tracing.otlp,
        tracing_ratio=tracing.ratio,
        tracing_follow_callers=tracing.follow_callers,
        state=_state(checked_state, config, named, dev=dev),
        switches=Path(checked_state.switches or Path(checked_audit.directory) / SWITCHES_FILE),
        switches_named=checked_state.switches is not None,
        switches_shared=checked_state.switches == SWITCHES_SHARED,
        audit_directory=Path(checked_audit.directory),
        audit_rotate_bytes=checked_audit.rotate_bytes,
        audit_signing_key=config / checked_audit.signing_key if checked_audit.signing_key else None,
        audit_pledge=Pledge(records=checked_audit.head_records, seconds=duration_s(checked_audit.head_every)),
        audit_syslog=_syslog(checked_audit.syslog, config),
        admin=None if admin is None else _admin(admin, config),
    )


def _syslog(syslog: SyslogShape | None, config: Path) -> SyslogSettings | None:
    if syslog is None:
        return None
    return SyslogSettings(
        to=syslog.to,
        ca_file=config / syslog.ca_file if syslog.ca_file else None,
        max_lag_s=None if syslog.max_lag == "unlimited" else duration_s(syslog.max_lag),
        max_message_bytes=syslog.max_message_bytes,
    )


def _admin(admin: AdminShape, config: Path) -> AdminSettings:
    tls = admin.tls
    if tls is None:
        return AdminSettings(address=admin.listen)
    return AdminSettings(
        address=admin.listen,
        certificate=config / tls.certificate,
        key=config / tls.key,
        client_ca=config / tls.client_ca if tls.client_ca else None,
    )


def _need_a_name(server: ServerShape) -> None:
    """Refuse to listen on every address without a name: every request would be refused, or every name answered."""
    if server.host in {"", "0.0.0.0", "::"} and not (server.public_url or server.hosts):  # noqa: S104  compared only
        raise SettingInvalid(
            f"Listening on {server.host} says nothing about the gateway's name. Set server.public_url "
            f"({PREFIX}PUBLIC_URL), or list names in server.hosts ({PREFIX}HOSTS)."
        )


def _rate(text: str) -> Rate | None:
    found = rate_of(text)
    return None if found is None else Rate(quota=found[0], window_s=found[1])


def _networks(texts: Iterable[str], named: Mapping[str, str]) -> tuple[str, ...]:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            place = named.get("server.trusted_proxies", "server.trusted_proxies")
            raise SettingInvalid(
                f"{place} must hold networks such as 10.0.0.0/16, without bits beyond the prefix, not {text!r}."
            ) from None
    return tuple(texts)


def _state(state: StateShape, config: Path, named: Mapping[str, str], *, dev: bool) -> RedisAddress | None:
    url = named.get("state.url", "state.url")
    if state.url is None:
        if state.switches == SWITCHES_SHARED:
            raise SettingInvalid(f"state.switches is {SWITCHES_SHARED}, but {url} names no Redis.")
        return None
    try:
        address = parse_url(state.url)
    except AddressInvalid as fault:
        # Without its value: somebody may have put a password there.
        raise SettingInvalid(f"{url} {fault}.") from None
    if address.scheme == "redis" and not (dev or state.without_tls or is_loopback(address.host)):
        raise SettingInvalid(
            f"{url} must begin with rediss:// (TLS). Where nobody else can reach the network between, set "
            "state.without_tls: true; whoever writes to that Redis can use tokens again."
        )
    if (state.certificate is None) != (state.key is None):
        raise SettingInvalid("state.certificate and state.key go together.")

    def file(name: str | None) -> str | None:
        return None if name is None else str(config / name)

    return replace(
        address,
        username=state.username,
        password_file=file(state.password_file),
        ca_file=file(state.ca_file),
        certificate=file(state.certificate),
        key=file(state.key),
        prefix=state.prefix,
        timeout_s=state.timeout_ms / 1000,
    )


def _put(blocks: dict[str, dict[str, object]], path: str, value: object) -> None:
    block, _, key = path.partition(".")
    first, _, second = key.partition(".")
    if not second:
        blocks[block][first] = value
        return
    inner = blocks[block].get(first)
    blocks[block][first] = {**(inner if isinstance(inner, dict) else {}), second: value}


def _judged(
    shape: type[_Shape], block: str, blocks: Mapping[str, Mapping[str, object]], named: Mapping[str, str]
) -> _Shape:
    try:
        # Texts of the environment become numbers and switches here, which the files' own reader does not allow.
        return shape.model_validate(blocks[block], strict=False)
    except ValidationError as fault:
        first = fault.errors()[0]
        # Of a list its name says enough; the message has the item.
        path = ".".join([block, *(str(one) for one in first["loc"] if not isinstance(one, int))])
        raise SettingInvalid(f"{named.get(path, path)} {_wanted(path, first)}.") from None


def _wanted(path: str, fault: ErrorDetails) -> str:
    limits = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            goes = (
                "says where the second copy goes" if "syslog" in path else "goes with the other half of TLS"
            )
            return f"is missing; it {goes} (${Setting(path=path).variable})"
        case "int_parsing" | "int_type" | "int_from_float":
            wanted = "a whole number"
        case "bool_parsing" | "bool_type":
            wanted = "true or false"
        case "greater_than_equal":
            wanted = f"at least {limits['ge']}"
        case "less_than_equal":
            wanted = f"at most {limits['le']}"
        case "literal_error":
            wanted = str(limits["expected"])
        case "float_parsing":
            wanted = "a number"
        case "string_pattern_mismatch":
            wanted = next((form for start, form in _FORMS if path.startswith(start)), _A_TIME)
        case "string_too_short":
            return "must not be empty"
        case _:
            return f"cannot be used: {fault['msg']}"
    return f"must be {wanted}, not {fault['input']!r}"


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    """Refuse a variable that looks like ours and is not: a misspelt limit must not be silently off."""
    for name, value in environment.items():
        of_port = name == f"{PREFIX}PORT" and _SERVICE_URL.match(value) is not None
        if of_port or _SERVICE_LINK.fullmatch(name):
            raise SettingInvalid(
                f"{name} was set by Kubernetes for a Service named oidc-gateway. "
                "Write enableServiceLinks: false into the Pod's spec, or name the Service otherwise."
            )
    known = [setting.variable for setting in SETTINGS] + list(OTHER_VARIABLES)
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            close = get_close_matches(name, known, n=1)
            advice = f"Did you mean {close[0]}?" if close else "The README lists all settings."
            raise SettingInvalid(f"{name} is no setting. {advice}")
