"""The gateway, started as an administrator would: `oidc-gateway serve`, one process on one core unless said otherwise."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gateway.dev.children import LOOPBACK, Server, running
from tests.bench.ask import NUMBER, TOKEN, Ask
from tests.bench.configuration import write_configuration
from tests.bench.machine import Cores, listener
from tests.bench.peers import Peer
from tests.bench.tokens import Supply

ROOT: Final = Path(__file__).parents[2]
#: Rules in force while HTTP is measured; P7 shows what more of them cost.
RULES: Final = 100
#: Verifies the token, judges it by all rules, answers with what it holds.
WHOAMI: Final = Ask(path="/v1/whoami")
#: The main job: verify, decide, record, exchange with STS, start, record.
START: Final = Ask(
    method="POST",
    path="/v1/executions",
    headers={
        "Authorization": f"Bearer {TOKEN}",
        "Content-Type": "application/json",
        "Idempotency-Key": f"bench-{NUMBER}",
    },
    body='{"workflow":"deploy","input":{"version":"1.4.2","soak_s":1}}',
)
SERVE: Final = (sys.executable, "-m", "gateway", "serve")


def _is_listed(status: int, body: bytes) -> bool:
    # whoami tells everybody with a valid token who they are; power is what it lists.
    return status == 200 and bool(json.loads(body)["may_start"])


def _is_started(status: int, body: bytes) -> bool:
    return status == 201 and json.loads(body)["status"] == "RUNNING"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manned:
    """How a gateway is started.

    upstream: base URL of STS and Step Functions; None: it has none, and is asked only who a caller is.
    program:  what stands before the options of `serve`, for measuring with something left out.
    spread:   several workers get a core each, as far as there are any; otherwise they share one.
    on_config: is told where the folder is, before the start.
    environment: variables besides what a bench always sets.
    """

    name: str = "gateway"
    ask: Ask = WHOAMI
    upstream: str | None = None
    rules: int = RULES
    workers: int = 1
    spread: bool = True
    program: Sequence[str] = SERVE
    on_config: Callable[[Path], object] = lambda _folder: None
    environment: Mapping[str, str] = field(default_factory=dict)


def serve_command(
    config: Path, audit: Path, port: int, *, program: Sequence[str] = SERVE, dev: bool = False
) -> list[str]:
    """Return the command as an administrator would write it; as root it has to be told that this is meant."""
    command = [*program, "--config", str(config), "--audit", str(audit), "--port", str(port), "--log", "json"]
    # Plain http to a loopback address, which is what the stub of AWS speaks to everybody, is allowed with --dev only.
    return [*command, *(["--dev"] if dev else ["--allow-root"] if os.geteuid() == 0 else [])]


@contextmanager
def gateway(supply: Supply, cores: Cores, manned: Manned | None = None) -> Iterator[Peer]:
    """Run one; its access log goes to a file. Rate limits are on, out of reach."""
    how = manned or Manned()

    def command(port: int, scratch: Path) -> Sequence[str]:
        config = write_configuration(
            scratch / "config", rules=how.rules, jwks=supply.jwks, upstream=how.upstream
        )
        how.on_config(config)
        served = serve_command(
            config, scratch / "audit", port, program=how.program, dev=how.upstream is not None
        )
        pin = cores.pin_pair() if how.workers > 1 and how.spread else cores.pin_server()
        return [*pin, *served, *(["--workers", str(how.workers)] if how.workers > 1 else [])]

    environment = {"OIDC_GATEWAY_SERVE_ON": "1s", "PYTHONPATH": str(ROOT), **how.environment}
    server = Server(name="gateway", command=command, environment=lambda _: environment, health="/readyz")
    with running(server) as port:
        yield Peer(
            name=how.name,
            version=version("oidc-gateway"),
            origin=f"http://{LOOPBACK}:{port}",
            ask=how.ask,
            process=listener(port),
            lets_in=_is_started if how.ask is START else _is_listed,
        )
