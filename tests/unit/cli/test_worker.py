"""What passes between a worker and its supervisor."""

from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest
from uvicorn import Config

from gateway.cli.serving import WhyNot
from gateway.cli.worker import Life, WorkerProcess
from gateway.errors import ErrorCode
from gateway.files.schema.keeping import AuditShape
from gateway.files.schema.serving import ServerShape
from gateway.settings.loading import load_settings


@pytest.fixture
def process(tmp_path: Path) -> Iterator[WorkerProcess]:
    """A worker that was never started: the test speaks for it."""
    settings = load_settings(
        config=tmp_path, server=ServerShape(), audit=AuditShape(), environment={}, flags={}
    )
    made = WorkerProcess(Config("", log_config=None), [], settings)
    yield made
    made.parent_conn.close()
    made.child_conn.close()


@pytest.mark.requirement("F-57")
def test_a_worker_that_answers_is_well_and_one_that_has_not_for_thirty_seconds_is_not(
    process: WorkerProcess,
) -> None:
    life = Life(process.child_conn)

    assert process.is_well(now=0)
    assert process.child_conn.recv() == b"ping"
    life.answer()
    assert process.is_well(now=10)
    assert process.serving is False
    assert process.child_conn.recv() == b"ping"
    assert process.is_well(now=39.9)
    assert not process.is_well(now=40)


def test_nobody_is_asked_again_before_the_answer(process: WorkerProcess) -> None:
    for now in range(20):
        process.is_well(now=now)

    assert process.child_conn.recv() == b"ping"
    assert not process.child_conn.poll()


def test_a_worker_serves_once_it_says_so(process: WorkerProcess) -> None:
    life = Life(process.child_conn)
    life.serve("http://127.0.0.1:1")
    life.beat()
    life.answer()

    process.listen(now=1)

    assert process.serving


def test_why_a_worker_cannot_start_is_heard_after_its_end(process: WorkerProcess) -> None:
    why = WhyNot(reason="The port is gone.", code=ErrorCode.AUDIT_UNAVAILABLE)
    Life(process.child_conn).fail(why)
    process.child_conn.close()

    process.listen(now=1)

    assert process.fault == why


@pytest.mark.requirement("F-57")
def test_an_event_loop_that_is_stuck_answers_nothing() -> None:
    ours, theirs = Pipe()
    now = [100.0]
    life = Life(theirs, now=lambda: now[0])
    with ours, theirs:
        life.serve("http://127.0.0.1:1")
        life.beat()

        now[0] += 9.9
        life.answer()
        answered = ours.poll()
        ours.recv()
        now[0] += 0.2
        life.answer()
        stuck = ours.poll()
        life.leaving = True
        life.answer()

        assert (answered, stuck, ours.poll()) == (True, False, True)
