"""The search at the end of a test run looks into every place that it names, for everything that it says is secret."""

import json
import logging
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from tests.support import canary_run
from tests.support.caller import until
from tests.support.canaries import RUN, Marks, canary
from tests.support.gateways import fresh, running_gateway, write_config
from tests.support.hurt_gateway import VARIABLE
from tests.support.otlp import running_collector
from tests.support.scripted_aws import issues_credentials, running_scripted_aws
from tests.support.syslog import Receiver
from tests.support.world import World, take_what_it_shows

pytestmark = pytest.mark.requirement("SE-01")

#: Where a gateway is made to show a secret, and among which places the search must find it.
SHOWN: Mapping[str, str] = {
    "log": "logs",
    "metrics": "metrics",
    "refusals": "refusals",
    "file": "afterwards",
    "file-for-now": "at its end",
    "argument": "arguments",
    "variable": "arguments",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Careless:
    """What a gateway that shows secrets was given, and what a search said afterwards."""

    planted: Mapping[str, str]
    held: Mapping[str, str]
    marks: Marks
    said: list[str]


@pytest.fixture(scope="module")
def careless(tmp_path_factory: pytest.TempPathFactory) -> Careless:
    folder = tmp_path_factory.mktemp("careless")
    planted = {place: canary() for place in SHOWN}
    secret, session, key = canary(length=40), canary("IQoJ", length=200), uuid.uuid4().hex
    environment = {
        VARIABLE: json.dumps({"shows": {place: planted[place] for place in list(SHOWN)[:5]}}),
        "A_VARIABLE": planted["variable"],
    }
    with RUN.apart() as marks, running_scripted_aws() as aws:
        for one in planted.values():
            marks.hold(one)
        token = fresh()
        aws.sts = issues_credentials(SecretAccessKey=secret, SessionToken=session)
        config = write_config(folder / planted["argument"], aws=aws.url)
        with running_gateway(
            config, folder / "audit", environment=environment, module="tests.support.hurt_gateway"
        ) as gateway:
            assert gateway.get("/v1/whoami").status_code == 401
            gateway.start(token, "unknown", key=key)
            issued = gateway.ask("POST", "/v1/credentials", token, body={"target": "payments-prod"})
            assert secret in issued.text, issued.text
        said = RUN.search()
    _, payload, signature = token.split(".")
    held = {
        "signature": signature,
        "AWS secret": secret,
        "session token": session,
        "key": key,
        "claims": payload,
    }
    return Careless(planted=planted, held=held, marks=marks, said=said)


@pytest.mark.parametrize(("place", "among"), SHOWN.items(), ids=SHOWN)
def test_a_secret_that_a_gateway_shows_is_found(place: str, among: str, careless: Careless) -> None:
    found = [one for one in careless.said if careless.planted[place] in one]

    assert [one for one in found if among in one.partition(": b")[0]] != []


@pytest.mark.parametrize("what", ["signature", "AWS secret", "session token", "key"])
def test_what_passes_a_caller_is_looked_for(what: str, careless: Careless) -> None:
    secret = careless.held[what]

    assert careless.marks.found("log", f'{{"x": "{secret}"}}'.encode()) != []
    assert careless.marks.found("record", f'{{"x": "{secret}"}}'.encode(), records=True) != []


def test_the_payload_of_a_fresh_token_is_looked_for_but_in_records(careless: Careless) -> None:
    payload = careless.held["claims"].encode()

    assert careless.marks.found("log", payload) != []
    assert careless.marks.found("record", payload, records=True) == []


def test_a_claim_may_stand_in_records_alone(tmp_path: Path) -> None:
    claim, secret = canary(), canary()
    (tmp_path / "audit-000001.jsonl").write_text(f'{{"claims": ["{claim}"]}}\n')
    (tmp_path / "audit-000002.jsonl").write_text(f'{{"claims": ["{secret}"]}}\n')

    with RUN.apart() as marks:
        marks.hold_claim(claim)
        marks.hold(secret)
        canary_run.take_journals(tmp_path)
        said = RUN.search()

    assert ["audit-000002" in one for one in said] == [True]
    assert marks.found("log", claim.encode()) != []


def test_a_secret_in_a_copy_of_the_record_is_found() -> None:
    secret, receiver = canary(), Receiver()

    with RUN.apart() as marks:
        marks.hold(secret)
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as sender:
            sender.sendall(f"{len(secret)} {secret}".encode())
            until(RUN.search)
        receiver.close()
        said = RUN.search()

    assert ["copies of records" in one for one in said] == [True]


def test_a_secret_in_a_trace_is_found() -> None:
    secret = canary()
    spans = [ResourceSpans(scope_spans=[ScopeSpans(spans=[Span(name=f"exchange {secret}")])])]

    with RUN.apart() as marks, running_collector() as collector:
        marks.hold(secret)
        httpx2.post(
            collector.url, content=ExportTraceServiceRequest(resource_spans=spans).SerializeToString()
        )
        said = RUN.search()

    assert ["traces" in one for one in said] == [True]


def test_a_secret_in_a_new_file_of_the_working_folder_is_found(tmp_path: Path) -> None:
    secret = canary()
    (tmp_path / "old").write_text("nothing")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "core").write_bytes(b"\0" + secret.encode())

    with RUN.apart() as marks:
        marks.hold(secret)
        canary_run.take_new_files(tmp_path, since=0)
        said = RUN.search()

    assert ["folder/core" in one for one in said] == [True]


@pytest.fixture
def told() -> str:
    """What a library has said at DEBUG while this test was set up."""
    word = canary()
    logging.getLogger("urllib3.connectionpool").debug("sending %s", word)
    return word


def test_what_libraries_say_at_debug_in_a_test_is_searched(told: str, request: pytest.FixtureRequest) -> None:
    assert told in RUN.written("logs of tests", request.node.nodeid).decode()


def test_what_is_found_fails_the_run() -> None:
    secret = canary()
    config = SimpleNamespace(stash=pytest.Stash(), _tmp_path_factory=None)
    session = SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)

    with RUN.apart() as marks:
        marks.hold(secret)
        marks.add("logs", "somewhere", secret)
        canary_run.begin(cast(pytest.Config, config))
        canary_run.search(cast(pytest.Session, session))

    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED


def test_the_world_shows_what_every_gateway_shows(world: World) -> None:
    answer = world.get("/v1/whoami", world.mint())
    until(lambda: answer.headers["x-request-id"] in world.environment.log().read_text())

    with RUN.apart():
        take_what_it_shows(world)
        taken = {kind: RUN.written(kind, "the world") for kind in ("logs", "metrics", "arguments")}

    assert b"/v1/whoami" in taken["logs"]
    assert b"oidc_gateway_decisions_total" in taken["metrics"]
    assert b"gateway\0serve" in taken["arguments"]
