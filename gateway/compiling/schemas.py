"""Input schemas of workflows: a file's text as a schema that works, or what is wrong with it, at its place."""

import json
import re
from typing import Final

from gateway.compiling.report import Report, Spot
from gateway.files.document import read_document
from gateway.files.source import Finding, FindingCode, Place, Source
from gateway.files.text import positions
from gateway.policy.input_schema import InputSchema
from gateway.policy.input_walk import SchemaInvalid
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

# A number that is too long, or a text, in which digits are no number.
_NUMBERS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[-+.0-9eE]{65,}')
_SCHEMA_LIMITS: Final = JsonLimits(depth=100, members=50_000, array_length=10_000, string_length=8_192)


def read_schema(source: Source, report: Report) -> InputSchema | None:
    """Compile an input schema; what is wrong with it is reported at its place in its own file."""
    # JSON is read as JSON; the YAML reader is asked for places alone.
    written = read_document(source)
    spot = Spot(written, (), report)
    try:
        document = parse_json_object(source.text.encode(), _SCHEMA_LIMITS)
    except StrictJsonError as error:
        line, column, what = _syntax_error(source.text)
        report.add(
            Finding(
                code=FindingCode.SCHEMA_UNUSABLE,
                severity="error",
                place=Place(file=source.file, line=line, column=column),
                message=f"{source.file} is no JSON Schema: {error.message}{what}",
                fix="Write one JSON object, each member once.",
                excerpt=written.excerpt(line),
            )
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


def _syntax_error(text: str) -> tuple[int, int, str]:
    """Return line, column and what stands there; the first place when no better one is known."""
    # Python refuses to convert numbers of thousands of digits, and says so without a place.
    number = next((found for found in _NUMBERS.finditer(text) if not found[0].startswith('"')), None)
    if number is not None:
        return *next(positions(text, [number.start()])), ""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.lineno, error.colno, f" Line {error.lineno}, column {error.colno}: {error.msg}."
    except RecursionError:
        return 1, 1, ""
    return 1, 1, ""


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
