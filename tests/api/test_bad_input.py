"""The bad-input matrix: what the caller hears, what is recorded, and that the gateway serves on with nothing lost."""

import base64
import hashlib
import hmac
import json
import os
import resource
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.api.conftest import Scripted
from tests.support.caller import Caller, problem, until
from tests.support.gateways import Gateway, edit, fresh, replace, running_gateway, write_config
from tests.support.peer import Reply, answers, cuts_the_connection, stays_silent
from tests.support.scripted_aws import (
    ScriptedAws,
    by_operation,
    describes,
    in_turn,
    issues_credentials,
    refuses_operation,
    refuses_token,
    running_scripted_aws,
    starts,
)
from tests.support.serving import read_all
from tests.support.world import World

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}


def assert_serves(caller: Caller, good: str) -> None:
    assert caller.get("/v1/whoami", good).status_code == 200
    assert caller.get("/readyz").json()["status"] == "ready"


def assert_refused(caller: Caller, answer: httpx2.Response, status: int, code: str) -> dict[str, object]:
    """Hold the answer against what was expected and find its one record; return the problem document."""
    document = problem(answer)
    assert (answer.status_code, document["code"]) == (status, code)
    assert [(record.kind, record.code) for record in caller.records(answer)] == [("refused", code)]
    return document


def assert_not_echoed(answer: httpx2.Response, *texts: str) -> None:
    for text in texts:
        for part in text.split("."):
            assert len(part) < 12 or part not in answer.text


# --- The token ---


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, object], dict[str, object]]:
    header, payload, _ = token.split(".")
    return json.loads(base64.urlsafe_b64decode(header + "==")), json.loads(
        base64.urlsafe_b64decode(payload + "==")
    )


def key_of(world: World) -> rsa.RSAPrivateKey:
    return world.environment.issuers.by_name["github"].key


def resigned(world: World, claims: Mapping[str, object] | None = None, **header: object) -> str:
    """Return a token with these claims and header members that the issuer itself has signed."""
    head, payload = parts(world.mint())
    body = json.dumps({**payload, **(claims or {})}).encode()
    return jwt.PyJWS().encode(body, key_of(world), algorithm="RS256", headers={**head, **header})


def unsigned(world: World) -> str:
    head, payload = parts(world.mint())
    return f"{b64(json.dumps({**head, 'alg': 'none'}).encode())}.{b64(json.dumps(payload).encode())}."


def confused(world: World) -> str:
    """Sign with HMAC and the public key, which everybody has, as the secret (CVE-2015-9235)."""
    head, payload = parts(world.mint())
    public = key_of(world).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing_input = (
        f"{b64(json.dumps({**head, 'alg': 'HS256'}).encode())}.{b64(json.dumps(payload).encode())}"
    )
    return f"{signing_input}.{b64(hmac.digest(public, signing_input.encode(), hashlib.sha256))}"


def slashless(world: World) -> str:
    issuer = world.environment.issuers.issuer_url("partners")
    assert issuer.endswith("/")
    return world.mint("partners", {"iss": issuer.rstrip("/")})


BAD_TOKENS = [
    pytest.param(lambda _: "certainly not a token", "token_malformed", id="garbage"),
    pytest.param(lambda _: "gho_16C7e42F292c6912E7710c838347Ae178B4a", "token_opaque", id="opaque"),
    pytest.param(lambda _: "a." + "b" * 20_000 + ".c", "token_too_large", id="too large"),
    pytest.param(unsigned, "token_malformed", id="alg none"),
    pytest.param(confused, "token_alg_not_allowed", id="HS256 with the public key"),
    pytest.param(
        lambda world: world.mint(claims={"aud": "https://elsewhere.example"}),
        "token_audience_mismatch",
        id="wrong audience",
    ),
    pytest.param(slashless, "token_issuer_unknown", id="issuer without its slash"),
    pytest.param(lambda world: world.mint(expires_in_s=-300), "token_expired", id="expired"),
    pytest.param(
        lambda world: resigned(world, {"nbf": parts(world.mint())[1]["exp"]}),
        "token_not_yet_valid",
        id="not yet valid",
    ),
    pytest.param(lambda world: resigned(world, kid="another"), "token_key_unknown", id="key unknown"),
    pytest.param(
        lambda world: world.mint()[:-8] + "AAAAAAAA", "token_signature_invalid", id="signature changed"
    ),
    pytest.param(lambda world: world.mint(remove=("sub",)), "claim_missing", id="no subject"),
]


