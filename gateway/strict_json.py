"""JSON objects read the strict way: every limit counted, and everything that two parsers might read differently refused."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

JsonFault = Literal["invalid", "duplicate", "too_complex"]

# Outside of strings only structure counts; an unfinished string ends the scan, the parser then refuses it.
_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[{}\[\]:]', re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
#: Makes values of a text, or raises whatever it raises; what it makes is believed only after a look at each.
Quick = Callable[[str], object]
_plain_decoder = json.JSONDecoder()
# Integers of fewer digits need no counting of theirs.
_SHORT_DIGITS = 16
_SHORT = 10 ** (_SHORT_DIGITS - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLimits:
    """How complex a text may be.

    depth:         nested objects and arrays, the outermost included; at most 200.
    members:       members of all objects together.
    array_length:  items of one array.
    name_length:   characters of a member name, after unescaping.
    string_length: characters of a string, after unescaping.
    digits:        characters of one number; Python refuses integers beyond 4,300 digits.
    """

    depth: int = 16
    members: int = 512
    array_length: int = 1_024
    name_length: int = 256
    string_length: int = 8_192
    digits: int = 64


TOKEN_LIMITS = JsonLimits()


class StrictJsonError(ValueError):
    """The text is not one JSON object within the limits.

    kind:    what is wrong with it. message: says it without showing the text.
    member:  the name that occurs twice (`duplicate`); the sender's own text, so show it to the sender at most.
    """

    def __init__(self, kind: JsonFault, message: str, *, member: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.member = member


def parse_json_object(
    data: bytes, limits: JsonLimits = TOKEN_LIMITS, *, quick: Quick = _plain_decoder.decode
) -> dict[str, object]:
    """Parse UTF-8 bytes to an object. The caller has bounded their number.

    quick: a parser to ask first, faster than Python's own; it must take no text that is not JSON.
    Refuses what RFC 7493 (I-JSON) refuses: other encodings, a byte-order mark, duplicate names at any depth after
    unescaping, NaN and Infinity (overflow such as 1e999 included), lone surrogates. Raises StrictJsonError.
    """
    text = _decode(data)
    _count_structure(data, limits)
    plain = _parse_plain(text, data, limits, quick)
    return _parse_closely(text, data, limits) if plain is None else plain


def _parse_plain(
    text: str, data: bytes, limits: JsonLimits, quick: Quick = _plain_decoder.decode
) -> dict[str, object] | None:
    """Return the object where all is well and cheaply seen to be, else None. A third of the time of the close look.

    Without a backslash every string of the text stands between two quotes and every quote belongs to one, so quotes
    tell how many strings there were: when the parser has dropped a member because its name came again, some are missing.
    """
    if b"\\" in data or len(data) > limits.string_length or limits.digits < _SHORT_DIGITS:
        return None
    try:
        found = quick(text)
    except Exception:  # noqa: BLE001  # whatever it cannot read, the close look judges
        return None
    if not isinstance(found, dict):
        return None
    strings = _count_strings(found, limits)
    return found if strings is not None and 2 * strings == data.count(b'"') else None


def _count_strings(value: dict[str, object] | list[object], limits: JsonLimits) -> int | None:
    """Return how many strings, names included, a parsed value holds; None where something needs the close look."""
    count = 0
    items: list[object]
    if isinstance(value, dict):
        if value and max(map(len, value)) > limits.name_length:
            return None
        count, items = len(value), [*value.values()]
    elif len(value) > limits.array_length:
        return None
    else:
        items = value
    others = [item for item in items if type(item) is not str]
    count += len(items) - len(others)
    for item in others:
        if isinstance(item, int):
            if not -_SHORT < item < _SHORT:
                return None
        elif isinstance(item, dict | list):
            inner = _count_strings(item, limits)
            if inner is None:
                return None
            count += inner
        elif item is not None:  # a float: perhaps NaN, infinite, or written with a thousand digits
            return None
    return count


def _parse_closely(text: str, data: bytes, limits: JsonLimits) -> dict[str, object]:
    reader = _Reader(limits, may_hold_surrogates=b"\\u" in data)
    decoder = json.JSONDecoder(
        object_pairs_hook=reader.members,
        parse_int=reader.integer,
        parse_float=reader.fraction,
        parse_constant=_refuse_constant,
        strict=True,  # control characters inside strings are refused
    )
    try:
        found: object = decoder.decode(text)
    except json.JSONDecodeError:
        # Its message and cause hold the text.
        raise StrictJsonError("invalid", "It is not well-formed JSON.") from None
    if not isinstance(found, dict):
        raise StrictJsonError("invalid", "It is JSON, but not an object.")
    return found


def _decode(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise StrictJsonError("invalid", "It starts with a byte-order mark.")
    try:
        return data.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise StrictJsonError("invalid", "It is not UTF-8.") from None


def _count_structure(data: bytes, limits: JsonLimits) -> None:
    # Before parsing: the parser recurses, and catching RecursionError would leave the limit to the interpreter.
    # Most texts have so few brackets and colons in all that nothing needs to be told apart.
    if _is_shallow(data, limits.depth) and data.count(b":") <= limits.members:
        return
    depth = members = 0
    for found in _STRUCTURE.finditer(data):
        match found[0]:
            case b"{" | b"[":
                depth += 1
                _within(depth, limits.depth, "It is nested deeper than {} levels.")
            case b"}" | b"]":
                depth -= 1
            case b":":
                members += 1
                _within(members, limits.members, "It has more than {} members.")
            case _:
                continue


def _is_shallow(data: bytes, depth: int) -> bool:
    # To find none takes a tenth of the time of counting them.
    flat = b"[" not in data and data.rfind(b"{") <= 0
    return flat or data.count(b"{") + data.count(b"[") <= depth


def _within(count: int, limit: int, message: str) -> None:
    if count > limit:
        raise StrictJsonError("too_complex", message.format(f"{limit:,}"))


def _refuse_constant(_: str) -> NoReturn:
    raise StrictJsonError("invalid", "It holds NaN or Infinity, which JSON does not have.")


class _Reader:
    """Checks every value while the parser hands it over."""

    def __init__(self, limits: JsonLimits, *, may_hold_surrogates: bool) -> None:
        self._limits = limits
        # Valid UTF-8 holds no surrogates; only an escape can make one.
        self._may_hold_surrogates = may_hold_surrogates

    def members(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in pairs:
            self._text(name, self._limits.name_length, "A member name is longer than {} characters.")
            if name in found:
                raise StrictJsonError("duplicate", "A member name occurs twice in one object.", member=name)
            self._value(value)
            found[name] = value
        return found

    def _value(self, value: object) -> None:
        if isinstance(value, str):
            self._text(value, self._limits.string_length, "A string is longer than {} characters.")
        elif isinstance(value, list):
            _within(len(value), self._limits.array_length, "An array has more than {} items.")
            for item in value:
                self._value(item)

    def _text(self, text: str, limit: int, message: str) -> None:
        _within(len(text), limit, message)
        if self._may_hold_surrogates and _SURROGATE.search(text):
            raise StrictJsonError("invalid", "It holds half of a surrogate pair.")

    def integer(self, text: str) -> int:
        _within(len(text), self._limits.digits, "A number is longer than {} characters.")
        return int(text)

    def fraction(self, text: str) -> float:
        _within(len(text), self._limits.digits, "A number is longer than {} characters.")
        number = float(text)
        if math.isinf(number):
            raise StrictJsonError("invalid", "It holds a number beyond the range of a double.")
        return number
