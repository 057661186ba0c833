"""Executions through the REST door, on the whole product: start, see, wait, stop, and who may."""

import re
import uuid
from collections.abc import Mapping

import httpx2
import pytest

from tests.support.caller import problem, until
from tests.support.world import World

DEPLOY = "deploy-payments"
OPERATOR = "operators"
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def new_key() -> str:
    return uuid.uuid4().hex


def started(world: World, workflow: str, given: Mapping[str, object] | None = None) -> str:
    """Start a workflow of the lab and return its URL."""
    answer = world.start(world.lab(), workflow, key=new_key(), input=given)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["url"])


def done(world: World, url: str, token: str | None = None) -> dict[str, object]:
    """Wait for the end of an execution and return its document."""
    answer = world.get(f"{url}?wait_s=50", token or world.lab())
    assert answer.status_code == 200, answer.text
    document: dict[str, object] = answer.json()
    assert document["done"] is True
    return document


# --- Starting ---


@pytest.mark.requirement("AU-01", "SF-01")
def test_a_start_answers_where_the_execution_is_and_leaves_intent_and_outcome(world: World) -> None:
    answer = world.start(world.mint(), DEPLOY, key=new_key(), input={"version": "1.4.2", "soak_s": 60})

    document = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == document["url"]
    name = document["name"]
    assert document | {"started_at": ""} == {
        "url": f"/v1/executions/{DEPLOY}/{name}",
        "workflow": DEPLOY,
        "name": name,
        "target": "payments-prod",
        "arn": f"arn:aws:states:eu-west-1:111122223333:execution:{DEPLOY}:{name}",
        "status": "RUNNING",
        "done": False,
        "started_at": "",
        "ended_at": None,
    }
    assert MOMENT.fullmatch(document["started_at"])
    intent, outcome = world.records(answer)
    assert (intent.kind, intent.execution, intent.issued) == ("intent", name, None)
    assert (outcome.kind, outcome.execution) == ("outcome", document["arn"])
    assert str(outcome.issued).startswith(
        "arn:aws:sts::111122223333:assumed-role/payments-deployer/payments-prod."
    )
    assert intent.rules == outcome.rules == ("payments.prod",)


def test_the_token_may_travel_in_the_body(world: World) -> None:
    body = {"workflow": "lab-wait", "input": {}, "token": world.lab()}

    answer = world.ask("POST", "/v1/executions", body=body, headers={"Idempotency-Key": new_key()})

    assert answer.status_code == 201


@pytest.mark.requirement("SF-03", "SF-06")
@pytest.mark.parametrize("quoted", [True, False], ids=["key in quotes", "bare key"])
def test_the_same_key_and_input_are_the_same_execution(world: World, quoted: bool) -> None:
    token, key = world.lab(), new_key()
    first = world.start(token, "lab-wait", key=key, input={"a": 1, "b": [2]})

    again = world.start(token, "lab-wait", key=f'"{key}"' if quoted else key, input={"b": [2], "a": 1})

    assert again.status_code in (200, 201)  # a very quick repeat cannot be told from the first
    assert again.json() == first.json()


def test_another_subject_with_the_same_key_starts_an_execution_of_its_own(world: World) -> None:
    key = new_key()

    one = world.start(world.lab(), "lab-wait", key=key, input={})
    other = world.start(world.lab(sub="repo:acme/lab:ref:refs/heads/x"), "lab-wait", key=key, input={})

    assert one.json()["arn"] != other.json()["arn"]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        pytest.param([], "idempotency_key_missing", id="none"),
        pytest.param([("Idempotency-Key", "a"), ("Idempotency-Key", "a")], "request_ambiguous", id="two"),
        pytest.param([("Idempotency-Key", "a b")], "request_malformed", id="blank"),
        pytest.param([("Idempotency-Key", '"a')], "request_malformed", id="half quoted"),
        pytest.param([("Idempotency-Key", "a" * 129)], "request_malformed", id="long"),
        pytest.param([("Idempotency-Key", "")], "request_malformed", id="empty"),
    ],
)
def test_a_start_without_a_usable_key_is_refused(
    world: World, headers: list[tuple[str, str]], code: str
) -> None:
    bearer = ("Authorization", f"Bearer {world.lab()}")

    answer = world.client.post("/v1/executions", headers=[bearer, *headers], json={"workflow": "lab-wait"})

    assert (answer.status_code, problem(answer)["code"]) == (400, code)


def test_a_start_takes_no_query(world: World) -> None:
    answer = world.ask("POST", "/v1/executions?dry_run=1", world.lab(), body={"workflow": "lab-wait"})

    assert (answer.status_code, problem(answer)["code"]) == (400, "request_malformed")


# --- Seeing and waiting ---


