"""`oidc-gateway dev`: it starts, mints, follows the files, and leaves nothing behind however it ends."""

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.dev.children import free_port
from tests.support import components
from tests.support.processes import descendants, listening_addresses

REPOSITORY = Path(__file__).parents[2]
pytestmark = components.skip_without("ministack")
_START_S = 60.0
_END_S = 20.0


def until(true: Callable[[], object], *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return bool(true())


def lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # ended; a container's first process may not collect it


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", "dev", *arguments]


class Dev:
    """A running `oidc-gateway dev` with a cache folder of its own, but the ministack that is built already."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.config = home / "config"
        self.cache = home / "cache"
        self.environment = os.environ | {"XDG_CACHE_HOME": str(self.cache)}
        shutil.copytree(REPOSITORY / "config", self.config)
        real = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oidc-gateway"
        (self.cache / "oidc-gateway").mkdir(parents=True)
        for built in real.glob("ministack-*"):
            (self.cache / "oidc-gateway" / built.name).symlink_to(built)
        self.output = (home / "output").open("w+")
        self.process = subprocess.Popen(
            command("--config", str(self.config), "--port", str(self.port)),
            cwd=REPOSITORY,
            env=self.environment,
            stdout=self.output,
            stderr=self.output,
            start_new_session=True,
        )

    def printed(self) -> str:
        return Path(self.output.name).read_text()

    def is_up(self) -> bool:
        return "Ctrl-C ends everything" in self.printed()

    def runs(self) -> list[Path]:
        return list((self.cache / "oidc-gateway" / "run").glob("*"))

    def token(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command("token", *arguments),
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def call(self, method: str, path: str, token: str, body: object = None) -> tuple[int, dict[str, object]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Idempotency-Key": "1",
        }
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


@contextmanager
def running_dev(home: Path) -> Iterator[Dev]:
    dev = Dev(home)
    try:
        assert until(lambda: dev.is_up() or dev.process.poll() is not None, within_s=_START_S)
        assert dev.process.poll() is None, dev.printed()
        yield dev
    finally:
        if dev.process.poll() is None:
            dev.process.terminate()
            dev.process.wait(_END_S)
        dev.output.close()


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    with running_dev(tmp_path_factory.mktemp("dev")) as running:
        yield running


@pytest.mark.parametrize("issuer", ["github", "okta-agents", "operators", "partners"])
def test_a_minted_token_is_all_that_is_printed_and_the_gateway_believes_it(dev: Dev, issuer: str) -> None:
    minted = dev.token("--issuer", issuer)

    assert (minted.returncode, minted.stderr) == (0, "")
    assert minted.stdout == minted.stdout.strip()
    status, who = dev.call("GET", "/v1/whoami", minted.stdout)
    assert (status, who["issuer_name"]) == (200, issuer)


def test_a_claim_a_missing_claim_and_an_audience_can_be_ordered(dev: Dev) -> None:
    branch = dev.token("--issuer", "github", "--claim", "ref=refs/heads/x").stdout
    homeless = dev.token("--issuer", "github", "--remove", "environment").stdout
    foreign = dev.token("--issuer", "github", "--audience", "https://else.example").stdout
    expired = dev.token("--issuer", "github", "--expires-in=-5m").stdout

    start = {"workflow": "deploy-payments", "input": {"version": "1.4.2"}}
    answers = [
        dev.call("POST", "/v1/executions", token, start) for token in (branch, homeless, foreign, expired)
    ]

    assert [(status, document["code"]) for status, document in answers] == [
        (403, "claim_mismatch"),
        (403, "claim_mismatch"),
        (401, "token_audience_mismatch"),
        (401, "token_expired"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(("--issuer", "gitlab"), "There is no issuer 'gitlab' here", id="unknown issuer"),
        pytest.param(
            ("--issuer", "github", "--claim", "ref"), "Expected NAME=TEXT or NAME:=JSON", id="no value"
        ),
        pytest.param(
            ("--issuer", "operators", "--claim", "a=b"), "come from a Cognito user pool", id="cognito"
        ),
        pytest.param(("--issuer", "github", "--port", "1"), "No environment is running.", id="other port"),
    ],
)
def test_a_token_that_cannot_be_made_says_why_and_prints_nothing(
    dev: Dev, arguments: tuple[str, ...], message: str
) -> None:
    refused = dev.token(*arguments)

    assert (refused.returncode, refused.stdout) == (2, "")
    assert message in refused.stderr


def test_everything_listens_on_loopback_alone(dev: Dev) -> None:
    addresses = listening_addresses(descendants(dev.process.pid))

    assert ("127.0.0.1", dev.port) in addresses
    assert {host for host, _ in addresses} == {"127.0.0.1"}


def test_an_edited_rule_is_live_without_a_restart(dev: Dev) -> None:
    rules = dev.config / "mappings" / "payments" / "deploy.yaml"
    before = rules.read_text()
    token = dev.token("--issuer", "github", "--claim", "ref=refs/heads/live").stdout
    start = {"workflow": "deploy-payments", "input": {"version": "1.4.2"}}

    refused, _ = dev.call("POST", "/v1/executions", token, start)
    rules.write_text(before.replace("ref: refs/heads/main", "ref: refs/heads/live"))
    allowed = until(lambda: dev.call("POST", "/v1/executions", token, start)[0] in {200, 201}, within_s=20)
    rules.write_text(before)

    assert refused == 403
    assert allowed


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda number: number.name
)
def test_nothing_is_left_behind(tmp_path: Path, number: signal.Signals) -> None:
    with running_dev(tmp_path) as dev:
        family = descendants(dev.process.pid)
        ports = {port for _, port in listening_addresses(family)}
        runs = dev.runs()

        dev.process.send_signal(number)
        dev.process.wait(_END_S)

        gone = until(lambda: not any(map(lives, family)) and not dev.runs(), within_s=_END_S)

    assert len(runs) == 1
    assert len(ports) >= 3
    assert gone, ([one for one in family if lives(one)], dev.runs())
    if number is not signal.SIGKILL:
        assert dev.process.returncode == 0


def test_asked_to_end_while_it_starts_it_leaves_nothing_behind(tmp_path: Path) -> None:
    dev = Dev(tmp_path)
    started = until(
        lambda: any(any(folder.glob("oidc-gateway-ministack-*")) for folder in dev.runs()), within_s=_START_S
    )
    family = descendants(dev.process.pid)

    dev.process.send_signal(signal.SIGINT)
    status = dev.process.wait(_END_S)
    dev.output.close()

    assert started
    assert status == 130
    assert until(lambda: not any(map(lives, family)) and not dev.runs(), within_s=_END_S)


def test_a_port_that_is_taken_is_named(dev: Dev) -> None:
    second = subprocess.run(
        command("--port", str(dev.port)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert second.returncode == 2
    assert f"gateway cannot listen on port {dev.port}: another program does." in second.stderr
