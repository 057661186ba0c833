"""Notices what was switched off or on, wherever the switches are kept, and records who did it."""

import logging
from collections import deque
from types import TracebackType
from typing import Final, Self

from gateway.audit.administration import AdminLog
from gateway.metrics import Metrics
from gateway.repeating import Repeating, every
from gateway.state.switch_document import board_of
from gateway.state.switches import KINDS, Switch, SwitchBoard, Switches

_log = logging.getLogger("gateway.state.switches")

_PERIOD_S: Final = 1.0
#: Of more changes at once no more have a record of their own each.
_MOST_RECORDS: Final = 100
_BY_HAND: Final = "unknown; the store was changed by hand"
_GATEWAY: Final = "oidc-gateway"

_Turn = tuple[str, str, str, str, int]


class SwitchNotices:
    """Compares the switches each second with those of the second before, while it is entered."""

    def __init__(self, switches: Switches, *, log: AdminLog, metrics: Metrics) -> None:
        self._switches = switches
        self._audit = log
        self._metrics = metrics
        self._before = board_of()
        self._was_readable = True
        self._turning = Repeating(
            self.turn,
            wait=every(_PERIOD_S),
            name="switch-notices",
            log=_log,
            failed="switches could not be compared",
        )
        self._recorded: deque[_Turn] = deque(maxlen=_MOST_RECORDS)

    async def __aenter__(self) -> Self:
        """Record what is off at the start, in one record, and begin."""
        board = self._switches.current()
        if board.readable and board.off:
            self._audit.note(
                "switch",
                actor=_GATEWAY,
                object="all",
                why="what was off when the gateway started",
                changes=tuple(f"+ {_deed(one)}" for one in board.off.values()),
            )
        if board.readable:
            self._before = board
        self._count(board)
        self._turning.start(at_once=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Compare no more, but once."""
        await self._turning.end()
        self.turn()

    def is_recorded(self, switch: Switch) -> None:
        """Be told that somebody is turning this and records it: no second record says that it was noticed here."""
        self._recorded.append(_turn(switch))

    def turn(self) -> None:
        """Compare once."""
        board = self._switches.current()
        self._count(board)
        if board.readable and board.digest != self._before.digest:
            self._note(self._before, board)
            self._before = board

    def _count(self, board: SwitchBoard) -> None:
        self._metrics.switches_readable.set(1 if board.readable else 0)
        if board.readable != self._was_readable:
            became = "can be read again" if board.readable else "cannot be read: everything counts as off"
            self._audit.note("switch", actor=_GATEWAY, object="all", changes=(f"~ the switches {became}",))
        self._was_readable = board.readable
        if board.readable:
            for kind in KINDS:
                self._metrics.switches_off.labels(kind=kind).set(sum(key[0] == kind for key in board.off))

    def _note(self, before: SwitchBoard, after: SwitchBoard) -> None:
        turned = [("+", one) for key, one in after.off.items() if before.off.get(key) != one]
        turned += [
            ("-", after.on.get(key, _by_hand(one))) for key, one in before.off.items() if key not in after.off
        ]
        for sign, switch in turned[:_MOST_RECORDS]:
            if _turn(switch) in self._recorded:
                self._recorded.remove(_turn(switch))
            else:
                self._audit.note(
                    "switch",
                    actor=switch.by,
                    object=f"{switch.kind} {switch.name}",
                    why=switch.why,
                    changes=(f"{sign} {_deed(switch)}",),
                )
            _log.warning(
                "switched off" if sign == "+" else "switched on",
                extra={"switch": switch.kind, "name_of_it": switch.name, "by": switch.by},
            )
        if rest := turned[_MOST_RECORDS:]:
            changes = tuple(f"{sign} {_deed(switch)}" for sign, switch in rest)
            self._audit.note("switch", actor=_BY_HAND, object="all", changes=changes)


def _turn(switch: Switch) -> _Turn:
    # The store keeps milliseconds.
    return switch.kind, switch.name, switch.by, switch.why, int(switch.at)


def _deed(switch: Switch) -> str:
    return f"off {switch.kind} {switch.name}"


def _by_hand(switch: Switch) -> Switch:
    return Switch(kind=switch.kind, name=switch.name, why="not given", by=_BY_HAND, at=switch.at)
