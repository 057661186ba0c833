"""What the log says when the audit folder fails: which folder it is, why, and what to look at."""

import errno
import os
from pathlib import Path

import pytest

from gateway.audit.journal import JsonlJournal
from gateway.audit.shipped import CURSOR_FILE, Shipped
from gateway.audit.tail import Cursor
from gateway.clock import SystemClock
from gateway.errors import Unavailable
from gateway.metrics import Metrics
from tests.support.records import INTENT


class Disk:
    """One that may be full."""

    full = False

    def fsync(self, descriptor: int) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)


@pytest.mark.requirement("AU-01")
async def test_a_folder_that_cannot_be_written_is_named_with_what_to_look_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    async with JsonlJournal(tmp_path, metrics=Metrics(), clock=SystemClock(), fsync=disk.fsync) as journal:
        disk.full = True
        with pytest.raises(Unavailable):
            await journal.intend(INTENT)
        disk.full = False

    said = next(vars(record) for record in caplog.records if "cannot be written" in record.message)
    assert (said["directory"], said["reason"]) == (str(tmp_path), "No space left on device")
    assert "Look at the space" in said["hint"]


async def test_a_place_of_the_second_copy_that_cannot_be_saved_names_its_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Shipped(tmp_path / "gone").save("chain", Cursor(file="audit-000001.jsonl", offset=0, seq=0))

    (said,) = [vars(record) for record in caplog.records]
    assert (said["file"], said["reason"]) == (
        str(tmp_path / "gone" / CURSOR_FILE),
        "No such file or directory",
    )
