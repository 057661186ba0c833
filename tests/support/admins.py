"""Gateways with an admin listener, and administrators who ask it."""

import contextlib
import json
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx2

from tests.support.caller import until
from tests.support.gateways import Gateway, fresh, running_gateway, write_config

AUDIENCE = "https://admin.gateway.acme.example"
OIDC = f"""\
  oidc:
    audience: {AUDIENCE}
    read: {{ issuer: okta-agents, claims: {{ cid: {{ any_of: [reader, both] }} }} }}
    write: {{ issuer: okta-agents, claims: {{ cid: {{ any_of: [writer, both] }} }} }}
"""


def admin_token(client: str, **changes: object) -> str:
    """Return a good token of an administrator's client; `reader`, `writer` or `both` have rights in `OIDC`."""
    return fresh("okta", **{"aud": AUDIENCE, "cid": client, "sub": client, **changes})


def with_admin(folder: Path, block: str, *, aws: str = "http://127.0.0.1:9") -> Path:
    """Write the example configuration with this block `admin`."""
    config = write_config(folder, aws=aws)
    gateway = config / "gateway.yaml"
    gateway.write_text(f"{gateway.read_text()}\n{block}")
    return config


class Admin:
    """Asks one admin listener. token: sent with every request unless another is given."""

    def __init__(self, client: httpx2.Client, gateway: Gateway, token: str | None = None) -> None:
        self.client = client
        self.gateway = gateway
        self.token = token

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send one request. body: sent as JSON unless None."""
        sent = dict(headers or {})
        if token or self.token:
            sent["Authorization"] = f"Bearer {token or self.token}"
        content = None
        if body is not None:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        return self.client.request(method, path, content=content, headers=sent)

    def get(self, path: str, token: str | None = None) -> httpx2.Response:
        """`GET /admin/v1` and the path."""
        return self.ask("GET", f"/admin/v1{path}", token=token)


def listening_at(gateway: Gateway) -> str:
    """Return where the gateway says that it listens for administrators."""
    return until(lambda: re.search(r'"listening for administrators".*"address":"([^"]+)"', gateway.log()))[1]


@contextlib.contextmanager
def socketed(
    folder: Path, *, aws: str = "http://127.0.0.1:9", more: str = "", workers: int = 1
) -> Iterator[Admin]:
    """Run a gateway that listens for administrators on a unix socket. more: of the block `admin`."""
    path = folder / "run" / "admin.sock"
    config = with_admin(folder / "config", f"admin:\n  listen: unix:{path}\n{more}", aws=aws)
    transport = httpx2.HTTPTransport(uds=str(path))
    with (
        running_gateway(
            config,
            folder / "audit",
            environment={"OIDC_GATEWAY_WORKERS": str(workers), "TMPDIR": str(folder)},
        ) as gateway,
        httpx2.Client(
            transport=transport, base_url="http://localhost", trust_env=False, timeout=30
        ) as client,
    ):
        yield Admin(client, gateway)


@contextlib.contextmanager
def ported(folder: Path, block: str, tls: ssl.SSLContext | None = None) -> Iterator[Admin]:
    """Run a gateway that listens for administrators on a port. block: `admin` without `listen`."""
    config = with_admin(folder / "config", f"admin:\n  listen: 127.0.0.1:0\n{block}")
    with (
        running_gateway(config, folder / "audit") as gateway,
        httpx2.Client(
            base_url=listening_at(gateway), trust_env=False, timeout=30, verify=tls or True
        ) as client,
    ):
        yield Admin(client, gateway)
