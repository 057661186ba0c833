"""JSON Schema validators whose work is bounded: steps are counted, patterns and equality are linear."""

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Final, Literal, Protocol, cast

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from gateway.policy.pattern import Pattern

# Keywords looked at for one input: about half a second. A schema can ask for exponential work (`anyOf` over `$ref`).
MAX_STEPS: Final = 100_000
# What a step is made of: one keyword takes as long as 32 characters or states of a pattern. The other numbers say how
# often that is taken for other things that one keyword may do many times.
_STEP: Final = 32
_ITEM: Final = 16
_NODE: Final = 4

Draft = Literal["7", "2020-12"]
_Errors = Iterator[ValidationError]
_left: ContextVar[list[int]] = ContextVar("left")
# Keywords that go through all items or members even where there is nothing to judge them by.
_PER_ITEM: Final = frozenset({"items", "prefixItems", "additionalItems", "contains", "propertyNames"})


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


@lru_cache(maxsize=1_000)
def compiled_pattern(text: str) -> Pattern:
    """Compile once; raises PatternInvalid. Only patterns of the administrators' files come here."""
    return Pattern(text)


def make_validator(document: Mapping[str, object], draft: Draft) -> Validator:
    """Make a validator that never fetches anything and stops after MAX_STEPS keywords."""
    # An explicit registry: the default one fetches unknown references over the network.
    return _MAKERS[draft](document, registry=Registry())


def begin_counting() -> None:
    """Give the validation that follows its full number of steps."""
    _left.set([MAX_STEPS * _STEP])


def spend(work: int) -> None:
    """Take work from what is left; raises StepsExceeded."""
    left = _left.get()
    left[0] -= work
    if left[0] < 0:
        raise StepsExceeded


def _count() -> None:
    spend(_STEP)


def _counted(name: str, judge: _Judge) -> _Judge:
    def counted(
        validator: Validator, wanted: object, value: object, schema: Mapping[str, object]
    ) -> _Errors | None:
        work = _STEP
        if name in _PER_ITEM and isinstance(value, list | dict):
            work += _ITEM * len(value)
        if isinstance(wanted, dict):
            work += len(wanted) // 4  # names that are only looked up
        spend(work)
        return judge(validator, wanted, value, schema)

    return counted


def _pattern(_v: Validator, wanted: object, value: object, _s: Mapping[str, object]) -> _Errors:
    if (
        isinstance(value, str)
        and isinstance(wanted, str)
        and not compiled_pattern(wanted).search(value, spend)
    ):
        yield ValidationError("does not match")


def _pattern_properties(
    validator: Validator, wanted: object, value: object, _s: Mapping[str, object]
) -> _Errors:
    if not isinstance(value, dict) or not isinstance(wanted, Mapping):
        return
    for text, schema in wanted.items():
        for name, member in value.items():
            _count()
            if compiled_pattern(text).search(name, spend):
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
        if (isinstance(known, Mapping) and name in known) or any(
            text.search(name, spend) for text in patterns
        ):
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


def _enum(_v: Validator, wanted: object, value: object, _s: Mapping[str, object]) -> _Errors:
    # The library compares with one value after the other: a list of 5,000 names and 20,000 items would take seconds.
    if not isinstance(wanted, list):
        return
    scalars, others = _values_of(wanted)
    if isinstance(value, list | dict):
        if not any(_equal(value, other) for other in others):
            yield ValidationError("is none of these")
    elif _key(value) not in scalars:
        yield ValidationError("is none of these")


def _const(_v: Validator, wanted: object, value: object, _s: Mapping[str, object]) -> _Errors:
    if not _equal(value, wanted):
        yield ValidationError("is another value")


class _Enums:
    """Values of `enum` lists, prepared once for each. Lists of schemas in force are few and live long."""

    def __init__(self) -> None:
        # The list itself is kept with them, so that no other one can be given its identity meanwhile.
        self._known: dict[int, tuple[list[object], frozenset[object], list[object]]] = {}

    def __call__(self, wanted: list[object]) -> tuple[frozenset[object], list[object]]:
        found = self._known.get(id(wanted))
        if found is None:
            if len(self._known) >= 1_000:
                self._known.clear()
            scalars = frozenset(_key(one) for one in wanted if not isinstance(one, list | dict))
            others: list[object] = [one for one in wanted if isinstance(one, list | dict)]
            found = self._known[id(wanted)] = (wanted, scalars, others)
        return found[1], found[2]


_values_of: Final = _Enums()


def _equal(one: object, other: object) -> bool:
    """Say whether two JSON values are equal: 1 and 1.0 are, 1 and true are not."""
    spend(_NODE)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(value, other[name]) for name, value in one.items())
    return isinstance(one, bool) is isinstance(other, bool) and one == other


def _key(value: object) -> object:
    """Make a hashable value that is equal exactly where JSON values are: 1 and 1.0 are, 1 and true are not."""
    spend(_NODE)
    match value:
        case bool():
            return ("bool", value)
        case int() | float():
            # As text, whose hash nobody can foresee: for Python all multiples of 2^61-1 have the same.
            return ("number", str(int(value) if value == int(value) else value))
        case list():
            return ("list", tuple(_key(item) for item in value))
        case dict():
            return ("object", frozenset((name, _key(member)) for name, member in value.items()))
        case str():
            return ("text", value)
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
    "enum": _enum,
    "const": _const,
}


def _bounded(base: type[Draft202012Validator] | type[Draft7Validator]) -> _Make:
    keywords = cast(Mapping[str, _Judge], base.VALIDATORS) | _OWN  # type: ignore[operator]
    counted = {name: _counted(name, judge) for name, judge in keywords.items()}
    return cast(_Make, extend(base, validators=counted))  # type: ignore[no-untyped-call]


_MAKERS: Final[Mapping[Draft, _Make]] = {
    "7": _bounded(Draft7Validator),
    "2020-12": _bounded(Draft202012Validator),
}
