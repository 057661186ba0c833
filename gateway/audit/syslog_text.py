"""A line of the journal as a syslog message (RFC 5424). Pure."""

import json
import re
from collections.abc import Mapping
from typing import Final

from gateway.audit.document import dump
from gateway.audit.safe_text import cut

_FACILITY: Final = 13  # log audit
_NOTICE: Final = 5
_SEVERITY: Final[Mapping[str, int]] = {"unknown": 4, "refused": _NOTICE, "admin": _NOTICE}
_USUAL: Final = 6
_FRONT: Final = re.compile(
    rb'\{"seq":[0-9]+,"boot":"([0-9a-f]{16})","prev":"[0-9a-f]{64}","written_at":"([0-9T:.-]+Z)","v":1,"kind":"([a-z]{1,32})"'
)
_LINKS: Final = ("seq", "boot", "prev", "written_at", "v", "kind", "event", "request_id")
_MEMBERS: Final = (
    *_LINKS,
    *(
        "at",
        "act",
        "policy",
        "code",
        "token",
        "issuer_name",
        "issuer",
        "subject",
        "rules",
        "object",
        "target",
    ),
    *("issued", "execution", "existed", "status", "found_by", "upstream", "source", "actor", "why", "head"),
)


def to_message(line: bytes, *, host: str, max_bytes: int) -> bytes:
    """Return the message for a line of the journal, its line end not included; the line itself is what it says.

    A line that makes the message longer than `max_bytes` is said in short: its links, what was decided and its hash,
    with `shortened`, the length of the whole.
    """
    front = _FRONT.match(line)
    boot, at, kind = (part.decode("ascii") for part in front.groups()) if front else ("-", "-", "-")
    priority = _FACILITY * 8 + _SEVERITY.get(kind, _USUAL)
    header = f"<{priority}>1 {at} {host} oidc-gateway {boot} {kind} - ".encode("ascii")
    text = line.rstrip(b"\n")
    if len(header) + len(text) <= max_bytes:
        return header + text
    return header + _short(text, max_bytes - len(header))


def host_name(name: str) -> str:
    """Return a machine's name as a message may carry it: printable ASCII, 255 characters, `-` for none."""
    return re.sub(r"[^!-~]", "", name)[:255] or "-"


def _short(text: bytes, room: int) -> bytes:
    document, short = json.loads(text), b""
    for members, limit in ((_MEMBERS, 256), (_MEMBERS, 32), (_LINKS, 64)):
        kept = {name: _cut(document[name], limit) for name in members if name in document}
        short = dump({**kept, "shortened": len(text), "hash": document.get("hash")}).encode("ascii")
        if len(short) <= room:
            break
    return short


def _cut(value: object, limit: int) -> object:
    match value:
        case str() if re.fullmatch(r"[0-9a-f]{64}", value) is None:
            return cut(value, limit)
        case list():
            return [_cut(item, limit) for item in value[:8]]
        case _:
            return value
