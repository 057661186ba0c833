"""The soak of `scripts/soak`, for a minute: every number has its other half."""

import pytest

from tests.soak.__main__ import soak, table
from tests.support.components import skip_without

pytestmark = skip_without("redis")


@pytest.mark.requirement("CO-06", "F-21", "F-57")
def test_under_good_bad_and_hostile_traffic_everything_that_was_sent_done_and_recorded_adds_up() -> None:
    verdict = soak(seconds=60, workers=2)

    assert verdict.faults == [], table(verdict)
    told = dict(verdict.rows)
    # Else nothing was proven.
    for name in ("executions at AWS", "key rotations", "workers killed", "good reloads", "bad reloads"):
        assert int(told[name]) > 0
