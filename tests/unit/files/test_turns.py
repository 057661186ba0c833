"""Long work on a thread gives way to the thread that answers callers."""

import time

import pytest

from gateway.files import turns
from gateway.files.turns import in_turns, step


def test_work_in_turns_gives_way_once_its_turn_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(time, "sleep", rests.append)

    with in_turns():
        for _ in range(10):
            now[0] += turns.TURN_S / 2
            step()

    assert len(rests) == 3


def test_other_work_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(time, "sleep", rests.append)

    for _ in range(10_000):
        step()

    assert rests == []
