"""How this process runs: one frozen value from flags, environment, the files' `server` and `audit` blocks, defaults."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.files.schema import AuditShape, ServerShape, duration_s

PREFIX: Final = "OIDC_GATEWAY_"
_Shape = TypeVar("_Shape", bound=BaseModel)

# What Kubernetes adds to every container for a Service named oidc-gateway, unless the Pod's spec says otherwise.
_SERVICE_LINK: Final = re.compile(
    PREFIX + r"(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_SERVICE_URL: Final = re.compile(r"(?:tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of `serve`. path: its place in `gateway.yaml`. flag: of `serve`, None when it has none."""

    path: str
    flag: str | None = None

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
    Setting(path="server.tls.certificate"),
    Setting(path="server.tls.key"),
    Setting(path="server.workers", flag="--workers"),
    Setting(path="server.max_concurrency"),
    Setting(path="server.idle"),
    Setting(path="server.serve_on"),
    Setting(path="server.drain"),
    Setting(path="audit.directory", flag="--audit"),
    Setting(path="audit.rotate_bytes"),
)
#: Variables that no block of a file can hold.
OTHER_VARIABLES: Final = (f"{PREFIX}CONFIG",)


class SettingInvalid(Exception):
    """A flag or an environment variable cannot be used. The message names it and says what it must be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What `serve` needs to know besides the policy; read once at start.

    config:          the folder of the administrators' files.
    dev:             allows plain http to loopback addresses and emulators, and running as root.
    tls_certificate, tls_key: relative ones stand in the configuration folder.
    public_url:      how callers reach this gateway; None: the address it listens on.
    tls_certificate, tls_key: PEM files; like the audit directory, relative to where the process starts.
    workers:         processes that serve on the one port, 1 to 64.
    max_concurrency: requests served at once; one more is refused as overloaded.
    idle_s:          between an answer and the next request of a connection.
    serve_on_s, drain_s: between a stop signal and the end: readiness is off but everything is served; then only what
                     is in progress.
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
    max_concurrency: int
    idle_s: int
    serve_on_s: int
    drain_s: int
    audit_directory: Path
    audit_rotate_bytes: int


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
    dev: bool = False,
    allow_root: bool = False,
) -> Settings:
    """Return the settings; raises SettingInvalid.

    environment: a variable without a value counts as not set. flags: by `Setting.path`, only those that were given.
    """
    _refuse_unknown(environment)
    blocks: dict[str, dict[str, object]] = {"server": server.model_dump(), "audit": audit.model_dump()}
    named: dict[str, str] = {}
    for setting in SETTINGS:
        if setting.path in flags:
            named[setting.path] = setting.flag or setting.path
            _put(blocks, setting.path, flags[setting.path])
        elif environment.get(setting.variable):
            named[setting.path] = setting.variable
            _put(blocks, setting.path, environment[setting.variable])
    checked_server = _judged(ServerShape, "server", blocks, named)
    checked_audit = _judged(AuditShape, "audit", blocks, named)
    tls = checked_server.tls
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
        max_concurrency=checked_server.max_concurrency,
        idle_s=duration_s(checked_server.idle),
        serve_on_s=duration_s(checked_server.serve_on),
        drain_s=duration_s(checked_server.drain),
        audit_directory=Path(checked_audit.directory),
        audit_rotate_bytes=checked_audit.rotate_bytes,
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
        path = ".".join([block, *map(str, first["loc"])])
        raise SettingInvalid(f"{named.get(path, path)} {_wanted(path, first)}.") from None


def _wanted(path: str, fault: ErrorDetails) -> str:
    limits = fault.get("ctx", {})
    match fault["type"]:
        case "missing":
            return f"is missing; it goes with the other half of TLS (${Setting(path=path).variable})"
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
        case "string_pattern_mismatch" if path.endswith("url"):
            wanted = "a URL such as https://gateway.acme.example, without query and fragment"
        case "string_pattern_mismatch":
            wanted = "a time such as 30s, 15m or 1h"
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
