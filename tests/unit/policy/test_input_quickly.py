import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from gateway.errors import InputFault
from gateway.policy.input_keywords import begin_counting
from gateway.policy.input_quickly import quick_yes
from gateway.policy.input_schema import InputSchema

SMALL = st.integers(min_value=0, max_value=3)
NAMES = st.sampled_from("abc")
SCALARS = (
    st.none() | st.booleans() | SMALL | st.sampled_from([-1, 0.5, 1.0, 2.0, -0.0]) | st.text("ab", max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")
# What is understood, and what is not.
KEYWORDS = {
    "minLength": SMALL,
    "maxLength": SMALL,
    "pattern": st.sampled_from(["^a", "b$", "a+b"]),
    "enum": st.lists(SCALARS, min_size=1, max_size=4, unique_by=json.dumps),
    "minimum": SMALL,
    "maximum": SMALL,
    "minItems": SMALL,
    "maxItems": SMALL,
    "minProperties": SMALL,
    "maxProperties": SMALL,
    "required": st.lists(NAMES, unique=True, max_size=2),
    "format": st.just("date"),
    "title": st.just("T"),
    "multipleOf": st.just(2),
    "exclusiveMinimum": SMALL,
    "const": SCALARS,
    "uniqueItems": st.booleans(),
    "propertyNames": st.just({"maxLength": 1, "const": "a"}),
    "dependentRequired": st.just({"a": ["b"]}),
    "not": st.just({"type": "string"}),
    "anyOf": st.just([{"type": "string"}, {"minimum": 1}]),
}


OWN = {
    "string": ("minLength", "maxLength", "pattern", "enum"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "array": ("minItems", "maxItems", "items"),
    "object": ("minProperties", "maxProperties", "required", "properties", "additionalProperties"),
}


def schemas_of(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Schemas of one type with its own keywords, and now and then with anything else."""
    parts = {
        "items": inner,
        "additionalProperties": inner,
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "patternProperties": st.dictionaries(st.just("^a"), inner, max_size=1),
        "contains": inner,
    }
    all_keywords = {**KEYWORDS, **parts}

    def of(kind: str) -> st.SearchStrategy[object]:
        own = {name: all_keywords[name] for name in OWN.get(kind, ())}
        kinds = st.just(kind) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=2, unique=True)
        strict = st.fixed_dictionaries({"type": st.just(kind)}, optional=own)
        return strict | strict | st.fixed_dictionaries({}, optional={**all_keywords, "type": kinds})

    return st.sampled_from(TYPES).flatmap(of)


SCHEMAS = st.recursive(st.booleans() | schemas_of(st.booleans()), schemas_of, max_leaves=4)


@st.composite
def judged(draw: st.DrawFn, schema: object = None) -> tuple[object, object]:
    """A schema and a value that mostly has its types."""
    schema = draw(SCHEMAS) if schema is None else schema
    if not isinstance(schema, dict) or draw(st.sampled_from([False] * 7 + [True])):
        return schema, draw(VALUES)
    match schema.get("type"):
        case "object":
            parts = schema.get("properties", {})
            other = schema.get("additionalProperties", True)
            names = draw(st.lists(st.sampled_from([*parts, *"abc"]), unique=True, max_size=3))
            return schema, {name: draw(judged(parts.get(name, other)))[1] for name in names}
        case "array":
            count = draw(SMALL)
            return schema, [draw(judged(schema.get("items", True)))[1] for _ in range(count)]
        case "string":
            return schema, draw(st.text("ab", max_size=3))
        case "integer" | "number":
            return schema, draw(SMALL | st.sampled_from([0.5, 2.0]))
        case kind:
            return schema, {"null": None, "boolean": True}[kind] if isinstance(kind, str) else draw(VALUES)


@pytest.mark.requirement("SF-02")
@settings(max_examples=400, deadline=None)
@given(judged())
def test_a_quick_yes_is_said_only_where_the_library_finds_no_fault(pair: tuple[object, object]) -> None:
    schema, value = pair
    fits = quick_yes(schema)
    begin_counting()

    yes = fits is not None and fits(value)

    assert not yes or Draft202012Validator(schema).is_valid(value)  # type: ignore[arg-type]
    assert not yes or Draft7Validator(schema).is_valid(value)  # type: ignore[arg-type]


USUAL = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "What a deployment needs",
    "type": "object",
    "required": ["version", "hosts"],
    "additionalProperties": False,
    "properties": {
        "version": {"type": "string", "pattern": "^[0-9.]+$", "maxLength": 8},
        "tier": {"enum": ["prod", "test", 1]},
        "hosts": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "minLength": 2}},
        "share": {"type": "number", "minimum": 0, "maximum": 1},
        "soak_s": {"type": "integer", "minimum": 0, "maximum": 3600},
        "dry": {"type": "boolean"},
        "ticket": {"type": "null"},
        "labels": {"type": "object", "maxProperties": 2, "additionalProperties": {"type": "string"}},
    },
}
GOOD = {
    "version": "1.4.2",
    "tier": "prod",
    "hosts": ["aa", "bb"],
    "share": 0.5,
    "soak_s": 60,
    "dry": False,
    "ticket": None,
    "labels": {"a": "b"},
}


def test_a_good_input_of_a_usual_schema_gets_a_quick_yes() -> None:
    fits = quick_yes(USUAL)
    begin_counting()

    assert fits is not None
    assert fits(GOOD)


@pytest.mark.requirement("SF-02")
@pytest.mark.parametrize(
    ("member", "wrong", "path", "problem"),
    [
        ("version", "v1", "/version", "pattern"),
        ("version", "1" * 9, "/version", "maxLength"),
        ("version", 1, "/version", "type"),
        ("tier", "Prod", "/tier", "enum"),
        ("hosts", [], "/hosts", "minItems"),
        ("hosts", ["aa", "bb", "cc"], "/hosts", "maxItems"),
        ("hosts", ["aa", "b"], "/hosts/1", "minLength"),
        ("hosts", {"0": "aa"}, "/hosts", "type"),
        ("share", 1.5, "/share", "maximum"),
        ("share", True, "/share", "type"),
        ("soak_s", -1, "/soak_s", "minimum"),
        ("soak_s", True, "/soak_s", "type"),
        ("soak_s", 0.5, "/soak_s", "type"),
        ("dry", 0, "/dry", "type"),
        ("ticket", False, "/ticket", "type"),
        ("labels", {"a": 1}, "/labels/a", "type"),
        ("labels", {"a": "", "b": "", "c": ""}, "/labels", "maxProperties"),
        ("other", 1, "/other", "additionalProperties"),
    ],
)
def test_one_wrong_member_is_named_where_the_schema_is_a_usual_one(
    member: str, wrong: object, path: str, problem: str
) -> None:
    found = InputSchema.compile(USUAL).faults({**GOOD, member: wrong})

    assert found == (InputFault(path=path, problem=problem),)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"type": "integer"}, 1.0, id="whole-float"),
        pytest.param({"enum": ["a", 1]}, 1, id="listed-number"),
        pytest.param({"type": ["string", "null"]}, None, id="several-types"),
    ],
)
def test_a_good_value_without_a_quick_yes_is_accepted_by_the_library(schema: object, value: object) -> None:
    judged = InputSchema.compile({"type": "object", "properties": {"v": schema}})

    assert judged.faults({"v": value}) == ()