def test_a_wait_ends_as_soon_as_the_execution_does(world: World) -> None:
    answer = world.start(world.mint(), DEPLOY, key=new_key(), input={"version": "1.4.2", "soak_s": 1})

    document = done(world, answer.json()["url"], world.mint())

    assert (document["status"], document["done"]) == ("SUCCEEDED", True)
    assert MOMENT.fullmatch(str(document["ended_at"]))


def test_a_wait_that_is_over_answers_with_what_is(world: World) -> None:
    url = started(world, "lab-wait")

    at_once, waited = world.get(url, world.lab()), world.get(f"{url}?wait_s=1", world.lab())

    assert at_once.json() == waited.json()
    assert waited.json()["status"] == "RUNNING"
    assert waited.elapsed.total_seconds() >= 1


@pytest.mark.parametrize(
    "query", ["wait_s=56", "wait_s=-1", "wait_s=1.5", "wait_s=", "wait_s=1&wait_s=1", "x=1"]
)
def test_a_wait_is_a_whole_number_from_0_to_55(world: World, query: str) -> None:
    answer = world.get(f"/v1/executions/lab-wait/{'a' * 32}-{'b' * 32}?{query}", world.lab())

    assert (answer.status_code, problem(answer)["code"]) == (400, "request_malformed")


@pytest.mark.requirement("SF-09")
def test_output_is_hidden_unless_the_workflow_says_visible(world: World) -> None:
    hidden = done(world, started(world, "lab-secret", {"secret": "x"}))
    visible = done(world, started(world, "lab-echo", {"shown": [1, None, "ü"]}))

    assert not {"output", "error", "cause"} & hidden.keys()
    output = visible["output"]
    assert isinstance(output, dict)
    assert output["shown"] == [1, None, "ü"]
    assert output["_caller"]["subject"] == "repo:acme/lab:environment:build and test"


def test_a_visible_failure_has_error_and_cause_and_no_output(world: World) -> None:
    document = done(world, started(world, "lab-fail"))

    assert document["status"] == "FAILED"
    assert (document["error"], document["cause"]) == ("Broken", "on purpose")
    assert "output" not in document


@pytest.mark.requirement("SF-08")
@pytest.mark.parametrize("deed", ["view", "stop", "events"])
def test_somebody_elses_execution_is_unknown(world: World, deed: str) -> None:
    url = started(world, "lab-wait")
    other = world.lab(sub="repo:acme/lab:ref:refs/heads/x")

    answer = ask(world, deed, url, other)
    missing = ask(world, deed, f"/v1/executions/no-such-workflow/{url.rsplit('/', 1)[1]}", other)

    assert answer.status_code == missing.status_code == 404
    assert problem(answer)["code"] == problem(missing)["code"]
    assert world.get(url, world.lab()).json()["status"] == "RUNNING"


def ask(world: World, deed: str, url: str, token: str) -> httpx2.Response:
    match deed:
        case "stop":
            return world.ask("POST", f"{url}/stop", token, body={})
        case "events":
            return world.get(f"{url}/events", token)
        case _:
            return world.get(url, token)


def test_an_execution_that_never_was_is_unknown(world: World) -> None:
    url = started(world, "lab-wait")

    answer = world.get(url[:-32] + "0" * 32, world.lab())

    assert (answer.status_code, problem(answer)["code"]) == (404, "execution_unknown")


@pytest.mark.parametrize("name", ["a", "..%2f..%2ftoken", "x" * 200, "%00"])
def test_an_address_that_no_execution_has_is_not_found(world: World, name: str) -> None:
    answer = world.get(f"/v1/executions/lab-wait/{name}", world.lab())

    assert answer.status_code == 404
    assert problem(answer)["code"] in ("not_found", "workflow_unknown")


def test_whoever_may_view_sees_everybodys_executions_as_that_target(world: World) -> None:
    answer = world.start(world.mint(), DEPLOY, key=new_key(), input={"version": "1.4.2", "soak_s": 60})

    seen = world.get(answer.json()["url"], world.mint(OPERATOR))
    stopped = world.ask(
        "POST", f"{answer.json()['url']}/stop", world.mint(OPERATOR), body={"reason": "too late"}
    )

    assert (seen.status_code, seen.json()["target"]) == (200, "release-operator")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "ABORTED")


def test_whoever_may_only_view_and_stop_cannot_start(world: World) -> None:
    answer = world.start(world.mint(OPERATOR), DEPLOY, key=new_key(), input={"version": "1.4.2"})

    assert (answer.status_code, problem(answer)["code"]) == (404, "workflow_unknown")


