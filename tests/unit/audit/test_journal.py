import asyncio
import contextlib
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.files import journal_files
from gateway.audit.journal import JsonlJournal
from gateway.audit.ledger import is_held
from gateway.audit.reading import read_entries
from gateway.audit.record import Record
from gateway.audit.verdict import ChainCode, Verdict
from gateway.audit.verify import verify
from gateway.audit.writer import MAX_WAITING
from gateway.clock import SystemClock
from gateway.errors import ConfigurationInvalid, ErrorCode, Unavailable
from gateway.metrics import Metrics
from tests.support.records import INTENT, OUTCOME, REFUSAL


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("Mounting a small tmpfs needs root; RLIMIT_FSIZE covers the rule elsewhere.")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class SlowDisk:
    """An fsync that waits at a gate, or fails."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.fault: OSError | None = None
        self.calls = 0

    def __call__(self, descriptor: int) -> None:
        self.calls += 1
        self.gate.wait(20)
        if self.fault is not None:
            raise self.fault
        os.fsync(descriptor)


def journal(
    directory: Path, metrics: Metrics, *, fsync: SlowDisk | None = None, max_bytes: int = 2**26
) -> JsonlJournal:
    return JsonlJournal(
        directory, metrics=metrics, clock=SystemClock(), max_bytes=max_bytes, fsync=fsync or os.fsync
    )


def numbered(record: Record, number: int) -> Record:
    return replace(record, request_id=f"req-{number}")


def ids(directory: Path, kind: str | None = None) -> list[str]:
    return [entry.record.request_id for entry in read_entries(directory) if kind in (None, entry.record.kind)]


def verdict(directory: Path) -> Verdict:
    return verify(journal_files(directory))


def whole_lines(directory: Path) -> list[bytes]:
    """Return the lines that have their end; the last may be half written while the journal is open."""
    return [line for file in journal_files(directory) for line in file.lines() if line.endswith(b"\n")]


def events(directory: Path) -> list[str]:
    documents = [json.loads(line) for line in whole_lines(directory)]
    return [document["event"] for document in documents if document["kind"] == "journal"]


def sample(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def remount(place: Path, mode: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def fill(kept: JsonlJournal) -> int:
    """Write intents until one is refused; return how many were taken."""
    for number in range(10_000):
        try:
            await kept.intend(numbered(INTENT, number))
        except Unavailable:
            return number
    raise AssertionError("The disk is never full.")


async def until(condition: object) -> None:
    """Wait until a condition holds, for at most five seconds."""
    assert callable(condition)
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - files and the writer thread signal nothing
            await asyncio.sleep(0.01)


@pytest.mark.requirement("AU-01")
async def test_an_intent_is_on_disk_when_its_caller_goes_on(directory: Path, metrics: Metrics) -> None:
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        disk.gate.clear()
        intent = asyncio.create_task(kept.intend(INTENT))

        done, _ = await asyncio.wait({intent}, timeout=0.1)
        disk.gate.set()
        await intent

        assert not done
        assert ids(directory) == ["req-1"]


@pytest.mark.requirement("AU-01")
async def test_intents_that_come_together_share_an_fsync(directory: Path, metrics: Metrics) -> None:
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        before = disk.calls

        await asyncio.gather(*(kept.intend(numbered(INTENT, n)) for n in range(200)))

        assert disk.calls - before <= 20
    assert sorted(ids(directory)) == sorted(f"req-{n}" for n in range(200))
    assert verdict(directory).findings == ()


@pytest.mark.requirement("AU-01")
async def test_an_outcome_is_written_when_it_is_concluded_and_a_refusal_soon_after(
    directory: Path, metrics: Metrics
) -> None:
    async with journal(directory, metrics) as kept:
        await kept.intend(INTENT)
        await kept.conclude(OUTCOME)
        written = ids(directory, "outcome")
        kept.refuse(REFUSAL)
        await until(lambda: ids(directory, "refused"))

    assert written == ["req-1"]
    assert metrics.registry.get_sample_value("oidc_gateway_audit_records_total", {"kind": "refused"}) == 1


@pytest.mark.requirement("AU-01", "F-36")
async def test_a_disk_slower_than_the_call_refuses_the_intent_and_is_asked_again(
    directory: Path, metrics: Metrics
) -> None:
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        disk.gate.clear()
        with pytest.raises(Unavailable) as raised:
            async with asyncio.timeout(4):  # without a deadline it would be patient for longer
                await kept.intend(INTENT, deadline=time.monotonic() + 0.2)
        kept.refuse(REFUSAL)
        disk.gate.set()
        await kept.intend(numbered(INTENT, 9))

    assert raised.value.code is ErrorCode.AUDIT_UNAVAILABLE
    assert metrics.registry.get_sample_value("oidc_gateway_audit_failures_total", {"kind": "intent"}) == 1


@pytest.mark.requirement("AU-01")
async def test_an_intent_nobody_waits_for_any_more_is_never_written(
    directory: Path, metrics: Metrics
) -> None:
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        disk.gate.clear()
        first = asyncio.create_task(kept.intend(numbered(INTENT, 1)))
        await until(lambda: ids(directory))
        with pytest.raises(Unavailable):
            await kept.intend(numbered(INTENT, 2), deadline=time.monotonic() + 0.1)
        disk.gate.set()
        await first
        await kept.intend(numbered(INTENT, 3))

    assert ids(directory) == ["req-1", "req-3"]


@pytest.mark.requirement("AU-01", "F-36")
async def test_refusals_and_outcomes_do_not_wait_for_a_slow_disk(directory: Path, metrics: Metrics) -> None:
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        disk.gate.clear()
        stuck = asyncio.create_task(kept.intend(INTENT))
        await until(lambda: ids(directory))
        kept.refuse(REFUSAL)
        await kept.conclude(OUTCOME)
        assert not stuck.done()
        disk.gate.set()
        await stuck

    assert [entry.record.kind for entry in read_entries(directory)] == ["intent", "refused", "outcome"]


@pytest.mark.requirement("AU-01", "F-36")
@pytest.mark.parametrize("errno", [5, 28, 30], ids=["EIO", "ENOSPC", "EROFS"])
async def test_a_failing_disk_refuses_intents_keeps_the_rest_and_recovers_alone(
    directory: Path, metrics: Metrics, errno: int
) -> None:
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        await kept.intend(numbered(INTENT, 1))
        disk.fault = OSError(errno, "broken")
        with pytest.raises(Unavailable):
            await kept.intend(numbered(INTENT, 2))
        await kept.conclude(numbered(OUTCOME, 1))
        kept.refuse(numbered(REFUSAL, 3))
        await asyncio.sleep(0.5)
        disk.fault = None
        await until(lambda: "req-3" in ids(directory))
        await kept.intend(numbered(INTENT, 4))

    assert [(entry.record.kind, entry.record.request_id) for entry in read_entries(directory)][-3:] == [
        ("outcome", "req-1"),
        ("refused", "req-3"),
        ("intent", "req-4"),
    ]
    assert verdict(directory).findings == ()
    assert events(directory) == ["started", "recovered"]


@pytest.mark.requirement("AU-01", "F-36")
async def test_a_full_disk_refuses_intents_and_works_again_when_there_is_room(
    small_disk: Path, metrics: Metrics
) -> None:
    directory = small_disk / "audit"
    async with journal(directory, metrics) as kept:
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 65_536)
        stored = await fill(kept)
        for number in range(20):
            kept.refuse(numbered(REFUSAL, number))
        ballast.unlink()
        await asyncio.sleep(0.3)
        await kept.intend(numbered(INTENT, 1_000))
        await until(lambda: len(ids(directory, "refused")) == 20)

    assert stored > 0
    assert ids(directory, "intent") == [f"req-{n}" for n in (*range(stored), 1_000)]
    assert verdict(directory).findings == ()
    assert any("set aside" in note for note in verdict(directory).notes)


@pytest.mark.requirement("AU-01", "F-36")
async def test_a_file_system_that_became_read_only_refuses_intents_until_it_is_writable_again(
    small_disk: Path, metrics: Metrics
) -> None:
    directory = small_disk / "audit"
    fault = OSError(30, "Read-only file system")
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        # An open file keeps a file system busy, so the remount is done while the journal retries without one.
        disk.fault = fault
        with pytest.raises(Unavailable):
            await kept.intend(numbered(INTENT, 1))
        remount(small_disk, "ro")
        disk.fault = None
        await asyncio.sleep(0.3)
        with pytest.raises(Unavailable):
            await kept.intend(numbered(INTENT, 2))
        remount(small_disk, "rw")
        await asyncio.sleep(0.3)
        await kept.intend(numbered(INTENT, 3))

    assert ids(directory, "intent") == ["req-3"]
    assert verdict(directory).findings == ()


CHILD = """
import asyncio, resource, signal, sys
from pathlib import Path
from gateway.audit.journal import JsonlJournal
from gateway.clock import SystemClock
from gateway.errors import Unavailable
from gateway.metrics import Metrics
from tests.support.records import INTENT

