"""`/v1/whoami`: who the token speaks for, exactly as verified, and what it holds."""

import json
from pathlib import Path

import pytest

from gateway.audit.reading import read_entries
from tests.support.caller import problem
from tests.support.gateways import CONFIG
from tests.support.world import World


def test_a_token_that_holds_nothing_is_still_told_who_it_is(world: World) -> None:
    token = world.mint(claims={"repository": "acme/other", "repository_id": "1", "sub": "repo:acme/other:x"})

    answer = world.get("/v1/whoami", token)

    document = answer.json()
    assert answer.status_code == 200
    assert (document["may_start"], document["may_obtain"]) == ([], [])
    assert document["subject"] == "repo:acme/other:x"


def test_the_subject_is_exactly_the_tokens_blanks_included(world: World) -> None:
    document = world.get("/v1/whoami", world.lab()).json()

    assert document["issuer"] == world.environment.issuers.issuer_url("github")
    assert document["issuer_name"] == "github"
    assert document["subject"] == "repo:acme/lab:environment:build and test"
    assert document["claims"]["sub"] == document["subject"]
    assert document["claims"]["ref_protected"] == "true"
    assert document["expires_at"].endswith(".000Z")


def test_what_may_be_started_comes_with_the_schema_of_its_input(world: World) -> None:
    document = world.get("/v1/whoami", world.mint()).json()

    deploy = {
        "workflow": "deploy-payments",
        "type": "standard",
        "targets": ["payments-prod"],
        "input_schema": json.loads(Path(CONFIG / "schemas/deploy.json").read_text()),
    }
    assert deploy in document["may_start"]
    assert {one["workflow"] for one in document["may_start"]} == {"deploy-payments", "migrate-ledger"}
    assert {"target": "payments-prod", "forms": ["aws-credentials"]} in document["may_obtain"]


def test_several_targets_of_one_workflow_are_all_named(world: World) -> None:
    document = world.get("/v1/whoami", world.lab(environment="both")).json()

    targets = {one["workflow"]: one["targets"] for one in document["may_start"]}
    assert sorted(targets["lab-wait"]) == ["lab-one", "lab-two"]
    assert "lab-past" not in targets
    assert "migrate-ledger" not in targets


def test_the_policy_is_the_one_that_readiness_names(world: World) -> None:
    policy = world.get("/v1/whoami", world.mint()).json()["policy"]

    assert policy == world.get("/readyz").json()["digest"]
    assert policy.startswith("sha256:")


def test_callers_without_headers_may_post_the_token(world: World) -> None:
    token = world.mint()

    posted = world.ask("POST", "/v1/whoami", body={"token": token})

    assert posted.json() == world.get("/v1/whoami", token).json()


def test_no_token_is_401(world: World) -> None:
    answer = world.get("/v1/whoami")

    assert (answer.status_code, problem(answer)["code"]) == (401, "token_missing")


@pytest.mark.requirement("AU-01")
def test_only_what_a_token_obtained_or_was_refused_leaves_a_record(world: World) -> None:
    unrecorded = [
        world.get("/v1/whoami", world.mint()),
        world.get("/v1/whoami"),
        world.start(None, "deploy-payments", key="no-token"),
        world.ask("POST", "/v1/executions", world.mint(), body={"workflow": 7}),
        world.get("/v1/nowhere", world.mint()),
    ]
    refused = world.get("/v1/whoami", "no.token.really")

    # The last one's record is on the disk, so those of the others would be.
    recorded = world.records(refused)
    known = {entry.record.request_id for entry in read_entries(world.audit)}

    assert [answer.status_code for answer in unrecorded] == [200, 401, 401, 400, 404]
    assert [record.kind for record in recorded] == ["refused"]
    assert known.isdisjoint(answer.headers["x-request-id"] for answer in unrecorded)
