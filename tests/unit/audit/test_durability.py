"""Rotation, power cuts and thieves: what was acknowledged is there once, and nothing half written is read as good."""

import asyncio
import json
import os
import shutil
import stat
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.files import journal_directories, journal_files
from gateway.audit.journal import JsonlJournal
from gateway.audit.reading import read_entries
from gateway.audit.verify import verify
from gateway.clock import SystemClock
from gateway.errors import Unavailable
from gateway.metrics import Metrics
from tests.support.records import INTENT, OUTCOME, REFUSAL
from tests.unit.audit.test_journal import events, ids, journal, mode, until, whole_lines


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.mark.requirement("AU-05")
async def test_rotation_under_load_loses_and_doubles_nothing(directory: Path, metrics: Metrics) -> None:
    async with journal(directory, metrics, max_bytes=10_000) as kept:

        async def call(name: str) -> None:
            await kept.intend(replace(INTENT, request_id=name))
            kept.refuse(replace(REFUSAL, request_id=f"refused-{name}"))
            await kept.conclude(replace(OUTCOME, request_id=name))

        for start in range(0, 600, 50):
            await asyncio.gather(*(call(f"req-{number}") for number in range(start, start + 50)))

    wanted = sorted(f"req-{number}" for number in range(600))
    assert len(journal_files(directory)) >= 10
    assert sorted(ids(directory, "intent")) == wanted
    assert sorted(ids(directory, "outcome")) == wanted
    assert sorted(ids(directory, "refused")) == sorted(f"refused-{name}" for name in wanted)
    assert verify(journal_files(directory)).findings == ()


@pytest.mark.requirement("AU-05")
async def test_every_file_is_closed_to_others_and_opened_for_appending_alone(
    directory: Path, metrics: Metrics
) -> None:
    async with journal(directory, metrics, max_bytes=65_536) as kept:
        for number in range(100):
            await kept.intend(replace(INTENT, request_id=f"req-{number}"))
        current = journal_files(directory)[-1].path
        flags = [flags for target, flags in descriptors() if target == str(current)]

    assert {file.path.stat().st_mode & 0o777 for file in journal_files(directory)} == {0o600}
    assert mode(directory) == 0o700
    assert [(one & os.O_APPEND, one & os.O_ACCMODE) for one in flags] == [(os.O_APPEND, os.O_WRONLY)]