@pytest.mark.requirement("TV-12", "TV-22", "TV-29")
@pytest.mark.parametrize(("make", "code"), BAD_TOKENS)
def test_a_bad_token_is_refused_with_its_code_recorded_and_never_repeated(
    world: World, make: Callable[[World], str], code: str
) -> None:
    token = make(world)

    answer = world.ask("POST", "/v1/whoami", body={"token": token})

    document = assert_refused(world, answer, 401, code)
    assert document["stage"] == "token"
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert_not_echoed(answer, token)
    assert_serves(world, world.mint())


def test_a_request_without_a_token_is_asked_for_one(world: World) -> None:
    answer = world.start(None, DEPLOY, key="no-token", input=GOOD)

    assert (answer.status_code, problem(answer)["code"]) == (401, "token_missing")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.requirement("TV-01")
@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"body": True}, id="header and body"),
        pytest.param({"header": True}, id="two headers"),
    ],
)
def test_two_tokens_are_refused_even_when_they_are_equal(world: World, second: Mapping[str, bool]) -> None:
    token = world.mint()
    headers = [("Authorization", f"Bearer {token}")] * (2 if "header" in second else 1)
    body = {"token": token} if "body" in second else {}

    answer = world.client.post("/v1/whoami", headers=headers, json=body)

    assert (answer.status_code, problem(answer)["code"]) == (400, "request_ambiguous")
    assert_not_echoed(answer, token)


