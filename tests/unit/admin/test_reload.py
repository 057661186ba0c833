"""What a reload changed, line by line: names of what came, went or is different, never a value."""

import time
from dataclasses import replace

import pytest

from gateway.admin.reload import reload_changes
from gateway.admin.reload_record import ReloadRecord
from gateway.audit.administration import AdminLog
from gateway.audit.record import Record
from gateway.files import turns
from gateway.files.source import Finding, FindingCode, Place
from gateway.policy.rule import Rule
from gateway.policy.snapshot import Policy, PolicyState
from tests.support.clocks import SettableClock
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


class Recorded:
    """A policy in force, and the records of what came before it."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, ...]] = []
        self.policy = of("a")

    def current(self) -> Policy:
        return self.policy

    def state(self) -> PolicyState:
        return STATE

    def note(self, record: Record) -> None:
        self.changes.append(record.changes)

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        self.note(record)


@pytest.mark.requirement("AU-07")
async def test_policies_are_compared_in_turns_with_who_answers_callers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rests: list[float] = []
    recorded = Recorded()
    record = ReloadRecord(AdminLog(recorded, SettableClock(), policy=lambda: "sha256:b"), recorded)
    await record.note(of("a", ONE))
    monkeypatch.setattr(turns, "TURN_S", -1.0)  # every step is one too many
    monkeypatch.setattr(time, "sleep", rests.append)

    await record.note(of("b", ONE, rule("two", [is_("ref", "x")], start())))

    assert recorded.changes[1:] == [("~ policy a to b", "+ rule team.two")]
    assert rests