@pytest.mark.requirement("AU-05")
async def test_a_new_file_and_its_name_are_on_the_disk_before_anything_in_it_is_acknowledged(
    directory: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def noting(descriptor: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        real(descriptor)

    monkeypatch.setattr("gateway.audit.ledger.os.fsync", noting)
    async with JsonlJournal(directory, metrics=metrics, clock=SystemClock(), fsync=noting) as kept:
        begun = list(synced)
        await kept.intend(INTENT)

    assert begun == ["file", "folder"]
    assert synced[2:3] == ["file"]


@pytest.mark.requirement("AU-05")
async def test_what_is_deleted_while_it_is_made_durable_is_written_again_and_only_then_acknowledged(
    directory: Path, metrics: Metrics
) -> None:
    deleting: list[Path] = []

    def deletes(descriptor: int) -> None:
        for file in deleting:
            file.unlink()
        deleting.clear()
        os.fsync(descriptor)

    async with JsonlJournal(directory, metrics=metrics, clock=SystemClock(), fsync=deletes) as kept:
        deleting.append(journal_files(directory)[-1].path)
        await kept.intend(INTENT)
        found = ids(directory, "intent")

    assert found == [INTENT.request_id]
    assert [file.name for file in journal_files(directory)] == ["audit-000002.jsonl"]


def descriptors() -> list[tuple[str, int]]:
    """Every open file of this process and the flags it was opened with."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            info = Path(f"/proc/self/fdinfo/{link.name}").read_text()
            found.append((str(link.readlink()), int(info.split("flags:")[1].split()[0], 8)))
        except FileNotFoundError:
            continue
    return found


class Camera:
    """An fsync that keeps a copy of the directory as it was before and after each, with what was acknowledged by then.

    A power cut keeps at least everything that fsync covered, and of what came after it any beginning.
    """

    def __init__(self, directory: Path, album: Path) -> None:
        self.directory = directory
        self.album = album
        self.acknowledged: list[str] = []
        self.pictures: list[tuple[Path, list[str]]] = []

    def __call__(self, descriptor: int) -> None:
        self.take()
        os.fsync(descriptor)
        self.take()

    def take(self) -> None:
        picture = self.album / str(len(self.pictures))
        shutil.copytree(self.directory, picture)
        self.pictures.append((picture, list(self.acknowledged)))


@pytest.mark.requirement("AU-05", "F-35")
@pytest.mark.parametrize("torn", [0, 1, 700], ids=["whole", "last byte", "half a record"])
async def test_whenever_the_power_goes_everything_acknowledged_is_there_and_nothing_half_written_counts(
    directory: Path, metrics: Metrics, tmp_path: Path, torn: int
) -> None:
    camera = Camera(directory, tmp_path / "album")
    camera.album.mkdir()
    kept = JsonlJournal(directory, metrics=metrics, clock=SystemClock(), max_bytes=8_000, fsync=camera)
    async with kept:
        for number in range(12):
            await kept.intend(replace(INTENT, request_id=f"req-{number}"))
            camera.acknowledged.append(f"req-{number}")
    names = {f"req-{number}" for number in range(12)}

    for picture, acknowledged in camera.pictures:
        tear(picture, torn, acknowledged)
        async with journal(picture, Metrics()):
            pass
        found = ids(picture, "intent")
        assert set(acknowledged) <= set(found) <= names
        assert len(found) == len(set(found))
        assert verify(journal_files(picture)).findings == ()
        assert ids(picture, "unknown") == found, "and every one of them is closed"


def tear(picture: Path, count: int, acknowledged: list[str]) -> None:
    """Cut the last bytes off the last file, unless they were acknowledged."""
    files = journal_files(picture)
    if not count or not files:
        return
    *_, last = [b"", *files[-1].lines()]
    if not last.endswith(b"\n") or any(f'"{name}"'.encode() in last for name in acknowledged):
        return
    os.truncate(files[-1].path, max(0, files[-1].path.stat().st_size - count))


class HonestDisk:
    """Stands in for `os.fsync` and knows what it has covered: the size of each file, and the names in a folder."""

    def __init__(self) -> None:
        self._fsync = os.fsync
        self._sizes: dict[int, int] = {}
        self._named: set[int] = set()

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            self._named |= {os.stat(name, dir_fd=descriptor).st_ino for name in os.listdir(descriptor)}
        else:
            self._sizes[status.st_ino] = status.st_size

    def after_a_cut(self, directory: Path, picture: Path) -> Path:
        """Return a copy of the directory with no more in it than the disk has to have kept."""
        picture.mkdir()
        for file in directory.iterdir():
            number = file.stat().st_ino
            if number in self._named:
                (picture / file.name).write_bytes(file.read_bytes()[: self._sizes.get(number, 0)])
        return picture


@pytest.mark.requirement("AU-05", "F-35")
async def test_what_is_acknowledged_is_on_the_disk_and_not_on_its_way_there(
    directory: Path, metrics: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, wanted, found = HonestDisk(), [], []
    monkeypatch.setattr(os, "fsync", disk.fsync)
    kept = JsonlJournal(directory, metrics=metrics, clock=SystemClock(), max_bytes=8_000, fsync=disk.fsync)
    async with kept:
        for number in range(12):
            await kept.intend(replace(INTENT, request_id=f"req-{number}"))
            wanted.append([f"req-{one}" for one in range(number + 1)])
            found.append(ids(disk.after_a_cut(directory, tmp_path / str(number)), "intent"))

    assert len(journal_files(directory)) > 1, "a file that is new was among them"
    assert found == wanted


@pytest.mark.requirement("AU-05", "F-37")
@pytest.mark.parametrize("act", ["mv", "rm"])
async def test_a_file_taken_away_under_load_costs_no_acknowledged_record_but_those_in_it(
    directory: Path, metrics: Metrics, tmp_path: Path, act: str
) -> None:
    acknowledged: list[str] = []
    stolen = tmp_path / "stolen.jsonl"
    async with journal(directory, metrics) as kept:

        async def load(first: int) -> None:
            for number in range(first, 10_000, 8):
                await kept.intend(replace(INTENT, request_id=f"req-{number}"))
                acknowledged.append(f"req-{number}")

        tasks = [asyncio.create_task(load(first)) for first in range(8)]
        await until(lambda: len(acknowledged) > 100)
        first = journal_files(directory)[0].path
        before = set(acknowledged) if act == "rm" else set()
        if act == "rm":
            first.unlink()
        else:
            first.rename(stolen)
        await until(lambda: len(journal_files(directory)) == 1)
        marked = len(acknowledged)
        await until(lambda: len(acknowledged) > marked + 100)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    assert events(directory)[0] == ("deleted" if act == "rm" else "moved")
    if act == "mv":
        (directory / "audit-000001.jsonl").write_bytes(stolen.read_bytes())
        assert verify(journal_files(directory)).findings == ()
    found = ids(directory, "intent")
    missing = set(acknowledged) - set(found) - before
    assert len(missing) <= (8 if act == "rm" else 0), "those under way in the moment it was deleted"
    assert len(found) == len(set(found))


#: A promise of the product.
FOLLOWED_S = 1.0


@pytest.mark.requirement("F-37")
@pytest.mark.parametrize("act", ["mv", "rm"])
async def test_a_file_taken_away_while_nothing_happens_is_followed_within_a_second(
    directory: Path, metrics: Metrics, tmp_path: Path, act: str
) -> None:
    took: list[float] = []
    async with journal(directory, metrics) as kept:
        await kept.intend(INTENT)
        # The best of three: the machine of the tests has others to serve as well.
        for number in range(3):
            [first] = journal_files(directory)
            began = time.monotonic()
            if act == "rm":
                first.path.unlink()
            else:
                first.path.rename(tmp_path / f"stolen-{number}.jsonl")
            await until(lambda: whole_lines(directory))
            took.append(time.monotonic() - began)

    assert min(took) <= FOLLOWED_S
    assert events(directory) == ["deleted" if act == "rm" else "moved"]


@pytest.mark.requirement("AU-05")
async def test_workers_in_directories_of_their_own_never_share_a_file(directory: Path) -> None:
    journals = [journal(directory / name, Metrics(), max_bytes=65_536) for name in ("w1", "w2", "w10")]
    for one in journals:
        await one.__aenter__()
    await asyncio.gather(
        *(
            one.intend(replace(INTENT, request_id=f"{at}-{number}"))
            for at, one in enumerate(journals)
            for number in range(200)
        )
    )
    for one in journals:
        await one.__aexit__(None, None, None)

    folders = journal_directories(directory)
    assert [folder.name for folder in folders] == ["w1", "w2", "w10"]
    for at, folder in enumerate(folders):
        assert sorted(ids(folder, "intent")) == sorted(f"{at}-{number}" for number in range(200))
        assert verify(journal_files(folder)).findings == ()
    with pytest.raises(Unavailable):
        await journals[0].intend(INTENT)


def test_the_directory_of_one_process_is_a_journal_too(tmp_path: Path) -> None:
    (tmp_path / "audit-000001.jsonl").write_bytes(b"")
    (tmp_path / "w1").mkdir()
    (tmp_path / "w01").mkdir()
    (tmp_path / "worker").mkdir()

    assert [path.name for path in journal_directories(tmp_path)] == [tmp_path.name, "w1"]
    assert json.dumps([entry.text for entry in read_entries(tmp_path)]) == "[]"
