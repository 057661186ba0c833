"""A start as a value: its name, its owner, its input."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ErrorCode, InputFault, RequestRejected
from gateway.executions.execution import MAX_INPUT_BYTES, StartPlan, execution_name, owns, plan_start
from gateway.identity.token import Principal
from gateway.policy.input_schema import InputSchema
from gateway.policy.rule import Workflow
from tests.support.policies import workflow

ALICE = Principal(issuer="https://issuer.example", subject="alice")
BOB = Principal(issuer="https://issuer.example", subject="bob")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMED = st.text(min_size=1).filter(lambda name: name != "_caller")


def plan(
    given_input: dict[str, object] | None = None,
    *,
    of: Workflow | None = None,
    principal: Principal = ALICE,
    key: str | None = "991-1",
) -> StartPlan:
    return plan_start(
        workflow=of or workflow(), principal=principal, input=given_input or {}, idempotency_key=key
    )


def refusal(given_input: dict[str, object] | None = None, **choices: object) -> RequestRejected:
    with pytest.raises(RequestRejected) as caught:
        plan(given_input, **choices)  # type: ignore[arg-type]
    return caught.value


# Names.


@pytest.mark.requirement("SF-03")
def test_a_name_is_a_digest_of_the_caller_and_one_of_workflow_and_key() -> None:
    # Computed with sha256sum. Another value would break every retry that crosses an upgrade.
    assert execution_name(ALICE, "deploy", "991-1") == (
        "d0c1e6aaa26b1226a7b0a1a3e4c6800d-be6b81c3e3a7b6fd6a872d7132905a49"
    )


@pytest.mark.requirement("SF-03")
@given(issuer=st.text(), subject=st.text(), name=st.text(), key=st.text())
def test_every_name_is_one_that_step_functions_and_its_logs_take(
    issuer: str, subject: str, name: str, key: str
) -> None:
    principal = Principal(issuer=issuer, subject=subject)

    made = execution_name(principal, name, key)

    assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", made)
    assert owns(principal, made)


@pytest.mark.requirement("SF-03")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param((BOB, "deploy", "991-1"), id="subject"),
        pytest.param((replace(ALICE, issuer="https://other.example"), "deploy", "991-1"), id="issuer"),
        pytest.param((ALICE, "migrate", "991-1"), id="workflow"),
        pytest.param((ALICE, "deploy", "991-2"), id="key"),
        pytest.param((ALICE, "deploy\0991", "-1"), id="another cut between workflow and key"),
    ],
)
def test_another_caller_workflow_or_key_gives_another_name(other: tuple[Principal, str, str]) -> None:
    assert execution_name(*other) != execution_name(ALICE, "deploy", "991-1")


@pytest.mark.requirement("SF-08")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(execution_name(BOB, "deploy", "k"), id="somebody else's"),
        pytest.param(ALICE.digest, id="the digest alone"),
        pytest.param(f"{ALICE.digest}-", id="no second half"),
        pytest.param(f"{ALICE.digest}-{'0' * 31}", id="short"),
        pytest.param(f"{ALICE.digest}-{'0' * 33}", id="long"),
        pytest.param(f"{ALICE.digest}-{'0' * 32}\n", id="line end"),
        pytest.param(f"{ALICE.digest.upper()}-{'0' * 32}", id="capitals"),
        pytest.param(f"{ALICE.digest}-{'٠' * 32}", id="digits of another script"),
        pytest.param(f"{ALICE.digest}:{'0' * 32}", id="another separator"),
        pytest.param(f" {ALICE.digest}-{'0' * 32}", id="blank"),
        pytest.param("", id="empty"),
    ],
)
def test_a_name_without_the_callers_digest_is_not_theirs(name: str) -> None:
    assert not owns(ALICE, name)


# Keys.


@pytest.mark.parametrize(
    ("sent", "same_as"),
    [
        pytest.param('"991-1"', "991-1", id="in quotes"),
        pytest.param(r'"a\"b\\c"', 'a"b\\c', id="with escapes"),
        pytest.param("x" * 128, "x" * 128, id="longest"),
        pytest.param("!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", id="every sign"),
    ],
)
def test_a_key_in_quotes_is_the_same_key(sent: str, same_as: str) -> None:
    assert plan(key=sent).name == execution_name(ALICE, "deploy", same_as)


@pytest.mark.parametrize(
    "sent",
    [
        "",
        '""',
        "a b",
        '"a b"',
        "x" * 129,
        f'"{"x" * 129}"',
        "é",
        "a\tb",
        '"open',
        r'"a\b"',
        '"a"b"',
        '"a";p=1',
    ],
)
def test_a_key_that_is_not_1_to_128_visible_ascii_characters_is_refused(sent: str) -> None:
    assert refusal(key=sent).code is ErrorCode.REQUEST_MALFORMED


def test_a_standard_workflow_cannot_be_started_without_a_key() -> None:
    heard = refusal(key=None)

    assert heard.code is ErrorCode.IDEMPOTENCY_KEY_MISSING
    assert heard.message == "A start of deploy needs an Idempotency-Key."


@pytest.mark.parametrize("kind", ["express", "express-sync"])
def test_an_express_workflow_takes_no_key_because_it_could_not_keep_its_promise(kind: str) -> None:
    heard = refusal(of=workflow(kind=kind))  # type: ignore[arg-type]

    assert heard.code is ErrorCode.IDEMPOTENCY_UNSUPPORTED


@pytest.mark.requirement("SF-03")
def test_an_express_start_gets_a_name_of_its_own_each_time() -> None:
    express = workflow(kind="express")

    first, second = plan(of=express, key=None), plan(of=express, key=None)

    assert first.name != second.name
    assert owns(ALICE, first.name)


# Input.


@pytest.mark.requirement("SF-02")
@given(members=st.dictionaries(NAMED, JSON, max_size=4))
def test_the_input_is_the_callers_with_the_caller_added(members: dict[str, object]) -> None:
    made = json.loads(plan(members).input)

    assert made == {**members, "_caller": {"issuer": ALICE.issuer, "subject": ALICE.subject}}


@pytest.mark.requirement("SF-02")
@given(members=st.dictionaries(NAMED, JSON, max_size=4))
def test_the_same_wish_gives_the_same_bytes_in_whatever_order_it_is_written(
    members: dict[str, object],
) -> None:
    backwards = dict(reversed(members.items()))

    assert plan(members).input == plan(backwards).input


@pytest.mark.requirement("SF-02")
def test_the_bytes_are_sorted_tight_and_utf8() -> None:
    assert plan({"b": 1, "a": "é"}).input == (
        '{"_caller":{"issuer":"https://issuer.example","subject":"alice"},"a":"é","b":1}'.encode()
    )


@pytest.mark.requirement("SF-02")
@pytest.mark.parametrize("member", [None, {}, {"issuer": "https://issuer.example", "subject": "alice"}])
def test_a_caller_cannot_say_who_they_are(member: object) -> None:
    heard = refusal({"_caller": member})

    assert heard.code is ErrorCode.INPUT_INVALID
    assert heard.faults == (InputFault(path="/_caller", problem="reserved"),)


@pytest.mark.requirement("SF-02")
def test_the_reserved_name_is_free_below_the_top() -> None:
    assert json.loads(plan({"a": {"_caller": 1}}).input)["a"] == {"_caller": 1}


@pytest.mark.requirement("SF-02")
def test_the_schema_judges_what_the_caller_sent_and_not_what_we_add() -> None:
    closed = InputSchema.compile(
        {"type": "object", "properties": {"version": {"pattern": "^[0-9.]+$"}}, "additionalProperties": False}
    )
    of = replace(workflow(), input_schema=closed)

    assert b"_caller" in plan({"version": "1.4.2"}, of=of).input
    assert refusal({"version": "latest"}, of=of).faults == (InputFault(path="/version", problem="pattern"),)


@pytest.mark.requirement("SF-02")
def test_a_refused_input_is_named_by_its_places_and_never_repeated() -> None:
    of = replace(workflow(), input_schema=InputSchema.nothing())

    heard = refusal({"password": "hunter2"}, of=of)

    assert "hunter2" not in f"{heard} {heard.message} {heard.hint} {heard.faults}"


def _filled(size: int, letter: str) -> dict[str, object]:
    """Return an input whose plan has exactly this many bytes."""
    rest = size - len(plan({"a": ""}).input)
    width = len(letter.encode())
    return {"a": letter * (rest // width) + "x" * (rest % width)}


@pytest.mark.requirement("SF-02")
@pytest.mark.parametrize("letter", ["x", "é", "🙂"], ids=["ASCII", "two bytes", "emoji"])
def test_the_limit_counts_bytes_and_holds_with_the_caller_added(letter: str) -> None:
    just = plan(_filled(MAX_INPUT_BYTES, letter))

    assert len(just.input) == 262_144
    assert refusal(_filled(MAX_INPUT_BYTES + 1, letter)).code is ErrorCode.INPUT_TOO_LARGE


@pytest.mark.requirement("SF-02")
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800"], ids=["NaN", "Infinity", "surrogate"]
)
def test_what_no_json_text_says_is_refused(value: object) -> None:
    assert refusal({"a": value}).code is ErrorCode.INPUT_INVALID


def test_a_plan_does_not_show_its_input() -> None:
    assert "hunter2" not in repr(plan({"password": "hunter2"}))