@pytest.mark.requirement("TV-02", "HT-01", "HT-03")
@pytest.mark.parametrize(
    ("place", "status", "code"),
    [
        pytest.param("header", 431, "headers_too_large", id="header"),
        pytest.param("body", 413, "body_too_large", id="body"),
    ],
)
def test_a_token_of_a_megabyte_is_refused_before_it_is_read(
    world: World, place: str, status: int, code: str
) -> None:
    token = "a" * 1_000_000

    if place == "header":
        answer = raw_request(
            world, f"GET /v1/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        )
    else:
        body = json.dumps({"token": token})
        answer = raw_request(
            world,
            "POST /v1/whoami HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}",
        )

    assert answer.startswith(f"HTTP/1.1 {status} ")
    assert f'"code":"{code}"' in answer
    assert_serves(world, world.mint())


def raw_request(caller: Caller, text: str) -> str:
    """Send bytes as they are and return everything that comes back."""
    port = int(caller.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        try:
            sock.sendall(text.encode())
            sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough; what it said is still to be read
        return read_all(sock).decode()


@pytest.mark.requirement("KS-23", "KS-24", "KS-25")
def test_an_issuer_that_is_down_is_unavailable_and_leaves_the_others_alone(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    config = write_config(tmp_path / "config", aws="http://127.0.0.1:9")
    down = f"jwks_uri: http://127.0.0.1:{unused_tcp_port}/keys"
    edit(config / "gateway.yaml", "preset: okta\n    jwks_file: keys.json", f"preset: okta\n    {down}")

    with running_gateway(config, tmp_path / "audit") as gateway:
        answer = gateway.get("/v1/whoami", fresh("okta"))

        document = assert_refused(gateway, answer, 503, "keys_unavailable")
        assert (document["stage"], document["retryable"]) == ("token", True)
        assert_serves(gateway, fresh())
        issuers = gateway.get("/readyz").json()["issuers"]
        assert [name for name, issuer in issuers.items() if not issuer["keys"]] == ["okta-agents"]


# --- The body ---


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"version=1.4.2", id="not JSON"),
        pytest.param(b'["deploy-payments"]', id="not an object"),
        pytest.param(b'{"workflow": "a", "workflow": "deploy-payments"}', id="duplicate member"),
        pytest.param(
            b'{"workflow": "deploy-payments", "work\\u0066low": "a"}', id="duplicate once unescaped"
        ),
        pytest.param(b'{"workflow": NaN}', id="NaN"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order mark"),
        pytest.param(b'{"workflow": "\xfc"}', id="Latin-1"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"workflow": "deploy-payments", "wat": 1}', id="unknown member"),
        pytest.param(b'{"workflow": 7}', id="wrong type"),
        pytest.param(b'{"workflow": "../x"}', id="no name"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_body_that_is_not_one_strict_object_is_malformed(world: World, body: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {world.mint()}",
        "Content-Type": "application/json",
        "Idempotency-Key": "malformed",
    }

    answer = world.client.post("/v1/executions", content=body, headers=headers)

    assert (answer.status_code, problem(answer)["code"]) == (400, "request_malformed")
    assert_serves(world, world.mint())


@pytest.mark.requirement("HT-03")
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_of_ten_megabytes_is_too_large(world: World, declared: bool) -> None:
    length = f"Content-Length: {160 * 65_536}" if declared else "Transfer-Encoding: chunked"
    head = f"POST /v1/executions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{length}\r\n\r\n"
    chunk = "x" * 65_536
    body = chunk * 160 if declared else f"10000\r\n{chunk}\r\n" * 160

    answer = raw_request(world, head + body)

    assert answer.startswith("HTTP/1.1 413 ")
    assert '"code":"body_too_large"' in answer
    assert_serves(world, world.mint())


@pytest.mark.requirement("HT-15")
def test_a_body_that_is_only_half_sent_starts_nothing_and_harms_nobody(scripted: Scripted) -> None:
    token = fresh()
    head = (
        f"POST /v1/executions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: half\r\n"
        'Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{"workflow": "deploy-payments", '
    )
    refused = "oidc_gateway_http_requests_in_flight"

    raw_request(scripted.gateway, head)

    until(lambda: scripted.gateway.metric(refused) <= 1)  # the look at the metric is one itself
    assert scripted.aws.peer.received == []
    assert_serves(scripted.gateway, fresh())


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        pytest.param("POST /token?jwt=x", "application/json", id="token in the URL"),
        pytest.param("POST /v1/executions", "text/plain", id="media type"),
        pytest.param("POST /nothing/here", "application/json", id="no such address"),
        pytest.param("PUT /token", "application/json", id="another method"),
    ],
)
def test_an_answer_that_does_not_wait_for_the_body_says_that_the_connection_ends(
    world: World, line: str, kind: str
) -> None:
    port = int(world.url.rsplit(":", 1)[1])

    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        head = f"{line} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 10\r\n\r\n"
        sock.sendall(head.encode())
        answer = read_all(sock).decode().lower()

    # Otherwise the client would send its next request into a connection that is closing.
    assert "\r\nconnection: close\r\n" in answer


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=latin-1", ""])
def test_a_body_of_another_media_type_is_not_guessed_at(world: World, kind: str) -> None:
    headers = {"Authorization": f"Bearer {world.mint()}", "Idempotency-Key": "kind", "Content-Type": kind}

    answer = world.client.post("/v1/executions", content=b"{}", headers=headers)

    assert (answer.status_code, problem(answer)["code"]) == (415, "unsupported_media_type")


# --- The rules ---


def test_an_unknown_workflow_looks_like_one_that_belongs_to_others(world: World) -> None:
    unknown = world.start(world.mint(), "no-such-workflow", key="unknown", input={})
    others = world.start(world.mint(), "triage-incident", key="unknown", input={})

    first = assert_refused(world, unknown, 404, "workflow_unknown")
    second = assert_refused(world, others, 404, "workflow_unknown")
    differing = {name for name in first if first[name] != second[name]}
    assert differing == {"request_id"}


def test_an_unknown_target_is_refused_by_that_code(world: World) -> None:
    token = world.mint()

    started = world.start(token, DEPLOY, key="target", input=GOOD, target="no-such-target")
    obtained = world.ask("POST", "/v1/credentials", token, body={"target": "no-such-target"})

    assert_refused(world, started, 404, "target_unknown")
    assert_refused(world, obtained, 404, "target_unknown")


@pytest.mark.requirement("TV-37")
@pytest.mark.parametrize(
    ("claims", "failed"),
    [
        pytest.param({"ref": "refs/heads/x"}, ("ref", "value", "refs/heads/x"), id="value"),
        pytest.param({"ref": "refs/heads/MAIN"}, ("ref", "value", "refs/heads/MAIN"), id="case"),
        pytest.param({"repository_id": 4711}, ("repository_id", "type", 4711), id="type"),
        pytest.param({"environment": None}, ("environment", "type", None), id="null"),
    ],
)
def test_when_no_rule_matches_the_failing_claim_is_named_and_nothing_expected(
    world: World, claims: Mapping[str, object], failed: tuple[str, str, object]
) -> None:
    answer = world.start(world.mint(claims=claims), DEPLOY, key="mismatch", input=GOOD)

    document = assert_refused(world, answer, 403, "claim_mismatch")
    name, kind, value = failed
    assert {"name": name, "problem": kind, "value": value} in document["claims"]  # type: ignore[operator]
    assert "payments.prod" not in answer.text
    assert "refs/heads/main" not in answer.text
    assert "prod-eu" not in answer.text


def test_a_missing_claim_is_called_missing(world: World) -> None:
    answer = world.start(world.mint(remove=("environment",)), DEPLOY, key="missing", input=GOOD)

    document = assert_refused(world, answer, 403, "claim_mismatch")
    assert document["claims"] == [{"name": "environment", "problem": "missing"}]


@pytest.mark.requirement("MP-08")
def test_what_an_issuer_requires_is_judged_alike_for_known_and_unknown_names(world: World) -> None:
    stranger = world.mint(claims={"repository_owner_id": "13"})

    known = world.start(stranger, DEPLOY, key="stranger", input=GOOD)
    unknown = world.start(stranger, "no-such-workflow", key="stranger", input=GOOD)

    first = assert_refused(world, known, 403, "claim_mismatch")
    second = assert_refused(world, unknown, 403, "claim_mismatch")
    assert first["claims"] == [{"name": "repository_owner_id", "problem": "value", "value": "13"}]
    differing = {name for name in first if first[name] != second[name]}
    assert differing == {"request_id", "detail"}
    assert str(first["detail"]).replace(DEPLOY, "no-such-workflow") == second["detail"]


@pytest.mark.requirement("MP-11")
def test_several_matching_targets_are_named_so_that_the_caller_can_choose(world: World) -> None:
    token = world.lab(environment="both")

    ambiguous = world.start(token, "lab-wait", key="both", input={})
    chosen = world.start(token, "lab-wait", key="both", input={}, target="lab-two")

    document = assert_refused(world, ambiguous, 409, "target_ambiguous")
    assert document["targets"] == ["lab-one", "lab-two"]
    assert (chosen.status_code, chosen.json()["target"]) == (201, "lab-two")


def test_a_rule_that_has_passed_its_last_day_says_so(world: World) -> None:
    answer = world.start(world.lab(), "lab-past", key="past", input={})

    document = assert_refused(world, answer, 403, "rule_expired")
    assert "2020" not in answer.text
    assert document["retryable"] is False


def test_a_team_that_grants_what_it_does_not_own_grants_nothing(world: World) -> None:
    answer = world.start(world.lab(), "migrate-ledger", key="greedy", input={})

    assert_refused(world, answer, 403, "claim_mismatch")
    assert world.metric("oidc_gateway_policy_inert_grants") == 1


# --- The workflow's input ---


@pytest.mark.requirement("SF-02")
@pytest.mark.parametrize(
    ("given", "fault"),
    [
        pytest.param({"version": "latest-secret"}, {"path": "/version", "problem": "pattern"}, id="pattern"),
        pytest.param({}, {"path": "/version", "problem": "required"}, id="required"),
        pytest.param(
            {"version": "1.4.2", "soak_s": True}, {"path": "/soak_s", "problem": "type"}, id="boolean"
        ),
        pytest.param(
            {"version": "1.4.2", "extra": 1},
            {"path": "/extra", "problem": "additionalProperties"},
            id="extra",
        ),
        pytest.param(
            {"version": "1.4.2", "_caller": {"subject": "root"}},
            {"path": "/_caller", "problem": "reserved"},
            id="reserved",
        ),
    ],
)
def test_input_that_breaks_the_schema_is_named_by_place_before_anything_is_asked_of_aws(
    scripted: Scripted, given: Mapping[str, object], fault: Mapping[str, str]
) -> None:
    answer = scripted.gateway.start(fresh(), DEPLOY, key="schema", input=given)

    document = assert_refused(scripted.gateway, answer, 422, "input_invalid")
    assert document["errors"] == [fault]
    assert "latest-secret" not in answer.text
    assert scripted.aws.peer.received == []


@pytest.mark.requirement("SF-06")
def test_a_key_that_is_used_again_with_other_input_is_a_conflict(world: World) -> None:
    token = world.lab()
    first = world.start(token, "lab-wait", key="conflict", input={"version": 1})

    answer = world.start(token, "lab-wait", key="conflict", input={"version": 2})

    document = problem(answer)
    assert (answer.status_code, document["code"]) == (409, "idempotency_conflict")
    assert document["url"] == first.json()["url"]
    assert [record.kind for record in world.records(answer)] == ["intent", "outcome"]


# --- AWS ---


def assert_failed(scripted: Scripted, answer: httpx2.Response, status: int, code: str) -> dict[str, object]:
    """Hold a failure behind the intent against what was expected; return the problem document."""
    document = problem(answer)
    assert (answer.status_code, document["code"]) == (status, code)
    records = until(lambda: two_of(scripted.gateway, answer))
    assert records == [("intent", None), ("outcome", code)]
    assert "arn:aws" not in answer.text
    assert not document["retryable"] or "retry-after" in answer.headers
    assert_serves(scripted.gateway, fresh())
    return document


def two_of(gateway: Gateway, answer: httpx2.Response) -> list[tuple[str, str | None]] | None:
    found: list[tuple[str, str | None]] = [(record.kind, record.code) for record in gateway.records(answer)]
    return found if len(found) > 1 else None


@pytest.mark.requirement("ST-03", "ST-04", "ST-08")
@pytest.mark.parametrize(
    ("reply", "status", "code", "calls"),
    [
        pytest.param(refuses_token("AccessDenied", status=403), 403, "aws_denied", 1, id="denies"),
        pytest.param(refuses_token("InvalidIdentityToken"), 403, "aws_token_rejected", 1, id="rejects"),
        pytest.param(refuses_token("ExpiredTokenException"), 401, "token_expired", 1, id="expired there"),
        pytest.param(refuses_token("Throttling"), 503, "aws_throttled", 3, id="throttles"),
        pytest.param(refuses_token("InternalFailure", status=500), 503, "aws_unavailable", 3, id="fails"),
        pytest.param(cuts_the_connection(), 503, "aws_unavailable", 3, id="hangs up"),
        pytest.param(answers("<html>welcome</html>"), 502, "aws_answer_mismatch", 1, id="nonsense"),
        pytest.param(answers(b"\x00" * 100_000), 503, "aws_unavailable", 1, id="too much nonsense"),
    ],
)
def test_whatever_sts_does_has_a_code_and_leaves_intent_and_outcome(
    scripted: Scripted, reply: Reply, status: int, code: str, calls: int
) -> None:
    scripted.aws.sts = reply

    answer = scripted.gateway.start(fresh(), DEPLOY, key="sts", input=GOOD)

    assert_failed(scripted, answer, status, code)
    assert len(scripted.aws.sts_calls()) == calls
    assert scripted.aws.states_calls() == []


@pytest.mark.requirement("ST-03", "HT-09")
def test_an_sts_that_never_answers_is_given_up_in_time(scripted: Scripted) -> None:
    scripted.aws.sts = stays_silent()

    answer = scripted.gateway.start(fresh(), DEPLOY, key="silent", input=GOOD)

    document = assert_failed(scripted, answer, 503, "aws_unavailable")
    assert document["retryable"] is True
    assert answer.headers["retry-after"] == str(document["retry_after_s"])
    assert answer.elapsed.total_seconds() < 15


@pytest.mark.requirement("SF-07")
@pytest.mark.parametrize(
    ("code", "status", "ours", "calls"),
    [
        pytest.param("AccessDeniedException", 403, "aws_denied", 1, id="denies"),
        pytest.param("ThrottlingException", 503, "workflow_throttled", 3, id="throttles"),
        pytest.param("ExecutionLimitExceeded", 503, "workflow_limit", 1, id="account full"),
        pytest.param("StateMachineDoesNotExist", 500, "mapping_invalid_for_aws", 1, id="no such machine"),
    ],
)
def test_whatever_step_functions_refuses_has_a_code_and_leaves_intent_and_outcome(
    scripted: Scripted, code: str, status: int, ours: str, calls: int
) -> None:
    scripted.aws.states = refuses_operation(code)

    answer = scripted.gateway.start(fresh(), DEPLOY, key=code, input=GOOD)

    document = assert_failed(scripted, answer, status, ours)
    assert document["upstream"] == {"service": "states", "code": code, "request_id": "aws-request-2"}
    assert scripted.aws.states_calls() == ["StartExecution"] * calls


@pytest.mark.requirement("SF-05")
@pytest.mark.parametrize(
    ("reply", "status", "code"),
    [
        pytest.param(cuts_the_connection(), 504, "start_unknown", id="hangs up"),
        pytest.param(refuses_operation("InternalFailure", status=500), 503, "aws_unavailable", id="fails"),
        pytest.param(answers("<html>welcome</html>"), 502, "aws_answer_mismatch", id="nonsense"),
        pytest.param(
            answers('{"executionArn": "arn:aws:states:x", "startDate": 1}'),
            502,
            "aws_answer_mismatch",
            id="another execution",
        ),
    ],
)
def test_a_start_that_may_have_happened_says_so_and_the_same_request_finds_out(
    scripted: Scripted, reply: Reply, status: int, code: str
) -> None:
    token = fresh()
    scripted.aws.states = reply

    answer = scripted.gateway.start(token, DEPLOY, key=code, input=GOOD)
    scripted.aws.states = starts()
    again = scripted.gateway.start(token, DEPLOY, key=code, input=GOOD)

    assert_failed(scripted, answer, status, code)
    assert status == 503 or "Send the same request with the same Idempotency-Key again." in answer.text
    assert again.status_code == 201


def test_an_execution_that_exists_already_is_found_and_answered_as_itself(scripted: Scripted) -> None:
    token = fresh()
    started = scripted.gateway.start(token, DEPLOY, key="exists", input=GOOD).json()
    caller = {"issuer": parts(token)[1]["iss"], "subject": parts(token)[1]["sub"]}
    scripted.aws.states = by_operation(
        StartExecution=refuses_operation("ExecutionAlreadyExists"),
        DescribeExecution=describes(input=json.dumps({"_caller": caller, **GOOD})),
    )

    answer = scripted.gateway.start(token, DEPLOY, key="exists", input=GOOD)

    assert (answer.status_code, answer.json()["arn"]) == (200, started["arn"])
    assert answer.json()["started_at"] == "2023-11-14T22:13:20.500Z"


@pytest.mark.requirement("ST-05")
def test_credentials_that_expired_on_the_way_are_renewed_once(scripted: Scripted) -> None:
    scripted.aws.states = in_turn(refuses_operation("ExpiredTokenException"), starts())

    answer = scripted.gateway.start(fresh(), DEPLOY, key="renewed", input=GOOD)

    assert answer.status_code == 201
    assert len(scripted.aws.sts_calls()) == 2
    assert scripted.aws.states_calls() == ["StartExecution"] * 2


def test_credentials_that_are_expired_again_and_again_are_not_renewed_for_ever(scripted: Scripted) -> None:
    scripted.aws.states = refuses_operation("ExpiredTokenException")

    answer = scripted.gateway.start(fresh(), DEPLOY, key="expired", input=GOOD)

    assert_failed(scripted, answer, 502, "aws_error")
    assert len(scripted.aws.sts_calls()) == 2


def test_after_a_fault_the_same_request_succeeds(scripted: Scripted) -> None:
    token = fresh()
    scripted.aws.sts = refuses_token("AccessDenied", status=403)
    refused = scripted.gateway.start(token, DEPLOY, key="again", input=GOOD)
    scripted.aws.sts = issues_credentials()

    answer = scripted.gateway.start(token, DEPLOY, key="again", input=GOOD)

    assert (refused.status_code, answer.status_code) == (403, 201)


# --- The disk ---


@pytest.mark.requirement("AU-01", "F-36")
def test_with_a_full_disk_nothing_is_granted_and_afterwards_everything_is_well(
    own_gateway: Gateway, scripted_aws: ScriptedAws
) -> None:
    full = sum(path.stat().st_size for path in own_gateway.audit.rglob("*") if path.is_file())
    limits = resource.prlimit(own_gateway.process.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))

    refused = own_gateway.start(fresh(), DEPLOY, key="full", input=GOOD)
    kept = own_gateway.exchange(fresh(), audience="payments-prod")
    denied = own_gateway.start(fresh(), "no-such-workflow", key="full", input=GOOD)
    asked = len(scripted_aws.peer.received)
    resource.prlimit(own_gateway.process.pid, resource.RLIMIT_FSIZE, limits)
    granted = until(lambda: started(own_gateway))

    document = problem(refused)
    assert (refused.status_code, document["code"], document["stage"]) == (503, "audit_unavailable", "audit")
    assert (kept.status_code, kept.json()["error"]) == (503, "temporarily_unavailable")
    assert denied.status_code == 404  # a refusal grants nothing and does not wait for the disk
    assert asked == 0
    assert [record.kind for record in own_gateway.records(granted)] == ["intent", "outcome"]


@pytest.fixture
def on_a_disk_of_its_own(tmp_path: Path, scripted_aws: ScriptedAws) -> Iterator[Gateway]:
    """A gateway whose records are on a file system that can become read-only."""
    scripted_aws.begin()
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip(
            "Mounting a tmpfs needs root; tests/unit/audit has EROFS from a scripted disk everywhere."
        )
    try:
        config = write_config(tmp_path / "config", aws=scripted_aws.url)
        with running_gateway(config, disk / "audit") as gateway:
            yield gateway
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.requirement("AU-01", "F-36")
def test_on_a_read_only_disk_nothing_is_granted_and_afterwards_everything_is_well(
    on_a_disk_of_its_own: Gateway, scripted_aws: ScriptedAws
) -> None:
    gateway = on_a_disk_of_its_own
    limits = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    # What is open for writing keeps a disk from becoming read-only: let the gateway give its file up first.
    gateway.start(fresh(), DEPLOY, key="given-up", input=GOOD)
    until(lambda: remounted(gateway, "ro"))
    resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, limits)
    scripted_aws.begin()

    refused = [gateway.start(fresh(), DEPLOY, key=f"read-only-{number}", input=GOOD) for number in range(3)]
    denied = gateway.start(fresh(), "no-such-workflow", key="read-only", input=GOOD)
    asked = len(scripted_aws.peer.received)
    assert remounted(gateway, "rw")
    granted = until(lambda: started(gateway))

    assert {problem(answer)["code"] for answer in refused} == {"audit_unavailable"}
    assert denied.status_code == 404
    assert asked == 0
    assert [record.kind for record in gateway.records(granted)] == ["intent", "outcome"]


