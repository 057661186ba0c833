"""The stand-in for AWS, running on the load generator's core, and what it is able to do by itself."""

import http.client
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gateway.dev.children import LOOPBACK, Server, running
from tests.bench.ask import NUMBER, TOKEN, Ask
from tests.bench.configuration import MACHINE, ROLE
from tests.bench.gateways import ROOT
from tests.bench.load import Load, Round
from tests.bench.machine import Cores, listener
from tests.bench.peers import Peer, is_ok

_ASSUME: Final = Ask(
    method="POST",
    path="/",
    headers={"Content-Type": "application/x-www-form-urlencoded"},
    body=f"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={ROLE}&RoleSessionName=bench&WebIdentityToken={TOKEN}",
)
_BEGIN: Final = Ask(
    method="POST",
    path="/",
    headers={"X-Amz-Target": "AWSStepFunctions.StartExecution"},
    body=f'{{"stateMachineArn":"{MACHINE}","name":"bench-{NUMBER}","input":"{{}}"}}',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """url: of STS and Step Functions alike. peer: the same, as something to load: two calls' time an answer."""

    url: str
    peer: Peer

    def take(self, latency_ms: int) -> None:
        """Let each call take so long from now on."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        try:
            connection.request("GET", f"/latency/{latency_ms}")
            connection.getresponse().read()
        finally:
            connection.close()

    def ceilings(self, load: Load, *, seconds: int) -> dict[str, Round]:
        """Return what each of the two calls reaches when nothing stands between."""
        asks = {"AssumeRoleWithWebIdentity": _ASSUME, "StartExecution": _BEGIN}
        return {name: load.run(replace(self.peer, ask=ask), seconds) for name, ask in asks.items()}


@contextmanager
def upstream(cores: Cores) -> Iterator[Upstream]:
    """Run the stub."""

    def command(port: int, _: Path) -> Sequence[str]:
        return [*cores.pin_load(), sys.executable, "-m", "tests.bench.upstream_program", str(port)]

    environment = {"PYTHONPATH": str(ROOT)}
    server = Server(name="stub of AWS", command=command, environment=lambda _: environment, health="/ready")
    with running(server) as port:
        url = f"http://{LOOPBACK}:{port}"
        both = Peer(
            name="upstream",
            version="",
            origin=url,
            ask=Ask(path="/both"),
            process=listener(port),
            lets_in=is_ok,
        )
        yield Upstream(url=url, peer=both)
