import time

import pytest

from gateway.errors import InputFault
from gateway.policy.input_schema import InputSchema
from gateway.policy.input_walk import SchemaInvalid

DEPLOY = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["version"],
    "properties": {
        "version": {"$ref": "#/$defs/version"},
        "hosts": {"type": "array", "uniqueItems": True, "items": {"type": "object"}},
        "a/b": {"type": "integer"},
    },
    "$defs": {"version": {"type": "string", "pattern": "^[0-9]+\\.[0-9]+$"}},
}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param({"version": "1.4"}, [], id="good"),
        pytest.param({}, [("/version", "required")], id="missing"),
        pytest.param({"version": "x"}, [("/version", "pattern")], id="pattern"),
        pytest.param({"version": 1}, [("/version", "type")], id="type"),
        pytest.param(
            {"version": "1.4", "b": 1, "c": 2},
            [("/b", "additionalProperties"), ("/c", "additionalProperties")],
            id="unknown",
        ),
        pytest.param({"version": "1.4", "a/b": "x"}, [("/a~1b", "type")], id="pointer-is-escaped"),
        pytest.param({"version": "1.4", "a/b": True}, [("/a~1b", "type")], id="true-is-no-integer"),
        pytest.param(
            {"version": "1.4", "hosts": [{"a": 1}, {"a": 1.0}]}, [("/hosts", "uniqueItems")], id="equal"
        ),
        pytest.param({"version": "1.4", "hosts": [{"a": 1}, {"a": True}]}, [], id="one-is-not-true"),
    ],
)
def test_every_place_that_breaks_the_schema_is_named_and_no_value_is(
    value: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    found = InputSchema.compile(DEPLOY).faults(value)

    assert found == tuple(InputFault(path=path, problem=problem) for path, problem in expected)


def test_without_a_schema_only_the_empty_input_is_accepted() -> None:
    schema = InputSchema.nothing()

    assert schema.faults({}) == ()
    assert schema.faults({"a": 1}) == (InputFault(path="", problem="maxProperties"),)


def test_any_input_is_accepted_where_the_file_says_so() -> None:
    schema = InputSchema.anything()

    assert schema.faults({"a": [1, None]}) == ()
    assert schema.document is None


def test_draft_07_is_understood() -> None:
    schema = InputSchema.compile(
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"n": {"type": "integer"}},
            "properties": {"pair": {"items": [{"$ref": "#/definitions/n"}, {"type": "string"}]}},
        }
    )

    assert schema.faults({"pair": [1, 2]}) == (InputFault(path="/pair/1", problem="type"),)


def test_equal_files_make_equal_schemas() -> None:
    assert InputSchema.compile(DEPLOY) == InputSchema.compile(dict(reversed(DEPLOY.items())))
    assert hash(InputSchema.compile(DEPLOY)) == hash(InputSchema.compile(dict(DEPLOY)))


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        pytest.param({"$ref": "https://example.com/x.json"}, "/$ref", id="network"),
        pytest.param({"properties": {"a": {"$ref": "other.json"}}}, "/properties/a/$ref", id="other-file"),
        pytest.param({"properties": {"a": {"$ref": "#/$defs/no"}}}, "/properties/a/$ref", id="nowhere"),
        pytest.param({"$ref": "#"}, "", id="loop"),
        pytest.param(
            {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"anyOf": [{"$ref": "#"}]}}}, "", id="long-loop"
        ),
        pytest.param({"$schema": "http://json-schema.org/draft-04/schema#"}, "/$schema", id="draft"),
        pytest.param({"type": "strin"}, "/type", id="not-a-schema"),
        pytest.param({"properties": {"a": {"pattern": "(?=a)"}}}, "/properties/a/pattern", id="pattern"),
        pytest.param({"patternProperties": {"(a)\\1": {}}}, "/patternProperties", id="back-reference"),
        pytest.param({"$dynamicRef": "#x"}, "/$dynamicRef", id="dynamic"),
        pytest.param({"properties": {"a": {"$id": "x"}}}, "/properties/a/$id", id="inner-id"),
    ],
)
def test_a_schema_that_cannot_be_judged_here_is_refused_with_its_place(
    schema: dict[str, object], pointer: str
) -> None:
    with pytest.raises(SchemaInvalid) as caught:
        InputSchema.compile(schema)

    assert caught.value.pointer == pointer


def test_a_recursive_schema_that_reads_input_is_accepted() -> None:
    tree = InputSchema.compile({"type": "object", "additionalProperties": {"$ref": "#"}})

    assert tree.faults({"a": {"b": {}}}) == ()
    assert tree.faults({"a": {"b": 1}}) == (InputFault(path="/a/b", problem="type"),)


def test_an_input_that_asks_for_exponential_work_is_refused_in_bounded_time() -> None:
    twice = {"anyOf": [{"properties": {"a": {"$ref": "#"}}, "required": ["z"]} for _ in range(3)]}
    value: dict[str, object] = {}
    for _ in range(40):
        value = {"a": value}

    began = time.process_time()
    found = InputSchema.compile(twice).faults(value)

    assert found == (InputFault(path="", problem="complexity"),)
    assert time.process_time() - began < 10


def test_faults_are_bounded_in_number_and_length() -> None:
    schema = InputSchema.compile({"additionalProperties": {"type": "string"}})

    found = schema.faults({f"{'x' * 500}{number}": number for number in range(100)})

    assert len(found) <= 20
    assert all(len(fault.path) <= 257 for fault in found)
