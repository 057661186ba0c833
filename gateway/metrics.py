"""Every metric of the process, in one place; label values come from fixed sets or from our own configuration."""

import contextlib
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.tallies import Tally, Times

#: How a gauge's values add up over the workers that live.
Over = Literal["livesum", "livemin", "livemax"]

_LATENCY_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25)


_ROOM_BYTES: Final = 256 * 1024  # of each file at first; they grow
#: Every worker knows these as well as any other, so the one that is asked answers from its own memory.
_OWN: Final = ("policy_info", "workers", "workers_disagree")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Where the workers of one gateway count together.

    folder: of their files, this user's own. name: of this process's; a worker's successor goes on with its counters.
    """

    folder: str
    name: str


class Metrics:
    """The metrics of one gateway process, in a registry of their own so that two gateways can share a test.

    No label ever holds caller data: an issuer is its name in `gateway.yaml`, or `unknown`.

    shared: where several workers count together; from then on this whole process counts there.
    shapes: of each metric, by its name: counter, gauge or histogram, and its labels.
    """

    def __init__(self, shared: Shared | None = None) -> None:
        self.shared = shared
        if shared is not None:
            _count_together(shared)
        # One more series for each of a counter, which says nothing that `start_time_seconds` does not.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.shapes: dict[str, tuple[str, tuple[str, ...]]] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._decisions = self._tally(
            "decisions", "Decisions by act and by code; `allowed` is a code here.", "act", "code", "issuer"
        )
        self._answers = self._tally(
            "http_requests", "Answers by route template, method and status.", "route", "method", "status"
        )
        self._seconds = self._times(
            "http_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            "route",
        )
        self._in_flight = 0
        self._in_flight_gauge = self._gauge(
            "http_requests_in_flight", "Requests being served now.", over="livesum"
        )
        if shared is None:
            self._in_flight_gauge.set_function(lambda: self._in_flight)
        self.connections_refused = self._counter(
            "http_connections_refused", "Connections closed by a limit, by reason.", "reason"
        )
        self.connections = self._gauge("http_connections", "Connections that are open now.", over="livesum")
        # Prometheus' own `process_…` would be those of whichever worker answers.
        self.started_at = self._gauge(
            "start_time_seconds",
            "When this gateway began to serve; of several workers the oldest.",
            over="livemin",
        )
        self.descriptors = self._gauge(
            "descriptors", "File descriptors that are open; of several workers the one with most."
        )
        self.descriptors_most = self._gauge("descriptors_limit", "File descriptors that a process may open.")
        self.rate_limited = self._counter(
            "rate_limited", "Requests beyond a limit: address, subject, rule or waiting.", "limit"
        )
        self.rates_unshared = self._counter(
            "rate_sharing_failures", "Times that counts could not be shared with the other processes."
        )
        self.upstream_seconds = self._histogram(
            "upstream_seconds",
            "Latency of calls out by service, operation and outcome.",
            "service",
            "operation",
            "outcome",
        )
        self.upstream_retries = self._counter(
            "upstream_retries", "Calls out that were repeated.", "service", "operation"
        )
        self.credentials = self._counter(
            "credentials", "Credential requests: cached, shared (joined a running call) or fetched.", "result"
        )
        self.issuer_keys = self._gauge(
            "issuer_keys", "Usable keys held for an issuer.", "issuer", over="livemin"
        )
        self.issuer_keys_age = self._gauge(
            "issuer_keys_fetched_timestamp_seconds",
            "Wall time of the last successful key fetch of an issuer.",
            "issuer",
            over="livemin",
        )
        self.key_fetches = self._counter(
            "issuer_key_fetches", "Key set fetches by result: ok, or the fault.", "issuer", "result"
        )
        self.keys_dropped = self._counter(
            "issuer_keys_dropped", "Keys of a fetched set that are not usable, by reason.", "issuer", "reason"
        )
        self.workers = self._gauge("workers", "1 for each worker that posts what it runs on.", "worker")
        self.workers_disagree = self._gauge(
            "workers_disagree",
            "1 when workers or replicas have differed for five seconds in this: policy, keys or switches.",
            "what",
        )
        self.worker_restarts = self._counter(
            "worker_restarts", "Workers that died and were started anew.", "worker"
        )
        self.board_failures = self._counter(
            "board_failures", "Rounds in which this process could not post or read what workers run on."
        )
        self.policy_info = self._gauge("policy_info", "1 for the digest of the policy in force.", "digest")
        self.policy_rules = self._gauge("policy_rules", "Rules in force.", over="livemin")
        self.policy_loaded = self._gauge(
            "policy_loaded_timestamp_seconds",
            "Wall time at which the policy in force was taken.",
            over="livemin",
        )
        self.policy_stale = self._gauge(
            "policy_stale", "1 while the files on disk are rejected and an older policy is in force."
        )
        self.policy_reloads = self._counter(
            "policy_reloads", "Reloads by result: accepted, rejected or unchanged.", "result"
        )
        self.policy_inert_grants = self._gauge(
            "policy_inert_grants", "Grants that an owner does not allow and that therefore grant nothing."
        )
        self.audit_records = self._counter("audit_records", "Audit records written, by kind.", "kind")
        self.audit_failures = self._counter(
            "audit_failures", "Audit records that could not be written, by kind.", "kind"
        )
        self.audit_seconds = self._histogram(
            "audit_write_seconds", "Time until an intent record was durable."
        )
        self.audit_unresolved = self._gauge(
            "audit_unresolved", "Interrupted calls whose execution nobody has seen since.", over="livesum"
        )
        self.audit_copied = self._counter("audit_copied_records", "Audit records sent to the second copy.")
        self.audit_copy_failures = self._counter(
            "audit_copy_failures", "Connections to the second copy that failed or were lost."
        )
        self.audit_copy_lag_records = self._gauge(
            "audit_copy_lag_records",
            "Durable audit records that were not sent to the second copy.",
            over="livesum",
        )
        self.audit_copy_lag_seconds = self._gauge(
            "audit_copy_lag_seconds", "Age of the oldest audit record that was not sent to the second copy."
        )
        self.audit_head_time = self._gauge(
            "audit_head_timestamp_seconds",
            "Wall time of the last signed head; 0 without a signing key.",
            over="livemin",
        )
        self.certificate_end = self._gauge(
            "tls_certificate_expiry_timestamp_seconds",
            "Wall time at which the certificate we present runs out; 0 without one.",
            over="livemin",
        )
        self.clock_offset = self._gauge(
            "clock_offset_seconds", "How far AWS's clock is ahead of ours, by its own word.", "service"
        )
        self.log_dropped = self._counter(
            "log_lines_dropped", "Lines of the log that found no room or no reader."
        )
        self.trace_spans = self._counter(
            "trace_spans", "Spans by result: exported, failed or dropped.", "result"
        )
        self.switches_off = self._gauge(
            "switches_off", "Things that an administrator has switched off, by kind.", "kind"
        )
        self.switches_readable = self._gauge(
            "switches_readable",
            "1 while it can be read what is switched off; at 0 everything counts as off.",
            over="livemin",
        )
        self.state_up = self._gauge(
            "state_up", "1 while the shared state answers, and where none is used.", over="livemin"
        )
        self.state_seconds = self._histogram(
            "state_seconds",
            "Latency of the shared state by operation and outcome: ok or failed.",
            "operation",
            "outcome",
        )
        self.state_clock_offset = self._gauge(
            "state_clock_offset_seconds", "The shared state's clock minus this gateway's.", over="livemax"
        )
        self.state_failures = self._counter(
            "state_failures", "Commands that the shared state did not do, by reason.", "reason"
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show what alerts watch before it first happens: `rate` and `increase` see no step from nothing to one."""
        for kind in ("intent", "outcome", "refused", "unknown", "found", "admin", "journal"):
            self.audit_records.labels(kind)
            self.audit_failures.labels(kind)
        for result in ("accepted", "rejected", "unchanged"):
            self.policy_reloads.labels(result)
        self.state_up.set(1)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        self._answers((route, method, str(status)))
        self._seconds(route, seconds)

    def in_flight(self, change: int) -> None:
        """Note that so many requests more are being served."""
        self._in_flight += change
        if self.shared is not None:
            self._in_flight_gauge.set(self._in_flight)

    def decided(self, act: str, code: str, issuer: str) -> None:
        """Count one decision."""
        self._decisions((act, code, issuer))

    def exposition(self) -> bytes:
        """Return the text exposition format, version 0.0.4; with several workers, what all of them counted."""
        if self.shared is None:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=self.shared.folder)  # type: ignore[no-untyped-call]
        own = self.registry.restricted_registry([f"oidc_gateway_{name}" for name in _OWN])
        return generate_latest(together) + generate_latest(own)

    def forget_gauges(self, name: str) -> None:
        """Take what a worker that is gone had as of now out of the sums; what it counted stays."""
        if self.shared is not None:
            mark_process_dead(name, self.shared.folder)  # type: ignore[no-untyped-call]

    # What every request counts. Where several workers count together, the library has to keep it.

    def _tally(self, name: str, text: str, *labels: str) -> Callable[[tuple[str, ...]], None]:
        if self.shared is None:
            return Tally(self._named("counter", name, labels), text, labels, registry=self.registry).count
        child = lru_cache(maxsize=None)(self._counter(name, text, *labels).labels)
        return lambda values: child(*values).inc()

    def _times(self, name: str, text: str, label: str) -> Callable[[str, float], None]:
        if self.shared is None:
            full = self._named("histogram", name, (label,))
            return Times(full, text, label, _LATENCY_S, registry=self.registry).take
        child = lru_cache(maxsize=None)(self._histogram(name, text, label).labels)
        return lambda value, seconds: child(value).observe(seconds)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(self._named("counter", name, labels), text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str, over: Over = "livemax") -> Gauge:
        full = self._named("gauge", name, labels)
        return Gauge(full, text, labels, registry=self.registry, multiprocess_mode=over)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        full = self._named("histogram", name, labels)
        return Histogram(full, text, labels, registry=self.registry, buckets=_LATENCY_S)

    def _named(self, kind: str, name: str, labels: tuple[str, ...]) -> str:
        full = f"oidc_gateway_{name}"
        self.shapes[f"{full}_total" if kind == "counter" else full] = kind, labels
        return full


