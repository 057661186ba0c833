"""JSON Schema validators whose work is bounded: steps are counted, patterns and equality are linear."""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Final, Literal, Protocol, cast

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from gateway.policy.pattern import Pattern

# Keywords looked at for one input: about half a second. A schema can ask for exponential work (`anyOf` over `$ref`).
MAX_STEPS: Final = 100_000

Draft = Literal["7", "2020-12"]
_Errors = Iterator[ValidationError]
_left: ContextVar[list[int]] = ContextVar("left")
_patterns: Final[dict[str, Pattern]] = {}


class StepsExceeded(Exception):
    """The input asks for more work than one call may cost."""


class Validator(Protocol):
    """What we use of the library's validators."""

    def iter_errors(self, instance: object) -> Iterator[ValidationError]:
        """Yield what breaks the schema."""
        ...

    def descend(
        self, instance: object, schema: object, path: str | None = None, schema_path: str | None = None
    ) -> Iterator[ValidationError]:
        """Yield what breaks a part of the schema in a part of the instance."""
        ...


_Judge = Callable[[Validator, object, object, Mapping[str, object]], _Errors | None]


def compiled_pattern(text: str) -> Pattern:
    """Compile once; raises PatternInvalid. Only patterns of the administrators' files come here."""
    found = _patterns.get(text)
    if found is None:
        found = _patterns[text] = Pattern(text)
    return found


def make_validator(document: Mapping[str, object], draft: Draft) -> Validator:
    """Make a validator that never fetches anything and stops after MAX_STEPS keywords."""
    # An explicit registry: the default one fetches unknown references over the network.
    return _MAKERS[draft](document, registry=Registry())


def begin_counting() -> None:
    """Give the validation that follows its full number of steps."""
    _left.set([MAX_STEPS])


def _count() -> None:
    left = _left.get()
    left[0] -= 1
    if left[0] < 0:
        raise StepsExceeded


def _counted(judge: _Judge) -> _Judge:
    def counted(
        validator: Validator, wanted: object, value: object, schema: Mapping[str, object]
    ) -> _Errors | None:
        _count()
        return judge(validator, wanted, value, schema)

    return counted


def _pattern(_v: Validator, wanted: object, value: object, _s: Mapping[str, object]) -> _Errors:
    if isinstance(value, str) and isinstance(wanted, str) and not compiled_pattern(wanted).search(value):
        yield ValidationError("does not match")


def _pattern_properties(
    validator: Validator, wanted: object, value: object, _s: Mapping[str, object]
) -> _Errors:
    if not isinstance(value, dict) or not isinstance(wanted, Mapping):
        return
    for text, schema in wanted.items():
        for name, member in value.items():
            _count()
            if compiled_pattern(text).search(name):
                yield from validator.descend(member, schema, path=name, schema_path=text)


def _additional_properties(
    validator: Validator, wanted: object, value: object, schema: Mapping[str, object]
) -> _Errors:
    if not isinstance(value, dict) or wanted is True:
        return
    known = schema.get("properties")
    named = schema.get("patternProperties")
    patterns = [compiled_pattern(text) for text in named] if isinstance(named, Mapping) else []
    for name, member in value.items():
        _count()
        if (isinstance(known, Mapping) and name in known) or any(text.search(name) for text in patterns):
            continue
        if wanted is False:
            yield ValidationError("is not known", path=(name,))
            continue
        yield from validator.descend(member, wanted, path=name)


def _required(_v: Validator, wanted: object, value: object, _s: Mapping[str, object]) -> _Errors:
    # The library names the missing member in its text alone; callers are told places.
    if not isinstance(value, dict) or not isinstance(wanted, list):
        return
    for name in wanted:
        _count()
        if name not in value:
            yield ValidationError("is missing", path=(name,))


def _unique_items(_v: Validator, wanted: object, value: object, _s: Mapping[str, object]) -> _Errors:
    # The library compares every pair of objects: 30,000 small ones would take minutes.
    if wanted is True and isinstance(value, list) and len({_key(item) for item in value}) != len(value):
        yield ValidationError("has equal items")


def _key(value: object) -> object:
    """Make a hashable value that is equal exactly where JSON values are: 1 and 1.0 are, 1 and true are not."""
    match value:
        case bool():
            return ("bool", value)
        case list():
            return ("list", tuple(_key(item) for item in value))
        case dict():
            return ("object", frozenset((name, _key(member)) for name, member in value.items()))
        case _:
            return value


class _Make(Protocol):
    def __call__(self, schema: Mapping[str, object], *, registry: Registry[object]) -> Validator: ...


_OWN: Final[Mapping[str, _Judge]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "required": _required,
    "uniqueItems": _unique_items,
}


def _bounded(base: type[Draft202012Validator] | type[Draft7Validator]) -> _Make:
    keywords = cast(Mapping[str, _Judge], base.VALIDATORS) | _OWN  # type: ignore[operator]
    counted = {name: _counted(judge) for name, judge in keywords.items()}
    return cast(_Make, extend(base, validators=counted))  # type: ignore[no-untyped-call]


_MAKERS: Final[Mapping[Draft, _Make]] = {
    "7": _bounded(Draft7Validator),
    "2020-12": _bounded(Draft202012Validator),
}
