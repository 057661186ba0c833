"""Callers that are slow, endless, ambiguous, absent or strange: they are refused, and all others are served."""

import json
import math
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import quote

import httpx2
import pytest

from gateway.audit.reading import read_entries
from gateway.audit.record import Record
from tests.faults.conftest import DEPLOY, GOOD, Faulty
from tests.support.caller import until
from tests.support.gateways import fresh
from tests.support.hang import no_hang
from tests.support.naughty import NAUGHTY
from tests.support.peer import stays_silent
from tests.support.scripted_aws import held_back, issues_credentials, starts
from tests.support.serving import read_all
from tests.support.tokens import b64

HOST = "Host: localhost\r\n"
JSON = "Content-Type: application/json\r\n"


def connect(faulty: Faulty) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(faulty.gateway.url.rsplit(":", 1)[1])), timeout=30)


def said_to(faulty: Faulty, *pieces: bytes) -> tuple[int, bytes]:
    """Send the pieces until the gateway has heard enough; return its answer and before it the status, 0 without one."""
    with connect(faulty) as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = read_all(sock)
    return int(answer.split(b" ", 2)[1]) if answer else 0, answer


def assert_served(faulty: Faulty, times: int = 10) -> None:
    assert {faulty.whoami(fresh()).status_code for _ in range(times)} == {200}


# --- Slow ---


#: What 99 of a hundred others wait at most. They come at a pace of their own, whether the one before has its answer or not:
#: whoever waits for answers asks the less, the longer nobody is served. All of it is over while every slow caller hangs, which
#: those with half a body do for three seconds.
MOST_S = 0.2
OTHERS, PACE_S = 100, 0.02


def waits_s(faulty: Faulty) -> list[float]:
    """Return how long each of the others waited, from connecting to the whole answer."""
    tokens, began = [fresh() for _ in range(OTHERS)], time.perf_counter()

    def wait_s(number: int) -> float:
        time.sleep(max(0.0, began + number * PACE_S - time.perf_counter()))
        asked = time.perf_counter()
        assert faulty.whoami(tokens[number]).status_code == 200
        return time.perf_counter() - asked

    with ThreadPoolExecutor(OTHERS) as pool:
        return list(pool.map(wait_s, range(OTHERS)))


def p99(waits: list[float]) -> float:
    return sorted(waits)[math.ceil(0.99 * len(waits)) - 1]


@pytest.mark.requirement("F-21")
def test_five_hundred_callers_that_drip_are_closed_after_ten_seconds_and_nobody_waits_for_them(
    faulty: Faulty,
) -> None:
    body = f"POST /v1/executions HTTP/1.1\r\n{HOST}{JSON}Content-Length: 5000\r\n\r\n{{".encode()
    alone = p99(waits_s(faulty))
    with ExitStack() as stack, no_hang():
        slow = [stack.enter_context(connect(faulty)) for _ in range(500)]
        began = time.monotonic()
        for number, sock in enumerate(slow):
            sock.sendall(b"GET / HTTP/1.1\r\nX-A: b" if number % 2 else body)
        meanwhile = p99(waits_s(faulty))
        open_still = faulty.gateway.metric("oidc_gateway_http_connections")
        faulty.gateway.start(fresh(), DEPLOY, key=uuid.uuid4().hex, input=GOOD).raise_for_status()
        for sock in slow:
            sock.sendall(b"x")  # dripping does not prolong it
        answers = [read_all(sock) for sock in slow]
        lasted = time.monotonic() - began

    assert open_still >= 500, "they were served while these hung"
    # A promise to callers, and so a time; a machine too busy to keep it even without the slow ones is held to what it did then.
    assert meanwhile < max(MOST_S, 2 * alone)
    assert {answer.split(b" ", 2)[1] for answer in answers} == {b"408"}
    assert lasted < 25


# --- Endless ---


