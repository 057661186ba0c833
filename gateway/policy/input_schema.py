"""What a workflow's input must be: a JSON Schema, anything, or nothing; judged in bounded time, without the network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from jsonschema import Draft7Validator, Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from gateway.errors import InputFault
from gateway.policy.input_keywords import Draft, StepsExceeded, Validator, begin_counting, make_validator
from gateway.policy.input_quickly import Fits, quick_yes
from gateway.policy.input_walk import SchemaInvalid, json_pointer, walk_schema

MAX_FAULTS: Final = 20
MAX_PATH: Final = 256

_DRAFTS: Final[Mapping[str, Draft]] = {
    "https://json-schema.org/draft/2020-12/schema": "2020-12",
    "http://json-schema.org/draft-07/schema": "7",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSchema:
    """What an input must be; compared by its text, so that equal files make equal workflows.

    text:     canonical JSON of the document; empty where anything is accepted.
    document: the JSON Schema for readers; None where anything is accepted.
    """

    text: str
    document: Mapping[str, object] | None = field(compare=False, repr=False)
    _validator: Validator | None = field(compare=False, repr=False)
    _fits: Fits | None = field(default=None, compare=False, repr=False)

    @classmethod
    def anything(cls) -> "InputSchema":
        """Accept every object."""
        return cls(text="", document=None, _validator=None)

    @classmethod
    def nothing(cls) -> "InputSchema":
        """Accept only the empty object: what a workflow without a schema takes."""
        return cls.compile({"type": "object", "maxProperties": 0})

    @classmethod
    def compile(cls, document: Mapping[str, object]) -> "InputSchema":
        """Compile a JSON Schema of draft 2020-12 (the default) or draft-07; raises SchemaInvalid.

        `format` is an annotation only; `$ref` stays inside the document.
        """
        draft = _draft(document)
        try:
            (Draft7Validator if draft == "7" else Draft202012Validator).check_schema(document)
        except SchemaError as error:
            raise SchemaInvalid(json_pointer(error.absolute_path), error.message[:200]) from error
        except RecursionError as error:
            raise SchemaInvalid("", "the schema is nested too deeply") from error
        walk_schema(document)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return cls(
            text=text,
            document=document,
            _validator=make_validator(document, draft),
            _fits=quick_yes(document),
        )

    def faults(self, value: Mapping[str, object]) -> tuple[InputFault, ...]:
        """Return the places that break the schema, at most MAX_FAULTS; empty when the input is good.

        `complexity` means that judging this input would cost more than one call may.
        """
        if self._validator is None:
            return ()
        begin_counting()
        try:
            if self._fits is not None and self._fits(value):
                return ()
            begin_counting()
            found = list(islice(self._validator.iter_errors(_quiet(value)), MAX_FAULTS))
        except (StepsExceeded, RecursionError):
            return (InputFault(path="", problem="complexity"),)
        return tuple(dict.fromkeys(_fault(error) for error in found))


class _QuietObject(dict[str, object]):
    def __repr__(self) -> str:
        return "{…}"


class _QuietArray(list[object]):
    def __repr__(self) -> str:
        return "[…]"


def _quiet(value: object) -> object:
    """Copy a value so that writing it into a message costs nothing.

    The library does so for every branch that does not fit, and nobody reads it: callers are told places alone.
    """
    match value:
        case dict():
            return _QuietObject((name, _quiet(member)) for name, member in value.items())
        case list():
            return _QuietArray(map(_quiet, value))
        case _:
            return value


def _fault(error: ValidationError) -> InputFault:
    path = json_pointer(error.absolute_path)
    keyword = error.validator
    return InputFault(
        path=path if len(path) <= MAX_PATH else path[:MAX_PATH] + "…",
        # A schema `false` has no keyword of its own.
        problem=keyword if isinstance(keyword, str) else "false",
    )


def _draft(document: Mapping[str, object]) -> Draft:
    named = document.get("$schema", "https://json-schema.org/draft/2020-12/schema")
    draft = _DRAFTS.get(named.removesuffix("#")) if isinstance(named, str) else None
    if draft is None:
        raise SchemaInvalid("/$schema", "only JSON Schema drafts 2020-12 and 07 are supported")
    return draft
