"""The settings from flags, environment, the files' blocks and defaults."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.audit.heads import Pledge
from gateway.files.schema.administration import AdminShape
from gateway.files.schema.keeping import AuditShape, StateShape, SyslogShape
from gateway.files.schema.serving import LimitsShape, ServerShape, TracingShape
from gateway.files.schema.values import duration_s, rate_of
from gateway.settings.loopback import is_loopback
from gateway.settings.setting import PREFIX, SettingInvalid
from gateway.settings.settings import (
    AdminSettings,
    AuditSettings,
    LimitSettings,
    Settings,
    SwitchSettings,
    SyslogSettings,
    TracingSettings,
)
from gateway.settings.written import Written, overridden
from gateway.state.address import AddressInvalid, RedisAddress, parse_url
from gateway.state.rates import Rate

# Of one address, where callers' addresses are seen: far above what the CI runners behind one NAT address send.
_ADDRESS: Final = "6000/1m"
_CONNECTIONS: Final = 1000
#: Where the switches are unless a setting says otherwise, in the audit directory.
SWITCHES_FILE: Final = "switches.json"
#: The word in place of a file's name that puts them into shared state.
SWITCHES_SHARED: Final = "redis"


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

    environment: a variable without a value counts as not set, but for the prefix of shared state.
    flags:       by `Setting.path`, only those that were given.
    """
    blocks = {
        "server": server,
        "limits": limits or LimitsShape(),
        "state": state or StateShape(),
        "audit": audit,
    }
    written = overridden(blocks, environment=environment, flags=flags)
    judged = _Judged(
        server=written.judged(ServerShape, "server"),
        limits=written.judged(LimitsShape, "limits"),
        state=written.judged(StateShape, "state"),
        audit=written.judged(AuditShape, "audit"),
    )
    _need_a_name(judged.server)
    settings = _settings(judged, written, config=config, dev=dev)
    return replace(
        settings, allow_root=allow_root or dev, admin=None if admin is None else _admin(admin, config)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    server: ServerShape
    limits: LimitsShape
    state: StateShape
    audit: AuditShape


def _settings(judged: _Judged, written: Written, *, config: Path, dev: bool) -> Settings:
    server = judged.server
    return Settings(
        config=config,
        dev=dev,
        allow_root=dev,
        host=server.host,
        port=server.port,
        public_url=server.public_url.rstrip("/") if server.public_url else None,
        log=server.log,
        behind_tls_proxy=server.behind_tls_proxy,
        tls_certificate=config / server.tls.certificate if server.tls else None,
        tls_key=config / server.tls.key if server.tls else None,
        workers=server.workers,
        hosts=tuple(server.hosts or ()),
        trusted_proxies=_networks(server.trusted_proxies or (), written),
        max_concurrency=server.max_concurrency,
        max_connections=server.max_connections,
        idle_s=duration_s(server.idle),
        serve_on_s=duration_s(server.serve_on),
        drain_s=duration_s(server.drain),
        limits=_limits(judged.limits, server),
        tracing=_tracing(server.tracing or TracingShape()),
        state=_state(judged.state, config, written),
        switches=_switches(judged.state, judged.audit),
        audit=_audit(judged.audit, config),
    )


def _limits(limits: LimitsShape, server: ServerShape) -> LimitSettings:
    # Otherwise all callers would seem to be one: the proxy on this machine, or the unlisted one in front.
    sees_callers = bool(server.trusted_proxies) or not (is_loopback(server.host) or server.behind_tls_proxy)
    return LimitSettings(
        address=_rate(limits.address or (_ADDRESS if sees_callers else "unlimited")),
        subject=_rate(limits.subject),
        rule=_rate(limits.rule),
        waiting=limits.waiting,
        connections=limits.connections or (_CONNECTIONS if sees_callers else None),
    )


def _tracing(tracing: TracingShape) -> TracingSettings:
    return TracingSettings(otlp=tracing.otlp, ratio=tracing.ratio, follow_callers=tracing.follow_callers)


def _switches(state: StateShape, audit: AuditShape) -> SwitchSettings:
    return SwitchSettings(
        file=Path(state.switches or Path(audit.directory) / SWITCHES_FILE),
        named=state.switches is not None,
        shared=state.switches == SWITCHES_SHARED,
    )


def _audit(audit: AuditShape, config: Path) -> AuditSettings:
    return AuditSettings(
        directory=Path(audit.directory),
        rotate_bytes=audit.rotate_bytes,
        signing_key=config / audit.signing_key if audit.signing_key else None,
        pledge=Pledge(records=audit.head_records, seconds=duration_s(audit.head_every)),
        syslog=_syslog(audit.syslog, config),
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
    # In clear text it is refused anyway, for a better reason.
    guarded = server.tls or server.behind_tls_proxy
    if guarded and server.host in {"", "0.0.0.0", "::"} and not (server.public_url or server.hosts):  # noqa: S104  compared only
        raise SettingInvalid(
            f"Listening on {server.host} says nothing about the gateway's name. Set server.public_url "
            f"({PREFIX}PUBLIC_URL), or list names in server.hosts ({PREFIX}HOSTS)."
        )


def _rate(text: str) -> Rate | None:
    found = rate_of(text)
    return None if found is None else Rate(quota=found[0], window_s=found[1])


def _networks(texts: Iterable[str], written: Written) -> tuple[str, ...]:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            place = written.name_of("server.trusted_proxies")
            raise SettingInvalid(
                f"{place} must hold networks such as 10.0.0.0/16, without bits beyond the prefix, not {text!r}."
            ) from None
    return tuple(texts)


def _state(state: StateShape, config: Path, written: Written) -> RedisAddress | None:
    url = written.name_of("state.url")
    if state.url is None:
        if state.switches == SWITCHES_SHARED:
            raise SettingInvalid(f"state.switches is {SWITCHES_SHARED}, but {url} names no Redis.")
        return None
    try:
        address = parse_url(state.url)
    except AddressInvalid as fault:
        # Without its value: somebody may have put a password there.
        raise SettingInvalid(f"{url} {fault}.") from None
    if address.scheme == "redis" and not (state.without_tls or is_loopback(address.host)):
        raise SettingInvalid(
            f"{url} must begin with rediss:// (TLS). Where nobody else can reach the network between, set "
            "state.without_tls: true; whoever writes to that Redis can use tokens again."
        )
    if (state.certificate is None) != (state.key is None):
        raise SettingInvalid("state.certificate and state.key go together.")
    if state.username is not None and state.password_file is None:
        raise SettingInvalid(
            f"{written.name_of('state.username')} names a user, but nothing says the password: "
            f"state.password_file ({PREFIX}STATE_PASSWORD_FILE) names a file with it."
        )

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