@pytest.mark.requirement("F-22")
def test_a_header_without_an_end_is_cut_at_once(faulty: Faulty) -> None:
    piece = b"a" * 65_536

    with no_hang():
        status, _ = said_to(faulty, f"GET / HTTP/1.1\r\n{HOST}X: ".encode(), *[piece] * 768)

    # What is read on for a second, so that the answer arrives, is dropped: memory is held against the base line.
    assert status in {0, 431}, "a reset may overtake the answer"
    assert_served(faulty)


def test_the_answer_to_a_header_too_long_says_so(faulty: Faulty) -> None:
    status, answer = said_to(faulty, f"GET / HTTP/1.1\r\n{HOST}X: ".encode() + b"a" * 33_000)

    assert status == 431
    assert b"headers_too_large" in answer


AMBIGUOUS = {
    "20,000 headers": f"GET /livez HTTP/1.1\r\n{HOST}" + "a:b\r\n" * 20_000 + "\r\n",
    "two Host": f"GET /livez HTTP/1.1\r\n{HOST}{HOST}\r\n",
    "length and chunks": f"POST /token HTTP/1.1\r\n{HOST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": f"POST /token HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "bare line feeds": "GET /livez HTTP/1.1\nHost: localhost\n\n",
    "folded": f"GET /livez HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n",
    "blank before the colon": "GET /livez HTTP/1.1\r\nHost : localhost\r\n\r\n",
}
SMUGGLED = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.requirement("F-23")
@pytest.mark.parametrize("request_text", [pytest.param(text, id=name) for name, text in AMBIGUOUS.items()])
def test_a_request_that_can_be_read_in_two_ways_is_refused_and_nothing_after_it_is_read(
    faulty: Faulty, request_text: str
) -> None:
    status, answer = said_to(faulty, (request_text + SMUGGLED).encode())

    assert status in {0, 400, 431} if len(request_text) > 60_000 else status in {400, 401}
    assert len(re.findall(rb"HTTP/1\.1 [0-9]", answer)) <= 1
    assert_served(faulty, 3)


@pytest.mark.requirement("F-23")
def test_two_tokens_in_two_fields_are_refused_even_when_they_are_equal(faulty: Faulty) -> None:
    field = f"Authorization: Bearer {fresh()}\r\n"

    status, answer = said_to(
        faulty, f"GET /v1/whoami HTTP/1.1\r\n{HOST}Connection: close\r\n{field * 2}\r\n".encode()
    )

    assert status == 400
    assert b"request_ambiguous" in answer


GIB = 2**30
BODIES = {
    "1 GiB declared": (f"Content-Length: {GIB}\r\n\r\n", [], {413}),
    "1 GiB in chunks": (
        "Transfer-Encoding: chunked\r\n\r\n",
        ["10000\r\n" + "x" * 65_536 + "\r\n"] * 16_384,
        {413},
    ),
    "deep": ("Content-Length: 100000\r\n\r\n", ["[" * 100_000], {400}),
    "a number of 10,000 digits": (
        f"Content-Length: {10_000 + 12}\r\n\r\n",
        ['{"workflow":' + "9" * 10_000],
        {400},
    ),
    "half, then an end": ('Content-Length: 500\r\n\r\n{"workflow": "', [], {0, 400, 408}),
}


@pytest.mark.requirement("F-24")
@pytest.mark.parametrize(
    ("fields", "pieces", "expected"), [pytest.param(*body, id=name) for name, body in BODIES.items()]
)
def test_a_body_that_is_too_much_or_too_little_is_refused_in_bounded_time_and_memory(
    faulty: Faulty, fields: str, pieces: list[str], expected: set[int]
) -> None:
    head = f"POST /v1/executions HTTP/1.1\r\n{HOST}{JSON}Authorization: Bearer {fresh()}\r\nIdempotency-Key: x\r\n{fields}"

    with no_hang():
        status, answer = said_to(faulty, head.encode(), *(piece.encode() for piece in pieces))

    # A gateway that has heard enough may close before the last byte was taken.
    assert status in expected | ({0} if len(pieces) > 1 else set()), answer
    assert faulty.aws.peer.received == []
    assert_served(faulty, 3)