def remounted(gateway: Gateway, mode: str) -> bool:
    disk = str(gateway.audit.parent)
    return not subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=False).returncode


def started(gateway: Gateway) -> httpx2.Response | None:
    answer = gateway.start(fresh(), DEPLOY, key="afterwards", input=GOOD)
    return answer if answer.status_code == 201 else None


# --- The files ---

PAYMENTS = "mappings/payments/deploy.yaml"


@pytest.fixture(scope="module")
def on_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, str]]:
    """A gateway whose files are there to be spoilt, and the URL of its AWS; see `good_files`."""
    folder = tmp_path_factory.mktemp("files")
    with running_scripted_aws() as aws:
        config = write_config(folder / "config", aws=aws.url)
        with running_gateway(config, folder / "audit") as gateway:
            yield gateway, aws.url


@pytest.fixture
def good_files(on_files: tuple[Gateway, str]) -> Gateway:
    """That gateway with all its files good again."""
    gateway, aws = on_files
    write_config(gateway.config, aws=aws)
    until(lambda: ready_as(gateway, "current"))
    gateway.lines.clear()
    return gateway


def half(path: Path) -> None:
    replace(path, path.read_bytes()[:400])


def latin_1(path: Path) -> None:
    replace(path, path.read_text().replace("why: PAY-123", "why: für PAY-123").encode("latin-1"))


