"""The composition root: settings become parts, which start and end together.

Its pieces, with which it names every concrete class: `upstreams`, `telling`, `sharing` and, for what listens, `front`.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from platform import node

from gateway.admin.reload_record import ReloadRecord
from gateway.audit.administration import AdminLog
from gateway.clock import Clock, SystemClock
from gateway.compiling.central import Serving
from gateway.compiling.folder import FolderLoad
from gateway.compiling.watch import WatchedPolicy
from gateway.doors.callers import Callers
from gateway.doors.draining import Draining
from gateway.exchange.exchange import Exchange
from gateway.exchange.limits import CallLimits
from gateway.exchange.replay import ReplayGuard
from gateway.exchange.switching import SwitchGate
from gateway.identity.identify import CachingIdentify, VerifyingIdentify
from gateway.identity.jwks import FetchedKeys
from gateway.metrics import Metrics, Shared
from gateway.policy.snapshot import Policy
from gateway.settings.settings import LimitSettings, Settings
from gateway.sharing import Sharing, note_where_switches_are, running_shared, share
from gateway.state.agreement import Agreement, describing
from gateway.state.board import Board
from gateway.state.file_board import FileBoard
from gateway.state.rates import Rate, Rates, RateTable
from gateway.state.switch_notices import SwitchNotices
from gateway.state.switches import Switches
from gateway.telling import Telling, running_telling, tell
from gateway.upstreams import Upstreams, reach, running_upstreams

#: How long the first fetch of every issuer's keys may hold up the start, in seconds; a dead issuer stops nothing.
_PREFETCH_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything a running gateway consists of. Nothing has started yet; `running` starts it."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    draining: Draining
    telling: Telling
    upstreams: Upstreams
    sharing: Sharing
    policies: WatchedPolicy
    gate: SwitchGate
    switch_notices: SwitchNotices
    admin_log: AdminLog
    callers: Callers
    rates: Rates
    agreement: Agreement
    exchange: Exchange


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ground:
    """What the exchange and the agreement stand on."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    telling: Telling
    upstreams: Upstreams
    rates: Rates
    sharing: Sharing
    gate: SwitchGate
    policies: WatchedPolicy
    admin_log: AdminLog


def assemble(settings: Settings, *, clock: Clock | None = None) -> Parts:
    """Put the parts together; raises SettingInvalid. Constructors start nothing."""
    ground = _lay(settings, clock or SystemClock())
    return Parts(
        settings=settings,
        clock=ground.clock,
        metrics=ground.metrics,
        draining=Draining(),
        telling=ground.telling,
        upstreams=ground.upstreams,
        sharing=ground.sharing,
        policies=ground.policies,
        gate=ground.gate,
        switch_notices=SwitchNotices(ground.sharing.switches, log=ground.admin_log, metrics=ground.metrics),
        admin_log=ground.admin_log,
        callers=Callers(settings.trusted_proxies),
        rates=ground.rates,
        agreement=_agreement(ground),
        exchange=_exchange(ground),
    )


def _lay(settings: Settings, clock: Clock) -> _Ground:
    metrics = Metrics(_shared(settings))
    upstreams = reach(aws=lambda: policies.current().aws, clock=clock, metrics=metrics)
    telling = tell(settings.audit, settings.tracing, clock=clock, metrics=metrics)
    rates = _rates(settings.limits, clock)
    sharing = share(settings, rates=rates, clock=clock, metrics=metrics)
    admin_log = AdminLog(telling.journal, clock, policy=lambda: policies.current().digest)

    async def announce(policy: Policy) -> None:
        await reload_record.note(policy)
        await _prefetch(policy, sharing.switches, upstreams.keys, clock)

    serving = Serving(workers=settings.workers, shared=settings.state is not None)
    policies = WatchedPolicy(
        settings.config,
        dev=settings.dev,
        clock=clock,
        metrics=metrics,
        on_change=announce,
        load=FolderLoad(settings.config, dev=settings.dev, clock=clock, serving=serving),
    )
    reload_record = ReloadRecord(admin_log, policies)
    return _Ground(
        settings=settings,
        clock=clock,
        metrics=metrics,
        telling=telling,
        upstreams=upstreams,
        rates=rates,
        sharing=sharing,
        gate=SwitchGate(sharing.switches),
        policies=policies,
        admin_log=admin_log,
    )


