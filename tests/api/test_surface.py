"""What the service shows of HTTP and what it does not: names, paths, methods, types, protocols, and limits under load."""

import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from gateway.audit.reading import read_entries
from gateway.doors.problems import TABLE
from gateway.errors import ErrorCode
from gateway.together import IN_FULL
from tests.api.conftest import Scripted
from tests.api.test_events import runs_for_ever
from tests.api.test_meta import EXECUTION, ROUTES
from tests.support.caller import problem, until
from tests.support.gateways import Gateway, fresh, running_gateway, write_config
from tests.support.redis_server import RedisServer
from tests.support.scripted_aws import ScriptedAws, held_back, issues_credentials
from tests.support.serving import read_all, read_answer

DEPLOY = "deploy-payments"
GOOD = {"version": "1.4.2"}
SERVED = ROUTES[:14]
POSTS = [(method, path) for method, path in SERVED if method == "POST"]
GETS = [(method, path) for method, path in SERVED if method == "GET"]
PROBES = {"/livez", "/readyz", "/metrics"}


def each(routes: Sequence[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("method", "path"), routes, ids=[f"{method} {path}" for method, path in routes]
    )


def send(gateway: Gateway, request: str) -> bytes:
    """Send bytes as they are and return everything until the gateway closes."""
    with socket.create_connection(("127.0.0.1", port_of(gateway)), timeout=20) as sock:
        sock.sendall(request.encode("latin-1"))
        return read_all(sock)


def port_of(gateway: Gateway) -> int:
    return int(gateway.url.rsplit(":", 1)[1])


def code_of(answer: bytes) -> str:
    code = json.loads(answer.partition(b"\r\n\r\n")[2])["code"]
    assert isinstance(code, str)
    return code


# Names and paths.


@pytest.mark.requirement("HT-05")
@each([route for route in SERVED if route[1] not in PROBES] + [("GET", "/nothing")])
def test_another_name_is_misdirected_before_anything_else_is_said(
    scripted: Scripted, method: str, path: str
) -> None:
    answer = scripted.gateway.ask(method, path, headers={"Host": "evil.example"})

    document = answer.json()
    assert (answer.status_code, document["code"]) == (421, "host_not_allowed")
    assert "evil" not in answer.text


@pytest.mark.requirement("HT-05")
@pytest.mark.parametrize(
    "target",
    [
        "//v1/whoami",
        "/v1//whoami",
        "/./v1/whoami",
        "/v1/../v1/whoami",
        "/v1/%2e%2e/v1/whoami",
        "/%2e%2e/v1/whoami",
        "/v1/whoami/",
        "/v1/whoami/.",
        "/v1/whoami;x=1",
        "/V1/whoami",
        "/v1\\whoami",
        "/v1/whoami%00",
        "/v1/whoami%20",
        "/v1%2fwhoami",
        "/v1/who%61mi",
        "/%6detrics",
        "/%6civez",
        "/v1/%77hoami%0d%0aX:%20y",
        "/livez/../v1/whoami",
        "/livez%2f..%2fv1%2fwhoami",
        "/metrics;/v1/whoami",
        "/%6civez/x",
        "/@evil.example/v1/whoami",
    ],
)
def test_a_path_is_one_of_ours_byte_for_byte_or_nothing(scripted: Scripted, target: str) -> None:
    token = fresh()

    answer = send(
        scripted.gateway,
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 404"), answer
    assert code_of(answer) == "not_found"


@pytest.mark.requirement("HT-05", "HT-17")
@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://evil.example/v1/whoami HTTP/1.1",
        "GET http://localhost/livez HTTP/1.1",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
        "GET evil.example HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /livez HTTP/2.0",
        "GET /livez HTTP/0.9",
        "GET /livez",
        "GET /livez#x HTTP/1.1",
    ],
)
def test_only_http_1_and_only_paths_are_asked_for(scripted: Scripted, request_line: str) -> None:
    answer = send(scripted.gateway, f"{request_line}\r\nHost: localhost\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 400"), answer
    assert code_of(answer) == "request_malformed"


