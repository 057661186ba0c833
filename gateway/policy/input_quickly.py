"""A quick yes for inputs of schemas that say no more than usual. What it does not say yes to is judged by the library."""

import math
from collections.abc import Callable, Mapping
from typing import Final, cast

from gateway.policy.input_keywords import compiled_pattern, spend

#: True only for a value in which the library finds no fault; False says nothing.
Fits = Callable[[object], bool]
_Schema = Mapping[str, object]

# They judge nothing; nor does `format` here.
_SILENT: Final = frozenset(
    {
        *("$schema", "$id", "$comment", "type", "title", "description", "default", "examples"),
        *("deprecated", "readOnly", "writeOnly", "format"),
    }
)


def quick_yes(schema: object) -> Fits | None:
    """Compile a schema; None where it holds a keyword beside the usual ones, or leaves the type open."""
    if schema is True:
        return _anything
    if not isinstance(schema, Mapping):
        return None
    kind = schema.get("type", "string" if "enum" in schema else None)
    if not isinstance(kind, str):
        return None
    known, make = _KINDS[kind]
    return make(schema) if schema.keys() <= known | _SILENT else None


def _text(schema: _Schema) -> Fits:
    least, most = _limits(schema, "minLength", "maxLength")
    written = schema.get("pattern")
    pattern = compiled_pattern(written) if isinstance(written, str) else None
    # Others than texts may be listed, too: to these the library says yes.
    listed = None if (enum := schema.get("enum")) is None else _texts(enum)

    def fits(value: object) -> bool:
        return (
            type(value) is str
            and least <= len(value) <= most
            and (listed is None or value in listed)
            and (pattern is None or pattern.search(value, spend))
        )

    return fits


def _integer(schema: _Schema) -> Fits:
    least, most = _limits(schema, "minimum", "maximum")
    # Exactly int: True is none, and 1.0 is left to the library.
    return lambda value: type(value) is int and least <= value <= most


def _number(schema: _Schema) -> Fits:
    least, most = _limits(schema, "minimum", "maximum")
    return lambda value: (type(value) is int or type(value) is float) and least <= value <= most


def _array(schema: _Schema) -> Fits | None:
    item = quick_yes(schema.get("items", True))
    if item is None:
        return None
    least, most = _limits(schema, "minItems", "maxItems")
    return lambda value: type(value) is list and least <= len(value) <= most and all(map(item, value))


def _object(schema: _Schema) -> Fits | None:
    more = schema.get("additionalProperties", True)
    other = _nothing if more is False else quick_yes(more)
    written = cast(_Schema, schema.get("properties", {}))
    named = {name: known for name, part in written.items() if (known := quick_yes(part)) is not None}
    if other is None or len(named) < len(written):
        return None
    required = _texts(schema.get("required", []))
    least, most = _limits(schema, "minProperties", "maxProperties")

    def fits(value: object) -> bool:
        return (
            type(value) is dict
            and least <= len(value) <= most
            and required <= value.keys()
            and all(named.get(name, other)(member) for name, member in value.items())
        )

    return fits


def _anything(_: object) -> bool:
    return True


def _nothing(_: object) -> bool:
    return False


def _limits(schema: _Schema, least: str, most: str) -> tuple[float, float]:
    return cast(float, schema.get(least, -math.inf)), cast(float, schema.get(most, math.inf))


def _texts(listed: object) -> frozenset[str]:
    return frozenset(one for one in cast(list[object], listed) if isinstance(one, str))


#: Of each type: the keywords that are understood, and what compiles them.
_KINDS: Final[Mapping[str, tuple[frozenset[str], Callable[[_Schema], Fits | None]]]] = {
    "string": (frozenset({"minLength", "maxLength", "pattern", "enum"}), _text),
    "integer": (frozenset({"minimum", "maximum"}), _integer),
    "number": (frozenset({"minimum", "maximum"}), _number),
    "boolean": (frozenset(), lambda _: lambda value: type(value) is bool),
    "null": (frozenset(), lambda _: lambda value: value is None),
    "array": (frozenset({"items", "minItems", "maxItems"}), _array),
    "object": (
        frozenset({"properties", "required", "additionalProperties", "minProperties", "maxProperties"}),
        _object,
    ),
}