async def _prefetch(policy: Policy, switches: Switches, keys: FetchedKeys, clock: Clock) -> None:
    """Fetch the keys of issuers that are not switched off; of none while nobody can tell."""
    board = switches.current()
    wanted = [one for one in policy.issuers.values() if ("issuer", one.name) not in board.off]
    await keys.prefetch(wanted if board.readable else (), deadline=clock.monotonic() + _PREFETCH_S)


def _exchange(ground: _Ground) -> Exchange:
    clock, metrics, keys, gate = ground.clock, ground.metrics, ground.upstreams.keys, ground.gate
    return Exchange(
        identify=CachingIdentify(VerifyingIdentify(keys, gate=gate.issuer), keys, clock, gate=gate.issuer),
        policies=ground.policies,
        credentials=ground.upstreams.credentials,
        executions=ground.upstreams.executions,
        journal=ground.telling.journal,
        clock=clock,
        metrics=metrics,
        limits=CallLimits(
            metrics=metrics,
            subject=ground.rates.subject,
            rule=ground.rates.rule,
            waiting=ground.settings.limits.waiting,
        ),
        replay=ReplayGuard(ground.sharing.reservations, clock, shared=ground.sharing.shared),
        gate=gate,
    )


def _agreement(ground: _Ground) -> Agreement:
    settings, keys, switches = ground.settings, ground.upstreams.keys, ground.sharing.switches
    me = _worker_name(settings)
    return Agreement(
        (*_boards(settings), *ground.sharing.boards),
        me=me,
        slots=tuple(f"{seat.family}/{name}" for name in seat.workers) if (seat := settings.seat) else (),
        describe=describing(
            me,
            policy=ground.policies.state,
            keys=keys.states,
            switches=lambda: switches.current().digest,
            clock=ground.clock,
        ),
        keys_differ=keys.refresh_disputed,
        clock=ground.clock,
        metrics=ground.metrics,
    )


def _shared(settings: Settings) -> Shared | None:
    seat = settings.seat
    return None if seat is None else Shared(folder=str(seat.runtime / "metrics"), name=seat.name)


def _worker_name(settings: Settings) -> str:
    seat = settings.seat
    return f"{node()}-{settings.port or os.getpid()}/w1" if seat is None else f"{seat.family}/{seat.name}"


def _boards(settings: Settings) -> tuple[Board, ...]:
    """Return where this process and others say what they run on."""
    seat = settings.seat
    return () if seat is None else (FileBoard(seat.runtime / "board", name=seat.name),)


def _rates(limits: LimitSettings, clock: Clock) -> Rates:
    def table(limit: str, rate: Rate | None) -> RateTable | None:
        return None if rate is None else RateTable(limit, rate, clock=clock)

    return Rates(
        address=table("address", limits.address),
        subject=table("subject", limits.subject),
        rule=table("rule", limits.rule),
    )


@asynccontextmanager
async def running(parts: Parts) -> AsyncIterator[None]:
    """Start the parts in the order in which they need each other, and end them in reverse, effects concluded first."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(running_telling(parts.telling))
        # Behind the journal, which says whose the folder is.
        await asyncio.to_thread(note_where_switches_are, parts.settings)
        await stack.enter_async_context(running_upstreams(parts.upstreams))

        # Before anything is fetched for an issuer: it may be switched off.
        await stack.enter_async_context(running_shared(parts.sharing))
        await stack.enter_async_context(parts.policies)
        await stack.enter_async_context(parts.switch_notices)
        await stack.enter_async_context(parts.agreement)
        parts.draining.on_leave(parts.exchange.drain)
        stack.push_async_callback(parts.exchange.finish)
        yield
