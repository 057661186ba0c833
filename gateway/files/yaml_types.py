"""Unquoted YAML values: which have one meaning everywhere, and which surprise."""

import re
from dataclasses import dataclass
from typing import Final

_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_OCTAL = re.compile(r"[-+]?0[0-9_]+")
_BASED = re.compile(r"[-+]?0(?:b[01_]+|o[0-7_]+|x[0-9A-F_]+)", re.IGNORECASE)
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*")
_SIGNED = re.compile(r"\+[0-9]+|-0")
_EXPONENT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)e[-+]?[0-9]+", re.IGNORECASE)
_FRACTION = re.compile(r"[-+]?(?:[0-9][0-9_]*)?\.[0-9_]+|[-+]?[0-9][0-9_]*\.")
_SPECIAL = re.compile(r"[-+]?\.inf|\.nan", re.IGNORECASE)
_SIXTY = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt ].*)?")
_TRUE: Final = frozenset({"y", "yes", "on", "true"})
_FALSE: Final = frozenset({"n", "no", "off", "false"})
# Everything that is not plain text begins with one of these.
_SUSPECTS: Final = frozenset("0123456789+-.~=<yYnNtTfFoO")
MAX_INTEGER: Final = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Surprise:
    """Why an unquoted value is refused. message: without the value; fix: what to write."""

    message: str
    fix: str


def read_plain(text: str) -> str | int | bool | Surprise:
    """Return the value of an unquoted scalar, or why it has no single meaning (YAML 1.1 and 1.2 differ)."""
    if text and text[0] not in _SUSPECTS:
        return text
    if text == "true":
        return True
    if text == "false":
        return False
    if _INTEGER.fullmatch(text):
        return _integer(text)
    return _surprise(text) or text


def _integer(text: str) -> int | Surprise:
    if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
        return Surprise(
            "is a number beyond 2^53-1, which JSON parsers round",
            f'Write "{text}" in quotes: as text it is exact.',
        )
    return int(text)


def _surprise(text: str) -> Surprise | None:
    lower = text.lower()
    quoted = f'"{text}"'
    if lower in {"", "~", "null"}:
        return Surprise("is no value", 'Leave the key out, or write "" for an empty text.')
    if lower in _TRUE or lower in _FALSE:
        meant = "true" if lower in _TRUE else "false"
        return Surprise(
            f"is {meant} to some YAML parsers and text to others", f"Write {quoted} in quotes, or {meant}."
        )
    if text in {"=", "<<"}:
        return Surprise("has a special meaning in YAML 1.1", f"Write {quoted} in quotes.")
    return _number(text, quoted)


def _number(text: str, quoted: str) -> Surprise | None:
    reasons = (
        (_DATE, "is a date to some YAML parsers and text to others"),
        (_SIXTY, "is a number in base 60 to some YAML parsers and text to others"),
        (_OCTAL, "is an octal number to some YAML parsers and a decimal one to others"),
        (_BASED, "is a number to some YAML parsers and text to others"),
        (_UNDERSCORED, "is a number to some YAML parsers and text to others"),
        (_SIGNED, "is a number that can be written in another way"),
        (_EXPONENT, "is a number to some YAML parsers and text to others"),
        (_FRACTION, "is a number with a fraction, and those are never compared"),
        (_SPECIAL, "is a number with a fraction, and those are never compared"),
    )
    for shape, reason in reasons:
        if shape.fullmatch(text):
            return Surprise(reason, f"Write {quoted} in quotes.")
    return None
