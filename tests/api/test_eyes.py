"""What can be seen from outside: one trace from the door to AWS, one way from CloudTrail to the person, no new series."""

import hashlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from gateway.cli.main import main
from tests.support.caller import until
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.otlp import Collector, attributes, running_collector
from tests.support.scripted_aws import ScriptedAws, refuses_token, running_scripted_aws

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A gateway that is traced, and the AWS that it asks."""

    gateway: Gateway
    aws: ScriptedAws
    collector: Collector


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    with running_collector() as collector, running_scripted_aws() as aws:
        config = write_config(folder / "config", aws=aws.url)
        environment = {"OIDC_GATEWAY_TRACING_OTLP": collector.url}
        with running_gateway(config, folder / "audit", environment=environment) as gateway:
            yield Traced(gateway=gateway, aws=aws, collector=collector)


def start(gateway: Gateway, token: str, *, key: str, trace: str = TRACE) -> str:
    """Start the example's workflow as part of this trace; return the request id."""
    answer = gateway.ask(
        "POST",
        "/v1/executions",
        token,
        body={"workflow": DEPLOY, "input": GOOD},
        headers={"Idempotency-Key": key, "traceparent": f"00-{trace}-{PARENT}-01"},
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["x-request-id"]


def log_line(gateway: Gateway, request_id: str) -> dict[str, object]:
    """Return the line of the access log about this request."""

    def look() -> dict[str, object] | None:
        for line in list(gateway.lines):
            if request_id in line and '"logger":"gateway.access"' in line:
                found: dict[str, object] = json.loads(line)
                return found
        return None

    return until(look)


@pytest.mark.requirement("SE-06")
def test_a_start_is_one_trace_from_the_door_to_aws_and_on_into_x_ray(traced: Traced) -> None:
    token = fresh()
    trace = "a" * 32

    request_id = start(traced.gateway, token, key="traced", trace=trace)

    spans = until(lambda: found if len(found := traced.collector.of(trace)) >= 7 else None)
    top = spans["POST /v1/executions"]
    assert set(spans) == {
        "POST /v1/executions", "identify", "decide", "audit intend", "credentials",
        "sts AssumeRoleWithWebIdentity", "states StartExecution",
    }  # fmt: skip
    assert top.parent_span_id.hex() == PARENT
    assert attributes(top) == {
        "http.request.method": "POST",
        "http.route": "/v1/executions",
        "http.response.status_code": 201,
        "oidc_gateway.request_id": request_id,
        "oidc_gateway.act": "start",
        "oidc_gateway.code": "allowed",
        "oidc_gateway.issuer": "github",
    }
    assert spans["sts AssumeRoleWithWebIdentity"].parent_span_id == spans["credentials"].span_id
    assert attributes(spans["decide"]) == {
        "oidc_gateway.target": "payments-prod",
        "oidc_gateway.workflow": DEPLOY,
    }
    sent = json.loads(traced.aws.peer.received[-1].body)
    assert re.fullmatch(
        rf"Root=1-{trace[:8]}-{trace[8:]};Parent=[0-9a-f]{{16}};Sampled=1", sent["traceHeader"]
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/whoami", 200),
        ("POST", "/v1/credentials", 400),
        ("POST", "/token", 400),
        ("GET", "/livez", 200),
    ],
)
@pytest.mark.parametrize("connection", ["", "Connection: close\r\n"], ids=["plain", "asking-for-more"])
def test_every_way_in_is_one_span_that_says_how_it_ended(
    traced: Traced, method: str, path: str, status: int, connection: str
) -> None:
    trace = hashlib.md5(f"{method} {path} {connection}".encode(), usedforsecurity=False).hexdigest()
    body = "{}" if method == "POST" else ""
    fields = f"Host: 127.0.0.1\r\nAuthorization: Bearer {fresh()}\r\n{connection}"
    fields += f"traceparent: 00-{trace}-{PARENT}-01\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"

    with socket.create_connection(
        ("127.0.0.1", httpx2.URL(traced.gateway.url).port or 0), timeout=20
    ) as peer:
        peer.sendall(f"{method} {path} HTTP/1.1\r\n{fields}\r\n{body}".encode())
        answered = peer.recv(65_536)

    top = until(lambda: traced.collector.of(trace).get(f"{method} {path}"))
    told = attributes(top)
    assert answered.startswith(f"HTTP/1.1 {status} ".encode())
    assert (told["http.route"], told["http.response.status_code"]) == (path, status)


