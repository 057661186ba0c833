"""The command `oidc-gateway` that SIGKILLs itself at a named point of a start, in whichever worker comes there first.

Run as `python -m tests.support.killed_gateway serve …`; the variable `KILLED_BY` holds a JSON object:
at:      the point; see `POINTS`.
once:    a file. Whoever comes to the point and can remove it is killed, so one process is.
lease_s: how long it holds a reservation that it does not confirm; as shipped that is longer than a test should wait.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from tests.support.sockets import refuse_the_outside

VARIABLE = "KILLED_BY"


class _Death:
    def __init__(self, once: Path) -> None:
        self._once = once

    def now(self) -> None:
        try:
            self._once.unlink()
        except FileNotFoundError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    def behind(self, honest: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return the same, that ends with our end."""

        async def act(*arguments: Any, **named: Any) -> Any:
            result = await honest(*arguments, **named)
            self.now()
            return result

        return act


def _reserved(death: _Death) -> None:
    from gateway.exchange.replay import ReplayGuard

    setattr(ReplayGuard, "take", death.behind(ReplayGuard.take))  # noqa: B010


def _intended(death: _Death) -> None:
    from gateway.audit.journal import JsonlJournal

    setattr(JsonlJournal, "intend", death.behind(JsonlJournal.intend))  # noqa: B010


def _begun(death: _Death) -> None:
    from gateway.exchange.replay import Hold

    setattr(Hold, "_begin", death.behind(Hold._begin))  # noqa: B010


def _obtained(death: _Death) -> None:
    from gateway.credentials.sts import StsCredentials

    setattr(StsCredentials, "assume", death.behind(StsCredentials.assume))  # noqa: B010


def _sent(death: _Death) -> None:
    """Be killed while AWS is waited for: here it is AWS, as soon as it has started the execution, that puts the file there."""
    from gateway.executions.stepfunctions import StepFunctions

    honest = StepFunctions.start

    async def start(*arguments: Any, **named: Any) -> Any:
        sending = asyncio.create_task(honest(*arguments, **named))
        while not sending.done():
            death.now()
            await asyncio.sleep(0.01)
        return await sending

    setattr(StepFunctions, "start", start)  # noqa: B010


def _answered(death: _Death) -> None:
    from gateway.executions.stepfunctions import StepFunctions

    setattr(StepFunctions, "start", death.behind(StepFunctions.start))  # noqa: B010


def _confirmed(death: _Death) -> None:
    from gateway.exchange.replay import Hold

    setattr(Hold, "around", death.behind(Hold.around))  # noqa: B010


def _concluding(death: _Death) -> None:
    """Be killed when half of the outcome is in the file."""
    from gateway.audit import ledger

    honest = ledger._write_all

    def write(file: int, data: bytes) -> None:
        if b'"kind":"outcome"' in data:
            honest(file, data[: len(data) // 2])
            death.now()
            data = data[len(data) // 2 :]
        honest(file, data)

    setattr(ledger, "_write_all", write)  # noqa: B010


def _concluded(death: _Death) -> None:
    from gateway.audit.journal import JsonlJournal

    setattr(JsonlJournal, "conclude", death.behind(JsonlJournal.conclude))  # noqa: B010


#: By name, in the order of one start.
POINTS: Final[dict[str, Callable[[_Death], None]]] = {
    "reserved": _reserved,
    "intended": _intended,
    "begun": _begun,
    "obtained": _obtained,
    "sent": _sent,
    "answered": _answered,
    "confirmed": _confirmed,
    "concluding": _concluding,
    "concluded": _concluded,
}


def _prepare(told: dict[str, Any]) -> None:
    from gateway.exchange.replay import ReplayGuard

    setattr(ReplayGuard, "_lease_s", lambda _guard, _use: float(told["lease_s"]))  # noqa: B010
    POINTS[told["at"]](_Death(Path(told["once"])))


# Also when a worker is spawned, which runs this module under another name first.
if VARIABLE in os.environ and __name__ in {"__main__", "__mp_main__"}:
    refuse_the_outside()
    _prepare(json.loads(os.environ[VARIABLE]))

if __name__ == "__main__":
    from gateway.cli.main import main

    sys.exit(main())
