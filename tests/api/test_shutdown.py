"""How the process ends: nobody is cut off, and nobody can keep it from ending."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

ROOT = Path(__file__).parents[2]


class Process:
    """The server process and a client for it."""

    def __init__(self, popen: subprocess.Popen[str], url: str) -> None:
        self.popen = popen
        self.url = url

    def get(self, path: str) -> httpx2.Response:
        with httpx2.Client(trust_env=False, timeout=20) as client:
            return client.get(self.url + path)

    def is_ready(self) -> bool:
        return bool(self.get("/readyz").json()["status"] != "draining")

    def refuses_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", int(self.url.rsplit(":", 1)[1])), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False


@contextlib.contextmanager
def running(*, serve_on_s: float, finish_s: int) -> Iterator[Process]:
    command = [sys.executable, "-m", "tests.support.drained_process", str(serve_on_s), str(finish_s)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as popen:
        assert popen.stdout is not None
        try:
            yield Process(popen, popen.stdout.readline().strip())
        finally:
            popen.kill()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def hold_fifty(process: Process, pool: ThreadPoolExecutor) -> list[Future[httpx2.Response]]:
    waiting = [pool.submit(process.get, "/hold") for _ in range(50)]
    until(lambda: process.get("/held").text == "50")
    return waiting


@pytest.mark.requirement("HT-14")
def test_requests_under_way_at_sigterm_are_answered_although_nobody_else_gets_in() -> None:
    with running(serve_on_s=0, finish_s=10) as process, ThreadPoolExecutor(50) as pool:
        waiting = hold_fifty(process, pool)

        process.popen.send_signal(signal.SIGTERM)
        answers = [future.result(20) for future in waiting]
        output, errors = process.popen.communicate(timeout=20)

    assert [answer.text for answer in answers] == ["held"] * 50
    assert process.popen.returncode == 0
    assert output == "flushed\n"
    assert errors == ""


@pytest.mark.requirement("HT-14")
def test_readiness_goes_off_first_and_requests_are_still_served() -> None:
    with running(serve_on_s=2, finish_s=10) as process, ThreadPoolExecutor(50) as pool:
        waiting = hold_fifty(process, pool)

        process.popen.send_signal(signal.SIGTERM)
        until(lambda: not process.is_ready())
        released = process.get("/release")
        answers = [future.result(20) for future in waiting]
        until(process.refuses_connections)
        returncode = process.popen.wait(20)

    assert released.text == "released"
    assert released.headers["connection"] == "close"
    assert {answer.status_code for answer in answers} == {200}
    assert returncode == 0


@pytest.mark.requirement("HT-14")
def test_what_does_not_finish_in_time_is_told_to_try_again() -> None:
    with running(serve_on_s=0, finish_s=1) as process, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(process.get, "/never")
        until(lambda: b"in_flight 2.0" in process.get("/metrics").content)

        process.popen.send_signal(signal.SIGTERM)
        answer = waiting.result(20)
        returncode = process.popen.wait(20)

    assert (answer.status_code, answer.json()["code"]) == (503, "draining")
    assert returncode == 0


@pytest.mark.requirement("HT-14")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    with running(serve_on_s=30, finish_s=30) as process:
        process.popen.send_signal(signal.SIGTERM)
        until(lambda: not process.is_ready())

        process.popen.send_signal(second)
        returncode = process.popen.wait(20)  # in time, for it would serve on for longer

    assert returncode == 128 + second


@pytest.mark.requirement("HT-14")
def test_idle_connections_do_not_delay_the_end() -> None:
    with running(serve_on_s=0, finish_s=60) as process, httpx2.Client(trust_env=False) as client:
        client.get(process.url + "/held")

        process.popen.send_signal(signal.SIGTERM)
        returncode = process.popen.wait(20)  # in time, for requests might finish for longer

    assert returncode == 0
