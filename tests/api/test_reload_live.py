"""Files change under a running gateway: a good change is live within a second, a bad one changes nothing and is loud."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.caller import problem, until
from tests.support.gateways import Gateway, edit, fresh, replace, running_gateway, write_config
from tests.support.scripted_aws import ScriptedAws, held_back, issues_credentials, running_scripted_aws

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
RULES = "mappings/payments/deploy.yaml"
#: A promise of the product.
LIVE_S = 1.0


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, ScriptedAws]]:
    """A gateway whose files these tests change; see `gateway`."""
    folder = tmp_path_factory.mktemp("reload")
    with running_scripted_aws() as aws:
        config = write_config(folder / "config", aws=aws.url)
        with running_gateway(config, folder / "audit") as gateway:
            yield gateway, aws


@pytest.fixture
def gateway(running: tuple[Gateway, ScriptedAws]) -> Gateway:
    """That gateway with its files and its AWS as in the beginning."""
    found, aws = running
    aws.begin()
    before = found.metric(ACCEPTED) + found.metric(UNCHANGED)
    write_config(found.config, aws=aws.url)
    until(lambda: found.metric(ACCEPTED) + found.metric(UNCHANGED) > before)
    until(lambda: found.get("/readyz").json()["policy"] == "current" and may_start(found))
    found.lines.clear()
    return found


ACCEPTED = 'oidc_gateway_policy_reloads_total{result="accepted"}'
REJECTED = 'oidc_gateway_policy_reloads_total{result="rejected"}'
UNCHANGED = 'oidc_gateway_policy_reloads_total{result="unchanged"}'


def may_start(gateway: Gateway) -> bool:
    found = gateway.get("/v1/whoami", fresh()).json()["may_start"]
    return DEPLOY in {one["workflow"] for one in found}


@pytest.mark.requirement("MP-06")
def test_a_change_of_a_file_is_live_within_a_second(gateway: Gateway) -> None:
    # The best of three: the machine of the tests has others to serve as well.
    took = min(seconds_until_live(gateway, number) for number in range(3))

    assert took < LIVE_S


def seconds_until_live(gateway: Gateway, number: int) -> float:
    digest = gateway.get("/readyz").json()["digest"]
    edit(gateway.config / RULES, f"why: PAY-{123 + number}", f"why: PAY-{124 + number}")
    changed = time.monotonic()
    until(lambda: gateway.get("/readyz").json()["digest"] != digest)
    return time.monotonic() - changed


@pytest.mark.requirement("MP-06")
def test_a_right_that_is_taken_away_is_gone_and_the_one_in_its_place_holds(gateway: Gateway) -> None:
    edit(gateway.config / RULES, "ref: refs/heads/main", "ref: refs/heads/release")

    until(lambda: not may_start(gateway))

    answer = gateway.start(fresh(), DEPLOY, key="gone", input=GOOD)
    assert (answer.status_code, problem(answer)["code"]) == (403, "claim_mismatch")
    assert gateway.start(fresh(ref="refs/heads/release"), DEPLOY, key="new", input=GOOD).status_code == 201


@pytest.mark.requirement("MP-05")
def test_deleting_a_file_takes_its_rules_away(gateway: Gateway) -> None:
    (gateway.config / RULES).unlink()

    until(lambda: not may_start(gateway))

    assert gateway.get("/readyz").json()["policy"] == "current"


def test_taking_a_team_off_a_target_revokes_at_once_whatever_the_teams_files_say(gateway: Gateway) -> None:
    edit(
        gateway.config / "targets.yaml",
        "duration: 15m # of credentials that are handed out: 15m to 12h, at most the role's own maximum\n"
        "    teams: [payments]",
        "duration: 15m\n    teams: [ops]",
    )

    until(lambda: not may_start(gateway))

    assert gateway.metric("oidc_gateway_policy_inert_grants") == 2
    assert "does not belong to team payments" in until(lambda: findings(gateway))


def findings(gateway: Gateway) -> str | None:
    return gateway.log() if "policy finding" in gateway.log() else None


@pytest.mark.requirement("MP-06")
def test_no_request_in_flight_notices_a_change(
    gateway: Gateway, running: tuple[Gateway, ScriptedAws]
) -> None:
    _, aws = running
    arrived, go_on = threading.Semaphore(0), threading.Event()
    aws.sts = held_back(issues_credentials(), arrived, go_on)

    with ThreadPoolExecutor(1) as pool:
        inflight = pool.submit(gateway.start, fresh(), DEPLOY, key="inflight", input=GOOD)
        assert arrived.acquire(timeout=20)
        edit(gateway.config / RULES, "ref: refs/heads/main", "ref: refs/heads/release")
        until(lambda: not may_start(gateway))
        go_on.set()
        answer = inflight.result(20)

    assert answer.status_code == 201
    intent, outcome = gateway.records(answer)
    assert intent.policy == outcome.policy != gateway.get("/readyz").json()["digest"]


@pytest.mark.requirement("MP-06")
def test_requests_under_a_storm_of_changes_all_succeed(gateway: Gateway) -> None:
    accepted = gateway.metric(ACCEPTED)
    end = threading.Event()
    statuses: set[int] = set()

    def ask() -> None:
        while not end.is_set():
            statuses.add(gateway.get("/v1/whoami", fresh()).status_code)

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(ask) for _ in range(2)]
        for number in range(1, 6):
            edit(gateway.config / RULES, f"why: PAY-{122 + number}", f"why: PAY-{123 + number}")
            count = accepted + number
            until(lambda wanted=count: gateway.metric(ACCEPTED) >= wanted)  # type: ignore[misc]
        end.set()
        for one in asking:
            one.result(20)

    assert statuses == {200}


HOSTILE = {
    "evil.yaml": "format: oidc-gateway/mapping.v1\nrules: [" + "{a}," * 2_000_000 + "]\n",
    "evil-2.yaml": "format: oidc-gateway/mapping.v1\nrules: [" + "[]," * 2_700_000 + "]\n",
    "evil.test.yaml": "format: oidc-gateway/tests.v1\ntests:\n"
    + "  - {name: a, issuer: partners, claims: {sub: x}, may_not: [{obtain: payments-prod}]}\n" * 90_000,
}


@pytest.fixture
def hostile(gateway: Gateway) -> Iterator[Gateway]:
    """That gateway, with files of one team that are as large as files may be and take a hundred times as much."""
    paths = [gateway.config / "mappings/partners" / name for name in HOSTILE]
    for path, text in zip(paths, HOSTILE.values(), strict=True):
        replace(path, text.encode())
    yield gateway
    for path in paths:
        path.unlink()


@pytest.mark.requirement("MP-03", "MP-06")
def test_one_teams_hostile_files_cost_little_memory_and_another_teams_change_is_taken(
    gateway: Gateway, request: pytest.FixtureRequest
) -> None:
    before = resident_mb(gateway)
    request.getfixturevalue("hostile")
    until(lambda: gateway.get("/readyz").json()["policy"] == "stale")

    edit(gateway.config / RULES, "ref: refs/heads/main", "ref: refs/heads/release")

    until(lambda: not may_start(gateway))
    assert gateway.start(fresh(ref="refs/heads/release"), DEPLOY, key="evil", input=GOOD).status_code == 201
    assert gateway.get("/readyz").json()["findings"] < 1_000
    assert resident_mb(gateway) - before < MOST_GROWTH_MB


#: Of the most that was ever resident. The same files once took six gigabytes.
MOST_GROWTH_MB = 200


def resident_mb(gateway: Gateway) -> int:
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@pytest.mark.requirement("MP-05", "MP-06")
@pytest.mark.parametrize(
    ("name", "old", "new", "place"),
    [
        pytest.param(
            "gateway.yaml", "preset: okta", "preset: oktopus", "gateway.yaml:", id="gateway: unknown preset"
        ),
        pytest.param(
            "gateway.yaml", "format: oidc-gateway/gateway.v1", "", "gateway.yaml:", id="gateway: no format"
        ),
        pytest.param(
            "targets.yaml", "type: standard", "type: standart", "targets.yaml:", id="targets: unknown type"
        ),
        pytest.param(
            "targets.yaml",
            "schemas/deploy.json",
            "schemas/none.json",
            "targets.yaml:",
            id="targets: no such file",
        ),
        pytest.param(
            "schemas/deploy.json",
            '"type": "object"',
            '"type": "objekt"',
            "schemas/deploy.json:",
            id="schema: unknown type",
        ),
    ],
)
def test_a_bad_change_keeps_the_last_good_policy_and_log_metric_and_readiness_say_so(
    gateway: Gateway, name: str, old: str, new: str, place: str
) -> None:
    digest, rejected = gateway.get("/readyz").json()["digest"], gateway.metric(REJECTED)

    edit(gateway.config / name, old, new)

    until(lambda: gateway.metric(REJECTED) > rejected)
    ready = gateway.get("/readyz")
    document = ready.json()
    assert (ready.status_code, document["status"]) == (200, "ready")
    assert (document["policy"], document["digest"]) == ("stale", digest)
    assert document["findings"] >= 1
    assert gateway.metric("oidc_gateway_policy_stale") == 1
    assert gateway.start(fresh(), DEPLOY, key=f"kept-{name}", input=GOOD).status_code == 201
    log = until(lambda: findings(gateway))
    assert "the last good policy stays in force" in log
    assert place in log


@pytest.mark.requirement("MP-05")
@pytest.mark.parametrize("name", ["gateway.yaml", "targets.yaml"])
@pytest.mark.parametrize("spoil", ["empty", "gone"])
def test_without_gateway_or_targets_the_last_good_policy_stays(
    gateway: Gateway, name: str, spoil: str
) -> None:
    path: Path = gateway.config / name

    if spoil == "empty":
        replace(path, b"")
    else:
        path.unlink()

    until(lambda: gateway.get("/readyz").json()["policy"] == "stale")
    assert may_start(gateway)


def test_after_a_bad_change_the_next_good_one_is_taken(gateway: Gateway) -> None:
    edit(gateway.config / "gateway.yaml", "preset: okta", "preset: oktopus")
    until(lambda: gateway.get("/readyz").json()["policy"] == "stale")

    edit(gateway.config / "gateway.yaml", "preset: oktopus", "preset: okta")

    until(lambda: gateway.get("/readyz").json()["policy"] == "current")
    assert gateway.metric("oidc_gateway_policy_stale") == 0


@pytest.mark.requirement("MP-13", "F-30")
def test_a_rule_that_breaks_a_must_not_never_comes_into_force_and_the_active_rules_stay(
    gateway: Gateway,
) -> None:
    digest = gateway.get("/readyz").json()["digest"]
    branch = fresh(ref="refs/heads/quick-fix")

    edit(gateway.config / RULES, "      ref: refs/heads/main\n", "")

    until(lambda: gateway.get("/readyz").json()["policy"] == "stale")
    answer = gateway.start(branch, DEPLOY, key="must-not", input=GOOD)
    assert problem(answer)["code"] == "claim_mismatch"
    assert may_start(gateway)
    assert gateway.get("/readyz").json()["digest"] == digest
    until(lambda: "fixture_failed" in gateway.log())


OVERLAPPING = """\
format: oidc-gateway/mapping.v1
rules:
  - name: other
    why: PAY-9, the same caller with another target
    issuer: github
    claims: { repository: acme/payments, repository_id: "4711", ref: refs/heads/main, environment: prod }
    grants: [{ start: deploy-payments, as: payments-migrator }]
"""


@pytest.mark.requirement("MP-11", "F-30")
def test_a_rule_that_overlaps_another_is_told_with_both_and_gives_nobody_a_target_by_chance(
    gateway: Gateway, running: tuple[Gateway, ScriptedAws]
) -> None:
    _, aws = running
    path = gateway.config / "mappings" / "payments" / "overlapping.yaml"
    digest = gateway.get("/readyz").json()["digest"]
    aws.begin()

    replace(path, OVERLAPPING.encode())
    try:
        until(lambda: gateway.get("/readyz").json()["digest"] != digest)
        unnamed = gateway.start(fresh(), DEPLOY, key="overlap", input=GOOD)
        asked = list(aws.peer.received)
        named = gateway.start(fresh(), DEPLOY, key="overlap", input=GOOD, target="payments-prod")
        told = until(lambda: [line for line in list(gateway.lines) if "rule_overlap" in line])
    finally:
        path.unlink()

    document = problem(unnamed)
    assert (unnamed.status_code, document["code"]) == (409, "target_ambiguous")
    assert document["targets"] == ["payments-migrator", "payments-prod"]
    assert asked == []
    assert named.status_code == 201
    assert all(name in told[0] for name in ("payments.prod", "payments.other"))
