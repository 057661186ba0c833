"""JSON Schemas of the formats, for editors: they complete keys, explain them, and mark mistakes while one types."""

import json
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from gateway.files.schema.cases import CasesShape
from gateway.files.schema.gateway import GatewayShape
from gateway.files.schema.mapping import MappingShape
from gateway.files.schema.targets import TargetsShape

#: File names below `config/schemas/`.
FORMATS: Final[Mapping[str, type[BaseModel]]] = {
    "gateway.v1.json": GatewayShape,
    "targets.v1.json": TargetsShape,
    "mapping.v1.json": MappingShape,
    "tests.v1.json": CasesShape,
}


def editor_schemas() -> dict[str, str]:
    """Return the text of each schema file, by its name; the same every time."""
    return {name: _text(name, shape) for name, shape in FORMATS.items()}


def _text(name: str, shape: type[BaseModel]) -> str:
    schema = _cleaned(shape.model_json_schema(by_alias=True))
    if not isinstance(schema, dict):
        raise TypeError(name)
    titled = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"oidc-gateway/{name.removesuffix('.json')}",
    }
    return json.dumps(titled | schema, indent=2, ensure_ascii=False) + "\n"


def _cleaned(schema: object) -> object:
    """Take out what misleads an editor: null, which no file may hold, and titles made of Python names."""
    if isinstance(schema, list):
        return [_cleaned(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        key: _cleaned_members(value) if key in {"properties", "$defs"} else _cleaned(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str)) and not (key == "default" and value is None)
    }
    choices = kept.get("anyOf")
    if isinstance(choices, list) and {"type": "null"} in choices:
        choices.remove({"type": "null"})
        if len(choices) == 1:
            del kept["anyOf"]
            kept = {**choices[0], **kept}
    return kept


def _cleaned_members(members: object) -> object:
    # The names of members are not keywords, even where they look like one.
    return (
        {name: _cleaned(member) for name, member in members.items()} if isinstance(members, dict) else members
    )
