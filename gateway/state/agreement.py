"""Do all workers and replicas run on the same policy, keys and switches? Compares what they post, and says so."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Literal, Self, get_args

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.identity.keys import KeySetState
from gateway.metrics import Metrics
from gateway.policy.snapshot import PolicyState
from gateway.repeating import Repeating, every
from gateway.state.board import Board, Status

_log = logging.getLogger(__name__)

What = Literal["policy", "keys", "switches"]
WHATS: Final[tuple[What, ...]] = get_args(What)

#: Everybody may take this long over the same change; what differs for longer is reported.
PATIENCE_S: Final = 5.0
#: A process that has posted nothing new for this long counts as gone.
GONE_S: Final = 15.0
_PERIOD_S: Final = 1.0
# Of what the log says about a difference: sides of it, workers of each, characters of a digest and of a name.
_SIDES: Final = 4
_NAMED: Final = 4
_DIGEST: Final = 12
_NAME: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the posts of all processes say.

    workers:  everybody alive, this process included.
    disagree: what has not been the same everywhere for five seconds.
    differ:   in which digest who holds what, a text for each, the fewest first; bounded, for the log.
    behind:   this process lacks, for five seconds, a policy that its siblings took from the same files.
    key_sets: issuers of whose keys others hold another version now, with this process's own.
    missing:  how many of this gateway's own workers are not among them: not started yet, or dead.
    """

    workers: tuple[str, ...] = ()
    disagree: frozenset[What] = frozenset()
    differ: tuple[str, ...] = ()
    behind: bool = False
    key_sets: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0


class Comparer:
    """Makes a view of every round of posts. Moments are its own monotonic seconds: clocks of others may differ.

    me: this process's name; its siblings are those whose names agree up to the last slash.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self._seen: dict[str, tuple[tuple[int, float], float]] = {}
        self._since: dict[str, float] = {}

    def compare(self, statuses: Iterable[Status], *, now: float) -> View:
        """Return the view of these posts; of two by one worker the later counts."""
        latest = {status.worker: status for status in sorted(statuses, key=lambda one: one.at)}
        alive = [status for status in latest.values() if self._is_alive(status, now)]
        self._seen = {worker: seen for worker, seen in self._seen.items() if worker in latest}
        mine = latest.get(self._me)
        disagree = frozenset(what for what in WHATS if self._lasts(what, now, holds=_differs(alive, what)))
        return View(
            workers=tuple(sorted(status.worker for status in alive)),
            disagree=disagree,
            differ=tuple(text for what in sorted(disagree) for text in _sides(alive, what)),
            behind=self._lasts("behind", now, holds=mine is not None and self._is_behind(mine, alive)),
            key_sets={} if mine is None else _disputed(mine, alive),
        )

    def _is_alive(self, status: Status, now: float) -> bool:
        post = (status.pid, status.at)
        before, since = self._seen.get(status.worker, (None, now))
        if before != post:
            since = now
        self._seen[status.worker] = (post, since)
        return now - since <= GONE_S

    def _lasts(self, what: str, now: float, *, holds: bool) -> bool:
        if not holds:
            self._since.pop(what, None)
            return False
        return now - self._since.setdefault(what, now) >= PATIENCE_S

    def _is_behind(self, mine: Status, alive: list[Status]) -> bool:
        """Say whether siblings hold another policy that is good, and this one was rejected here or is the fewer's."""
        family = self._me.rpartition("/")[0]
        siblings = [status.policy for status in alive if status.worker.rpartition("/")[0] == family]
        others = {
            status.policy
            for status in alive
            if status.worker.rpartition("/")[0] == family
            and not status.stale
            and status.policy != mine.policy
        }
        return any(mine.stale or siblings.count(one) > siblings.count(mine.policy) for one in others)


def _differs(alive: list[Status], what: What) -> bool:
    return len({getattr(status, what) for status in alive}) > 1