@pytest.mark.requirement("HT-17")
def test_http_2_with_prior_knowledge_is_refused_as_what_it_is(scripted: Scripted) -> None:
    answer = send(scripted.gateway, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")

    assert answer.startswith(b"HTTP/1.1 400")


@pytest.mark.requirement("HT-17")
@pytest.mark.parametrize("protocol", ["websocket", "h2c", "h2c, websocket", "TLS/1.3"])
def test_no_other_protocol_is_switched_to(scripted: Scripted, protocol: str) -> None:
    answer = send(
        scripted.gateway,
        f"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: {protocol}\r\n"
        "HTTP2-Settings: AAMAAABkAAQAAP__\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n",
    )

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"upgrade" not in answer.lower().partition(b"\r\n\r\n")[0]


@pytest.mark.requirement("HT-17")
@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/docs",
        "/redoc",
        "/swagger",
        "/static/a.js",
        "/favicon.ico",
        "/index.html",
        "/console",
        "/admin",
        "/ws",
    ],
)
def test_there_are_no_pages_and_no_files(scripted: Scripted, path: str) -> None:
    answer = scripted.gateway.ask("GET", path, headers={"Range": "bytes=0-,0-,0-", "Accept": "text/html"})

    assert (answer.status_code, problem(answer)["code"]) == (404, "not_found")


# Methods, types, members.


@pytest.mark.requirement("HT-07")
@each(
    sorted(
        {(method, path) for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE") for _, path in SERVED}
    )
)
def test_another_method_is_told_which_there_are(scripted: Scripted, method: str, path: str) -> None:
    answer = scripted.gateway.ask(method, path)

    named = {one.strip() for one in answer.headers["allow"].split(",")}
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert named - {"HEAD"} == {one for one, other in SERVED if other == path}


@pytest.mark.requirement("HT-07")
def test_the_events_are_not_followed_for_a_head(scripted: Scripted) -> None:
    answer = scripted.gateway.ask("HEAD", f"{EXECUTION}/events", fresh())

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


@pytest.mark.requirement("HT-07")
@each(POSTS)
@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Type", "text/plain")],
        [("Content-Type", "multipart/form-data; boundary=x")],
        [("Content-Type", "application/xml")],
        [("Content-Type", "application/json; charset=utf-16")],
        [("Content-Type", "application/json; charset=iso-8859-1")],
        [("Content-Type", "application/json; profile=x")],
        [("Content-Type", "application/jsonp")],
        [("Content-Type", "application/json, text/plain")],
        [("Content-Type", "application/json"), ("Content-Type", "text/plain")],
        [("Content-Type", "application/json"), ("Content-Encoding", "gzip")],
        [],
    ],
    ids=lambda headers: "; ".join(value for _, value in headers) or "none",
)
def test_a_body_of_another_kind_is_not_guessed_at(
    scripted: Scripted, method: str, path: str, headers: list[tuple[str, str]]
) -> None:
    token = fresh()

    answer = scripted.gateway.client.request(
        method, path, content=b"{}", headers=[("Authorization", f"Bearer {token}"), *headers]
    )

    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.requirement("HT-07")
@each([(method, path) for method, path in SERVED if path not in PROBES])
@pytest.mark.parametrize("query", ["x=1", "verbose", "a=1&a=2", "%00=1", "target=a&target=b", "=1"])
def test_a_query_parameter_that_nobody_knows_is_refused(
    scripted: Scripted, method: str, path: str, query: str
) -> None:
    body: dict[str, object] | None = {} if method == "POST" else None

    answer = scripted.gateway.ask(method, f"{path}?{query}", fresh(), body=body)

    assert (answer.status_code, answer.json()["code"]) == (400, "request_malformed")


@pytest.mark.requirement("HT-07")
@each([(method, path) for method, path in GETS if path not in PROBES])
def test_a_body_where_none_belongs_is_refused(scripted: Scripted, method: str, path: str) -> None:
    answer = scripted.gateway.ask(method, path, fresh(), body={"token": "x"})

    assert (answer.status_code, answer.json()["code"]) == (400, "request_malformed")


@pytest.mark.requirement("HT-07")
@each([route for route in POSTS if route[1] != "/token"])
@pytest.mark.parametrize(
    "body",
    [
        {"x": 1},
        {"workflow": DEPLOY, "target": "payments-prod", "Token": "x"},
        {"": 1},
        {"input": {}, "inputs": {}},
    ],
    ids=str,
)
def test_a_member_that_nobody_knows_is_refused(
    scripted: Scripted, method: str, path: str, body: dict[str, object]
) -> None:
    answer = scripted.gateway.ask(
        method, path, fresh(), body=body, headers={"Idempotency-Key": uuid.uuid4().hex}
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "request_malformed")
    assert scripted.aws.sts_calls() == []


