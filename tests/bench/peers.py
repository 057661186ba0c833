"""The gateway and what it is measured beside: each started as its users would, one process, one worker, on one core."""

import http.client
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from gateway.dev.children import LOOPBACK, Server, running
from tests.bench.configuration import write_configuration
from tests.bench.machine import Cores, listener
from tests.bench.tokens import AUDIENCE, CLAIM, ISSUER, Supply
from tests.support.components import program
from tests.support.envoy import JudgedIssuer, running_envoy

ROOT: Final = Path(__file__).parents[2]
#: Rules in force while HTTP is measured; P7 shows what more of them cost.
RULES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A running server. process: its own, not that of what started it. lets_in: whether an answer gives the caller power."""

    name: str
    version: str
    origin: str
    path: str
    process: int
    lets_in: Callable[[int, bytes], bool]


class PeerUnfit(Exception):
    """A server lets in what it must refuse, or the other way round: what it costs is of no interest."""


Start = Callable[[Supply, Cores], AbstractContextManager[Peer]]


def gateway_command(config: Path, audit: Path, port: int) -> list[str]:
    """Return the command as an administrator would write it; as root it has to be told that this is meant."""
    command = [sys.executable, "-m", "gateway", "serve", "--config", str(config), "--audit", str(audit)]
    command += ["--port", str(port), "--log", "json"]
    return [*command, *(["--allow-root"] if os.geteuid() == 0 else [])]


@contextmanager
def gateway(supply: Supply, cores: Cores) -> Iterator[Peer]:
    """Run `oidc-gateway serve`; its access log goes to a file."""

    def command(port: int, scratch: Path) -> Sequence[str]:
        config = write_configuration(scratch / "config", rules=RULES, jwks=supply.jwks)
        return [*cores.pin_server(), *gateway_command(config, scratch / "audit", port)]

    environment = {"OIDC_GATEWAY_SERVE_ON": "1s"}
    server = Server(name="gateway", command=command, environment=lambda _: environment, health="/readyz")
    with running(server) as port:
        yield Peer(
            name="gateway",
            version=version("oidc-gateway"),
            origin=f"http://{LOOPBACK}:{port}",
            path="/v1/whoami",
            process=listener(port),
            lets_in=_holds_grants,
        )


def _holds_grants(status: int, body: bytes) -> bool:
    # whoami tells everybody with a valid token who they are; power is what it lists.
    return status == 200 and bool(json.loads(body)["may_start"])


def _is_ok(status: int, _: bytes) -> bool:
    return status == 200


@contextmanager
def envoy(supply: Supply, cores: Cores) -> Iterator[Peer]:
    """Run Envoy with jwt_authn and, for the claim, rbac; one worker thread, no token cache."""
    judged = JudgedIssuer(issuer=ISSUER, audiences=[AUDIENCE], jwks=json.loads(supply.jwks), leeway_s=30)
    with running_envoy([judged], claim=CLAIM, prefix=cores.pin_server()) as url:
        yield Peer(
            name="envoy",
            version=_envoy_version(),
            origin=url.rstrip("/"),
            path="/whoami",
            process=listener(int(url.rstrip("/").rpartition(":")[2])),
            lets_in=_is_ok,
        )


def _envoy_version() -> str:
    done = subprocess.run(
        [program("tools", "envoy"), "--version"], capture_output=True, text=True, check=True
    )
    # path version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    return done.stdout.rpartition("version:")[2].strip().partition("/")[2]


@contextmanager
def plain(supply: Supply, cores: Cores) -> Iterator[Peer]:
    """Run the Starlette and PyJWT handler on uvicorn with uvloop and httptools, without access log."""
    with _published(supply.jwks) as jwks_url:
        environment = {
            "BENCH_ISSUER": ISSUER,
            "BENCH_AUDIENCE": AUDIENCE,
            "BENCH_CLAIM": CLAIM[0],
            "BENCH_WANTED": CLAIM[1],
            "BENCH_JWKS": jwks_url,
        }

        def command(port: int, _: Path) -> Sequence[str]:
            uvicorn = [sys.executable, "-m", "uvicorn", "tests.bench.plain:app", "--app-dir", str(ROOT)]
            uvicorn += ["--host", LOOPBACK, "--port", str(port), "--loop", "uvloop", "--http", "httptools"]
            return [*cores.pin_server(), *uvicorn, "--no-access-log", "--log-level", "warning"]

        server = Server(name="plain", command=command, environment=lambda _: environment, health="/ready")
        with running(server) as port:
            yield Peer(
                name="plain",
                version=", ".join(f"{name} {version(name)}" for name in ("starlette", "pyjwt", "uvicorn")),
                origin=f"http://{LOOPBACK}:{port}",
                path="/whoami",
                process=listener(port),
                lets_in=_is_ok,
            )


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


PEERS: Final[Mapping[str, Start]] = {"gateway": gateway, "envoy": envoy, "plain": plain}


def prove(peer: Peer, supply: Supply) -> tuple[str, ...]:
    """Send one good token and one of each bad kind; return the kinds that were refused. Raises PeerUnfit."""
    if not peer.lets_in(*_ask(peer, supply.good())):
        raise PeerUnfit(f"{peer.name} refuses a good token.")
    for kind, token in supply.bad().items():
        if peer.lets_in(*_ask(peer, token)):
            raise PeerUnfit(f"{peer.name} lets in a token with a wrong {kind}.")
    return tuple(supply.bad())


def _ask(peer: Peer, token: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(peer.origin.removeprefix("http://"), timeout=10)
    try:
        connection.request("GET", peer.path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder that is removed afterwards."""
    with TemporaryDirectory(prefix="oidc-gateway-bench-") as name:
        yield Path(name)
