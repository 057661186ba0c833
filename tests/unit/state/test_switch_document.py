"""All switches as one document: what it may hold, and that anything else is refused."""

import json
from dataclasses import replace

import pytest

from gateway.state.switch_document import (
    MAX_WHY,
    SwitchesInvalid,
    board_of,
    decode,
    encode,
    switched_off,
    switched_on,
)
from gateway.state.switches import MAX_OFF, MAX_ON
from tests.support.clocks import START_S
from tests.support.switches import off

RULE = off("rule", "payments.prod")
SUBJECT = off("subject", "github repo:acme/payments:environment:build and test")


def document(**changes: object) -> bytes:
    good = json.loads(encode(board_of([RULE])))
    return json.dumps({**good, **changes}).encode()


def entry(**changes: object) -> list[object]:
    return [{**json.loads(encode(board_of([RULE])))["off"][0], **changes}]


def test_a_board_comes_back_from_its_document_as_it_was() -> None:
    board = board_of([RULE, SUBJECT], [off("workflow", "deploy")])

    assert decode(encode(board)) == board


def test_the_digest_tells_boards_apart_and_not_who_switched_on_what() -> None:
    assert board_of([RULE]).digest == board_of([RULE], [SUBJECT]).digest
    assert board_of([RULE]).digest != board_of([]).digest
    assert board_of([RULE, SUBJECT]).digest == board_of([SUBJECT, RULE]).digest


def test_switching_off_twice_keeps_who_did_it_first() -> None:
    board = switched_off(board_of(), RULE)

    assert switched_off(board, replace(RULE, by="bob", at=START_S + 9)) is board


def test_switching_on_remembers_who_did_it() -> None:
    board = switched_on(board_of([RULE]), replace(RULE, by="bob", why="mended"))

    assert board.off == {}
    assert board.on["rule", "payments.prod"].by == "bob"


def test_switching_on_what_is_not_off_changes_nothing() -> None:
    board = board_of([SUBJECT])

    assert switched_on(board, RULE) is board


def test_what_is_off_again_is_no_longer_among_what_was_switched_on() -> None:
    board = switched_off(switched_on(board_of([RULE]), RULE), RULE)

    assert (list(board.off), list(board.on)) == ([("rule", "payments.prod")], [])


def test_of_what_was_switched_on_only_the_latest_are_remembered() -> None:
    many = [replace(off("rule", f"r{number}"), at=START_S + number) for number in range(MAX_ON + 1)]
    board = board_of(many)
    for one in many:
        board = switched_on(board, one)

    assert len(board.on) == MAX_ON
    assert ("rule", "r0") not in board.on


def test_more_than_the_most_cannot_be_off() -> None:
    board = board_of(off("subject", f"github user-{number}") for number in range(MAX_OFF))

    with pytest.raises(SwitchesInvalid, match="no more fit"):
        switched_off(board, RULE)
    assert decode(encode(board)) == board


@pytest.mark.requirement("AD-06", "F-38")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{}", id="no-format"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"\x00" * 64, id="zeros"),
        pytest.param(b"\xff\xfe{}", id="not-utf-8"),
        pytest.param(document()[:-20], id="cut-off"),
        pytest.param(document() + document(), id="twice"),
        pytest.param(document(format="oidc-gateway/switches.v2"), id="another-version"),
        pytest.param(document(off=None), id="off-is-null"),
        pytest.param(
            json.dumps({"format": "oidc-gateway/switches.v1", "on": []}).encode(), id="off-is-missing"
        ),
        pytest.param(document(more=[]), id="unknown-member"),
        pytest.param(document(off=entry() + entry()), id="an-entry-twice"),
        pytest.param(document(on=entry()), id="both-on-and-off"),
        pytest.param(document(off=["payments.prod"]), id="an-entry-that-is-a-text"),
        pytest.param(document(off=entry(kind="team")), id="unknown-kind"),
        pytest.param(document(off=entry(name="")), id="no-name"),
        pytest.param(document(off=entry(name=" payments.prod")), id="a-name-with-a-blank-before-it"),
        pytest.param(document(off=entry(why="")), id="no-reason"),
        pytest.param(document(off=entry(why="x" * (MAX_WHY + 1))), id="a-long-reason"),
        pytest.param(document(off=entry(why="a\nb")), id="two-lines"),
        pytest.param(document(off=entry(by=7)), id="a-number"),
        pytest.param(document(off=entry(at="yesterday")), id="no-time"),
        pytest.param(document(off=entry(at="2026-11-22T10:00:00")), id="no-time-zone"),
        pytest.param(document(off=entry(until="2026")), id="unknown-member-of-an-entry"),
    ],
)
def test_anything_else_is_no_document_of_switches(data: bytes) -> None:
    with pytest.raises(SwitchesInvalid):
        decode(data)
