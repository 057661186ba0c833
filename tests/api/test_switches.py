"""Switches under running gateways: what is off is refused everywhere within seconds, and what nobody can tell is closed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.audit.reading import Query, find
from gateway.audit.record import Record
from gateway.cli.main import main
from tests.support.caller import problem, until
from tests.support.gateways import Gateway, edit, fresh, running_gateway, write_config
from tests.support.scripted_aws import ScriptedAws, running_scripted_aws

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
SUBJECT = "repo:acme/payments:environment:prod"
#: A promise of the product (MP-15).
WITHIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """Two gateways with one file of switches."""

    one: Gateway
    two: Gateway
    file: Path
    aws: ScriptedAws

    def switch(self, *words: str) -> None:
        """Run the command, as an administrator would."""
        options = ["--config", str(self.one.config), "--switches", str(self.file)]
        assert main(["switch", *words, *options]) == 0

    def both(self, look: Callable[[Gateway], bool]) -> float:
        """Wait until it is so at both; return how long that took."""
        began = time.monotonic()
        until(lambda: look(self.one) and look(self.two))
        return time.monotonic() - began


@contextmanager
def running_replicas(folder: Path) -> Iterator[Replicas]:
    file = folder / "switches.json"
    assert main(["switch", "init", "--switches", str(file), "--config", str(folder)]) == 0
    environment = {"OIDC_GATEWAY_STATE_SWITCHES": str(file)}
    with running_scripted_aws() as aws:
        config = write_config(folder / "config", aws=aws.url)
        with (
            running_gateway(config, folder / "audit-1", environment=environment) as one,
            running_gateway(config, folder / "audit-2", environment=environment) as two,
        ):
            yield Replicas(one=one, two=two, file=file, aws=aws)


@pytest.fixture(scope="module")
def shared_replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Both gateways, for all tests here; see `replicas`."""
    with running_replicas(tmp_path_factory.mktemp("switches")) as replicas:
        yield replicas


@pytest.fixture
def replicas(shared_replicas: Replicas) -> Replicas:
    """Both gateways, with nothing off."""
    shared_replicas.aws.begin()
    shared_replicas.file.unlink(missing_ok=True)
    shared_replicas.switch("init")
    shared_replicas.both(may_start)
    return shared_replicas


def start(gateway: Gateway) -> httpx2.Response:
    return gateway.start(fresh(), DEPLOY, key="k-1", input=GOOD)


def may_start(gateway: Gateway) -> bool:
    return start(gateway).status_code == 201


def refuses_with(code: str) -> Callable[[Gateway], bool]:
    return lambda gateway: start(gateway).json().get("code") == code


def administration(gateway: Gateway, act: str) -> list[Record]:
    return [entry.record for entry in find(gateway.audit, Query(act=act))]


@pytest.mark.requirement("MP-15", "AD-06")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(("issuer", "github"), "issuer_disabled", id="issuer"),
        pytest.param(("rule", "payments.prod"), "rule_disabled", id="rule"),
        pytest.param(("subject", "github", SUBJECT), "subject_disabled", id="subject"),
        pytest.param(("workflow", DEPLOY), "workflow_disabled", id="workflow"),
    ],
)
def test_what_is_switched_off_is_refused_by_every_replica_within_seconds_and_allowed_again_when_it_is_on(
    replicas: Replicas, words: tuple[str, ...], code: str
) -> None:
    replicas.switch("off", *words, "--why", "SEC-1, a test")
    took = replicas.both(refuses_with(code))
    answer = problem(start(replicas.one))
    replicas.switch("on", *words)
    took_again = replicas.both(may_start)

    assert max(took, took_again) < WITHIN_S
    assert answer["status"] == 403
    assert "payments.prod" not in str(answer)


@pytest.mark.requirement("KS-27", "MP-15")
def test_a_token_that_was_accepted_a_moment_ago_and_credentials_that_are_held_do_not_outlive_the_switch(
    replicas: Replicas,
) -> None:
    token = fresh()
    before = replicas.one.start(token, DEPLOY, key="k-2", input=GOOD).status_code
    replicas.switch("off", "issuer", "github", "--why", "SEC-1")
    replicas.both(refuses_with("issuer_disabled"))
    calls = len(replicas.aws.peer.received)

    answer = replicas.one.start(token, DEPLOY, key="k-3", input=GOOD)

    assert (before, problem(answer)["code"]) == (201, "issuer_disabled")
    assert len(replicas.aws.peer.received) == calls


@pytest.mark.requirement("MP-15")
def test_another_issuer_and_another_identity_go_on(replicas: Replicas) -> None:
    replicas.switch("off", "subject", "github", "repo:acme/other:ref:refs/heads/main", "--why", "SEC-1")
    replicas.switch("off", "issuer", "partners", "--why", "SEC-1")
    replicas.switch("off", "rule", "payments.prod", "--why", "SEC-1")
    replicas.both(refuses_with("rule_disabled"))
    replicas.switch("on", "rule", "payments.prod")

    replicas.both(may_start)


