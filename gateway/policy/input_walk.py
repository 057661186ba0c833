"""What an input schema may say: nothing that reaches outside its file, never ends, or backtracks."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.policy.input_keywords import compiled_pattern
from gateway.policy.pattern import PatternInvalid

MAX_SCHEMAS: Final = 5_000
MAX_DEPTH: Final = 32

_REFUSED: Final[Mapping[str, str]] = {
    "$dynamicRef": "use $ref with #/$defs/…",
    "$recursiveRef": "use $ref with #/$defs/…",
    "unevaluatedProperties": "use additionalProperties",
    "unevaluatedItems": "use items",
}
# Where schemas stand inside a schema. The first three judge the same value, the others a part of it.
_SAME: Final = frozenset(
    {
        *("not", "if", "then", "else"),
        *("allOf", "anyOf", "oneOf"),
        *("dependentSchemas", "dependencies"),
    }
)
_LISTS: Final = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
_MAPS: Final = (
    *("dependentSchemas", "dependencies"),
    *("properties", "patternProperties", "$defs", "definitions"),
)
_SINGLE: Final = (
    *("not", "if", "then", "else"),
    *("additionalProperties", "items", "contains", "propertyNames", "additionalItems"),
)


class SchemaInvalid(ValueError):
    """The document is no JSON Schema that can be used here. pointer: where in it (RFC 6901)."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer
        self.message = message


def json_pointer(path: Iterable[object]) -> str:
    """Write a path as a JSON pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def walk_schema(document: Mapping[str, object]) -> None:
    """Visit every schema of a document; raises SchemaInvalid."""
    walk = _Walk()
    walk.schema(document, pointer="", depth=0)
    walk.refuse_loops()


class _Walk:
    def __init__(self) -> None:
        # Pointer of each schema → pointers of the schemas that judge the same value as it does.
        self._same: dict[str, list[str]] = {}
        self._refs: list[tuple[str, str]] = []

    def schema(self, schema: object, *, pointer: str, depth: int) -> None:
        if depth > MAX_DEPTH or len(self._same) >= MAX_SCHEMAS:
            raise SchemaInvalid(
                pointer, f"a schema has at most {MAX_SCHEMAS} parts, nested at most {MAX_DEPTH} deep"
            )
        self._same[pointer] = []
        if not isinstance(schema, Mapping):
            return
        self._keywords(schema, pointer)
        for keyword, place, child in _children(schema):
            below = pointer + json_pointer((keyword, *place))
            if keyword in _SAME:
                self._same[pointer].append(below)
            self.schema(child, pointer=below, depth=depth + 1)

    def _keywords(self, schema: Mapping[str, object], pointer: str) -> None:
        for keyword, instead in _REFUSED.items():
            if keyword in schema:
                raise SchemaInvalid(f"{pointer}/{keyword}", f"{keyword} is not supported; {instead}")
        if pointer and "$id" in schema:
            raise SchemaInvalid(f"{pointer}/$id", "$id is supported only at the top of the file")
        _check_patterns(schema, pointer)
        reference = schema.get("$ref")
        if reference is None:
            return
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise SchemaInvalid(
                f"{pointer}/$ref", "$ref must stay inside this file: # or a pointer such as #/$defs/version"
            )
        self._refs.append((pointer, reference[1:]))

    def refuse_loops(self) -> None:
        for pointer, target in self._refs:
            if target not in self._same:
                raise SchemaInvalid(f"{pointer}/$ref", f"$ref names #{target}, where no schema stands")
            self._same[pointer].append(target)
        done: set[str] = set()
        for pointer in self._same:
            self._follow(pointer, done)

    def _follow(self, start: str, done: set[str]) -> None:
        path = {start: iter(self._same[start])} if start not in done else {}
        while path:
            current = next(reversed(path))
            following = next(path[current], None)
            if following is None:
                done.add(current)
                del path[current]
            elif following in path:
                raise SchemaInvalid(following, "$ref leads back to itself without reading any input")
            elif following not in done:
                path[following] = iter(self._same[following])


def _check_patterns(schema: Mapping[str, object], pointer: str) -> None:
    named = schema.get("patternProperties")
    texts = [("patternProperties", text) for text in named] if isinstance(named, Mapping) else []
    texts.append(("pattern", schema.get("pattern")))
    for keyword, text in texts:
        if isinstance(text, str):
            try:
                compiled_pattern(text)
            except PatternInvalid as error:
                raise SchemaInvalid(
                    f"{pointer}/{keyword}", f"This pattern cannot be used: {error}."
                ) from error


def _children(schema: Mapping[str, object]) -> Iterator[tuple[str, tuple[object, ...], object]]:
    for keyword in _SINGLE:
        if isinstance(schema.get(keyword), Mapping | bool):
            yield keyword, (), schema[keyword]
    for keyword in _LISTS:
        found = schema.get(keyword)
        for index, child in enumerate(found if isinstance(found, list) else ()):
            yield keyword, (index,), child
    for keyword in _MAPS:
        named = schema.get(keyword)
        for name, child in named.items() if isinstance(named, Mapping) else ():
            # `dependencies` may also list names.
            if isinstance(child, Mapping | bool):
                yield keyword, (name,), child
