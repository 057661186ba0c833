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


def of_items(judgement: object) -> dict[str, object]:
    return {"properties": {"v": judgement}}


# No two parts of it are alike, so that hardly any state of a pattern is seen twice.
TANGLED = "".join("ab"[(number * number).bit_count() % 2] for number in range(10_000))
NAMES = [f"name-{number}" for number in range(5_000)]
# Python's hash of each is 0 (its modulus is 2^61-1): a table of them would be gone through from one end to the other.
COLLIDING = [number * (2**61 - 1) for number in range(1, 12_001)]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"type": "string", "pattern": "a[ab]{900}c"}, TANGLED * 2, id="states-of-a-pattern"),
        pytest.param({"allOf": [{"items": {}}] * 1_000}, [0] * 50_000, id="items-without-keywords"),
        pytest.param(
            {"items": {"properties": dict.fromkeys(NAMES[:4_000], True)}}, [{}] * 50_000, id="many-properties"
        ),
        pytest.param(
            {"items": {"enum": [[0] * 100 + [one] for one in range(1, 1_001)]}},
            [[0] * 101] * 200,
            id="lists-compared-with-lists",
        ),
    ],
)
def test_the_steps_of_an_input_are_what_it_really_costs(schema: object, value: object) -> None:
    judged = InputSchema.compile(of_items(schema))

    began = time.process_time()
    found = judged.faults({"v": value})

    assert time.process_time() - began < 3  # they took 2 to 130 seconds
    assert found == (InputFault(path="", problem="complexity"),)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"uniqueItems": True}, COLLIDING, id="numbers-of-one-hash"),
        pytest.param({"uniqueItems": True}, [[number] for number in COLLIDING], id="lists-of-them"),
        pytest.param({"items": {"enum": NAMES}}, NAMES[-1:] * 10_000, id="long-enum"),
        pytest.param({"items": {"enum": [*COLLIDING[:5_000]]}}, COLLIDING[:5_000], id="enum-of-one-hash"),
        pytest.param(
            {"anyOf": [*([{"type": "array"}] * 2_000), {"type": "object"}]},
            dict.fromkeys(NAMES, "x" * 40),
            id="branches-that-do-not-fit",
        ),
    ],
)
def test_a_large_good_input_is_judged_in_time_linear_in_it(schema: object, value: object) -> None:
    judged = InputSchema.compile(of_items(schema))

    began = time.process_time()
    found = judged.faults({"v": value})

    assert found == ()
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("allowed", "given", "good"),
    [
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (0, False, False),
        ("1", 1, False),
        (None, None, True),
        (None, False, False),
        (2**53 + 1, 2.0**53, False),
        (-0.0, 0, True),
        (1e300, 10**300, False),
        ([1, {"a": True}], [1.0, {"a": True}], True),
        ([1, {"a": True}], [1, {"a": 1}], False),
        ({"a": 1, "b": []}, {"b": [], "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        ([1], {"0": 1}, False),
    ],
)
def test_values_are_equal_as_json_means_it(allowed: object, given: object, good: bool) -> None:
    one_of = InputSchema.compile(of_items({"enum": [allowed]}))
    exactly = InputSchema.compile(of_items({"const": allowed}))
    twice = InputSchema.compile(of_items({"uniqueItems": True}))

    assert (one_of.faults({"v": given}) == ()) is good
    assert (exactly.faults({"v": given}) == ()) is good
    assert (twice.faults({"v": [allowed, given]}) == ()) is not good
