"""All switches as one JSON document, the same in a file and in Redis. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, cast

from gateway.state.switches import KINDS, MAX_OFF, MAX_ON, Switch, SwitchBoard, SwitchKind
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

FORMAT: Final = "oidc-gateway/switches.v1"
MAX_BYTES: Final = 32 * 1024 * 1024
#: Characters; an issuer's name, a blank and a `sub`, which the token's own limits bound.
MAX_NAME: Final = 1_024
MAX_WHY: Final = 500
MAX_BY: Final = 200

Key = tuple[SwitchKind, str]

_LIMITS: Final = JsonLimits(
    depth=3, members=6 * (MAX_OFF + MAX_ON) + 3, array_length=MAX_OFF, string_length=MAX_NAME
)
_MEMBERS: Final = frozenset({"kind", "name", "why", "by", "at"})
_UNREADABLE: Final = "sha256:" + "0" * 64


class SwitchesInvalid(ValueError):
    """The bytes are no such document, or a change would make none. The message says why, without showing them."""


def board_of(off: Iterable[Switch] = (), on: Iterable[Switch] = ()) -> SwitchBoard:
    """Return the board of these switches."""
    switched_off = {(one.kind, one.name): one for one in sorted(off, key=_order)}
    switched_on = {(one.kind, one.name): one for one in sorted(on, key=_order)}
    text = json.dumps([_written(one) for one in switched_off.values()], ensure_ascii=True)
    digest = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    return SwitchBoard(
        readable=True,
        digest=digest,
        off=switched_off,
        on=switched_on,
        rules=frozenset(name for kind, name in switched_off if kind == "rule"),
    )


def unreadable() -> SwitchBoard:
    """Return the board of a store that cannot be read: everything is off."""
    return SwitchBoard(readable=False, digest=_UNREADABLE)


def switched_off(board: SwitchBoard, switch: Switch) -> SwitchBoard:
    """Return the board with this off; the same board when it was off already. Raises SwitchesInvalid."""
    key = (switch.kind, switch.name)
    if key in board.off:
        return board
    judge_switch(switch)
    if len(board.off) >= MAX_OFF:
        raise SwitchesInvalid(f"{MAX_OFF:,} things are off already, and no more fit.")
    on = (one for other, one in board.on.items() if other != key)
    return board_of((*board.off.values(), switch), on)


def switched_on(board: SwitchBoard, switch: Switch) -> SwitchBoard:
    """Return the board with this on again; the same board when it was not off. Raises SwitchesInvalid."""
    key = (switch.kind, switch.name)
    if key not in board.off:
        return board
    judge_switch(switch)
    off = (one for other, one in board.off.items() if other != key)
    latest = sorted((*board.on.values(), switch), key=lambda one: one.at)[-MAX_ON:]
    return board_of(off, latest)


def encode(board: SwitchBoard) -> bytes:
    """Return the document as lines that people can read; its switches in one order, so that it can be compared."""
    document = {
        "format": FORMAT,
        "off": [_written(one) for one in board.off.values()],
        "on": [_written(one) for one in board.on.values()],
    }
    return (json.dumps(document, indent=2, ensure_ascii=True) + "\n").encode()


def decode(data: bytes) -> SwitchBoard:
    """Return the board of a document; raises SwitchesInvalid for anything else, an empty file included."""
    if len(data) > MAX_BYTES:
        raise SwitchesInvalid(f"It is longer than {MAX_BYTES:,} bytes.")
    try:
        document = parse_json_object(data, _LIMITS)
    except StrictJsonError as fault:
        raise SwitchesInvalid(fault.message) from None
    if document.get("format") != FORMAT:
        raise SwitchesInvalid(f"Its `format` is not {FORMAT}.")
    if set(document) - {"format", "off", "on"}:
        raise SwitchesInvalid("It has a member that is not known.")
    off, on = _read_all(document, "off"), _read_all(document, "on")
    keys = [(one.kind, one.name) for one in (*off, *on)]
    if len(set(keys)) != len(keys):
        raise SwitchesInvalid("It names something twice.")
    return board_of(off, on)


def _order(switch: Switch) -> Key:
    return switch.kind, switch.name


def _written(switch: Switch) -> Mapping[str, str]:
    at = datetime.fromtimestamp(switch.at, UTC).isoformat(timespec="milliseconds")
    return {
        "kind": switch.kind,
        "name": switch.name,
        "why": switch.why,
        "by": switch.by,
        "at": at.replace("+00:00", "Z"),
    }


def _read_all(document: Mapping[str, object], member: str) -> list[Switch]:
    # Both have to be there: a document that lost one in an edit by hand must not read as nothing off.
    found = document.get(member)
    if not isinstance(found, list):
        raise SwitchesInvalid(f"Its member `{member}` is not a list.")
    return [_read(one) for one in found]


def _read(found: object) -> Switch:
    if not isinstance(found, dict) or set(found) != _MEMBERS:
        raise SwitchesInvalid("A switch has not exactly the members kind, name, why, by and at.")
    if not all(isinstance(value, str) for value in found.values()):
        raise SwitchesInvalid("A member of a switch is not a text.")
    if found["kind"] not in KINDS:
        raise SwitchesInvalid("A switch is of a kind that is not known.")
    switch = Switch(
        kind=cast(SwitchKind, found["kind"]),
        name=found["name"],
        why=found["why"],
        by=found["by"],
        at=_seconds(found["at"]),
    )
    judge_switch(switch)
    return switch


def judge_switch(switch: Switch) -> None:
    """Raise SwitchesInvalid for texts that are not one line of visible characters, or too long."""
    for member, text, limit in (
        ("name", switch.name, MAX_NAME),
        ("why", switch.why, MAX_WHY),
        ("by", switch.by, MAX_BY),
    ):
        if not 1 <= len(text) <= limit or not text.isprintable() or text != text.strip():
            raise SwitchesInvalid(
                f"The `{member}` of a switch is not one line of 1 to {limit:,} visible characters."
            )


def _seconds(text: str) -> float:
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            raise SwitchesInvalid("The `at` of a switch has no time zone.")
        return at.timestamp()
    except (ValueError, OverflowError):
        raise SwitchesInvalid("The `at` of a switch is no time.") from None
