"""How soon a worker that died is replaced."""

import pytest

from gateway.cli.restarts import Restarts


@pytest.mark.requirement("F-57")
def test_the_first_is_replaced_at_once_and_one_that_dies_again_and_again_later_each_time() -> None:
    restarts = Restarts()

    waits = [restarts.wait_s(lived_s=0.5) for _ in range(9)]

    assert waits == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_minute_of_life_starts_over() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.wait_s(lived_s=59.9)

    assert restarts.wait_s(lived_s=60.0) == 0
    assert restarts.wait_s(lived_s=1.0) == 1
