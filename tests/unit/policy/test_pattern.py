import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.pattern import MAX_SEEN_STATES, Pattern, PatternInvalid

PIECES = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "[ab]",
        "[^a]",
        "a*",
        "b+",
        "a?",
        "(?:ab)*",
        "(a|b)",
        "a{2}",
        "(?:a|ab){1,2}",
        "b{0,1}",
        r"\d",
    ]
)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param("^[0-9]+\\.[0-9]+$", "1.4", True, id="version"),
        pytest.param("^[0-9]+$", "12\n", False, id="the-end-is-the-very-end"),
        pytest.param("b", "abc", True, id="anywhere"),
        pytest.param("^b", "abc", False, id="start"),
        pytest.param("", "", True, id="empty"),
        pytest.param("^$", "x", False, id="nothing-only"),
        pytest.param("^(dev|prod)$", "prod", True, id="alternatives"),
        pytest.param("^a{2,3}$", "aaaa", False, id="counted"),
        pytest.param("^a{2,}$", "aaaa", True, id="at-least"),
        pytest.param("^a{0}b$", "b", True, id="none"),
        pytest.param("^\\d$", "٣", False, id="digits-are-ascii"),
        pytest.param("^[[&|~]+$", "[&|~", True, id="set-operators-are-text"),
        pytest.param("^\\u0041\\x42$", "AB", True, id="hex"),
        pytest.param("^\\/a\\.b$", "/a.b", True, id="escaped"),
        pytest.param("^[\\w.-]+?$", "a_b.c-d", True, id="lazy"),
    ],
)
def test_a_pattern_matches_as_json_schema_means_it(pattern: str, text: str, expected: bool) -> None:
    assert Pattern(pattern).search(text) is expected


@given(st.lists(PIECES, max_size=5), st.text("ab1", max_size=8), st.booleans(), st.booleans())
def test_a_pattern_agrees_with_pythons_own_engine(
    pieces: list[str], text: str, start: bool, end: bool
) -> None:
    pattern = ("^" if start else "") + "".join(pieces) + ("$" if end else "")

    found = Pattern(pattern).search(text)

    assert found is (re.search(pattern, text, re.ASCII) is not None)


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)",
        "(?<n>a)",
        "(a",
        "a)",
        "[a",
        "*a",
        "a**",
        "\\1",
        "\\b",
        "a{3,2}",
        "[z-a]",
        "(a{99}){99}",
        "a" * 513,
    ],
)
def test_a_pattern_beyond_the_supported_subset_is_refused(pattern: str) -> None:
    with pytest.raises(PatternInvalid):
        Pattern(pattern)


def test_a_pattern_that_would_make_a_backtracking_engine_hang_costs_linear_time() -> None:
    pattern = Pattern("^(a+)+$")

    began = time.process_time()
    found = pattern.search("a" * 100_000 + "b")

    assert found is False
    assert time.process_time() - began < 2


def test_work_is_told_before_it_is_done_by_characters_and_states_and_less_once_it_is_known() -> None:
    pattern = Pattern("a[ab]{50}c")
    text = "".join("ab"[(number * number).bit_count() % 2] for number in range(400))
    first: list[int] = []
    second: list[int] = []

    pattern.search(text, first.append)
    pattern.search(text, second.append)

    assert len(text) * 25 < sum(first) < len(text) * 120
    assert sum(second) == len(text)


def test_whoever_is_told_may_end_the_search() -> None:
    def stop(_: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        Pattern("a").search("b", stop)


def test_what_callers_texts_leave_in_memory_is_bounded_by_states() -> None:
    pattern = Pattern("a[ab]{900}c")

    for seed in range(20):
        pattern.search("".join("ab"[(seed + at * at).bit_count() % 2] for at in range(1_500)))

    assert 0 < pattern.seen_states <= MAX_SEEN_STATES
