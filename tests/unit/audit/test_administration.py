"""What an administrator changes is on the disk before it is changed."""

import asyncio
from pathlib import Path

import pytest

from gateway.audit.administration import AdminLog
from gateway.clock import SystemClock
from gateway.errors import ErrorCode, Unavailable
from gateway.metrics import Metrics
from tests.support.hang import no_hang
from tests.unit.audit.test_journal import SlowDisk, ids, journal, until


def log_on(kept: object) -> AdminLog:
    return AdminLog(kept, SystemClock(), policy=lambda: "sha256:00")  # type: ignore[arg-type]  # a journal


async def intend(log: AdminLog, request: str = "req-1") -> None:
    await log.intend(
        "switch",
        actor="alice",
        object="rule payments.prod",
        why="PAY-9",
        changes=("? on rule payments.prod",),
        request_id=request,
        source=None,
    )


@pytest.mark.requirement("AD-09")
async def test_an_act_waits_until_its_record_is_durable(tmp_path: Path) -> None:
    disk = SlowDisk()
    async with journal(tmp_path / "audit", Metrics(), fsync=disk) as kept:
        disk.gate.clear()
        before = disk.calls
        waiting = asyncio.create_task(intend(log_on(kept)))
        await until(lambda: disk.calls > before)
        early = waiting.done()
        disk.gate.set()
        with no_hang():
            await waiting

    assert early is False
    assert ids(tmp_path / "audit", "admin") == ["req-1"]


@pytest.mark.requirement("AD-09")
async def test_nothing_is_changed_that_cannot_be_recorded(tmp_path: Path) -> None:
    disk = SlowDisk()
    metrics = Metrics()
    async with journal(tmp_path / "audit", metrics, fsync=disk) as kept:
        disk.fault = OSError(28, "No space left on device")
        with pytest.raises(Unavailable, match="could not be written, so nothing was changed") as refusal:
            await intend(log_on(kept))
        disk.fault = None
        with no_hang():
            while True:
                try:
                    await intend(log_on(kept), "req-2")
                    break
                except Unavailable:
                    await asyncio.sleep(0.05)

    assert refusal.value.code is ErrorCode.AUDIT_UNAVAILABLE
    assert ids(tmp_path / "audit", "admin") == ["req-2"]
