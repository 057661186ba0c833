"""Who calls the gateway in the soak: good callers that repeat what got lost, bad ones, and hostile ones."""

import asyncio
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.soak.wire import Sent, Wire
from tests.support.gateways import fresh
from tests.support.tokens import b64, token

GOOD = {"version": "1.4.2"}
DEPLOY = "deploy-payments"
_POOL = 100
_RENEW_S = 120.0
_ATTEMPTS = 20


@dataclass(slots=True)
class Callers:
    """All of them. signing: which key of the issuer signs now; issuer: the one whose keys are rotated."""

    wire: Wire
    issuer: str
    luck: random.Random
    signing: str = "first"
    _pool: list[tuple[float, str, str]] = field(default_factory=list)

    def token(self) -> str:
        """Return a good token, one of a hundred that take turns: what is kept for a token has bounds of its own."""
        now = time.monotonic()
        self._pool = [one for one in self._pool if now - one[0] < _RENEW_S and one[1] == self.signing]
        if len(self._pool) < _POOL:
            self._pool.append((now, self.signing, self._signed()))
        return self.luck.choice(self._pool)[2]

    def _signed(self, **claims: object) -> str:
        named = {"iss": self.issuer, "jti": uuid.uuid4().hex, **claims}
        return token("generic", now=time.time(), which=self.signing, **named)  # type: ignore[arg-type]

    async def act(self) -> None:
        """Do one thing that somebody does."""
        doings: list[tuple[int, Callable[[], Awaitable[object]]]] = [
            (30, self.starts_and_looks),
            (15, self.asks_who),
            (10, self.obtains),
            (15, self.is_refused),
            (10, self.talks_nonsense),
            (8, self.resets),
            (6, self.sends_half),
            (3, self.replays),
            (3, self.floods),
        ]
        (doing,) = self.luck.choices([one for _, one in doings], [weight for weight, _ in doings])
        await doing()

    async def starts_and_looks(self) -> None:
        """Start, and when the answer is lost or cannot be given now, again with the same key; then look."""
        key, held = uuid.uuid4().hex, self.token()
        answer = await self._start("start", held, key)
        for _ in range(_ATTEMPTS):
            if answer.ending == "answered" and answer.status not in {500, 502, 503, 504}:
                break
            await asyncio.sleep(0.2)
            answer = await self._start("start", held, key)
        if answer.status in {200, 201} and self.luck.random() < 0.3:
            await self.wire.request("view", "GET", str(answer.body["url"]), token=held)

    async def _start(self, kind: str, held: str, key: str, *, leaves: bool = False) -> Sent:
        body = {"workflow": DEPLOY, "input": GOOD}
        return await self.wire.request(
            kind,
            "POST",
            "/v1/executions",
            token=held,
            body=body,
            headers={"Idempotency-Key": key},
            leaves=leaves,
        )

    async def asks_who(self) -> None:
        """Ask who one is, which is not recorded."""
        await self.wire.request("whoami", "GET", "/v1/whoami", token=self.token())

    async def obtains(self) -> None:
        """Obtain credentials."""
        body = {"target": "payments-prod"}
        await self.wire.request("obtain", "POST", "/v1/credentials", token=self.token(), body=body)

    async def is_refused(self) -> None:
        """Come with a token that is not good, or not good for this."""
        header, payload, _ = self.token().split(".")
        bad = self.luck.choice(
            [
                f"{header}.{payload}.{b64(b'x' * 256)}",
                "a.b.c",
                self._signed(exp=1_000),
                self._signed(sub="somebody-else"),
                self._signed(aud="https://elsewhere.example"),
                fresh(iss="https://unknown.example"),
                self._signed(iss=self.issuer + "/"),
            ]
        )
        await self._start("bad token", bad, uuid.uuid4().hex)

    async def talks_nonsense(self) -> None:
        """Send what is no request of ours."""
        kinds: list[dict[str, Any]] = [
            {"path": "/nowhere"},
            {"method": "PUT", "path": "/v1/executions", "body": {}},
            {"method": "POST", "path": "/v1/executions", "raw_body": b'{"a":1,"a":2}'},
            {"method": "POST", "path": "/v1/credentials", "raw_body": b"x" * 70_000},
            {"headers": {"X-Long": "x" * 40_000}},
            {"token": None},
            {"headers": {"Host": "elsewhere.example"}},
        ]
        usual = {"method": "GET", "path": "/v1/whoami", "token": self.token()}
        await self.wire.request("nonsense", **{**usual, **self.luck.choice(kinds)})

    async def resets(self) -> None:
        """Send a good start, and be gone."""
        await self._start("reset", self.token(), uuid.uuid4().hex, leaves=True)

    async def sends_half(self) -> None:
        """Announce a body, send half of it, and be gone."""
        headers = {"Content-Length": "60", "Content-Type": "application/json"}
        await self.wire.request(
            "half", "POST", "/v1/credentials", token=self.token(), raw_body=b"{", headers=headers, leaves=True
        )

    async def replays(self) -> None:
        """Use one token five times at once where it counts once."""
        held = self._signed(sub="once")
        await asyncio.gather(*(self._start("replay", held, uuid.uuid4().hex) for _ in range(5)))

    async def floods(self) -> None:
        """Send thirty bad tokens at once."""
        await asyncio.gather(
            *(self._start("flood", f"x.{number}.y", uuid.uuid4().hex) for number in range(30))
        )
