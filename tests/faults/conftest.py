"""A gateway with one worker and one with four, among providers and an AWS that fail on command, and their base lines."""

import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent

import httpx2
import pytest

from tests.support import steered_gateway
from tests.support.base_line import Standing, returns_to, standing
from tests.support.caller import until
from tests.support.gateways import Gateway, edit, fresh, replace, running_gateway, write_config
from tests.support.idp import NAMED, Idps, running_idps
from tests.support.peer import LOOPBACK
from tests.support.scripted_aws import ScriptedAws, running_scripted_aws
from tests.support.steered_gateway import Steering

#: Regions of AWS whose endpoints a test opens or leaves closed, by what they are for.
REGIONS = {
    "hanging": "eu-west-2",
    "tls": "eu-west-3",
    "silent": "eu-central-1",
    "dripping": "eu-north-1",
    "closed": "us-east-1",
}
_TARGETS = """\
workflows:
  wide: { state_machine: "arn:aws:states:eu-west-1:111122223333:stateMachine:wide", type: standard, input_schema: any, teams: [payments] }
  fire: { state_machine: "arn:aws:states:eu-west-1:111122223333:stateMachine:fire", type: express, input_schema: any, teams: [payments] }
"""
_RULES = """\
format: oidc-gateway/mapping.v1
rules:
  - name: faults
    why: FLT-1, what the tests of faults do
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711" }
    grants:
      - { start: wide, as: payments-prod }
      - { start: fire, as: payments-prod }
"""
#: How many providers there are, `idp01` and so on: each test takes one that no other has.
PROVIDERS = 26
DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # asyncio forgets to close sockets of our providers whose handshake the gateway broke off or a fault cut short.
    forgotten = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(forgotten)


@dataclass(kw_only=True)
class Faulty:
    """A gateway and everything around it that can fail.

    workers: of it. temporary: its folder for such files. ports: of the Regions' endpoints, on which nothing listens.
    """

    gateway: Gateway
    aws: ScriptedAws
    idps: Idps
    steering: Steering
    workers: int
    temporary: Path
    ports: Mapping[str, int]
    base: Standing | None = None
    _taken: int = 0
    _named: int = 0

    def provider(self) -> str:
        """Return the name of a provider that no test has used, whose keys every worker has."""
        self._taken += 1
        return self._ready(f"idp{self._taken:02}")

    def named_provider(self) -> str:
        """Return the same of one that is found by a host name."""
        self._named += 1
        return self._ready(f"named{self._named}")

    def _ready(self, name: str) -> str:
        self.idps.script(name)
        self.steering.age(61)
        until(lambda: self.all_answer(self.token(name), 200))
        # After a day's outage all providers are due in the background at once, and queue: who counts fetches waits for the last.
        until(self._nobody_fetches)
        return name

    def _nobody_fetches(self) -> bool:
        before = self.attempts()
        time.sleep(0.25)  # the background looks every 0.2 s
        return self.attempts() == before

    def all_answer(self, token: str, status: int) -> bool:
        """Say whether every worker answers so; with several, whichever takes the connection answers."""
        return {self.whoami(token).status_code for _ in range(4 * self.workers)} == {status}

    def token(self, provider: str, **changes: object) -> str:
        """Return a good token of a provider."""
        return fresh("generic", iss=self.idps.issuer(provider), **changes)

    def whoami(self, token: str) -> httpx2.Response:
        """`GET /v1/whoami`: whether the token is believed."""
        return self.gateway.get("/v1/whoami", token)

    def fetches(self, provider: str, result: str) -> float:
        """Return how many fetches of its keys ended so."""
        labels = f'issuer="{provider}",result="{result}"'
        return self.gateway.metric(f"oidc_gateway_issuer_key_fetches_total{{{labels}}}")

    def attempts(self, provider: str | None = None) -> float:
        """Return how many fetches of its keys, or of anybody's, have ended, by all workers together."""
        series = "oidc_gateway_issuer_key_fetches_total{"
        series += "" if provider is None else f'issuer="{provider}",'
        lines = self.gateway.client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(series))

    def settle(self) -> None:
        """Wait until the gateway holds no more than it did before the first fault."""
        assert self.base is not None
        returns_to(self.base, self.gateway.process.pid, self.temporary)


def write_faulty_config(folder: Path, *, aws: str, idps: Idps, ports: Mapping[str, int]) -> Path:
    """Write the example configuration with AWS at this URL, with all providers, and with Regions at these ports."""
    config = write_config(folder, aws=aws)
    (config / "idp-ca.pem").write_text(idps.authority.pem)
    names = [f"idp{number:02}" for number in range(1, PROVIDERS + 1)]
    names += [f"named{number}" for number in range(1, NAMED + 1)]
    entries = "".join(_entry(name, idps) for name in names)
    edit(config / "gateway.yaml", "issuers:\n", f"issuers:\n{entries}")
    _write_regions(config, aws, ports)
    return config