async def main() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    async with JsonlJournal(Path(sys.argv[1]), metrics=Metrics(), clock=SystemClock()) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
        stored = 0
        for _ in range(40):
            try:
                await journal.intend(INTENT)
                stored += 1
            except Unavailable:
                break
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await asyncio.sleep(0.3)
        await journal.intend(INTENT)
        print(stored + 1)

asyncio.run(main())
"""


@pytest.mark.requirement("AU-01")
def test_a_write_that_stops_half_way_leaves_nothing_that_counts(directory: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(directory)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )

    acknowledged = int(child.stdout)
    assert len(ids(directory, "intent")) >= acknowledged > 1
    assert verdict(directory).findings == ()


@pytest.mark.requirement("AU-01")
async def test_more_than_fits_into_memory_is_counted_and_noted_in_the_journal(
    directory: Path, metrics: Metrics
) -> None:
    disk = SlowDisk()
    surplus = 7
    async with journal(directory, metrics, fsync=disk) as kept:
        disk.gate.clear()
        stuck = asyncio.create_task(kept.intend(INTENT))
        await until(lambda: ids(directory))
        for number in range(MAX_WAITING + surplus):
            kept.refuse(numbered(REFUSAL, number))
        with pytest.raises(Unavailable):
            await kept.intend(INTENT)
        disk.gate.set()
        await stuck
        # The writer counts the note once it is durable: what is read afterwards is not being written.
        await until(lambda: sample(metrics, "oidc_gateway_audit_records_total", kind="journal") == 1)

    assert len(ids(directory, "refused")) == MAX_WAITING
    assert (
        metrics.registry.get_sample_value("oidc_gateway_audit_failures_total", {"kind": "refused"}) == surplus
    )
    notes = [json.loads(line) for line in whole_lines(directory) if b'"event":"lost"' in line]
    assert [note["lost_refused"] for note in notes] == [surplus]
    assert verdict(directory).findings == ()


async def test_a_record_that_is_no_json_is_refused_and_not_the_whole_journal(
    directory: Path, metrics: Metrics
) -> None:
    endless: list[object] = []
    endless.append(endless)
    async with journal(directory, metrics) as kept:
        with pytest.raises(Unavailable):
            await kept.intend(replace(INTENT, claims=(("endless", endless),)))
        await kept.conclude(replace(OUTCOME, at=float("inf")))
        await kept.intend(INTENT)

    assert ids(directory) == ["req-1"]


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize(
    "take_away",
    [
        pytest.param(lambda file: file.rename(file.with_suffix(".old")), id="moved"),
        pytest.param(lambda file: file.unlink(), id="deleted"),
        pytest.param(lambda file: os.truncate(file, 10), id="truncated"),
        pytest.param(lambda file: shutil.rmtree(file.parent), id="directory-deleted"),
        pytest.param(lambda file: file.parent.rename(file.parent.with_name("gone")), id="directory-moved"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes() + b"x\n"), id="written-by-others"),
    ],
)
async def test_a_file_taken_away_is_replaced_within_a_second_and_the_verifier_tells(
    directory: Path, metrics: Metrics, take_away: object
) -> None:
    assert callable(take_away)
    async with journal(directory, metrics) as kept:
        await kept.intend(numbered(INTENT, 1))
        began = time.monotonic()
        take_away(directory / "audit-000001.jsonl")
        await until(
            lambda: directory.exists() and {"moved", "deleted", "changed"} & set(_events_now(directory))
        )
        took = time.monotonic() - began
        await kept.intend(numbered(INTENT, 2))

    assert took <= 1
    assert ids(directory)[-1] == "req-2"
    assert verdict(directory).findings != ()
    assert verdict(directory).notes != ()


def _events_now(directory: Path) -> list[str]:
    with contextlib.suppress(ValueError, FileNotFoundError):
        return events(directory)
    found = []
    for file in journal_files(directory):
        for line in file.lines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line).get("event"))
    return found


@pytest.mark.requirement("AU-03")
async def test_a_moved_file_that_is_put_back_makes_the_chain_whole_again(
    directory: Path, metrics: Metrics
) -> None:
    first, elsewhere = directory / "audit-000001.jsonl", directory / "kept-by-logrotate"
    async with journal(directory, metrics) as kept:
        await kept.intend(numbered(INTENT, 1))
        first.rename(elsewhere)
        await kept.intend(numbered(INTENT, 2))
    findings = verdict(directory).findings
    elsewhere.rename(first)

    assert [finding.code for finding in findings] == [ChainCode.MISSING]
    assert verdict(directory).findings == ()


async def test_an_intent_whose_file_was_deleted_before_fsync_stands_in_the_next(
    directory: Path, metrics: Metrics
) -> None:
    disk = SlowDisk()
    async with journal(directory, metrics, fsync=disk) as kept:
        await kept.intend(numbered(INTENT, 1))
        disk.gate.clear()
        intent = asyncio.create_task(kept.intend(numbered(INTENT, 2)))
        await until(lambda: len(ids(directory)) == 2)
        (directory / "audit-000001.jsonl").unlink()
        disk.gate.set()
        await intent

    assert ids(directory) == ["req-2"]


@pytest.mark.requirement("AU-03")
async def test_the_chain_goes_on_over_rotation_without_loss_or_double(
    directory: Path, metrics: Metrics
) -> None:
    async with journal(directory, metrics, max_bytes=16_384) as kept:
        for start in range(0, 200, 20):
            calls = [kept.intend(numbered(INTENT, n)) for n in range(start, start + 20)]
            await asyncio.gather(*calls)
            kept.refuse(numbered(REFUSAL, start))

    assert len(journal_files(directory)) > 5
    assert ids(directory, "intent") == [f"req-{n}" for n in range(200)]
    assert len(ids(directory, "refused")) == 10
    assert verdict(directory).findings == ()
    assert set(events(directory)) == {"started", "rotated"}


@pytest.mark.requirement("AU-03")
async def test_the_chain_goes_on_over_restarts_under_a_new_boot_id(directory: Path, metrics: Metrics) -> None:
    for number in range(3):
        async with journal(directory, metrics) as kept:
            await kept.intend(numbered(INTENT, number))

    lines = [json.loads(line) for file in journal_files(directory) for line in file.lines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert len({line["boot"] for line in lines}) == 3
    assert verdict(directory).findings == ()


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize(
    "torn", [b'{"seq":3,"boot":"', b"\0" * 100, b"nonsense"], ids=["line", "zeros", "other"]
)
async def test_what_a_crash_tore_is_set_aside_with_a_marker(
    directory: Path, metrics: Metrics, torn: bytes
) -> None:
    async with journal(directory, metrics) as kept:
        await kept.intend(numbered(INTENT, 1))
    with (directory / "audit-000001.jsonl").open("ab") as file:
        file.write(torn)

    async with journal(directory, metrics) as kept:
        await kept.intend(numbered(INTENT, 2))

    assert ids(directory, "intent") == ["req-1", "req-2"]
    assert verdict(directory).findings == ()
    [note] = verdict(directory).notes
    assert note == (
        f"audit-000001.jsonl: When the journal went on it set aside {len(torn)} bytes at its end: left unacknowledged "
        "by a crash or a failed write, or by somebody who cut the file."
    )


@pytest.mark.requirement("AU-03")
async def test_a_crash_while_a_file_is_begun_is_survived(directory: Path, metrics: Metrics) -> None:
    async with journal(directory, metrics) as kept:
        await kept.intend(numbered(INTENT, 1))
    with (directory / "audit-000001.jsonl").open("ab") as file:
        file.write(b'{"seq":3')
    (directory / "audit-000002.jsonl").write_bytes(b'{"seq":3,"bo')
    (directory / "audit-000003.jsonl").write_bytes(b"")

    async with journal(directory, metrics) as kept:
        await kept.intend(numbered(INTENT, 2))

    assert [file.name for file in journal_files(directory)][-1] == "audit-000004.jsonl"
    assert ids(directory, "intent") == ["req-1", "req-2"]
    assert verdict(directory).findings == ()


@pytest.mark.requirement("AU-05")
async def test_two_processes_never_share_a_directory(directory: Path, metrics: Metrics) -> None:
    async with journal(directory, metrics):
        with pytest.raises(ConfigurationInvalid) as raised:
            await journal(directory, metrics).__aenter__()

    assert raised.value.message == f"The audit directory {directory} is in use by another process."
    assert raised.value.code is ErrorCode.AUDIT_UNAVAILABLE


@pytest.mark.requirement("AU-05")
async def test_before_anything_is_loaded_one_can_tell_that_a_directory_is_held(
    directory: Path, metrics: Metrics
) -> None:
    before = is_held(directory)
    async with journal(directory, metrics):
        meanwhile = is_held(directory)

    assert (before, meanwhile, is_held(directory)) == (False, True, False)


async def test_a_directory_that_cannot_be_written_is_named_at_the_start(
    tmp_path: Path, metrics: Metrics
) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationInvalid, match="cannot be written: Not a directory"):
        await journal(tmp_path / "file" / "audit", metrics).__aenter__()


async def test_only_the_service_may_read_its_journal(directory: Path, metrics: Metrics) -> None:
    before = os.umask(0)
    try:
        async with journal(directory, metrics) as kept:
            await kept.intend(INTENT)
    finally:
        os.umask(before)

    assert mode(directory) == 0o700
    assert mode(directory / "audit-000001.jsonl") == 0o600


async def test_a_journal_that_is_not_open_grants_nothing(tmp_path: Path, metrics: Metrics) -> None:
    closed = journal(tmp_path / "audit", metrics)

    closed.refuse(REFUSAL)
    await closed.conclude(OUTCOME)
    with pytest.raises(Unavailable):
        await closed.intend(INTENT)

    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240


@pytest.mark.requirement("AU-01")
async def test_stopping_writes_all_that_waits(directory: Path, metrics: Metrics) -> None:
    async with journal(directory, metrics) as kept:
        for number in range(1_000):
            kept.refuse(numbered(REFUSAL, number))

    assert len(ids(directory)) == 1_000


KILLED = """
import asyncio, sys
from dataclasses import replace
from pathlib import Path
from gateway.audit.journal import JsonlJournal
from gateway.clock import SystemClock
from gateway.metrics import Metrics
from tests.support.records import INTENT

async def keep(journal: JsonlJournal, first: int) -> None:
    for number in range(first, 1_000_000, 8):
        await journal.intend(replace(INTENT, request_id=f"req-{number}"))
        print(number, flush=True)

async def main() -> None:
    journal = JsonlJournal(Path(sys.argv[1]), metrics=Metrics(), clock=SystemClock(), max_bytes=50_000)
    async with journal:
        await asyncio.gather(*(keep(journal, first) for first in range(8)))

asyncio.run(main())
"""


@pytest.mark.requirement("AU-01", "AU-03")
def test_a_process_killed_while_it_writes_loses_nothing_that_was_acknowledged(
    directory: Path, metrics: Metrics
) -> None:
    acknowledged: list[str] = []

    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(directory)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert child.stdout is not None
        read = [child.stdout.readline() for _ in range(200)]
        child.kill()
        read += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        acknowledged += [f"req-{line.strip()}" for line in read if line.endswith("\n")]

    written = ids(directory, "intent")
    missing = [
        request for request in set(acknowledged) if written.count(request) < acknowledged.count(request)
    ]
    assert missing == []
    assert verdict(directory).findings == ()
