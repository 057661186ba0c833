from collections.abc import Callable
from datetime import date
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.arn import parse_role, parse_state_machine
from gateway.files.source import Place
from gateway.policy.claims import check_claim
from gateway.policy.input_schema import InputSchema
from gateway.policy.overlap import sample_claims, satisfiable
from gateway.policy.overlap_search import MAX_FOUND, MAX_WORK, find_overlaps
from gateway.policy.rule import AwsRole, Condition, Grant, Operator, Rule, Scalar, Verb, Workflow

WORKFLOW = Workflow(
    name="w",
    state_machine=parse_state_machine("arn:aws:states:eu-west-1:111122223333:stateMachine:w"),
    type="standard",
    input_schema=InputSchema.nothing(),
    output_visible=False,
    timeout_s=None,
)
TARGETS = {
    name: AwsRole(name=name, arn=parse_role(f"arn:aws:iam::111122223333:role/{name}"), duration_s=900)
    for name in ("x", "y")
}

VALUES: tuple[Scalar, ...] = ("a", "b", 1, True)
CLAIMS = ("p", "q")


def condition(claim: str, operator: Operator, *wanted: Scalar) -> Condition:
    return Condition(claim=claim, operator=operator, wanted=wanted)


scalars = st.sampled_from(VALUES)
claims = st.sampled_from(CLAIMS)
conditions = st.one_of(
    st.builds(lambda claim, value: condition(claim, Operator.EQUALS, value), claims, scalars),
    st.builds(
        lambda claim, values: condition(claim, Operator.ANY_OF, *values),
        claims,
        st.lists(scalars, min_size=1, max_size=2),
    ),
    st.builds(lambda claim, value: condition(claim, Operator.CONTAINS, value), claims, scalars),
    st.builds(
        lambda claim, values: condition(claim, Operator.CONTAINS_ALL, *values),
        claims,
        st.lists(scalars, min_size=1, max_size=2),
    ),
    st.builds(
        lambda claim, values: condition(claim, Operator.CONTAINS_ANY, *values),
        claims,
        st.lists(scalars, min_size=1, max_size=2),
    ),
    st.builds(
        lambda claim, value: condition(claim, Operator.SCOPE, value), claims, st.sampled_from(["a", "b"])
    ),
    st.builds(lambda claim: condition(claim, Operator.ABSENT), claims),
)

# Everything a token can say about one claim that could matter to these conditions; None: the claim is not there.
POSSIBLE: tuple[object, ...] = (
    None,
    *VALUES,
    "a b",
    *(list(chosen) for size in range(5) for chosen in combinations(VALUES, size)),
)


def tokens() -> list[dict[str, object]]:
    return [
        {claim: value for claim, value in zip(CLAIMS, chosen, strict=True) if value is not None}
        for chosen in product(POSSIBLE, repeat=len(CLAIMS))
    ]


TOKENS = tokens()


def holds(wanted: list[Condition], token: dict[str, object]) -> bool:
    return all(check_claim(one, token).outcome == "matched" for one in wanted)


@pytest.mark.requirement("MP-11")
@settings(max_examples=400, deadline=None)
@given(st.lists(conditions, min_size=1, max_size=4))
def test_there_is_a_sample_exactly_when_some_token_satisfies_all_conditions(wanted: list[Condition]) -> None:
    sample = sample_claims(wanted)

    assert (sample is not None) is any(holds(wanted, token) for token in TOKENS)
    assert sample is None or holds(wanted, sample)
    assert satisfiable(wanted) is (sample is not None)


def make(number: int, wanted: list[Condition], grants: list[tuple[Verb, str]]) -> Rule:
    return Rule(
        id=f"t.r{number}",
        team="t",
        why="test",
        issuers=("i",),
        conditions=tuple(wanted),
        grants=tuple(Grant(verb=verb, workflow=WORKFLOW, target=TARGETS[target]) for verb, target in grants),
        last_day=date(2027, 1, 1),
        written=Place(file="a", line=number, column=1),
    )


grants = st.lists(
    st.tuples(st.sampled_from(["start", "view"]), st.sampled_from(["x", "y"])), min_size=1, max_size=2
)
rules = st.lists(st.tuples(st.lists(conditions, min_size=1, max_size=3), grants), min_size=2, max_size=7)


def disagree(first: Rule, second: Rule) -> bool:
    def held(rule: Rule, verb: str) -> set[str]:
        return {grant.target.name for grant in rule.grants if grant.verb in {verb, "start"}}

    return any(
        held(first, verb) and held(second, verb) and not (one <= other or other <= one)
        for verb in ("start", "view", "stop")
        for one, other in [(held(first, verb), held(second, verb))]
    )