@pytest.mark.requirement("HT-07")
@pytest.mark.parametrize(
    "field", ["grant_type", "subject_token", "subject_token_type", "requested_token_type", "scope"]
)
def test_a_form_field_twice_is_refused(scripted: Scripted, field: str) -> None:
    form = f"{field}=a&{field}=b"

    answer = scripted.gateway.client.post(
        "/token", content=form, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )

    assert (answer.status_code, answer.json()["code"]) == (400, "request_ambiguous")


@pytest.mark.requirement("HT-07")
def test_an_unknown_form_field_is_ignored_as_oauth_wants_it(scripted: Scripted) -> None:
    answer = scripted.gateway.exchange(fresh(), audience="payments-prod", client_info="1")

    assert answer.status_code == 200


@pytest.mark.requirement("HT-07")
def test_who_has_sent_the_token_in_the_header_needs_no_body_to_ask_who_it_is(scripted: Scripted) -> None:
    token = fresh()

    posted = scripted.gateway.ask("POST", "/v1/whoami", token)

    assert posted.status_code == 200
    assert posted.json()["subject"] == scripted.gateway.get("/v1/whoami", token).json()["subject"]


# Limits of a running service.


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, scripted_aws: ScriptedAws) -> Iterator[Gateway]:
    """A gateway with small limits, whose callers all come through a proxy on loopback."""
    folder: Path = tmp_path_factory.mktemp("tight")
    environment = {
        "OIDC_GATEWAY_TRUSTED_PROXIES": "127.0.0.0/8",
        "OIDC_GATEWAY_LIMITS_ADDRESS": "30/1h",
        "OIDC_GATEWAY_LIMITS_SUBJECT": "20/1h",
        "OIDC_GATEWAY_LIMITS_WAITING": "1",
        "OIDC_GATEWAY_MAX_CONCURRENCY": "8",
        "OIDC_GATEWAY_MAX_CONNECTIONS": "150",
    }
    config = write_config(folder / "config", aws=scripted_aws.url)
    with running_gateway(config, folder / "audit", environment=environment) as gateway:
        yield gateway


def address() -> str:
    """Return an address that no other test uses."""
    number = uuid.uuid4().int
    return f"2001:db8:{number & 0xFFFF:x}:{(number >> 16) & 0xFFFF:x}::1"


def from_(source: str) -> dict[str, str]:
    return {"X-Forwarded-For": source}


def someone() -> str:
    """Return a token of an identity that no other test has."""
    return fresh(sub=f"repo:acme/payments:environment:{uuid.uuid4().hex}")


@pytest.mark.requirement("HT-10", "F-27")
def test_a_noisy_address_is_refused_alone_and_leaves_no_record(tight: Gateway) -> None:
    noisy, quiet = address(), address()

    answers = [tight.ask("GET", "/v1/whoami", "not.a.token", headers=from_(noisy)) for _ in range(100)]
    other = tight.ask("GET", "/v1/whoami", someone(), headers=from_(quiet))

    assert [answer.status_code for answer in answers] == [401] * 30 + [429] * 70
    assert problem(answers[-1])["code"] == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) > 60
    assert other.status_code == 200
    assert tight.metric('oidc_gateway_rate_limited_total{limit="address"}') >= 70
    last = tight.ask("GET", "/v1/whoami", "not.a.token", headers=from_(quiet))
    tight.records(last)
    assert sum(entry.record.source == noisy for entry in read_entries(tight.audit)) == IN_FULL
    # The ten that follow share a record; the first that is limited has a line, too. Lines come in their order.
    until(lambda: last.headers["x-request-id"] in tight.log())
    assert sum(f'"source":"{noisy}"' in line for line in tight.lines) == IN_FULL + 1


