"""Gateways on one Redis: the switches there, what health says of it, and a start while it is away."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from gateway.cli.main import main
from tests.support.caller import until
from tests.support.components import skip_without
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.redis_server import RedisServer, running_redis
from tests.support.scripted_aws import ScriptedAws

pytestmark = skip_without("redis")

DEPLOY = "deploy-payments"
INPUT = {"version": "1.4.2"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two gateways whose switches are in one Redis."""

    one: Gateway
    two: Gateway
    redis: RedisServer
    config: Path

    def each(self) -> tuple[Gateway, Gateway]:
        return self.one, self.two

    def switch(self, *words: str) -> int:
        """Run `oidc-gateway switch`."""
        where = ["--state", self.redis.url, "--switches", "redis", "--config", str(self.config)]
        return main(["switch", *words, *where])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, scripted_aws: ScriptedAws) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    config = write_config(folder / "config", aws=scripted_aws.url)
    with running_redis() as server:
        shared = {"OIDC_GATEWAY_STATE_URL": server.url, "OIDC_GATEWAY_STATE_SWITCHES": "redis"}
        with (
            running_gateway(config, folder / "one", environment=shared) as one,
            running_gateway(config, folder / "two", environment=shared) as two,
        ):
            yield Pair(one=one, two=two, redis=server, config=config)


def status(gateway: Gateway, key: str) -> tuple[int, object]:
    answer = gateway.start(fresh(), DEPLOY, key=key, input=INPUT)
    return answer.status_code, answer.json().get("code")


def settled(gateway: Gateway, key: str, *, wanted: int) -> tuple[int, object]:
    """Return the status once it is the wanted one."""

    def look() -> tuple[int, object] | None:
        found = status(gateway, key)
        return found if found[0] == wanted else None

    return until(look)


def shown(gateway: Gateway, state: str) -> httpx2.Response:
    """Return the answer of /readyz once it shows this state."""

    def look() -> httpx2.Response | None:
        answer = gateway.get("/readyz")
        return answer if answer.json()["state"] == state else None

    return until(look)


@pytest.mark.requirement("MP-15", "AD-06")
def test_a_switch_turned_by_a_command_reaches_both_gateways_and_back(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    off = pair.switch("off", "rule", "payments.prod", "--why", "PAY-9")
    refused = [settled(gateway, "switched", wanted=403) for gateway in pair.each()]
    listed = pair.switch("list", "--json")
    on = pair.switch("on", "rule", "payments.prod")
    allowed = [settled(gateway, "switched", wanted=201) for gateway in pair.each()]

    assert (off, listed, on) == (0, 0, 0)
    assert {code for _, code in refused} == {"rule_disabled"}
    assert "PAY-9" in capsys.readouterr().out
    assert {found for found, _ in allowed} == {201}


@pytest.mark.requirement("MP-15")
def test_in_the_audit_folder_of_such_a_gateway_nothing_is_turned_and_the_redis_is_named(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pair.one.audit

    code = main(["switch", "list", "--config", str(pair.config), "--audit", str(folder)])

    assert code == 2
    assert f"Add --switches redis --state {pair.redis.url}." in capsys.readouterr().err


@pytest.mark.requirement("AD-06")
def test_a_command_that_cannot_reach_the_switches_says_so(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    with pair.redis.stalled():
        code = pair.switch("off", "rule", "payments.prod", "--why", "PAY-9")

    assert code == 2
    assert "switches" in capsys.readouterr().err


@pytest.mark.requirement("TV-45", "F-33")
def test_health_names_the_trouble_and_stays_ready(
    pair: Pair,
) -> None:
    well = shown(pair.one, "ok")
    with pair.redis.stalled():
        stalled = shown(pair.one, "timeout")
        up = pair.one.metric("oidc_gateway_state_up")
    again = shown(pair.one, "ok")

    assert (well.status_code, well.json()["state"]) == (200, "ok")
    assert (stalled.status_code, up) == (200, 0)
    assert again.status_code == 200


@pytest.mark.requirement("TV-45", "F-33")
def test_a_gateway_starts_without_its_redis_and_serves_what_needs_none(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    with running_redis() as server:
        server.stop()
        shared = {"OIDC_GATEWAY_STATE_URL": server.url}
        with running_gateway(config, tmp_path / "audit", environment=shared) as gateway:
            answer = gateway.start(fresh(), DEPLOY, key="without", input=INPUT)
            state = gateway.get("/readyz").json()["state"]
            server.start()
            shown(gateway, "ok")

            assert (answer.status_code, state) == (201, "unreachable")
            until(lambda: "cannot be reached" in gateway.log())
            said = [json.loads(line) for line in gateway.log().splitlines() if "cannot be reached" in line]
            assert len(said) == 1
            assert said[0]["level"] == logging.getLevelName(logging.ERROR)


ONCE = """\
format: oidc-gateway/mapping.v1
rules:
  - name: once
    why: PAY-7, each token once
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", environment: once }
    grants: [{ start: deploy-payments, as: payments-prod }]
    replay: once
"""


@pytest.mark.requirement("TV-42", "TV-43")
def test_of_a_hundred_posts_of_one_token_to_four_workers_one_succeeds(
    tmp_path: Path, scripted_aws: ScriptedAws, redis: RedisServer
) -> None:
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    (config / "mappings" / "payments" / "once.yaml").write_text(ONCE)
    environment = {
        "OIDC_GATEWAY_STATE_URL": redis.url,
        "OIDC_GATEWAY_STATE_PREFIX": f"{uuid4()}:",
        "OIDC_GATEWAY_WORKERS": "4",
    }
    token, together = fresh(environment="once"), threading.Barrier(100)
    with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:

        def start(number: int) -> int:
            together.wait(60)
            return gateway.start(token, DEPLOY, key=f"key-{number}", input=INPUT).status_code

        with ThreadPoolExecutor(100) as pool:
            said = Counter(pool.map(start, range(100)))

    assert said == {201: 1, 409: 99}
