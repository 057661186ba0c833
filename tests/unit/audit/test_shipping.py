"""The second copy: everything durable arrives in order, at least once, whatever the receiver does; lag stops grants, not records."""

import contextlib
import json
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.audit.files import journal_files
from gateway.audit.journal import JsonlJournal
from gateway.audit.shipped import CURSOR_FILE, replace_durably
from gateway.audit.shipping import Shipper, Wire
from gateway.audit.verify import verify
from gateway.clock import SystemClock
from gateway.errors import ErrorCode, Unavailable
from gateway.metrics import Metrics
from gateway.outbound.syslog import SyslogAddress, SyslogAddressInvalid, SyslogWire
from gateway.outbound.tls import client_context
from tests.support.certificates import Authority
from tests.support.records import INTENT, REFUSAL, MemoryFile
from tests.support.syslog import Receiver
from tests.unit.audit.test_journal import until


class Movable(SystemClock):
    """A clock whose wall time a test moves on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A journal and its shipper."""

    journal: JsonlJournal
    shipper: Shipper
    metrics: Metrics
    clock: Movable

    async def record(self, first: int, last: int) -> None:
        for number in range(first, last):
            await self.journal.intend(replace(INTENT, request_id=f"req-{number}"))

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"oidc_gateway_audit_{name}")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with contextlib.closing(Receiver()) as one:
        yield one


def to(port: int) -> Callable[[], Wire]:
    address = SyslogAddress(kind="tcp", host="127.0.0.1", port=port)
    return lambda: SyslogWire.connect(address, None, timeout_s=1.0)


@asynccontextmanager
async def running(
    directory: Path,
    connect: Callable[[], Wire],
    *,
    max_lag_s: float | None = None,
    max_bytes: int = 2**26,
    settle_s: float = 0.0,
    max_message_bytes: int = 300_000,
) -> AsyncIterator[Running]:
    metrics, clock = Metrics(), Movable()
    shipper = Shipper(
        directory,
        connect,
        receiver="tcp://syslog.acme.example:514",
        metrics=metrics,
        clock=clock,
        max_lag_s=max_lag_s,
        settle_s=settle_s,
        end_s=2.0,
        max_message_bytes=max_message_bytes,
    )
    journal = JsonlJournal(directory, metrics=metrics, clock=clock, copy=shipper, max_bytes=max_bytes)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(shipper)
        await stack.enter_async_context(journal)
        yield Running(journal=journal, shipper=shipper, metrics=metrics, clock=clock)


def copied(receiver: Receiver) -> list[bytes]:
    """The journal's lines among what was received, as they came."""
    return [b"{" + message.partition(b" - {")[2] + b"\n" for message in receiver.messages]


def written(directory: Path) -> list[bytes]:
    return [line for file in journal_files(directory) for line in file.lines()]


def once(lines: list[bytes]) -> list[bytes]:
    """The lines without repeats, each where it came first."""
    return list(dict.fromkeys(lines))


async def test_every_record_arrives_once_and_in_order_and_the_copy_can_be_verified(
    directory: Path, receiver: Receiver
) -> None:
    async with running(directory, to(receiver.port), max_bytes=10_000) as gateway:
        await gateway.record(0, 60)
        gateway.journal.refuse(REFUSAL)
    await until(lambda: len(receiver.messages) == len(written(directory)))

    assert copied(receiver) == written(directory)
    copy = MemoryFile(name="audit-000001.jsonl", data=b"".join(copied(receiver)))
    assert verify([copy]).findings == ()
    assert gateway.metric("copied_records_total") == len(receiver.messages)
    await until(lambda: gateway.metric("copy_lag_seconds") == 0)


async def test_a_restart_goes_on_where_the_last_run_ended(directory: Path, receiver: Receiver) -> None:
    for run in range(3):
        async with running(directory, to(receiver.port)) as gateway:
            await gateway.record(10 * run, 10 * run + 10)
    await until(lambda: len(receiver.messages) >= len(written(directory)))

    assert copied(receiver) == written(directory)