@pytest.mark.requirement("F-24")
def test_half_a_body_and_then_silence_is_given_up(faulty: Faulty) -> None:
    head = f"POST /v1/executions HTTP/1.1\r\n{HOST}{JSON}Content-Length: 500\r\n\r\n{{"

    with no_hang():
        status, answer = said_to(faulty, head.encode())

    assert status == 408
    assert b"request_timeout" in answer


# --- Gone ---


def records_of(faulty: Faulty, agent: str) -> list[Record]:
    return [entry.record for entry in read_entries(faulty.gateway.audit) if entry.record.user_agent == agent]


def leave_behind(faulty: Faulty, agent: str, token: str, *, cut: int | None = None) -> socket.socket:
    body = json.dumps({"workflow": DEPLOY, "input": GOOD})
    text = (
        f"POST /v1/executions HTTP/1.1\r\n{HOST}{JSON}Authorization: Bearer {token}\r\nUser-Agent: {agent}\r\n"
        f"Idempotency-Key: {agent}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    sock = connect(faulty)
    sock.sendall(text.encode()[:cut])
    return sock


@pytest.mark.requirement("F-25")
@pytest.mark.parametrize("cut", [30, -20], ids=["in the header", "in the body"])
def test_a_caller_who_leaves_before_the_request_is_whole_has_done_nothing(faulty: Faulty, cut: int) -> None:
    agent = uuid.uuid4().hex

    leave_behind(faulty, agent, fresh(), cut=cut).close()
    assert_served(faulty)

    assert faulty.aws.peer.received == []
    assert records_of(faulty, agent) == []


@pytest.mark.requirement("F-25", "F-62", "HT-15")
def test_a_caller_who_leaves_while_keys_are_fetched_has_done_nothing_and_the_fetch_serves_the_next(
    faulty: Faulty,
) -> None:
    name, agent = faulty.provider(), uuid.uuid4().hex
    faulty.idps.script(name, keys=stays_silent())
    faulty.steering.age(61)
    asked, ended = faulty.idps.asked(name), faulty.attempts(name)

    sock = leave_behind(faulty, agent, faulty.token(name, which="next"))
    until(lambda: faulty.idps.asked(name) > asked)
    sock.close()
    faulty.idps.script(name)

    assert faulty.all_answer(faulty.token(name), 200)
    # Whoever still waited for that fetch would have gone on by now, and be recorded before whoever comes later.
    until(lambda: faulty.attempts(name) > ended)
    later = uuid.uuid4().hex
    with leave_behind(faulty, later, fresh(environment="nowhere")) as sock:
        assert sock.recv(65_536).startswith(b"HTTP/1.1 403 ")
    until(lambda: records_of(faulty, later))
    assert records_of(faulty, agent) == []
    assert faulty.aws.peer.received == []


@pytest.mark.requirement("F-25", "F-62")
@pytest.mark.parametrize("stage", ["sts", "states"])
def test_a_caller_who_leaves_after_the_intent_has_the_effect_finished_and_recorded_for_itself_alone(
    faulty: Faulty, stage: str
) -> None:
    agent, arrived, go_on = uuid.uuid4().hex, threading.Semaphore(0), threading.Event()
    setattr(
        faulty.aws,
        stage,
        held_back({"sts": issues_credentials(), "states": starts()}[stage], arrived, go_on),
    )

    sock = leave_behind(faulty, agent, fresh())
    assert arrived.acquire(timeout=20)
    sock.close()
    setattr(faulty.aws, stage, {"sts": issues_credentials(), "states": starts()}[stage])
    another = faulty.gateway.start(fresh(), DEPLOY, key=uuid.uuid4().hex, input=GOOD)
    go_on.set()

    until(lambda: len(records_of(faulty, agent)) == 2)
    intent, outcome = records_of(faulty, agent)
    assert (intent.kind, outcome.kind, outcome.code) == ("intent", "outcome", None)
    assert str(outcome.execution).endswith(f":{intent.execution}")
    assert another.json()["arn"] != outcome.execution, "the result went to nobody else"


# --- Strange ---


def placed(faulty: Faulty, text: str) -> Iterator[httpx2.Response]:
    """Yield the answers to requests that carry the text in each place in turn."""
    client, raw = faulty.gateway.client, text.encode("utf-8", "surrogatepass")
    authorized = {"Authorization": f"Bearer {fresh()}"}
    for claim in ("sub", "jti", "repository", "environment", "ref", "aud", "anything", text or "empty"):
        yield client.get("/v1/whoami", headers={"Authorization": f"Bearer {fresh(claims={claim: text})}"})
    header = b64(json.dumps({"alg": "RS256", "kid": text, "typ": text}).encode())
    yield client.get("/v1/whoami", headers={"Authorization": f"Bearer {header}.e30.AAAA"})
    yield client.get(f"/v1/executions/{quote(raw, safe='')}/{quote(raw, safe='')}", headers=authorized)
    yield client.get(f"/v1/whoami?{quote(raw)}={quote(raw)}", headers=authorized)
    yield client.get("/" + quote(raw, safe=""), headers=authorized)
    form = {"grant_type": text, "subject_token": text, "audience": text, text: text, "scope": text}
    encoded = "&".join(f"{quote(k.encode('utf-8', 'surrogatepass'))}={quote(raw)}" for k in form)
    yield client.post(
        "/token", content=encoded, headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    for body in (
        {"workflow": text, "input": GOOD},
        {"workflow": DEPLOY, "target": text, "input": GOOD},
        {"workflow": "wide", "input": {text: text}},
        {text: text},
    ):
        yield client.post(
            "/v1/executions",
            content=json.dumps(body),
            headers={**authorized, "Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex},
        )


def in_headers(faulty: Faulty, text: str) -> Iterator[int]:
    """Yield the status of requests that carry the text's bytes in each header field; 0 for a connection that was closed."""
    raw = text.encode("utf-8", "surrogatepass")
    for field in (
        b"Authorization",
        b"Idempotency-Key",
        b"User-Agent",
        b"Traceparent",
        b"Host",
        b"X-Forwarded-For",
    ):
        host = b"" if field == b"Host" else HOST.encode()
        lines = (
            b"GET /v1/whoami HTTP/1.1\r\n"
            + host
            + b"Connection: close\r\n"
            + field
            + b": "
            + raw
            + b"\r\n\r\n"
        )
        yield said_to(faulty, lines)[0]


def requests_in(faulty: Faulty, begin: int) -> list[str]:
    """Return the lines of requests that the log has behind so many."""
    return [line for line in list(faulty.gateway.lines)[begin:] if '"message":"request"' in line]


@pytest.mark.requirement("F-28")
def test_no_text_in_any_place_is_an_error_of_ours_or_breaks_a_line_of_the_log(faulty: Faulty) -> None:
    logged = len(faulty.gateway.lines)
    with ThreadPoolExecutor(4) as pool, no_hang():
        answers = list(pool.map(lambda text: list(placed(faulty, text)), NAUGHTY))
        raw = list(pool.map(lambda text: list(in_headers(faulty, text)), NAUGHTY))

    statuses = {answer.status_code for several in answers for answer in several} | {
        s for one in raw for s in one
    }
    assert all(status < 500 for status in statuses), statuses
    assert {200, 400, 401} <= statuses, "the good and the bad were told apart"
    assert_served(faulty)
    until(lambda: len(requests_in(faulty, logged)) >= len(NAUGHTY) * 10)
    lines = [json.loads(line) for line in list(faulty.gateway.lines)[logged:]]
    assert all({"time", "level", "message"} <= line.keys() for line in lines)
    assert not any(line["message"] == "forged" for line in lines)
    list(read_entries(faulty.gateway.audit))
