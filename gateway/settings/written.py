"""What the files, the environment and the flags say together, and what is wrong with it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.settings.setting import OTHER_VARIABLES, PREFIX, SETTINGS, Setting, SettingInvalid

_Shape = TypeVar("_Shape", bound=BaseModel)

# What Kubernetes adds to every container for a Service named oidc-gateway, unless the Pod's spec says otherwise.
_SERVICE_LINK: Final = re.compile(
    PREFIX + r"(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_\w+)?)"
)
_PREFIX: Final = Setting(path="state.prefix").variable
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
class Written:
    """The blocks of `gateway.yaml`, overridden.

    named: by path, the variable or the flag that gave a value in place of the file.
    """

    blocks: Mapping[str, Mapping[str, object]]
    named: Mapping[str, str]

    def name_of(self, path: str) -> str:
        """Return what to call a setting: where its value was written."""
        return self.named.get(path, path)

    def judged(self, shape: type[_Shape], block: str) -> _Shape:
        """Return a block in its shape; raises SettingInvalid."""
        try:
            # Texts of the environment become numbers and switches here, which the files' own reader does not allow.
            return shape.model_validate(self.blocks[block], strict=False)
        except ValidationError as fault:
            first = fault.errors()[0]
            # Of a list its name says enough; the message has the item.
            path = ".".join([block, *(str(one) for one in first["loc"] if not isinstance(one, int))])
            raise SettingInvalid(f"{self.name_of(path)} {_wanted(path, first)}.") from None


def overridden(
    files: Mapping[str, BaseModel], *, environment: Mapping[str, str], flags: Mapping[str, object]
) -> Written:
    """Put flags over the environment and that over the files' blocks; raises SettingInvalid for what is no setting."""
    _refuse_unknown(environment)
    blocks: dict[str, dict[str, object]] = {name: block.model_dump() for name, block in files.items()}
    named: dict[str, str] = {}
    if environment.get(_PREFIX) == "":
        # Of all variables this one may not count as not set: two installations would share used tokens and switches.
        raise SettingInvalid(f"{_PREFIX} is empty. Write a prefix, or unset it for what gateway.yaml says.")
    for setting in SETTINGS:
        if setting.path in flags:
            named[setting.path] = setting.flag or setting.path
            _put(blocks, setting.path, flags[setting.path])
        elif environment.get(setting.variable):
            named[setting.path] = setting.variable
            text = environment[setting.variable]
            _put(blocks, setting.path, [one.strip() for one in text.split(",")] if setting.many else text)
    return Written(blocks=blocks, named=named)


def _put(blocks: dict[str, dict[str, object]], path: str, value: object) -> None:
    block, _, key = path.partition(".")
    first, _, second = key.partition(".")
    if not second:
        blocks[block][first] = value
        return
    inner = blocks[block].get(first)
    blocks[block][first] = {**(inner if isinstance(inner, dict) else {}), second: value}


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