@pytest.mark.requirement("SE-06")
def test_no_span_holds_a_token_a_claim_or_what_aws_said(traced: Traced) -> None:
    trace = "b" * 32
    traced.aws.sts = refuses_token("AccessDenied", status=403, text="not for repo:acme")
    token = fresh(actor="mallory-the-actor")

    traced.gateway.ask(
        "POST",
        "/v1/executions?x=1",
        token,
        body={"workflow": DEPLOY, "input": GOOD},
        headers={"traceparent": f"00-{trace}-{PARENT}-01"},
    )
    traced.gateway.ask(
        "POST",
        "/v1/executions",
        token,
        body={"workflow": DEPLOY, "input": GOOD},
        headers={"Idempotency-Key": "a-key-of-the-caller", "traceparent": f"00-{trace}-{PARENT}-01"},
    )
    traced.aws.begin()

    until(lambda: "sts AssumeRoleWithWebIdentity" in traced.collector.of(trace))
    told = b"".join(traced.collector.bodies)
    secrets = [
        *token.split("."),
        "mallory-the-actor",
        "acme/payments",
        "not for repo",
        "a-key-of-the-caller",
        "1.4.2",
        "Bearer",
    ]
    assert [secret for secret in secrets if secret.encode() in told] == []


@pytest.mark.parametrize("eyes", ["traced", "alone"])
@pytest.mark.requirement("AU-06")
def test_a_line_of_cloudtrail_leads_to_the_person_the_log_and_the_trace(
    eyes: str,
    traced: Traced,
    own_gateway: Gateway,
    scripted_aws: ScriptedAws,
    capsys: pytest.CaptureFixture[str],
) -> None:
    gateway, aws = (traced.gateway, traced.aws) if eyes == "traced" else (own_gateway, scripted_aws)
    trace = ("c" if eyes == "traced" else "d") * 32
    request_id = start(gateway, fresh(), key=f"walk-{eyes}", trace=trace)

    # CloudTrail shows the session's name, which STS was asked for.
    session = aws.sts_calls()[-1]["RoleSessionName"]
    assert (
        main(["audit", "find", "--audit", str(gateway.audit), "--session", session, "--format", "json"]) == 0
    )
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (record["request_id"], record["trace"], record["subject"]) == (
        request_id,
        trace,
        "repo:acme/payments:environment:prod",
    )
    line = log_line(gateway, request_id)
    assert (line["session"], line["trace"], line["issuer"], line["code"]) == (
        session,
        trace,
        "github",
        "allowed",
    )
    assert main(["explain", "--audit", str(gateway.audit), session]) == 0
    assert f"Trace {trace}" in capsys.readouterr().out
    assert main(["audit", "find", "--audit", str(gateway.audit), "--trace", trace]) == 0
    assert {text.split()[1] for text in capsys.readouterr().out.splitlines()} == {request_id}


@pytest.mark.requirement("SE-05")
def test_the_log_line_of_a_request_says_nothing_that_it_brought_but_its_trace_and_where_it_came_from(
    traced: Traced,
) -> None:
    trace = "e" * 32
    answer = traced.gateway.ask(
        "GET",
        "/v1/nowhere/a-path-of-the-caller?secret=in-a-query",
        "a.token.x",
        headers={"X-Mine": "a-header", "traceparent": f"00-{trace}-{PARENT}-01", "User-Agent": "an-agent"},
    )

    line = log_line(traced.gateway, answer.headers["x-request-id"])

    assert set(line) == {
        "time", "level", "logger", "message", "request_id", "trace", "method", "route", "status", "ms", "bytes", "code",
        "source",
    }  # fmt: skip
    assert (line["route"], line["trace"]) == ("unmatched", trace)


@pytest.mark.parametrize(
    "sent",
    ["", "00-xyz", f"00-{TRACE}-{PARENT}-01\t,00-{TRACE}-{PARENT}-01", "0" * 5_000],
    ids=["empty", "short", "two", "long"],
)
def test_a_malformed_traceparent_is_no_error_and_begins_a_trace(traced: Traced, sent: str) -> None:
    answer = traced.gateway.ask("GET", "/v1/whoami", fresh(), headers={"traceparent": sent})

    line = log_line(traced.gateway, answer.headers["x-request-id"])

    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", str(line["trace"]))
    assert line["trace"] != TRACE


def test_a_lost_collector_costs_no_answer(tmp_path: Path, scripted_aws: ScriptedAws) -> None:
    scripted_aws.begin()
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    environment = {"OIDC_GATEWAY_TRACING_OTLP": "http://127.0.0.1:9"}

    with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:
        start(gateway, fresh(), key="lost")
        until(lambda: "gateway.traces" in gateway.log())
        failed = gateway.metric('oidc_gateway_trace_spans_total{result="failed"}')

    assert failed > 0
    assert len([line for line in gateway.lines if "gateway.traces" in line]) == 1
    assert "opentelemetry" not in gateway.log()
