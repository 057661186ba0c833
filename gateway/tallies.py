"""Counts of what every request counts, in one process: plain numbers, which the library's own take ten times as long for."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Tally(Collector):
    """A counter. Only one thread counts; whoever looks at the registry sees it like any other."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._shape = name, text, labels
        self._counts: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def count(self, labels: tuple[str, ...]) -> None:
        """Count one. labels: values, in the order of their names."""
        self._counts[labels] = self._counts.get(labels, 0) + 1

    def describe(self) -> Iterator[CounterMetricFamily]:
        """Yield the names, which nobody else may take."""
        return self.collect()

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield what was counted."""
        name, text, labels = self._shape
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        yield family


class Times(Collector):
    """A histogram of seconds, by one label; as Tally otherwise. bounds: the buckets' upper ones, without infinity."""

    def __init__(
        self, name: str, text: str, label: str, bounds: Sequence[float], *, registry: CollectorRegistry
    ) -> None:
        self._shape = name, text, [label]
        self._bounds = tuple(float(bound) for bound in bounds)
        self._series: dict[str, tuple[list[int], list[float]]] = {}
        registry.register(self)

    def take(self, label: str, seconds: float) -> None:
        """Take one time."""
        found = self._series.get(label)
        if found is None:
            found = self._series[label] = [0] * (len(self._bounds) + 1), [0.0]
        buckets, total = found
        buckets[bisect_left(self._bounds, seconds)] += 1
        total[0] += seconds

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """Yield the names, which nobody else may take."""
        return self.collect()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield what was taken."""
        name, text, labels = self._shape
        family = HistogramMetricFamily(name, text, labels=labels)
        ends = [*(str(bound) for bound in self._bounds), "+Inf"]
        for label, (buckets, total) in self._series.items():
            family.add_metric([label], list(zip(ends, accumulate(buckets), strict=True)), total[0])
        yield family
