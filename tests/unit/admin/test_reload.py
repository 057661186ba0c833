"""What a reload changed, line by line: names of what came, went or is different, never a value."""

from dataclasses import replace

import pytest

from gateway.admin.reload import reload_changes
from gateway.files.source import Finding, FindingCode, Place
from gateway.policy.rule import Rule
from gateway.policy.snapshot import Policy, PolicyState
from tests.support.policies import is_, policy, rule, start

ONE = rule("one", [is_("ref", "main")], start())
STATE = PolicyState(digest="sha256:b", state="current", loaded_at=0, findings=0)


def of(digest: str, *rules: Rule) -> Policy:
    return replace(policy(*rules), digest=digest)


@pytest.mark.requirement("AU-07")
@pytest.mark.parametrize(
    ("after", "expected"),
    [
        pytest.param(of("a", ONE), [], id="nothing"),
        pytest.param(
            of("b", replace(ONE, written=Place(file="mappings/team.yaml", line=9, column=1))), [], id="moved"
        ),
        pytest.param(
            of("b", rule("one", [is_("ref", "secret")], start())), ["~ rule team.one"], id="condition"
        ),
        pytest.param(of("b", ONE, rule("two", [is_("ref", "x")], start())), ["+ rule team.two"], id="new"),
        pytest.param(
            of("b", rule("two", [is_("ref", "x")], start("other"))),
            ["+ workflow other", "- workflow deploy", "+ rule team.two", "- rule team.one"],
            id="other",
        ),
    ],
)
def test_what_changed_is_named_and_no_value_of_it(after: Policy, expected: list[str]) -> None:
    lines = reload_changes(of("a", ONE), after, STATE, ())

    assert [line for line in lines if not line.startswith("~ policy")] == expected
    assert not any("secret" in line for line in lines)


def test_files_that_are_not_in_force_as_written_are_said_with_their_first_place() -> None:
    finding = Finding(
        code=FindingCode.VALUE_INVALID,
        severity="error",
        place=Place(file="targets.yaml", line=3, column=5),
        message="m",
        fix="f",
    )

    lines = reload_changes(of("a", ONE), of("a", ONE), replace(STATE, state="stale"), (finding,))

    assert lines == ("= not in force as written: 1 errors, first value_invalid at targets.yaml:3:5",)


def test_many_changes_are_cut_and_counted() -> None:
    many = [rule(f"r{number}", [is_("ref", "x")], start()) for number in range(80)]

    lines = reload_changes(of("a"), of("b", *many), STATE, ())

    assert len(lines) == 51
    assert lines[-1] == "… 33 more"
