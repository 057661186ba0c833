"""The second copy against Debian's rsyslogd: over TCP, over TLS and over a local socket it gets the journal line by line."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.files import journal_files
from gateway.audit.journal import JsonlJournal
from gateway.audit.shipping import Shipper
from gateway.audit.verify import verify
from gateway.clock import SystemClock
from gateway.metrics import Metrics
from gateway.outbound.syslog import SyslogAddress, SyslogWire
from gateway.outbound.tls import client_context
from tests.support.certificates import Authority
from tests.support.records import INTENT, MemoryFile
from tests.support.syslog import NEEDS_RSYSLOG, free_port, running_rsyslog

pytestmark = NEEDS_RSYSLOG


async def record(
    directory: Path,
    address: SyslogAddress,
    *,
    ca: str | None = None,
    count: int = 20,
    midway: Callable[[], None] = lambda: None,
) -> None:
    tls = client_context(ca) if address.kind == "tls" else None
    metrics, clock = Metrics(), SystemClock()
    shipper = Shipper(
        directory,
        lambda: SyslogWire.connect(address, tls, timeout_s=5.0),
        metrics=metrics,
        clock=clock,
        host="gw-1",
        max_message_bytes=200_000,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shipper)
        journal = JsonlJournal(directory, metrics=metrics, clock=clock, copy=shipper)
        await stack.enter_async_context(journal)
        big = tuple((f"claim-{n}", "é" * 500) for n in range(30))
        for number in range(count):
            if number == count // 2:
                await asyncio.to_thread(midway)
            claims = big if number % 5 == 0 else INTENT.claims
            await journal.intend(replace(INTENT, request_id=f"req-{number}", claims=claims))


def received(log: Path) -> list[bytes]:
    """The journal's lines in what rsyslogd wrote, repeats left out."""
    found = []
    for line in log.read_bytes().splitlines() if log.exists() else ():
        front, _, text = line.partition(b"{")
        assert front.split()[0] == b"oidc-gateway"
        assert front.split()[3].startswith((b"audit.", b"13."))
        found.append(b"{" + text + b"\n")
    return list(dict.fromkeys(found))


def written(directory: Path) -> list[bytes]:
    return [line for file in journal_files(directory) for line in file.lines()]


async def arrived(log: Path, directory: Path) -> list[bytes]:
    wanted = written(directory)
    async with asyncio.timeout(20):
        while len(received(log)) < len(wanted):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return received(log)


@pytest.mark.parametrize("kind", ["tcp", "tls", "unix"])
async def test_the_journal_arrives_line_by_line_and_can_be_verified_there(tmp_path: Path, kind: str) -> None:
    authority, port = Authority(), free_port()
    pem = tmp_path / "server.pem"
    pem.write_bytes(authority.server_pem("127.0.0.1"))
    ca = tmp_path / "ca.pem"
    ca.write_text(authority.pem)
    address = {
        "tcp": SyslogAddress(kind="tcp", host="127.0.0.1", port=port),
        "tls": SyslogAddress(kind="tls", host="127.0.0.1", port=port),
        "unix": SyslogAddress(kind="unix", path=str(tmp_path / "log")),
    }[kind]
    directory = tmp_path / "audit"
    tls = {"ca": ca, "certificate": pem, "key": pem} if kind == "tls" else {}

    with running_rsyslog(tmp_path, port=port, **tls) as log:
        await record(directory, address, ca=authority.pem)
        copy = await arrived(log, directory)

    assert copy == written(directory)
    assert verify([MemoryFile(name="audit-000001.jsonl", data=b"".join(copy))]).findings == ()
    assert json.loads(copy[-1])["request_id"] == "req-19"


async def test_a_receiver_that_is_stopped_and_one_that_is_restarted_get_everything(tmp_path: Path) -> None:
    port, directory = free_port(), tmp_path / "audit"
    address = SyslogAddress(kind="tcp", host="127.0.0.1", port=port)

    with running_rsyslog(tmp_path, port=port) as log:
        pid = int((tmp_path / "pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            await record(directory, address, count=10, midway=lambda: os.kill(pid, signal.SIGCONT))
        finally:
            os.kill(pid, signal.SIGCONT)
        await arrived(log, directory)
    await record(directory, address, count=2)
    with running_rsyslog(tmp_path, port=port) as log:
        await record(directory, address, count=2)
        copy = await arrived(log, directory)

    assert copy == written(directory)