@pytest.mark.requirement("HT-10", "F-27")
def test_who_sends_no_http_uses_up_the_limit_of_the_address_and_is_named_in_the_log(
    tmp_path: Path, scripted_aws: ScriptedAws
) -> None:
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    environment = {"OIDC_GATEWAY_LIMITS_ADDRESS": "30/1h"}
    with running_gateway(config, tmp_path / "audit", environment=environment) as gateway:
        answers = []
        for _ in range(40):
            with socket.create_connection(("127.0.0.1", port_of(gateway)), timeout=20) as sock:
                sock.sendall(b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n")
                answers.append(read_answer(sock)[0])
        then = gateway.get("/v1/whoami", someone())
        gateway.process.terminate()
        gateway.ended()

    assert answers == [400] * 40
    assert then.status_code == 429
    said = [json.loads(line) for line in gateway.lines if '"request_malformed"' in line]
    assert {line["source"] for line in said} == {"127.0.0.1"}
    assert [line.get("repeated") for line in said] == [None] * IN_FULL + [20]


@pytest.mark.requirement("HT-10", "F-27")
def test_a_noisy_identity_is_refused_alone_wherever_it_calls_from_and_recorded_once(tight: Gateway) -> None:
    token = someone()

    answers = [tight.ask("GET", "/v1/whoami", token, headers=from_(address())) for _ in range(40)]
    other = tight.ask("GET", "/v1/whoami", someone(), headers=from_(address()))

    assert [answer.status_code for answer in answers] == [200] * 20 + [429] * 20
    assert other.status_code == 200
    assert '"subject";r=0;t=' in answers[-1].headers["ratelimit"]
    (record,) = tight.records(answers[20])
    assert (record.code, record.kind) == ("rate_limited", "refused")
    known = {entry.record.request_id for entry in read_entries(tight.audit)}
    assert known.isdisjoint(answer.headers["x-request-id"] for answer in answers[21:])


@pytest.mark.requirement("HT-06", "AU-01")
def test_the_record_names_the_caller_and_not_the_proxy(tight: Gateway) -> None:
    source = address()

    answer = tight.ask("GET", "/v1/whoami", "not.a.token", headers=from_(f"1.1.1.1, {source}"))

    (record,) = tight.records(answer)
    assert record.source == source


#: A promise of the product.
RECOVERED_S = 2.0


@pytest.mark.requirement("HT-08", "F-26")
def test_ten_times_too_many_are_refused_at_once_and_afterwards_all_is_well(
    tight: Gateway, scripted_aws: ScriptedAws
) -> None:
    scripted_aws.begin()
    arrived, go_on = threading.Semaphore(0), threading.Event()
    scripted_aws.sts = held_back(issues_credentials(), arrived, go_on)
    token, source = fresh(), address()

    def start(number: int) -> httpx2.Response:
        body = {"workflow": DEPLOY, "input": GOOD}
        headers = {"Idempotency-Key": f"over-{number}", **from_(address())}
        return tight.ask("POST", "/v1/executions", token, body=body, headers=headers)

    with ThreadPoolExecutor(80) as pool:
        held = [pool.submit(start, number) for number in range(8)]
        until(lambda: tight.metric("oidc_gateway_http_requests_in_flight") > 8)
        # Nothing can be let go before `go_on`: whoever is answered now was refused, at once.
        refused = [one.result(30) for one in [pool.submit(start, 100 + number) for number in range(72)]]
        health = [tight.get(path).status_code for path in ("/livez", "/readyz", "/metrics")]
        go_on.set()
        over_at = time.monotonic()
        until(lambda: tight.ask("GET", "/v1/whoami", someone(), headers=from_(source)).status_code == 200)
        recovered_s = time.monotonic() - over_at
        served = [one.result(30) for one in held]

    assert {answer.status_code for answer in served} == {201}
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(503, "overloaded")}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert health == [200, 200, 200]
    assert recovered_s <= RECOVERED_S
    until(lambda: tight.metric("oidc_gateway_http_requests_in_flight") == 1)


@pytest.mark.requirement("HT-08")
def test_beyond_the_connections_there_may_be_health_is_still_answered_and_nothing_is_left(
    tight: Gateway,
) -> None:
    until(lambda: tight.metric("oidc_gateway_http_connections") <= 2)
    ask = "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n"

    socks = [socket.create_connection(("127.0.0.1", port_of(tight)), timeout=20) for _ in range(160)]
    try:
        socks[-1].sendall(ask.format("/v1/whoami").encode())
        crowded = read_answer(socks[-1])
        socks[-2].sendall(ask.format("/readyz").encode())
        health = read_answer(socks[-2])
        socks[0].sendall(ask.format("/v1/whoami").encode())
        earlier = read_answer(socks[0])
    finally:
        for sock in socks:
            sock.close()

    assert (crowded[0], json.loads(crowded[1])["code"]) == (503, "overloaded")
    assert health[0] == 200
    assert earlier[0] == 401
    until(lambda: tight.metric("oidc_gateway_http_connections") <= 2)


