"""Counts kept as plain numbers look like the library's own to whoever scrapes them."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest

from gateway.tallies import Tally, Times

BOUNDS = (0.001, 0.0025, 0.25, 1, 10)


def test_a_tally_is_shown_as_the_librarys_counter_is() -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("doors", "Doors that opened.", ["kind", "status"], registry=ours)
    counter = Counter("doors", "Doors that opened.", ["kind", "status"], registry=theirs)

    for values in [("front", "200"), ("back", "404"), ("front", "200")]:
        tally.count(values)
        counter.labels(*values).inc()

    assert generate_latest(ours) == generate_latest(theirs)


def test_times_are_shown_as_the_librarys_histogram_is_at_its_bounds_too() -> None:
    disable_created_metrics()  # type: ignore[no-untyped-call]
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    times = Times("seconds", "How long.", "route", BOUNDS, registry=ours)
    histogram = Histogram("seconds", "How long.", ["route"], buckets=BOUNDS, registry=theirs)

    for seconds in (0.0, 0.001, 0.0011, 0.25, 1, 9.5, 10, 11.0):
        times.take("/token", seconds)
        histogram.labels("/token").observe(seconds)

    assert generate_latest(ours) == generate_latest(theirs)


@pytest.mark.parametrize("metric", ["tally", "times"])
def test_one_name_is_counted_in_one_place(metric: str) -> None:
    registry = CollectorRegistry()

    def make() -> Tally | Times:
        if metric == "tally":
            return Tally("doors", "Doors.", [], registry=registry)
        return Times("doors", "Doors.", "kind", BOUNDS, registry=registry)

    make()

    with pytest.raises(ValueError, match="Duplicated timeseries"):
        make()
