"""When a load balancer should send requests here."""

import pytest
from starlette.routing import Router
from starlette.testclient import TestClient

from gateway.doors.draining import Draining
from gateway.doors.health import health_routes, readiness
from gateway.identity.keys import KeyFault, KeySetState
from gateway.metrics import Metrics
from gateway.policy.snapshot import PolicyState
from gateway.state.agreement import View

CURRENT = PolicyState(digest="sha256:00", state="current", loaded_at=1.0, findings=0)
STALE = PolicyState(
    digest="sha256:00",
    state="stale",
    loaded_at=1.0,
    findings=3,
    held_back=("ops", "payments"),
    without_rules=("ops",),
)
GOOD = KeySetState(
    issuer="github", source="https://x.example/jwks", keys=2, age_s=31.4, fault=None, version="v"
)
DEAD = KeySetState(
    issuer="okta", source="https://y.example/jwks", keys=0, age_s=None, fault=KeyFault.TIMEOUT, version=""
)


def leaving() -> Draining:
    draining = Draining()
    draining.leave()
    return draining


@pytest.mark.parametrize(
    ("draining", "policy", "keys", "expected"),
    [
        pytest.param(Draining(), CURRENT, (GOOD,), (200, "ready"), id="all-well"),
        pytest.param(Draining(), STALE, (GOOD,), (200, "ready"), id="a-rejected-reload"),
        pytest.param(Draining(), CURRENT, (GOOD, DEAD), (200, "ready"), id="one-issuer-of-two"),
        pytest.param(Draining(), CURRENT, (DEAD,), (503, "no_keys"), id="no-issuer"),
        pytest.param(Draining(), CURRENT, (), (503, "no_keys"), id="no-issuer-asked-yet"),
        pytest.param(Draining(), None, (GOOD,), (503, "no_policy"), id="no-policy"),
        pytest.param(leaving(), CURRENT, (GOOD,), (503, "draining"), id="on-the-way-out"),
    ],
)
def test_readiness_is_off_only_when_draining_without_a_policy_or_without_any_keys(
    draining: Draining,
    policy: PolicyState | None,
    keys: tuple[KeySetState, ...],
    expected: tuple[int, str],
) -> None:
    status, document = readiness(draining, policy, keys)

    assert (status, document["status"]) == expected


def test_readiness_shows_each_issuer_and_a_stale_policy() -> None:
    _, document = readiness(Draining(), STALE, (GOOD, DEAD))

    assert document == {
        "status": "ready",
        "policy": "stale",
        "digest": "sha256:00",
        "findings": 3,
        "teams_held_back": 2,
        "teams_without_rules": 1,
        "issuers": {
            "github": {"keys": 2, "age_s": 31, "last_error": None},
            "okta": {"keys": 0, "age_s": None, "last_error": "timeout"},
        },
    }


def test_liveness_asks_nobody_and_metrics_are_text() -> None:
    def nobody() -> tuple[KeySetState, ...]:
        raise AssertionError("Liveness asked for keys.")

    routes = health_routes(metrics=Metrics(), draining=Draining(), policy=lambda: None, keys=nobody)
    client = TestClient(Router(routes))

    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/metrics").text.startswith("# HELP ")


@pytest.mark.requirement("AD-06")
@pytest.mark.parametrize(("readable", "said"), [(True, "ok"), (False, "unreadable")])
def test_switches_that_cannot_be_read_are_said_and_make_nobody_unready(readable: bool, said: str) -> None:
    routes = health_routes(
        metrics=Metrics(),
        draining=Draining(),
        policy=lambda: CURRENT,
        keys=lambda: (GOOD,),
        switches=lambda: readable,
    )

    answer = TestClient(Router(routes)).get("/readyz")

    assert (answer.status_code, answer.json()["switches"]) == (200, said)


BEHIND = View(workers=("a/w1", "a/w2"), disagree=frozenset({"policy"}), behind=True)
AHEAD = View(workers=("a/w1", "a/w2"), disagree=frozenset({"policy"}))


@pytest.mark.requirement("MP-07", "F-32")
@pytest.mark.parametrize(
    ("view", "expected"),
    [
        pytest.param(BEHIND, (503, "behind"), id="the-one-that-lacks-it"),
        pytest.param(AHEAD, (200, "ready"), id="the-one-that-has-it"),
    ],
)
def test_a_worker_that_lacks_its_siblings_policy_is_not_ready_and_all_say_that_they_differ(
    view: View, expected: tuple[int, str]
) -> None:
    status, document = readiness(Draining(), STALE, (GOOD,), view)

    assert (status, document["status"], document["digest"]) == (*expected, STALE.digest)
    assert document["agreement"] == {
        "workers": 2,
        "missing": 0,
        "policy": "differs",
        "keys": "same",
        "switches": "same",
    }