async def test_what_was_written_while_the_receiver_was_away_arrives_when_it_is_back(
    directory: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    port = receiver.port
    async with running(directory, to(port)) as gateway:
        await gateway.record(0, 5)
        await until(lambda: gateway.metric("copy_lag_seconds") == 0 and len(receiver.messages) >= 6)
        receiver.close()
        await until(lambda: (gateway.metric("copy_failures_total") or 0) > 0)
        await gateway.record(5, 10)
        back = Receiver(port=port)
        await until(lambda: gateway.metric("copy_lag_records") == 0 and len(back.messages) >= 5)
    try:
        assert once(copied(receiver) + copied(back)) == written(directory)
    finally:
        back.close()
    told = [record for record in caplog.records if "second copy" in record.message]
    (warning,) = [vars(record) for record in told if record.levelno > logging.INFO]
    assert (warning["levelno"], warning["receiver"]) == (logging.WARNING, "tcp://syslog.acme.example:514")
    assert "Check that the receiver runs" in warning["hint"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(
            ConnectionRefusedError(111, "Connection refused"), "Check that the receiver runs", id="away"
        ),
        pytest.param(ssl.SSLError(1, "wrong version number"), "audit.syslog.ca_file is the CA", id="tls"),
    ],
)
async def test_a_receiver_that_is_not_reached_is_named_with_what_to_check(
    directory: Path, caplog: pytest.LogCaptureFixture, fault: OSError, said: str
) -> None:
    def connect() -> Wire:
        raise fault

    async with running(directory, connect) as gateway:
        await until(lambda: (gateway.metric("copy_failures_total") or 0) > 1)

    (warning,) = [vars(record) for record in caplog.records if "cannot be written" in record.message]
    assert (warning["receiver"], warning["reason"]) == ("tcp://syslog.acme.example:514", fault.strerror)
    assert said in warning["hint"]


async def test_a_connection_cut_in_the_midst_repeats_rather_than_loses(
    directory: Path, receiver: Receiver
) -> None:
    receiver.cut_after = 7
    async with running(directory, to(receiver.port), settle_s=3_600) as gateway:
        await gateway.record(0, 40)
        await until(lambda: receiver.connections >= 3)
        receiver.cut_after = None
        await until(lambda: len(once(copied(receiver))) >= 41)

    assert once(copied(receiver)) == written(directory)
    assert len(copied(receiver)) > len(written(directory))


async def test_a_receiver_killed_with_unread_messages_gets_them_again(
    directory: Path, receiver: Receiver
) -> None:
    port = receiver.port
    receiver.reading.clear()
    async with running(directory, to(port), settle_s=3_600) as gateway:
        await gateway.record(0, 10)
        await until(lambda: (gateway.metric("copied_records_total") or 0) >= 11)
        receiver._open = False
        receiver.close()
        back = Receiver(port=port)
        await until(lambda: len(back.messages) >= 11)
    try:
        assert once(copied(back)) == written(directory)
    finally:
        back.close()


async def test_a_receiver_that_hangs_is_left_for_a_new_connection(
    directory: Path, receiver: Receiver
) -> None:
    receiver.reading.clear()
    async with running(directory, to(receiver.port)) as gateway:
        big = replace(INTENT, claims=tuple((f"claim-{n}", "x" * 500) for n in range(60)))
        for number in range(150):
            gateway.journal.refuse(replace(big, kind="refused", request_id=f"req-{number}"))
        await until(lambda: (gateway.metric("copy_failures_total") or 0) > 0)
        receiver.reading.set()
        await until(lambda: len(once(copied(receiver))) >= 151)

    assert once(copied(receiver)) == written(directory)
    assert receiver.connections > 1


