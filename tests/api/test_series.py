"""However many strangers call with whatever they like, no metric gets a new series."""

import asyncio
import base64
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Scope

from gateway.app import Parts, assemble, running
from gateway.errors import ErrorCode
from gateway.files.schema.keeping import AuditShape
from gateway.files.schema.serving import ServerShape
from gateway.front import build_app
from gateway.settings.loading import load_settings
from tests.support.gateways import write_config
from tests.support.tokens import token

#: Nothing listens there: what is about AWS is not what this is about.
NO_AWS = "http://127.0.0.1:9"
ISSUERS = 10_000
#: Of every other shape.
CALLS = 200
UNKNOWN = 'oidc_gateway_decisions_total{act="whoami",code="token_issuer_unknown",issuer="unknown"}'
SIGNED: bytes = token("github", now=time.time()).encode()

Shape = Callable[[random.Random], tuple[str, str, bytes, list[tuple[bytes, bytes]]]]


def word(chance: random.Random) -> str:
    return f"{chance.getrandbits(64):016x}"


def unsigned(chance: random.Random, issuer: str) -> bytes:
    parts = (
        {"alg": "RS256", "kid": word(chance)},
        {"iss": issuer, "sub": word(chance), "aud": word(chance), "exp": chance.getrandbits(31)},
    )
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*encoded, word(chance).encode()])


def bearer(value: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + value)]


def form(**fields: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    body = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
    return body, [(b"content-type", b"application/x-www-form-urlencoded")]


SHAPES: dict[str, Shape] = {
    "path": lambda chance: ("GET", f"/{word(chance)}/{word(chance)}", b"", []),
    "path-of-ours": lambda chance: ("POST", f"/v1/{word(chance)}", b"{}", []),
    "method": lambda chance: (word(chance).upper(), "/v1/whoami", b"", []),
    "method-of-http": lambda _: ("PATCH", "/v1/whoami", b"", []),
    "execution": lambda chance: ("GET", f"/v1/executions/{word(chance)}/{word(chance)}", b"", bearer(b"x")),
    "query": lambda chance: ("GET", "/v1/whoami", b"", [(b"x-" + word(chance).encode(), b"1")]),
    "no-token": lambda _: ("GET", "/v1/whoami", b"", []),
    "garbage": lambda chance: ("GET", "/v1/whoami", b"", bearer(word(chance).encode())),
    "issuer": lambda chance: ("GET", "/v1/whoami", b"", bearer(unsigned(chance, f"https://{word(chance)}.example"))),
    "key": lambda chance: (
        "GET", "/v1/whoami", b"", bearer(unsigned(chance, "https://token.actions.githubusercontent.com")),
    ),
    "traceparent": lambda chance: (
        "GET", "/v1/whoami", b"", [(b"traceparent", f"00-{word(chance)}{word(chance)}-{word(chance)}-01".encode())],
    ),
    "workflow": lambda chance: (
        "POST", "/v1/executions", json.dumps({"workflow": word(chance)}).encode(),
        [*bearer(SIGNED), (b"content-type", b"application/json")],
    ),
    "target": lambda chance: (
        "POST", "/v1/credentials", json.dumps({"target": word(chance)}).encode(),
        [*bearer(SIGNED), (b"content-type", b"application/json")],
    ),
    "grant": lambda chance: ("POST", "/token", *form(grant_type=word(chance))),
    "body": lambda chance: ("POST", "/v1/credentials", word(chance).encode(), [(b"content-type", b"application/json")]),
    "host": lambda chance: ("GET", "/livez", b"", [(b"host", f"{word(chance)}.example".encode())]),
}  # fmt: skip


class House:
    """The whole application without a socket."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.app: ASGIApp = build_app(parts, public_url=lambda: "http://gateway.example")

    async def ask(self, shape: Shape, chance: random.Random) -> int:
        method, path, body, headers = shape(chance)
        if not any(name == b"host" for name, _ in headers):
            headers = [(b"host", b"127.0.0.1"), *headers]
        scope: Scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
            "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"",
            "headers": [*headers, (b"content-length", str(len(body)).encode()), (b"user-agent", word(chance).encode())],
            "client": (f"10.{chance.getrandbits(8)}.{chance.getrandbits(8)}.{chance.getrandbits(8)}", 1),
            "server": ("127.0.0.1", 80),
        }  # fmt: skip
        statuses: list[int] = []
        pieces = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if pieces:
                return pieces.pop()
            await asyncio.Event().wait()
            raise AssertionError("nobody leaves here")

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        await self.app(scope, receive, send)
        return statuses[0]

    def series(self) -> set[str]:
        return {line.rpartition(" ")[0] for line in self._lines()}

    def sample(self, name: str) -> float:
        return next(float(line.rpartition(" ")[2]) for line in self._lines() if line.startswith(f"{name} "))

    def _lines(self) -> list[str]:
        lines = self.parts.metrics.exposition().decode().splitlines()
        return [line for line in lines if not line.startswith("#")]


@pytest.mark.requirement("SE-06", "HT-13")
async def test_ten_thousand_strange_issuers_add_no_series(tmp_path: Path) -> None:
    config = write_config(tmp_path / "config", aws=NO_AWS)
    settings = load_settings(
        config=config,
        server=ServerShape(),
        audit=AuditShape(directory=str(tmp_path / "audit")),
        environment={},
        flags={},
        dev=True,
    )
    parts = assemble(settings)
    house = House(parts)
    chance = random.Random(7)

    async with running(parts):
        statuses = {name: await house.ask(shape, chance) for name, shape in SHAPES.items()}
        before, unknown = house.series(), house.sample(UNKNOWN)
        for _ in range(ISSUERS):
            await house.ask(SHAPES["issuer"], chance)
        counted = house.sample(UNKNOWN) - unknown
        for shape in SHAPES.values():
            for _ in range(CALLS):
                await house.ask(shape, chance)

    assert all(200 <= status < 500 for status in statuses.values()), statuses
    # Each was read as far as its issuer.
    assert counted == ISSUERS
    assert house.series() - before == set()
    assert {code for line in before for code in _codes(line)} <= {*ErrorCode, "allowed"}


def _codes(line: str) -> list[str]:
    return [part.split('"')[1] for part in line.split(",") if 'code="' in part]
