"""What was switched is recorded by every gateway that notices it: who, why, and what changed."""

from dataclasses import replace

import pytest

from gateway.audit.administration import AdminLog
from gateway.audit.record import Record
from gateway.metrics import Metrics
from gateway.state.switch_notices import SwitchNotices
from tests.support.clocks import SettableClock
from tests.support.switches import Board, off

RULE = off("rule", "payments.prod")


class Watched:
    """Notices over a board that a test turns, with what was recorded of it."""

    def __init__(self) -> None:
        self.board = Board()
        self.records: list[Record] = []
        self.metrics = Metrics()
        log = AdminLog(self, SettableClock(), policy=lambda: "sha256:00")
        self.notices = SwitchNotices(self.board, log=log, metrics=self.metrics)

    def note(self, record: Record) -> None:
        self.records.append(record)

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        self.records.append(record)

    def told(self) -> list[tuple[str | None, str | None, str | None, tuple[str, ...]]]:
        return [(one.actor, one.object, one.why, one.changes) for one in self.records]


@pytest.fixture
def watched() -> Watched:
    return Watched()


@pytest.mark.requirement("AU-07")
async def test_switching_off_is_recorded_with_who_and_why(watched: Watched) -> None:
    watched.board.switch_off(RULE)

    watched.notices.turn()

    assert watched.told() == [("alice", "rule payments.prod", RULE.why, ("+ off rule payments.prod",))]
    assert (watched.records[0].kind, watched.records[0].act) == ("admin", "switch")


@pytest.mark.requirement("AU-07")
async def test_switching_on_again_is_recorded_with_who_did_that(watched: Watched) -> None:
    watched.board.switch_off(RULE)
    watched.notices.turn()
    watched.board.have_been_off([replace(RULE, by="bob", why="mended")])

    watched.notices.turn()

    assert watched.told()[1:] == [("bob", "rule payments.prod", "mended", ("- off rule payments.prod",))]


@pytest.mark.requirement("AU-07")
async def test_a_switch_that_was_taken_out_by_hand_is_recorded_as_that(watched: Watched) -> None:
    watched.board.switch_off(RULE)
    watched.notices.turn()
    watched.board.switch_off()

    watched.notices.turn()

    assert watched.told()[1][0] == "unknown; the store was changed by hand"


@pytest.mark.requirement("AU-07")
async def test_what_is_turned_and_recorded_here_is_not_recorded_once_more(watched: Watched) -> None:
    watched.notices.is_recorded(replace(RULE, at=RULE.at + 0.0004))
    watched.board.switch_off(RULE)

    watched.notices.turn()
    first = watched.told()
    watched.board.switch_off()
    watched.notices.turn()

    assert first == []
    assert len(watched.told()) == 1


@pytest.mark.requirement("AU-07")
async def test_nothing_is_recorded_while_nothing_changes(watched: Watched) -> None:
    watched.board.switch_off(RULE)
    watched.notices.turn()

    watched.notices.turn()

    assert len(watched.records) == 1


@pytest.mark.requirement("AU-07")
async def test_what_is_off_at_the_start_is_one_record(watched: Watched) -> None:
    watched.board.switch_off(RULE, off("issuer", "github"))

    async with watched.notices:
        pass

    assert watched.told() == [
        (
            "oidc-gateway",
            "all",
            "what was off when the gateway started",
            ("+ off issuer github", "+ off rule payments.prod"),
        )
    ]


@pytest.mark.requirement("AU-07")
async def test_of_very_many_changes_at_once_not_each_has_a_record_of_its_own(watched: Watched) -> None:
    watched.board.switch_off(*(off("rule", f"r{number}") for number in range(500)))

    watched.notices.turn()

    assert len(watched.records) == 101
    assert len(watched.records[-1].changes) == 400


@pytest.mark.requirement("AD-06", "AU-07")
async def test_losing_sight_of_the_switches_and_getting_it_back_is_recorded_and_shown(
    watched: Watched,
) -> None:
    watched.board.break_down()
    watched.notices.turn()
    closed = watched.metrics.exposition().decode()
    watched.board.switch_off(RULE)
    watched.notices.turn()
    again = watched.metrics.exposition().decode()

    assert "oidc_gateway_switches_readable 0.0" in closed
    assert "oidc_gateway_switches_readable 1.0" in again
    assert 'oidc_gateway_switches_off{kind="rule"} 1.0' in again
    assert [one.changes[0] for one in watched.records] == [
        "~ the switches cannot be read: everything counts as off",
        "~ the switches can be read again",
        "+ off rule payments.prod",
    ]