def unreadable(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at-all.yaml")


@pytest.mark.requirement("MP-05", "MP-06")
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda path: replace(path, b""), id="emptied"),
        pytest.param(half, id="half written"),
        pytest.param(unreadable, id="unreadable"),
        pytest.param(latin_1, id="Latin-1"),
    ],
)
def test_a_spoilt_mapping_file_keeps_its_teams_last_good_rules_and_touches_no_other_team(
    good_files: Gateway, spoil: Callable[[Path], None]
) -> None:
    before = good_files.get("/readyz").json()

    spoil(good_files.config / PAYMENTS)
    edit(good_files.config / "mappings/ops/agents.yaml", "why: OPS-101", "why: OPS-102")

    stale = until(lambda: ready_as(good_files, "stale"))
    until(lambda: good_files.get("/readyz").json()["digest"] != before["digest"])
    assert stale["status"] == "ready"
    assert int(str(stale["findings"])) >= 1
    assert good_files.start(fresh(), DEPLOY, key="kept", input=GOOD).status_code == 201
    assert good_files.get("/v1/whoami", fresh("okta")).json()["may_start"]
    until(lambda: PAYMENTS in good_files.log())  # the log is written a moment after what it tells of


def ready_as(gateway: Gateway, state: str) -> dict[str, object] | None:
    document: dict[str, object] = gateway.get("/readyz").json()
    return document if document["policy"] == state else None


# --- Nothing leaks ---


def test_no_token_and_no_credential_ever_reaches_log_or_record(own_gateway: Gateway) -> None:
    good, bad = fresh(), fresh(aud="https://elsewhere.example")
    own_gateway.start(good, DEPLOY, key="quiet", input={"version": "9.8.7"})
    own_gateway.get("/v1/whoami", bad)
    handed_out = own_gateway.exchange(good, audience="payments-prod")
    own_gateway.ask("GET", f"/v1/whoami?token={good}")

    assert handed_out.status_code == 200
    until(lambda: own_gateway.log().count("/v1/whoami") >= 2)
    kept = own_gateway.log() + "".join(path.read_text() for path in own_gateway.audit.rglob("*.jsonl"))
    signatures = [token.rsplit(".", 1)[1] for token in (good, bad)]
    for secret in (*signatures, "an-issued-secret", "an-issued-session-token", "9.8.7"):
        assert secret not in kept
    assert os.environ.get("HOME", "/root") not in handed_out.text
