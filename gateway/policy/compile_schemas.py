"""Input schemas of workflows: a file's text as a schema that works, or what is wrong with it, at its place."""

import json
from typing import Final

from gateway.files.document import read_document
from gateway.files.source import FindingCode, Source
from gateway.policy.input_schema import InputSchema
from gateway.policy.input_walk import SchemaInvalid
from gateway.policy.report import Report, Spot
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

_SCHEMA_LIMITS: Final = JsonLimits(depth=100, members=50_000, array_length=10_000, string_length=8_192)


def read_schema(source: Source, report: Report) -> InputSchema | None:
    """Compile an input schema; what is wrong with it is reported at its place in its own file."""
    # JSON is read as JSON; the YAML reader is asked for places alone.
    spot = Spot(read_document(source), (), report)
    try:
        document = parse_json_object(source.text.encode(), _SCHEMA_LIMITS)
    except StrictJsonError as error:
        at = _syntax_error(source.text)
        spot.error(
            FindingCode.SCHEMA_UNUSABLE,
            f"{source.file} is no JSON Schema: {error.message}{at}",
            "Write one JSON object, each member once.",
        )
        return None
    try:
        return InputSchema.compile(document)
    except SchemaInvalid as error:
        for part in _path_of(error.pointer, document):
            spot = spot / part
        spot.error(
            FindingCode.SCHEMA_UNUSABLE,
            f"{error.pointer or 'The schema'}: {error.message}.".replace("..", "."),
            "JSON Schema 2020-12 or draft-07, complete in one file.",
        )
        return None


def _syntax_error(text: str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f" Line {error.lineno}, column {error.colno}: {error.msg}."
    except RecursionError:
        return ""
    return ""


def _path_of(pointer: str, document: object) -> list[str | int]:
    path: list[str | int] = []
    here = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(here, list) and name.isdecimal() and int(name) < len(here):
            path.append(int(name))
            here = here[int(name)]
        elif isinstance(here, dict) and name in here:
            path.append(name)
            here = here[name]
        else:
            break
    return path