def _write_regions(config: Path, aws: str, ports: Mapping[str, int]) -> None:
    targets, rules, endpoints = _TARGETS, _RULES, ""
    for name, region in REGIONS.items():
        machine = f"arn:aws:states:{region}:111122223333:stateMachine:{name}"
        targets += f'  {name}: {{ state_machine: "{machine}", type: standard, teams: [payments] }}\n'
        rules += f"      - {{ start: {name}, as: payments-prod }}\n"
        url = f"{'https' if name == 'tls' else 'http'}://{LOOPBACK}:{ports[name]}"
        endpoints += f", {region}: {{ sts: {url}, states: {url} }}"
    edit(config / "targets.yaml", "workflows:\n", targets)
    replace(config / "mappings" / "payments" / "faults.yaml", rules.encode())
    here = f"eu-west-1: {{ sts: {aws}, states: {aws} }}"
    edit(config / "gateway.yaml", here, here + endpoints)


def _entry(name: str, idps: Idps) -> str:
    entry = (
        f"preset: generic\nissuer: {idps.issuer(name)}\naudiences: [https://gateway.acme.example]\n"
        "ca_file: idp-ca.pem\nallow_addresses: [127.0.0.1/32]\n"
    )
    return f"  {name}:\n{indent(entry, '    ')}"


def free_ports(names: Iterable[str]) -> dict[str, int]:
    """Return a port on which nothing listens for each name."""
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.create_server((LOOPBACK, 0))) for name in names}
        return {name: one.getsockname()[1] for name, one in sockets.items()}


@contextmanager
def running_faulty(
    folder: Path,
    aws: ScriptedAws,
    idps: Idps,
    *,
    workers: int = 1,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Faulty]:
    """Start a gateway whose clocks and name service can be steered, and warm it up to its base line."""
    ports = free_ports(REGIONS)
    config = write_faulty_config(folder / "config", aws=aws.url, idps=idps, ports=ports)
    temporary = folder / "tmp"
    temporary.mkdir()
    steering = Steering(folder / "steering.json")
    for number in range(1, NAMED + 1):
        steering.name(idps.host(f"named{number}"), [LOOPBACK])
    variables = {
        "TMPDIR": str(temporary),
        "OIDC_GATEWAY_WORKERS": str(workers),
        "OIDC_GATEWAY_IDLE": "1s",
        "OIDC_GATEWAY_MAX_CONNECTIONS": "2000",
        steered_gateway.VARIABLE: str(steering.file),
        **(environment or {}),
    }
    with running_gateway(
        config, folder / "audit", environment=variables, module="tests.support.steered_gateway"
    ) as gateway:
        # A connection for each request: all workers are asked, and none is idle where descriptors are counted.
        gateway.client.headers["Connection"] = "close"
        faulty = Faulty(
            gateway=gateway,
            aws=aws,
            idps=idps,
            steering=steering,
            workers=workers,
            temporary=temporary,
            ports=ports,
        )
        for number in range(8 * workers):
            assert gateway.start(fresh(), DEPLOY, key=f"warm-{number}", input=GOOD).status_code == 201
        faulty.base = standing(gateway.process.pid, temporary)
        yield faulty


@pytest.fixture(scope="session")
def idps() -> Iterator[Idps]:
    """The providers of gateways that one test alone has; the others have their own, so that what is asked can be counted."""
    with running_idps() as running:
        yield running


@pytest.fixture(scope="session")
def faulty_aws() -> Iterator[ScriptedAws]:
    with running_scripted_aws() as aws:
        yield aws


@pytest.fixture(scope="session")
def one_worker(tmp_path_factory: pytest.TempPathFactory, faulty_aws: ScriptedAws) -> Iterator[Faulty]:
    """See `faulty`."""
    with (
        running_idps() as idps,
        running_faulty(tmp_path_factory.mktemp("one"), faulty_aws, idps) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def four_workers(tmp_path_factory: pytest.TempPathFactory, faulty_aws: ScriptedAws) -> Iterator[Faulty]:
    """See `faulty`."""
    with (
        running_idps() as idps,
        running_faulty(tmp_path_factory.mktemp("four"), faulty_aws, idps, workers=4) as running,
    ):
        yield running


@pytest.fixture(params=["one_worker", "four_workers"])
def faulty(request: pytest.FixtureRequest) -> Iterator[Faulty]:
    """A running gateway with everything around it well, with one worker and then with four.

    Afterwards it must hold no more than it did at its base line.
    """
    with _base_line(request.getfixturevalue(request.param)) as running:
        yield running


@pytest.fixture
def four(four_workers: Faulty) -> Iterator[Faulty]:
    """The same, only with four workers: for what they have to agree on."""
    with _base_line(four_workers) as running:
        yield running


@contextmanager
def _base_line(faulty: Faulty) -> Iterator[Faulty]:
    faulty.aws.begin()
    yield faulty
    faulty.aws.begin()
    faulty.steering.jump(0)
    faulty.settle()


@pytest.fixture
def own_faulty(tmp_path: Path, idps: Idps, faulty_aws: ScriptedAws) -> Iterator[Faulty]:
    """A gateway with one worker that this test alone has, so that it may break its files and its limits."""
    faulty_aws.begin()
    with running_faulty(tmp_path, faulty_aws, idps) as faulty:
        yield faulty
        faulty_aws.begin()
        faulty.settle()
