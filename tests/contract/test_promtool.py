"""Prometheus' own judge over what the running service answers, over the alerts, and over every query of the dashboard."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.caller import until
from tests.support.components import skip_without
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.scripted_aws import running_scripted_aws

FOLDER = Path(__file__).parents[2] / "deploy" / "observability"

pytestmark = skip_without("promtool")


def promtool(*arguments: str, given: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["promtool", *arguments],
        input=given,
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module", params=[1, 2], ids=["one-process", "two-workers"])
def busy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that has done everything at least once."""
    folder = tmp_path_factory.mktemp("busy")
    with running_scripted_aws() as aws:
        config = write_config(folder / "config", aws=aws.url)
        environment = {} if request.param == 1 else {"OIDC_GATEWAY_WORKERS": str(request.param)}
        with running_gateway(config, folder / "audit", environment=environment) as gateway:
            gateway.start(fresh(), "deploy-payments", key="metrics", input={"version": "1.4.2"})
            gateway.get("/v1/whoami", fresh())
            gateway.get("/v1/whoami", "no.such.token")
            gateway.get("/nowhere")
            yield gateway


def test_what_the_running_service_answers_is_as_prometheus_wants_it(busy: Gateway) -> None:
    answered = until(lambda: text if "decisions_total{" in (text := busy.get("/metrics").text) else None)

    judged = promtool("check", "metrics", given=answered)

    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")


def test_the_alerts_are_rules_that_prometheus_takes() -> None:
    judged = promtool("check", "rules", "--lint-fatal", "alerts.yaml")

    assert judged.returncode == 0, judged.stderr


def test_every_alert_fires_when_it_should_and_not_a_minute_before() -> None:
    judged = promtool("test", "rules", "alerts.test.yaml")

    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_an_alert_that_fires_too_late_would_be_found(tmp_path: Path) -> None:
    for name in ("alerts.yaml", "alerts.test.yaml"):
        (tmp_path / name).write_text((FOLDER / name).read_text().replace("for: 10m", "for: 11m"))

    judged = promtool("test", "rules", str(tmp_path / "alerts.test.yaml"))

    assert judged.returncode == 1
    assert "OidcGatewayPolicyStale" in judged.stdout + judged.stderr


def test_every_query_of_the_dashboard_is_one_that_prometheus_understands(tmp_path: Path) -> None:
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    texts = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    rules = [
        {"record": f"query:{number}", "expr": text.replace("$__rate_interval", "5m")}
        for number, text in enumerate(texts)
    ]
    written = tmp_path / "queries.yaml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))

    judged = promtool("check", "rules", str(written))

    assert judged.returncode == 0, judged.stdout + judged.stderr
