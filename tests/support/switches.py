"""Switches for tests: a board that a test turns as it likes."""

from collections.abc import Iterable

from gateway.exchange.switching import SwitchGate
from gateway.state.switch_document import board_of, unreadable
from gateway.state.switches import Switch, SwitchBoard, SwitchKind
from tests.support.clocks import START_S


def off(kind: SwitchKind, name: str, *, why: str = "PAY-9, for a test", by: str = "alice") -> Switch:
    """Return how something was switched off."""
    return Switch(kind=kind, name=name, why=why, by=by, at=START_S)


class Board:
    """Implements Switches: nothing is off until a test says so."""

    def __init__(self) -> None:
        self.board = board_of()
        self.gate = SwitchGate(self)

    def current(self) -> SwitchBoard:
        """Return what is off."""
        return self.board

    def switch_off(self, *switches: Switch) -> None:
        """Let exactly these be off."""
        self.board = board_of(switches)

    def have_been_off(self, before: Iterable[Switch]) -> None:
        """Let nothing be off, and these be what was switched on again."""
        self.board = board_of((), before)

    def break_down(self) -> None:
        """Let nobody know any more what is off."""
        self.board = unreadable()