def make_room(folder: str, name: str) -> None:
    """Make the files in which a process counts, with room in them; raises OSError.

    They are mapped into memory: a disk that is full would otherwise kill the process that counts (SIGBUS).
    """
    for kind in ("counter", "histogram", *(f"gauge_{over}" for over in get_args(Over))):
        path = f"{folder}/{kind}_{name}.db"
        with contextlib.suppress(FileExistsError), open(path, "xb") as file:  # noqa: PTH123  # no module of paths
            file.write(bytes(_ROOM_BYTES))


def _count_together(shared: Shared) -> None:
    """Keep every value of this process, but for those of `_OWN`, in files of the folder (prometheus_client)."""
    # Its files are opened when a value first needs one, which may be at any request.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared.folder
    # Said whenever a gauge is cleared; the one that we clear is of `_OWN`.
    warnings.filterwarnings("ignore", message=r"(Clearing|Removal of) labels")
    in_file = values.MultiProcessValue(lambda: shared.name)  # type: ignore[no-untyped-call]
    own = frozenset(f"oidc_gateway_{name}" for name in _OWN)

    def choose(kind: str, metric: str, *rest: object, **options: object) -> object:
        chosen = values.MutexValue if metric in own else in_file
        return chosen(kind, metric, *rest, **options)

    values.ValueClass = choose