@pytest.mark.requirement("MP-15")
def test_an_execution_of_a_workflow_that_is_off_is_still_seen_and_stopped(replicas: Replicas) -> None:
    url = start(replicas.one).json()["url"]
    replicas.switch("off", "workflow", DEPLOY, "--why", "a freeze")
    replicas.both(refuses_with("workflow_disabled"))

    seen = replicas.one.get(url, fresh())
    stopped = replicas.one.ask("POST", f"{url}/stop", fresh(), body={"reason": "a freeze"})

    codes = {answer.json().get("code") for answer in (seen, stopped)}
    assert codes.isdisjoint({"workflow_disabled", "switches_unavailable"})


@pytest.mark.requirement("MP-15")
def test_the_token_endpoint_and_whoami_obey_the_switches_too(replicas: Replicas) -> None:
    replicas.switch("off", "subject", "github", SUBJECT, "--why", "SEC-1")
    replicas.both(refuses_with("subject_disabled"))

    exchanged = replicas.one.exchange(fresh(), audience="payments-prod")
    who = replicas.one.get("/v1/whoami", fresh())

    assert (exchanged.status_code, exchanged.json()["code"]) == (400, "subject_disabled")
    assert (who.status_code, who.json()["code"]) == (403, "subject_disabled")


@pytest.mark.requirement("AD-06", "F-38")
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_bytes(b"\x00garbage"), id="garbage"),
        pytest.param(lambda file: file.write_bytes(b""), id="cut-off"),
        pytest.param(lambda file: file.chmod(0o666), id="others-may-write"),
        pytest.param(lambda file: file.unlink(), id="vanished"),
    ],
)
def test_switches_that_nobody_can_read_close_everything_and_open_again_by_themselves(
    replicas: Replicas, damage: Callable[[Path], object]
) -> None:
    good = replicas.file.read_bytes()
    damage(replicas.file)
    took = replicas.both(refuses_with("switches_unavailable"))
    answer = start(replicas.one)
    who = replicas.one.get("/v1/whoami", fresh())
    until(lambda: replicas.one.metric("oidc_gateway_switches_readable") == 0)
    replicas.file.write_bytes(good)
    replicas.file.chmod(0o600)

    replicas.both(may_start)

    assert took < WITHIN_S + 1
    assert (answer.status_code, who.status_code) == (503, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert problem(answer)["retryable"] is True
    until(lambda: "everything counts as switched off" in replicas.one.log())


@pytest.mark.requirement("AU-07")
def test_every_replica_records_who_switched_what_and_why(replicas: Replicas) -> None:
    replicas.switch("off", "rule", "payments.prod", "--why", "PAY-9, looked at", "--by", "alice")
    replicas.both(refuses_with("rule_disabled"))
    replicas.switch("on", "rule", "payments.prod", "--why", "PAY-9, mended", "--by", "bob")
    replicas.both(may_start)

    def told(gateway: Gateway) -> list[tuple[str | None, str | None, tuple[str, ...]]]:
        mine = [one for one in administration(gateway, "switch") if one.why and "PAY-9" in one.why]
        return [(one.actor, one.why, one.changes) for one in mine]

    expected = [
        ("alice", "PAY-9, looked at", ("+ off rule payments.prod",)),
        ("bob", "PAY-9, mended", ("- off rule payments.prod",)),
    ]
    until(lambda: told(replicas.one) == expected and told(replicas.two) == expected)


@pytest.mark.requirement("MP-15", "AU-07")
def test_a_rule_that_is_removed_stops_new_exchanges_and_the_record_says_what_went(replicas: Replicas) -> None:
    rules = replicas.one.config / "mappings" / "payments" / "deploy.yaml"
    written = rules.read_text()
    edit(rules, "name: prod", "name: prod-renamed")

    def recorded(gateway: Gateway) -> bool:
        changes = [line for one in administration(gateway, "reload") for line in one.changes]
        return "- rule payments.prod" in changes and "+ rule payments.prod-renamed" in changes

    replicas.both(recorded)
    edit(rules, "name: prod-renamed", "name: prod")
    replicas.both(may_start)

    assert rules.read_text() == written


@pytest.mark.requirement("AD-06")
def test_what_is_off_survives_a_restart(tmp_path: Path, scripted_aws: ScriptedAws) -> None:
    scripted_aws.begin()
    config, audit = write_config(tmp_path / "config", aws=scripted_aws.url), tmp_path / "audit"
    with running_gateway(config, audit) as first:
        # Without a setting the file is in the audit directory, and there is none before the first switch.
        before = start(first).status_code
        words = ["switch", "off", "rule", "payments.prod", "--why", "PAY-9"]
        assert main([*words, "--config", str(config), "--audit", str(audit)]) == 0
        until(lambda: refuses_with("rule_disabled")(first))

    with running_gateway(config, audit) as second:
        answer = start(second)
        (at_start,) = until(lambda: [one for one in administration(second, "switch") if one.object == "all"])

    assert (before, problem(answer)["code"]) == (201, "rule_disabled")
    assert at_start.changes == ("+ off rule payments.prod",)


@pytest.mark.requirement("AD-06", "F-38")
def test_a_gateway_whose_named_file_does_not_exist_starts_and_is_closed(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    environment = {"OIDC_GATEWAY_STATE_SWITCHES": str(tmp_path / "no.json")}

    with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:
        answer = start(gateway)

    assert problem(answer)["code"] == "switches_unavailable"