@pytest.mark.requirement("MP-11")
@settings(max_examples=200, deadline=None)
@given(rules)
def test_overlaps_are_those_that_trying_every_token_finds(
    written: list[tuple[list[Condition], list[tuple[Verb, str]]]],
) -> None:
    made = [make(number, wanted, given_grants) for number, (wanted, given_grants) in enumerate(written)]

    searched = find_overlaps(made, {})

    assert searched.complete
    assert {frozenset((one.first.id, one.second.id)) for one in searched.overlaps} == {
        frozenset((first.id, second.id))
        for first, second in combinations(made, 2)
        if disagree(first, second)
        and any(holds([*first.conditions, *second.conditions], token) for token in TOKENS)
    }


def test_what_the_issuer_requires_can_keep_rules_apart() -> None:
    first = make(1, [condition("p", Operator.EQUALS, "a")], [("start", "x")])
    second = make(2, [condition("q", Operator.EQUALS, "b")], [("start", "y")])

    together = find_overlaps([first, second], {})
    apart = find_overlaps([first, second], {"i": (condition("q", Operator.EQUALS, "a"),)})

    assert (len(together.overlaps), len(apart.overlaps)) == (1, 0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (
            [condition("/a/b", Operator.EQUALS, "x"), condition("/a/c", Operator.EQUALS, "y")],
            {"a": {"b": "x", "c": "y"}},
        ),
        ([condition("/a/b", Operator.EQUALS, "x"), condition("a", Operator.EQUALS, "y")], None),
        ([condition("/a/b", Operator.EQUALS, "x"), condition("a", Operator.ABSENT)], None),
        ([condition("/a/b", Operator.ABSENT), condition("a", Operator.EQUALS, "y")], {"a": "y"}),
        ([condition("/a~1b", Operator.EQUALS, "x")], {"a/b": "x"}),
    ],
    ids=["side-by-side", "below-a-value", "below-nothing", "absent-below", "escaped"],
)
def test_nested_claims_are_sampled_as_objects(wanted: list[Condition], expected: object) -> None:
    assert sample_claims(wanted) == expected


def alternating(number: int, *wanted: Condition) -> Rule:
    return make(number, list(wanted), [("start", "xy"[number % 2])])


@pytest.mark.requirement("MP-03", "MP-11")
def test_ten_thousand_well_bound_rules_cost_a_fraction_of_what_a_search_may() -> None:
    bound = [
        alternating(number, condition("repository_id", Operator.EQUALS, str(number)))
        for number in range(10_000)
    ]

    searched = find_overlaps(bound, {})

    assert (searched.overlaps, searched.complete) == ((), True)
    assert searched.work < MAX_WORK / 10


@pytest.mark.requirement("MP-03", "MP-11")
def test_lists_of_values_in_every_claim_do_not_multiply() -> None:
    values = [f"v{number}" for number in range(20)]
    alike = [
        alternating(number, *(condition(f"x{claim}", Operator.ANY_OF, *values) for claim in range(12)))
        for number in range(5)
    ]

    searched = find_overlaps(alike, {})

    assert searched.complete
    assert len(searched.overlaps) == 6
    assert searched.work < 10_000


@pytest.mark.requirement("MP-03", "MP-11")
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(
            lambda number: [
                condition(f"x{claim}", Operator.ANY_OF, *(f"v{number * step % 997}" for step in range(1, 40)))
                for claim in range(6)
            ],
            id="lists-that-meet-in-part",
        ),
        pytest.param(
            lambda number: [
                condition("x", *((Operator.ABSENT,) if number % 2 else (Operator.CONTAINS, "a"))),
                condition("y", Operator.CONTAINS, str(number)),
            ],
            id="pairs-that-need-a-sample",
        ),
        pytest.param(
            lambda number: [condition(f"x{number}_{claim}", Operator.EQUALS, "v") for claim in range(8)],
            id="a-claim-of-its-own-in-every-rule",
        ),
    ],
)
def test_the_search_ends_when_its_work_is_spent_and_says_so(
    wanted: Callable[[int], list[Condition]],
) -> None:
    rules = [alternating(number, *wanted(number)) for number in range(2_000)]

    searched = find_overlaps(rules, {}, max_work=100_000)

    assert not searched.complete
    assert len(searched.overlaps) <= MAX_FOUND
    assert searched.work <= 100_000


def test_more_overlaps_than_are_shown_end_the_search() -> None:
    alike = [alternating(number, condition("sub", Operator.EQUALS, "a")) for number in range(500)]

    searched = find_overlaps(alike, {})

    assert (len(searched.overlaps), searched.complete) == (MAX_FOUND, False)


def test_two_long_lists_of_values_are_looked_up_not_compared_pair_by_pair() -> None:
    ours, theirs = (
        condition("p", Operator.ANY_OF, *(f"{side}{number}" for number in range(20_000)), "common")
        for side in "ab"
    )

    assert sample_claims([ours, theirs]) == {"p": "common"}


def test_a_value_that_no_token_can_carry_is_no_sample_while_another_fits() -> None:
    wanted = [condition("p", Operator.ANY_OF, 2**60, "a")]

    assert sample_claims(wanted) == {"p": "a"}