def _sides(alive: list[Status], what: What) -> list[str]:
    """Say who holds which: `policy 1a2b3c4d5e6f: host-8080/w2`."""
    sides: dict[str, list[str]] = {}
    for status in alive:
        sides.setdefault(getattr(status, what), []).append(status.worker[:_NAME])
    fewest_first = sorted(sides.items(), key=lambda side: (len(side[1]), side[0]))
    texts = []
    for digest, workers in fewest_first[:_SIDES]:
        more = len(workers) - _NAMED
        named = " ".join(sorted(workers)[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        texts.append(f"{what} {digest.removeprefix('sha256:')[:_DIGEST] or 'none'}: {named}")
    return texts


def _disputed(mine: Status, alive: list[Status]) -> dict[str, str]:
    return {
        issuer: version
        for issuer, version in mine.key_sets.items()
        if any(other.key_sets.get(issuer, version) not in (version, "") for other in alive)
    }


def _why(fault: OSError | Unavailable) -> dict[str, str]:
    if isinstance(fault, Unavailable):
        return {"reason": fault.message, "hint": fault.hint or ""}
    return {
        "file": str(fault.filename or ""),
        "reason": fault.strerror or type(fault).__name__,
        "hint": "Look at the space and the rights of $TMPDIR, where workers leave each other notes. They serve meanwhile.",
    }


def describing(
    worker: str,
    *,
    policy: Callable[[], PolicyState],
    keys: Callable[[], Iterable[KeySetState]],
    switches: Callable[[], str],
    clock: Clock,
) -> Callable[[], Status]:
    """Return what describes this process as it is now. switches: their digest."""
    started_at = clock.wall()

    def describe() -> Status:
        now, versions = policy(), {state.issuer: state.version for state in keys()}
        listing = "\n".join(f"{issuer} {version}" for issuer, version in sorted(versions.items()))
        return Status(
            worker=worker,
            pid=os.getpid(),
            policy=now.digest,
            keys=f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}",
            switches=switches(),
            stale=now.state == "stale",
            started_at=started_at,
            at=clock.wall(),
            key_sets=versions,
        )

    return describe


class Agreement:
    """Posts this process's status to every board each second, and compares what all boards hold.

    describe:     this process now.
    slots:        names of this gateway's workers, which `oidc_gateway_workers` shows by the part behind the slash.
    keys_differ:  told each second which issuers' keys others hold in another version.
    """

    def __init__(
        self,
        boards: tuple[Board, ...],
        *,
        me: str,
        slots: tuple[str, ...],
        describe: Callable[[], Status],
        keys_differ: Callable[[Iterable[str]], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._boards = boards
        self._slots = slots
        self._describe = describe
        self._keys_differ = keys_differ
        self._clock = clock
        self._metrics = metrics
        self._comparer = Comparer(me)
        self._view = View()
        self._failing: set[int] = set()
        self._turning = Repeating(
            self.turn,
            wait=every(_PERIOD_S),
            name="agreement",
            log=_log,
            failed="agreement could not be judged",
        )

    def view(self) -> View | None:
        """Return the latest view; None without a board, where there is nobody to agree with."""
        return self._view if self._boards else None

    async def statuses(self) -> tuple[Status, ...]:
        """Return what everybody has posted, by worker, this process as it is now; a board that is out is left out."""
        mine = self._describe()
        found: dict[str, Status] = {}
        for board in self._boards:
            try:
                found |= {status.worker: status for status in await board.read()}
            except (OSError, Unavailable):
                continue
        return tuple(status for _, status in sorted((found | {mine.worker: mine}).items()))

    async def __aenter__(self) -> Self:
        if self._boards:
            # Before the first request is served: who asks then must not hear of no workers at all.
            await self._turning.once()
            self._turning.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._turning.end()

    async def turn(self) -> View:
        """Post, read, compare and report once."""
        status = self._describe()
        found = [status]
        for number, board in enumerate(self._boards):
            found += await self._exchange(number, board, status)
        view = self._comparer.compare(found, now=self._clock.monotonic())
        view = replace(view, missing=sum(slot not in view.workers for slot in self._slots))
        self._report(view)
        self._view = view
        if view.key_sets:
            self._keys_differ(view.key_sets)
        return view

    async def _exchange(self, number: int, board: Board, status: Status) -> tuple[Status, ...]:
        try:
            await board.post(status)
            found = await board.read()
        except (OSError, Unavailable) as fault:
            self._metrics.board_failures.inc()
            if number not in self._failing:
                self._failing.add(number)
                _log.warning("workers cannot compare what they run on", extra=_why(fault))
            return ()
        self._failing.discard(number)
        return found

    def _report(self, view: View) -> None:
        for slot in self._slots:
            self._metrics.workers.labels(slot.rpartition("/")[2]).set(slot in view.workers)
        for what in WHATS:
            self._metrics.workers_disagree.labels(what).set(what in view.disagree)
        if view.disagree != self._view.disagree:
            level, text = (logging.ERROR, "disagree") if view.disagree else (logging.INFO, "agree again")
            told = {"what": sorted(view.disagree), "workers": len(view.workers), "differ": list(view.differ)}
            _log.log(level, f"workers {text}", extra=told)
