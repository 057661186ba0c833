"""What this process shares with others, put together by the settings: in Redis, in a file, or with nobody.

A piece of the composition root of its own, because commands need the same. What speaks to Redis is imported where
these settings name one, which is still before anything serves: its client and what that brings along (OpenTelemetry
among it) are a tenth of the memory of a gateway that has nothing to do, and of the time of its start.
"""

import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.audit.shipped import replace_durably
from gateway.clock import Clock
from gateway.metrics import Metrics
from gateway.settings.loading import SWITCHES_FILE
from gateway.settings.settings import Settings
from gateway.state.address import RedisAddress
from gateway.state.board import Board
from gateway.state.clock_watch import ClockWatch
from gateway.state.file_switches import FileSwitches
from gateway.state.memory import MemoryReservations
from gateway.state.rates import Rates
from gateway.state.store import Reservations
from gateway.state.switch_file import SwitchFile
from gateway.state.switches import Switches, SwitchStore

_log = logging.getLogger(__name__)

#: In the audit folder of a gateway whose switches are not there: where they are.
_ELSEWHERE: Final = f".{SWITCHES_FILE}.elsewhere"
_LONGEST_NOTE: Final = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Where a gateway has its switches. file: None: in Redis, at the URL `state` and below `prefix`."""

    file: str | None = None
    state: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Where this process keeps what others must know. `running_shared` starts it.

    shared:   the reservations outlive this process, and all workers and replicas have the same.
    boards:   where it tells other replicas what it runs on; none without Redis.
    status:   for health: `memory` without Redis, else `ok` or why Redis is not used.
    services: what has to be started, in order.
    """

    reservations: Reservations
    shared: bool
    switches: Switches
    switch_store: SwitchStore
    boards: tuple[Board, ...]
    status: Callable[[], str]
    services: Sequence[AbstractAsyncContextManager[object]]


def share(settings: Settings, *, rates: Rates, clock: Clock, metrics: Metrics) -> Sharing:
    """Put together what these settings share. Constructors start nothing."""
    if settings.state is not None:
        return _share_in_redis(settings.state, settings, rates=rates, clock=clock, metrics=metrics)
    file, switches = _file_switches(settings, clock)
    return Sharing(
        reservations=MemoryReservations(clock),
        shared=False,
        switches=switches,
        switch_store=file,
        boards=(),
        status=lambda: "memory",
        services=(ClockWatch(clock), switches),
    )


def _share_in_redis(
    address: RedisAddress, settings: Settings, *, rates: Rates, clock: Clock, metrics: Metrics
) -> Sharing:
    from gateway.state.redis_board import RedisBoard
    from gateway.state.redis_client import SharedRedis
    from gateway.state.redis_rates import SharedRates
    from gateway.state.redis_reservations import RedisReservations
    from gateway.state.redis_switches import RedisSwitches
    from gateway.state.redis_watch import RedisWatch

    redis = SharedRedis(address, clock=clock, metrics=metrics)
    watch = RedisWatch(redis, clock=clock, metrics=metrics)
    in_redis = RedisSwitches(redis, clock=clock)
    file, in_file = _file_switches(settings, clock)
    in_use = in_redis if settings.switches.shared else in_file
    return Sharing(
        reservations=RedisReservations(redis, watch, clock=clock),
        shared=True,
        switches=in_use,
        switch_store=in_redis if settings.switches.shared else file,
        boards=(RedisBoard(redis),),
        status=watch.status,
        services=(
            ClockWatch(clock),
            redis,
            watch,
            in_use,
            SharedRates(redis, rates.tables(), clock=clock, metrics=metrics),
        ),
    )


@asynccontextmanager
async def running_shared(sharing: Sharing) -> AsyncIterator[None]:
    """Start it, and end it in reverse."""
    async with AsyncExitStack() as stack:
        for service in sharing.services:
            await stack.enter_async_context(service)
        yield


@asynccontextmanager
async def shared_switches(settings: Settings, *, clock: Clock) -> AsyncIterator[SwitchStore | None]:
    """Yield the switches in Redis for one command; None when these settings keep them in a file."""
    if settings.state is None or not settings.switches.shared:
        yield None
        return
    from gateway.state.redis_client import SharedRedis
    from gateway.state.redis_switches import RedisSwitches

    async with SharedRedis(settings.state, clock=clock, metrics=Metrics()) as redis:
        yield RedisSwitches(redis, clock=clock)


def _file_switches(settings: Settings, clock: Clock) -> tuple[SwitchFile, FileSwitches]:
    file = SwitchFile(settings.switches.file, may_be_absent=not settings.switches.named)
    return file, FileSwitches(file, clock=clock)


def note_where_switches_are(settings: Settings) -> None:
    """Leave in the audit folder where the switches are, for who would turn them in the folder; nothing, if they are there.

    Only for whoever holds the folder. One that takes no note stops nothing.
    """
    seat = settings.seat
    if seat is not None and seat.name != seat.workers[0]:
        return
    folder = settings.audit.directory if seat is None else settings.audit.directory.parent
    note = folder / _ELSEWHERE
    file = settings.switches.file.absolute()
    try:
        if settings.switches.shared and settings.state is not None:
            state = settings.state
            replace_durably(note, json.dumps({"state": str(state), "prefix": state.prefix}).encode())
        elif file != (folder / SWITCHES_FILE).absolute():
            replace_durably(note, json.dumps({"file": str(file)}).encode())
        else:
            note.unlink(missing_ok=True)
    except OSError as fault:
        _log.warning(
            "where the switches are cannot be noted",
            extra={
                "file": str(note),
                "reason": fault.strerror,
                "hint": "`oidc-gateway switch` in this audit folder will not know it: give it --switches.",
            },
        )


def switches_elsewhere(folder: Path) -> Elsewhere | None:
    """Return where the gateway that last began in this audit folder has its switches; None: in the folder.

    Raises OSError, and ValueError for a note that nobody of ours has written.
    """
    try:
        with (folder / _ELSEWHERE).open("rb") as note:
            said = json.loads(note.read(_LONGEST_NOTE))
    except FileNotFoundError:
        return None
    if not isinstance(said, dict) or not said or not all(isinstance(one, str) for one in said.values()):
        raise ValueError("it does not say where they are")
    return Elsewhere(file=said.get("file"), state=said.get("state", ""), prefix=said.get("prefix", ""))