@pytest.mark.requirement("HT-08")
def test_a_client_that_connects_again_and_again_leaves_no_descriptor(tight: Gateway) -> None:
    descriptors = Path(f"/proc/{tight.process.pid}/fd")
    until(lambda: tight.metric("oidc_gateway_http_connections") <= 2)
    before = len(list(descriptors.iterdir()))

    for number in range(10_000):
        with socket.create_connection(("127.0.0.1", port_of(tight)), timeout=20) as sock:
            if number % 10 == 0:
                sock.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert read_answer(sock)[0] == 200

    until(lambda: tight.metric("oidc_gateway_http_connections") <= 2)
    assert len(list(descriptors.iterdir())) <= before + 2


@pytest.mark.requirement("HT-08", "F-27")
def test_one_identity_waits_in_so_many_places_at_once(tight: Gateway, scripted_aws: ScriptedAws) -> None:
    scripted_aws.begin()
    runs_for_ever(scripted_aws)
    token = someone()
    start = {"workflow": DEPLOY, "input": GOOD}
    headers = {"Idempotency-Key": uuid.uuid4().hex, **from_(address())}
    url = tight.ask("POST", "/v1/executions", token, body=start, headers=headers).json()["url"]

    authorised = {"Authorization": f"Bearer {token}", **from_(address())}
    with tight.client.stream("GET", f"{url}/events", headers=authorised) as held:
        refused = tight.ask("GET", f"{url}?wait_s=5", token, headers=from_(address()))
        looked = tight.ask("GET", url, token, headers=from_(address()))

    assert held.status_code == 200
    assert (refused.status_code, problem(refused)["code"], refused.headers["retry-after"]) == (
        429,
        "rate_limited",
        "1",
    )
    assert looked.status_code == 200

    def again() -> bool:
        answer = tight.ask("GET", f"{url}?wait_s=1", token, headers=from_(address()))
        return answer.status_code == 200

    until(again)


@pytest.mark.requirement("HT-10")
def test_two_gateways_that_share_state_share_a_limit(
    redis: RedisServer, scripted_aws: ScriptedAws, tmp_path: Path
) -> None:
    environment = {
        "OIDC_GATEWAY_STATE_URL": redis.url,
        "OIDC_GATEWAY_STATE_PREFIX": f"{uuid.uuid4()}:",
        "OIDC_GATEWAY_LIMITS_SUBJECT": "100/1h",
    }
    config = write_config(tmp_path / "config", aws=scripted_aws.url)
    token, other = someone(), someone()

    def asked(gateway: Gateway, token: str) -> int:
        return gateway.get("/v1/whoami", token).status_code

    with (
        running_gateway(config, tmp_path / "one", environment=environment) as one,
        running_gateway(config, tmp_path / "two", environment=environment) as two,
    ):
        used = [asked(one, token) for _ in range(95)]
        # Six tell the others that this identity is here, and are told what it has used elsewhere.
        until(lambda: asked(two, token) == 429)
        quiet = [asked(one, other), asked(two, other)]
        sent_on = int(
            two.metric('oidc_gateway_http_requests_total{method="GET",route="/v1/whoami",status="200"}')
        )

    assert set(used) == {200}
    assert quiet == [200, 200]
    # Without sharing it would have been let through a hundred times more.
    assert sent_on < 100


# Health and metrics.


@pytest.mark.requirement("HT-13")
def test_no_path_method_host_or_token_of_a_caller_becomes_a_series(scripted: Scripted) -> None:
    gateway = scripted.gateway

    def series() -> set[str]:
        text = gateway.get("/metrics").text
        return {re.sub(r" \S+$", "", line) for line in text.splitlines() if not line.startswith("#")}

    def strangers(number: int) -> None:
        gateway.ask("GET", f"/{number}")
        gateway.ask("GET", f"/v1/executions/{number}/{number}", fresh(iss=f"https://{number}.example"))
        gateway.ask("GET", "/v1/whoami", headers={"Host": f"{number}.example", "User-Agent": str(number)})

    strangers(0)
    series()
    before = series()
    for number in range(1, 300):
        strangers(number)

    assert series() == before


@pytest.mark.requirement("HT-13")
def test_what_a_caller_reads_of_its_limits_are_codes_that_are_written_down() -> None:
    assert TABLE[ErrorCode.RATE_LIMITED].retryable
    assert TABLE[ErrorCode.HOST_NOT_ALLOWED].status == 421
