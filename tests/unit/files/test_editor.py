import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from gateway.files.editor import FORMATS, editor_schemas

CONFIG = Path(__file__).parents[3] / "config"
EXAMPLES = [
    (CONFIG / "gateway.yaml", "gateway.v1.json"),
    (CONFIG / "targets.yaml", "targets.v1.json"),
    *(
        (path, "tests.v1.json" if path.name.endswith(".test.yaml") else "mapping.v1.json")
        for path in sorted((CONFIG / "mappings").rglob("*.yaml"))
    ),
]


@pytest.mark.parametrize("name", FORMATS)
def test_the_schemas_that_editors_read_are_those_of_this_version(name: str) -> None:
    written = (CONFIG / "schemas" / name).read_text(encoding="utf-8")

    assert written == editor_schemas()[name], "run: oidc-gateway check --schemas config"


@pytest.mark.parametrize("name", FORMATS)
def test_the_schemas_are_json_schemas_that_explain_every_member(name: str) -> None:
    schema = json.loads(editor_schemas()[name])

    Draft202012Validator.check_schema(schema)
    shapes = [schema, *schema["$defs"].values()]
    unexplained = [
        member
        for shape in shapes
        for member, described in shape.get("properties", {}).items()
        if not described.get("description")
    ]
    assert unexplained == []


@pytest.mark.parametrize(("path", "name"), [pytest.param(*one, id=one[0].name) for one in EXAMPLES])
def test_the_shipped_examples_are_valid_to_an_editor(path: Path, name: str) -> None:
    schema = json.loads(editor_schemas()[name])

    Draft202012Validator(schema).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    "grant",
    [{"start": "x"}, {"obtain": "x", "as": "y"}, {"start": "x", "view": "y", "as": "z"}, {}, {"start": None}],
    ids=str,
)
def test_an_editor_marks_a_grant_that_is_not_one_power(grant: object) -> None:
    schema = json.loads(editor_schemas()["mapping.v1.json"])
    rule = {"name": "a", "why": "b", "issuer": "c", "claims": {"d": "e"}, "grants": [grant]}

    assert not Draft202012Validator(schema).is_valid({"format": "oidc-gateway/mapping.v1", "rules": [rule]})
