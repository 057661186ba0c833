"""What a gateway counts of itself, read from `/metrics` before and after a stretch of load."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.peers import Peer

_WRITING = "oidc_gateway_audit_write_seconds"
_DECISIONS = "oidc_gateway_decisions_total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """refused: calls by the code of their refusal. durable_s: waited for the disk by `intents` calls, together."""

    refused: Mapping[str, float]
    durable_s: float
    intents: float

    @classmethod
    def read(cls, peer: Peer) -> Self:
        """Ask a gateway."""
        connection = http.client.HTTPConnection(peer.origin.removeprefix("http://"), timeout=30)
        try:
            connection.request("GET", "/metrics")
            return cls.parse(connection.getresponse().read().decode())
        finally:
            connection.close()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text format."""
        samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
        refused: dict[str, float] = {}
        for one in samples:
            if one.name == _DECISIONS and one.labels["code"] != "allowed":
                refused[one.labels["code"]] = refused.get(one.labels["code"], 0) + one.value
        return cls(
            refused=refused,
            durable_s=sum(one.value for one in samples if one.name == f"{_WRITING}_sum"),
            intents=sum(one.value for one in samples if one.name == f"{_WRITING}_count"),
        )

    def since(self, before: Self) -> "Counters":
        """Return what came after another reading."""
        return Counters(
            refused={
                code: more
                for code, number in self.refused.items()
                if (more := number - before.refused.get(code, 0)) > 0
            },
            durable_s=self.durable_s - before.durable_s,
            intents=self.intents - before.intents,
        )

    @property
    def durable_ms(self) -> float:
        """Return the mean of what an intent waited until it was durable."""
        return self.durable_s / self.intents * 1000 if self.intents else 0.0