@pytest.mark.requirement("AU-05")
async def test_nothing_is_granted_while_the_copy_is_too_far_behind_and_refusals_go_on(
    directory: Path, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    port = receiver.port
    async with running(directory, to(port), max_lag_s=60) as gateway:
        await gateway.record(0, 1)
        receiver.close()
        await until(lambda: (gateway.metric("copy_failures_total") or 0) > 0)
        await gateway.record(1, 2)

        def a_minute_later() -> bool:
            # The shipper is told of the record a moment after the record's own waiter.
            gateway.clock.ahead += 61
            return gateway.shipper.behind()

        await until(a_minute_later)
        with pytest.raises(Unavailable) as refused:
            await gateway.record(2, 3)

        gateway.journal.refuse(REFUSAL)
        back = Receiver(port=port)
        await until(lambda: not gateway.shipper.behind())
        await gateway.record(3, 4)
    back.close()

    assert refused.value.code is ErrorCode.AUDIT_UNAVAILABLE
    assert refused.value.message == (
        "The second copy of the audit record is too far behind, so nothing was exchanged or started."
    )
    assert (
        gateway.metrics.registry.get_sample_value("oidc_gateway_audit_failures_total", {"kind": "intent"})
        == 1
    )
    messages = [record.message for record in caplog.records]
    assert (
        "the second copy of the audit record is too far behind; grants are refused until it is not"
        in messages
    )
    assert "the second copy of the audit record has caught up; grants go on" in messages
    names = [json.loads(line).get("request_id") for line in written(directory)]
    assert [name for name in names if name] == ["req-0", "req-1", REFUSAL.request_id, "req-3"]


async def test_an_idle_gateway_is_never_behind_and_an_unlimited_lag_refuses_nobody(
    directory: Path, receiver: Receiver
) -> None:
    async with running(directory, to(receiver.port), max_lag_s=60) as gateway:
        await gateway.record(0, 1)
        await until(
            lambda: (
                gateway.metric("copy_lag_seconds") == 0 and len(receiver.messages) >= len(written(directory))
            )
        )
        gateway.clock.ahead += 3_600
        await gateway.record(1, 2)
    receiver.close()
    async with running(directory, to(receiver.port), max_lag_s=None) as gateway:
        gateway.clock.ahead += 3_600
        await gateway.record(2, 3)


async def test_a_moved_file_is_still_read_to_its_end(
    directory: Path, receiver: Receiver, tmp_path: Path
) -> None:
    async with running(directory, to(receiver.port)) as gateway:
        await gateway.record(0, 5)
        await until(lambda: len(receiver.messages) >= 6)
        receiver.reading.clear()
        (directory / "audit-000001.jsonl").rename(tmp_path / "moved.jsonl")
        await gateway.record(5, 10)
        receiver.reading.set()
        await until(lambda: len(receiver.messages) >= 12)

    names = [json.loads(line).get("request_id") for line in once(copied(receiver))]
    assert [name for name in names if name] == [f"req-{number}" for number in range(10)]


async def test_what_the_journal_set_aside_is_not_sent(directory: Path, receiver: Receiver) -> None:
    async with running(directory, to(receiver.port)) as gateway:
        await gateway.record(0, 3)
    with (directory / "audit-000001.jsonl").open("ab") as file:
        file.write(b'{"seq":99,"torn')
    (directory / CURSOR_FILE).write_text("nonsense")

    async with running(directory, to(receiver.port)) as gateway:
        await gateway.record(3, 6)

    sent = once(copied(receiver))
    assert not any(b"torn" in line for line in sent)
    assert verify([MemoryFile(name="audit-000001.jsonl", data=b"".join(sent))]).findings == ()


async def test_the_first_run_begins_with_the_file_that_is_being_written(
    directory: Path, receiver: Receiver
) -> None:
    async with JsonlJournal(directory, metrics=Metrics(), clock=SystemClock()) as alone:
        await alone.intend(INTENT)

    async with running(directory, to(receiver.port)) as gateway:
        await gateway.record(7, 8)

    assert copied(receiver) == list(journal_files(directory)[1].lines())


@pytest.mark.parametrize("trust", ["ours", "other", "name"])
async def test_tls_verifies_the_receiver(directory: Path, trust: str) -> None:
    authority, other = Authority(), Authority()
    tls = client_context((other if trust == "other" else authority).pem)
    names = ("syslog.acme.example",) if trust == "name" else ("127.0.0.1",)
    with contextlib.closing(Receiver(tls=authority.server(*names))) as receiver:
        address = SyslogAddress.parse(f"tls://127.0.0.1:{receiver.port}")
        async with running(directory, lambda: SyslogWire.connect(address, tls, timeout_s=5.0)) as gateway:
            await gateway.record(0, 5)
            await until(lambda: len(receiver.messages) >= 6 or gateway.metric("copy_failures_total"))
        assert copied(receiver) == (written(directory) if trust == "ours" else [])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tls://syslog.acme.example:6514", SyslogAddress(kind="tls", host="syslog.acme.example", port=6514)),
        ("tcp://[::1]:514", SyslogAddress(kind="tcp", host="::1", port=514)),
        ("unix:/dev/log", SyslogAddress(kind="unix", path="/dev/log")),
    ],
)
def test_an_address_is_read_and_named_as_it_was_written(text: str, address: SyslogAddress) -> None:
    assert SyslogAddress.parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["udp://h:514", "tcp://h", "tcp://h:0", "tcp://h:65536", "tcp://u@h:1", "unix:log"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SyslogAddressInvalid):
        SyslogAddress.parse(text)


@pytest.mark.requirement("AU-05")
@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_crash_while_the_place_is_saved_leaves_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / CURSOR_FILE
    replace_durably(path, b"old")

    def crash(*_: object) -> None:
        raise OSError("the power went")

    match step:
        case "write":
            monkeypatch.setattr("gateway.audit.shipped.os.fdopen", crash)
        case "fsync":
            monkeypatch.setattr("gateway.audit.shipped.os.fsync", crash)
        case _:
            monkeypatch.setattr(Path, "replace", crash)
    with contextlib.suppress(OSError):
        replace_durably(path, b"new")
    monkeypatch.undo()

    assert path.read_bytes() == b"old"
    replace_durably(path, b"newer")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"newer", 0o600)
