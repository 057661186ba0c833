"""An upstream that answers at once and notes how much time it was given."""

import asyncio

from gateway.outbound.http import Answer, HttpClient, Outgoing


class Patience:
    """An HttpClient, and what hands it out for every CA. connect_s, seconds: of each call, for a connection and in all."""

    def __init__(self, answer: Answer) -> None:
        self.connect_s: list[float] = []
        self.seconds: list[float] = []
        self._answer = answer

    async def client(self, ca_pem: str | None) -> HttpClient:
        return self

    async def call(self, request: Outgoing, *, deadline: float) -> Answer:
        self.connect_s.append(request.connect_s)
        self.seconds.append(deadline - asyncio.get_running_loop().time())
        return self._answer