def test_where_several_targets_may_see_an_execution_the_query_names_one(world: World) -> None:
    token = world.lab(environment="both")
    url = world.start(token, "lab-wait", key=new_key(), input={}, target="lab-two").json()["url"]

    ambiguous, named = world.get(url, token), world.get(f"{url}?target=lab-one", token)

    assert (ambiguous.status_code, problem(ambiguous)["targets"]) == (409, ["lab-one", "lab-two"])
    assert (named.status_code, named.json()["target"]) == (200, "lab-one")


# --- Stopping ---


def test_a_stop_may_be_repeated(world: World) -> None:
    url = started(world, "lab-wait")

    first = world.ask("POST", f"{url}/stop", world.lab(), body={"reason": "superseded"})
    again = world.ask("POST", f"{url}/stop", world.lab())

    assert (first.status_code, first.json()["status"], first.json()["done"]) == (200, "ABORTED", True)
    assert (again.status_code, again.json()) == (200, first.json())


def test_a_stop_of_what_has_ended_answers_with_its_end(world: World) -> None:
    url = started(world, "lab-echo")
    ended = done(world, url)

    answer = world.ask("POST", f"{url}/stop", world.lab(), body={})

    assert (answer.status_code, answer.json()) == (200, ended)


# --- EXPRESS ---


def test_an_express_start_has_no_url_because_aws_cannot_describe_it(world: World) -> None:
    answer = world.start(world.lab(), "lab-express", input={})

    document = answer.json()
    assert (answer.status_code, document["url"], document["done"]) == (201, None, False)
    assert "location" not in answer.headers
    assert ":express:" in document["arn"] or document["arn"].startswith("arn:aws:states:")


@pytest.mark.parametrize("workflow", ["lab-express", "lab-sync"])
def test_an_express_workflow_takes_no_idempotency_key(world: World, workflow: str) -> None:
    answer = world.start(world.lab(), workflow, key=new_key(), input={})

    assert (answer.status_code, problem(answer)["code"]) == (422, "idempotency_unsupported")


@pytest.mark.parametrize("deed", ["view", "stop", "events"])
def test_an_express_execution_can_be_neither_seen_nor_stopped(world: World, deed: str) -> None:
    name = world.start(world.lab(), "lab-express", input={}).json()["name"]

    answer = ask(world, deed, f"/v1/executions/lab-express/{name}", world.lab())

    assert (answer.status_code, problem(answer)["code"]) == (422, "execution_unsupported")


def test_a_synchronous_workflow_answers_with_its_result(world: World) -> None:
    answer = world.start(
        world.mint("partners"), "quote-payout", input={"currency": "EUR", "amount_cents": 120000}
    )

    document = answer.json()
    assert (answer.status_code, document["status"], document["done"]) == (200, "SUCCEEDED", True)
    assert document["url"] is None
    assert "location" not in answer.headers
    assert document["output"]["fee_cents"] == 35


@pytest.mark.requirement("SF-10")
def test_a_synchronous_workflow_that_failed_says_so(world: World) -> None:
    answer = world.start(world.lab(), "lab-sync", input={})

    document = answer.json()
    assert (answer.status_code, document["status"]) == (200, "FAILED")
    assert (document["error"], document["cause"]) == ("Broken", "on purpose")


# --- AWS has the last word ---


@pytest.mark.requirement("ST-08")
def test_what_the_trust_policy_refuses_stays_refused_although_our_rules_allow_it(world: World) -> None:
    answer = world.start(world.mint(), "migrate-ledger", key=new_key())

    document = problem(answer)
    assert (answer.status_code, document["code"], document["stage"]) == (403, "aws_denied", "aws")
    upstream = document["upstream"]
    assert isinstance(upstream, dict)
    assert (upstream["service"], upstream["code"]) == ("sts", "AccessDenied")
    assert until(lambda: [record.kind for record in world.records(answer)][1:]) == ["outcome"]


# --- Credentials ---


@pytest.mark.parametrize(
    ("duration_s", "status"),
    [
        pytest.param(900, 200, id="shortest"),
        pytest.param(3600, 200, id="the target's own"),
        pytest.param(3601, 400, id="longer"),
        pytest.param(899, 400, id="too short"),
    ],
)
def test_credentials_may_be_asked_for_shorter_than_the_target_says_and_never_longer(
    world: World, duration_s: int, status: int
) -> None:
    answer = world.ask(
        "POST", "/v1/credentials", world.lab(), body={"target": "lab-one", "duration_s": duration_s}
    )

    assert answer.status_code == status
    assert status == 200 or problem(answer)["code"] == "request_malformed"


@pytest.mark.requirement("ST-07")
def test_a_right_to_start_is_no_right_to_obtain(world: World) -> None:
    answer = world.ask(
        "POST", "/v1/credentials", world.mint("okta-agents"), body={"target": "incident-agent"}
    )

    assert (answer.status_code, problem(answer)["code"]) == (404, "target_unknown")
