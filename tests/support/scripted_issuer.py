"""An identity provider as the key fetcher sees it: scripted answers, a counter, and a gate that holds answers back."""

import asyncio
import json
from collections.abc import Mapping

from gateway.outbound.http import Answer, FailureKind, OutboundFailure
from gateway.outbound.keyfetch import FetchRules
from tests.support.tokens import jwks

Scripted = Answer | FailureKind


def answer(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return a complete answer, JSON unless the headers say otherwise."""
    return Answer(status=status, headers={"content-type": "application/json", **(headers or {})}, body=body)


class ScriptedIssuers:
    """Implements Fetch. Answers discovery of every issuer truthfully and its key set with `keys`, unless scripted.

    calls: every URL asked for, in order. gate: while it is not set, key sets are held back.
    """

    def __init__(self, keys: bytes | None = None) -> None:
        self.keys: Scripted = answer(jwks() if keys is None else keys)
        self.by_url: dict[str, Scripted] = {}
        self.calls: list[str] = []
        self.running = self.most_running = 0
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.held: set[str] | None = None

    @property
    def key_fetches(self) -> int:
        """How often a key set was asked for."""
        return sum(url.endswith("/keys") for url in self.calls)

    async def __call__(self, url: str, rules: FetchRules, *, max_bytes: int, deadline: float) -> Answer:
        self.calls.append(url)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if url.endswith("/keys") and (self.held is None or url in self.held):
                self.arrived.set()
                await self.gate.wait()
            return self._scripted(url)
        finally:
            self.running -= 1

    def _scripted(self, url: str) -> Answer:
        scripted = self.by_url.get(url)
        if scripted is None:
            base, well_known, _ = url.partition("/.well-known/openid-configuration")
            scripted = (
                answer(json.dumps({"issuer": base, "jwks_uri": f"{base}/keys"}).encode())
                if well_known
                else self.keys
            )
        if isinstance(scripted, str):
            raise OutboundFailure(scripted, "scripted", sent=True)
        return scripted
