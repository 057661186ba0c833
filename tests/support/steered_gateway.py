"""The command `oidc-gateway` with clocks and a name service that a test steers while it runs, in every worker too.

Run as `python -m tests.support.steered_gateway serve …`; the variable `STEERED_BY` names the file of `Steering`. Nothing of
the gateway is replaced but what reads a clock, looks a name up, or decides how long an idle connection is kept.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import clock
from gateway.identity import holding, jwks
from gateway.outbound import addresses, pooled
from gateway.state import clock_watch
from tests.support.sockets import refuse_the_outside

VARIABLE = "STEERED_BY"
#: Answers of the name service in place of addresses.
HANGS, UNKNOWN = "hangs", "unknown"
_HANG_S = 30.0


@dataclass(slots=True)
class Steering:
    """What a running gateway is told. Every change holds from its next look on.

    wall_s: its wall clock is ahead by so much. age_s: so much more time has passed for keys, on the monotonic clock.
    names:  addresses of host names, `HANGS` or `UNKNOWN`; the answers of one name are given in turn, the last for ever.
    """

    file: Path
    wall_s: float = 0.0
    age_s: float = 0.0
    names: dict[str, list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.hold()

    def hold(self) -> None:
        """Put what is set now into force."""
        draft = self.file.with_suffix(".draft")
        draft.write_text(json.dumps({"wall_s": self.wall_s, "age_s": self.age_s, "names": self.names}))
        draft.replace(self.file)

    def jump(self, seconds: float) -> None:
        """Set the wall clock ahead of the true time by so many seconds."""
        self.wall_s = seconds
        self.hold()

    def age(self, seconds: float) -> None:
        """Let so many more seconds pass for keys."""
        self.age_s += seconds
        self.hold()

    def name(self, host: str, *answers: Sequence[str]) -> None:
        """Say what a host name leads to."""
        self.names[host] = [list(answer) for answer in answers]
        self.hold()


class _Steered:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._read_at = -1
        self._told: Mapping[str, Any] = {}
        self._looked_up: dict[str, int] = {}
        # Of the methods that are aged, which run on the event loop alone, one is under way.
        self.within = False

    def _now(self) -> Mapping[str, Any]:
        changed = self._file.stat().st_mtime_ns
        if changed != self._read_at:
            self._told, self._read_at = json.loads(self._file.read_text()), changed
        return self._told

    def wall(self) -> float:
        return time.time() + float(self._now()["wall_s"])

    def age_s(self) -> float:
        return float(self._now()["age_s"])

    def look_up(self, host: str, port: int, honest: Any) -> list[str]:
        answers = self._now()["names"].get(host)
        if answers is None:
            return list(honest(host, port))
        turn = self._looked_up.get(host, 0)
        self._looked_up[host] = turn + 1
        answer: list[str] = answers[min(turn, len(answers) - 1)]
        if answer == [HANGS]:
            time.sleep(_HANG_S)
        if answer in ([HANGS], [UNKNOWN]):
            raise OSError(f"{host} is not known")
        return answer


def _steer(steered: _Steered) -> None:
    setattr(clock.SystemClock, "wall", steered.wall)  # noqa: B010  a test's way in
    for name in ("usable", "cool_down_s", "is_due", "take", "conclude", "state"):
        setattr(holding.Holding, name, _aged(getattr(holding.Holding, name), steered))
    honest = addresses._system_addresses
    setattr(addresses, "_system_addresses", lambda host, port: steered.look_up(host, port, honest))  # noqa: B010
    # Minutes of waiting, in a test of hours.
    setattr(jwks, "_TICK_S", 0.2)  # noqa: B010
    setattr(clock_watch, "_PERIOD_S", 0.2)  # noqa: B010
    setattr(pooled, "_KEEP_ALIVE_S", 0.5)  # noqa: B010


def _aged(method: Any, steered: _Steered) -> Any:
    @functools.wraps(method)
    def aged(self: object, *arguments: object, now: float, **others: object) -> object:
        if steered.within:
            # One of them asks another: by then it is late enough.
            return method(self, *arguments, now=now, **others)
        steered.within = True
        try:
            return method(self, *arguments, now=now + steered.age_s(), **others)
        finally:
            steered.within = False

    return aged


# Also when a worker is spawned, which runs this module under another name first.
if VARIABLE in os.environ and __name__ in {"__main__", "__mp_main__"}:
    refuse_the_outside()
    _steer(_Steered(Path(os.environ[VARIABLE])))

if __name__ == "__main__":
    from gateway.cli.main import main

    sys.exit(main())
