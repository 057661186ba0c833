"""What the gateway is measured beside: each started as its users would, one process, one worker, on one core."""

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gateway.dev.children import LOOPBACK, Server, running
from tests.bench.ask import Ask
from tests.bench.configuration import MACHINE, REGION, ROLE
from tests.bench.gateways import ROOT, START
from tests.bench.machine import Cores, listener
from tests.bench.peers import Peer, is_ok
from tests.bench.tokens import AUDIENCE, CLAIM, ISSUER, Supply
from tests.bench.vaults import vault
from tests.support.components import program
from tests.support.envoy import JudgedIssuer, running_envoy

_WHOAMI: Final = Ask(path="/whoami")
_SERVED_BY: Final = ("uvicorn", "uvloop", "httptools")

Start = Callable[[Supply, Cores], AbstractContextManager[Peer]]


@contextmanager
def envoy(supply: Supply, cores: Cores) -> Iterator[Peer]:
    """Run Envoy with jwt_authn and, for the claim, rbac; one worker thread, no token cache."""
    judged = JudgedIssuer(issuer=ISSUER, audiences=[AUDIENCE], jwks=json.loads(supply.jwks), leeway_s=30)
    with running_envoy([judged], claim=CLAIM, prefix=cores.pin_server()) as url:
        yield Peer(
            name="envoy",
            version=_envoy_version(),
            origin=url.rstrip("/"),
            ask=_WHOAMI,
            process=listener(int(url.rstrip("/").rpartition(":")[2])),
            lets_in=is_ok,
        )


def _envoy_version() -> str:
    done = subprocess.run(
        [program("tools", "envoy"), "--version"], capture_output=True, text=True, check=True
    )
    # path version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    return done.stdout.rpartition("version:")[2].strip().partition("/")[2]


@contextmanager
def _uvicorn(
    name: str, app: str, environment: Mapping[str, str], supply: Supply, cores: Cores
) -> Iterator[tuple[str, int]]:
    """Run an ASGI application with uvloop and httptools, without access log; yield its origin and its process."""
    with _published(supply.jwks) as jwks_url:
        checks = {
            "BENCH_ISSUER": ISSUER,
            "BENCH_AUDIENCE": AUDIENCE,
            "BENCH_CLAIM": CLAIM[0],
            "BENCH_WANTED": CLAIM[1],
            "BENCH_JWKS": jwks_url,
        }

        def command(port: int, _: Path) -> Sequence[str]:
            uvicorn = [sys.executable, "-m", "uvicorn", app, "--app-dir", str(ROOT)]
            uvicorn += ["--host", LOOPBACK, "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
            return [*cores.pin_server(), *uvicorn, "--no-access-log", "--log-level", "warning"]

        server = Server(
            name=name, command=command, environment=lambda _: {**checks, **environment}, health="/ready"
        )
        with running(server) as port:
            yield f"http://{LOOPBACK}:{port}", listener(port)


@contextmanager
def plain(supply: Supply, cores: Cores) -> Iterator[Peer]:
    """Run the Starlette and PyJWT handler."""
    with _uvicorn("plain", "tests.bench.plain:app", {}, supply, cores) as (origin, process):
        yield Peer(
            name="plain",
            version=_versions("starlette", "pyjwt", *_SERVED_BY),
            origin=origin,
            ask=_WHOAMI,
            process=process,
            lets_in=is_ok,
        )


@contextmanager
def boto3(supply: Supply, cores: Cores, *, manner: str, upstream: str) -> Iterator[Peer]:
    """Run the same checks with boto3 behind them. manner: `per-credential` or `threads`."""
    environment = {
        "BENCH_MANNER": manner,
        "BENCH_UPSTREAM": upstream,
        "BENCH_ROLE": ROLE,
        "BENCH_MACHINE": MACHINE,
        "BENCH_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    name = f"boto3-{manner}"
    with _uvicorn(name, "tests.bench.plain_boto3:app", environment, supply, cores) as (origin, process):
        yield Peer(
            name=name,
            version=_versions("boto3", "starlette", "pyjwt", *_SERVED_BY),
            origin=origin,
            ask=START,
            process=process,
            lets_in=lambda status, _: status == 201,
        )


def _versions(*names: str) -> str:
    return ", ".join(f"{name} {version(name)}" for name in names)


@contextmanager
def _published(jwks: bytes) -> Iterator[str]:
    """Publish a key set on loopback and yield its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(jwks)))
            self.end_headers()
            self.wfile.write(jwks)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  the base class names it so
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_address[1]}/jwks"
        finally:
            server.shutdown()
            thread.join()


#: Those that verify and decide.
DECIDING: Final[Mapping[str, Start]] = {
    "envoy": envoy,
    "plain": plain,
    "vault-service": partial(vault, kind="service"),
    "vault-batch": partial(vault, kind="batch"),
}
