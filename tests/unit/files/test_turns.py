"""Long work on a thread gives way to the thread that answers callers."""

import time

import pytest

from gateway.files import turns
from gateway.files.turns import at_a_stretch, in_turns, step


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


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        pytest.param([0.0], 1, id="nobody-works"),
        pytest.param([1.0, 1.0, 0.0], 3, id="until-they-have-done"),
        pytest.param([1.0] * 100, 4, id="but-not-for-ever"),
    ],
)
def test_work_in_turns_rests_while_others_work(
    used: list[float], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    cpu_s = [0.0]

    def sleep(seconds: float) -> None:
        cpu_s[0] += used[len(rests)] * seconds
        rests.append(seconds)

    monkeypatch.setattr(turns, "TURN_S", -1.0)  # the first step is one too many
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "process_time", lambda: cpu_s[0])

    with in_turns():
        step()

    assert len(rests) == expected


def test_other_work_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(time, "sleep", rests.append)

    for _ in range(10_000):
        step()

    assert rests == []


def test_work_at_a_stretch_never_rests_within_work_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(turns, "TURN_S", -1.0)
    monkeypatch.setattr(time, "sleep", rests.append)

    with in_turns():
        with at_a_stretch():
            step()
        assert rests == []
        step()

    assert len(rests) == 1
