"""Server-sent events of an execution: in order, resumable, and with a word about why they end."""

import json
import re
import signal
import uuid
from collections.abc import Iterator, Mapping

import pytest

from tests.api.conftest import Scripted
from tests.support.caller import Caller, problem
from tests.support.gateways import Gateway, fresh
from tests.support.peer import answers
from tests.support.scripted_aws import (
    ScriptedAws,
    by_operation,
    describes,
    in_turn,
    refuses_operation,
    starts,
)
from tests.support.world import World

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def read(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yield events as the WHATWG's parser would (HTML section 9.2.6), as far as we use its format."""
    event: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}


def events(world: World, url: str, **headers: str) -> list[dict[str, str]]:
    answer = world.get(f"{url}/events", world.lab(), **headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return list(read(iter(answer.text.splitlines())))


def started(world: World, workflow: str) -> str:
    answer = world.start(world.lab(), workflow, key=uuid.uuid4().hex, input={})
    return str(answer.json()["url"])


def data(event: Mapping[str, str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(event["data"])
    return found


def test_the_history_comes_in_order_and_ends_with_the_reason(world: World) -> None:
    *history, end = events(world, started(world, "lab-echo"))

    ids = [int(event["id"]) for event in history]
    assert ids == sorted(set(ids))
    assert {event["event"] for event in history} == {"history"}
    assert all(data(event).keys() == {"id", "at", "type", "state"} for event in history)
    assert all(MOMENT.fullmatch(str(data(event)["at"])) for event in history)
    assert data(history[0])["type"] == "ExecutionStarted"
    assert "Only" in {data(event)["state"] for event in history}
    assert end == {"event": "end", "data": '{"reason":"done","status":"SUCCEEDED"}'}


def test_last_event_id_resumes_behind_that_event(world: World) -> None:
    url = started(world, "lab-echo")
    whole = events(world, url)

    resumed = events(world, url, last_event_id=whole[1]["id"])

    assert resumed == whole[2:]


def test_resuming_behind_the_last_event_only_says_the_end(world: World) -> None:
    url = started(world, "lab-echo")
    whole = events(world, url)

    assert events(world, url, last_event_id=whole[-2]["id"]) == whole[-1:]


def test_a_running_execution_is_followed_until_it_is_stopped(world: World) -> None:
    url = started(world, "lab-wait")

    with world.client.stream(
        "GET", f"{url}/events", headers={"Authorization": f"Bearer {world.lab()}"}
    ) as answer:
        found = read(answer.iter_lines())
        first = next(found)
        world.ask("POST", f"{url}/stop", world.lab(), body={})
        rest = list(found)

    assert data(first)["type"] == "ExecutionStarted"
    assert rest[-1] == {"event": "end", "data": '{"reason":"done","status":"ABORTED"}'}


@pytest.mark.requirement("SF-09")
def test_events_carry_no_data_of_the_workflow(world: World) -> None:
    token = world.lab()
    url = world.start(token, "lab-echo", key=uuid.uuid4().hex, input={"secret": "kept-to-itself"}).json()[
        "url"
    ]

    answer = world.get(f"{url}/events", token)

    assert answer.status_code == 200
    assert "kept-to-itself" not in answer.text


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "12345678901", ""])
def test_a_last_event_id_that_we_never_sent_is_refused(world: World, last: str) -> None:
    answer = world.get(f"{started(world, 'lab-echo')}/events", world.lab(), last_event_id=last)

    assert (answer.status_code, problem(answer)["code"]) == (400, "request_malformed")


def test_a_refusal_comes_before_the_stream_as_a_problem(world: World) -> None:
    answer = world.get(f"{started(world, 'lab-wait')}/events", "not-a-token")

    assert (answer.status_code, problem(answer)["stage"]) == (401, "token")


# --- Why a stream ends before the execution does ---


def runs_for_ever(aws: ScriptedAws) -> None:
    history = {"events": [{"id": 1, "timestamp": 1_700_000_000.5, "type": "ExecutionStarted"}]}
    aws.states = by_operation(
        StartExecution=starts(),
        DescribeExecution=describes(),
        GetExecutionHistory=answers(json.dumps(history)),
    )


def start_deployment(gateway: Caller, token: str) -> str:
    answer = gateway.start(token, "deploy-payments", key=uuid.uuid4().hex, input={"version": "1.4.2"})
    return str(answer.json()["url"])


@pytest.mark.requirement("HT-14")
def test_a_gateway_that_leaves_ends_its_streams_and_says_so(
    own_gateway: Gateway, scripted_aws: ScriptedAws
) -> None:
    runs_for_ever(scripted_aws)
    token = fresh()
    url = start_deployment(own_gateway, token)

    with own_gateway.client.stream(
        "GET", f"{url}/events", headers={"Authorization": f"Bearer {token}"}
    ) as answer:
        found = read(answer.iter_lines())
        first = next(found)
        own_gateway.process.send_signal(signal.SIGTERM)
        rest = list(found)

    assert (first["id"], data(first)["at"]) == ("1", "2023-11-14T22:13:20.500Z")
    assert rest == [{"event": "end", "data": '{"reason":"draining","status":"RUNNING"}'}]
    assert own_gateway.process.wait(30) == 0


def test_credentials_that_run_out_end_the_stream_so_that_a_fresh_token_resumes(scripted: Scripted) -> None:
    token = fresh()
    url = start_deployment(scripted.gateway, token)
    scripted.aws.states = by_operation(
        DescribeExecution=in_turn(describes(), refuses_operation("ExpiredTokenException")),
        GetExecutionHistory=answers('{"events": []}'),
    )

    answer = scripted.gateway.get(f"{url}/events", token)

    assert list(read(iter(answer.text.splitlines()))) == [
        {"event": "end", "data": '{"reason":"credentials_expired","status":null}'}
    ]
