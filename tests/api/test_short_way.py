"""The short way gives the answers of the long one: to good requests, bad ones and any others, of every route that takes it."""

import json
import re
import socket
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Final
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.listening.protocol import ProtocolLimits
from tests.api.conftest import Scripted
from tests.support.caller import GRANT_TYPE, JWT_TYPE
from tests.support.gateways import Gateway, fresh
from tests.support.mutations import Spoiler
from tests.support.serving import read_all, read_answer

_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"
#: Long enough for whatever is counted to be much, short enough for CI.
REQUESTS: Final = 400
# What may differ between two answers to one question: their own ids, their moment, what was issued anew, and whether the
# connection ends because a body was not read, which on the short way it always has been.
_OWN_FIELDS: Final = re.compile(rb"(?i)(x-request-id|date|traceparent|ratelimit.*|retry-after|connection):")
_OWN_MEMBERS: Final = re.compile(
    rb'"(request_id|expires_in|retry_after_s|Expiration|AccessKeyId|SecretAccessKey|SessionToken|[a-z]+_at|access_token)":'
    rb' ?("(?:[^"\\]|\\.)*"|[0-9.]+)'
)
Answer = tuple[int, tuple[bytes, ...], bytes]


def ask(gateway: Gateway, *pieces: bytes) -> Answer:
    """Return status, header fields and body, without what belongs to one answer alone."""
    port = int(gateway.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        received = bytearray()
        while b"\r\n\r\n" not in received and (data := sock.recv(65_536)):
            received += data
        head, _, body = bytes(received).partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        length = next(int(one[15:]) for one in lines if one.lower().startswith(b"content-length:"))
        while len(body) < length and (data := sock.recv(65_536)):
            body += data
    own = sorted(one for one in lines[1:] if not _OWN_FIELDS.match(one))
    status = int(lines[0].split(b" ")[1])
    # An answer whose length hangs on a value of its own says another length too.
    fields = tuple(one for one in own if status >= 400 or not one.lower().startswith(b"content-length"))
    return status, fields, _OWN_MEMBERS.sub(rb"\1", body)


def both_ways(
    gateway: Gateway, line: str, headers: Mapping[str, str], body: bytes | None
) -> tuple[Answer, Answer]:
    """Ask the same in one piece, and so that it cannot take the short way: with a field that it leaves to the long one, in two pieces."""
    fields = {"Host": "localhost", **headers}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    body = body or b""
    short = _head(line, fields)
    long = _head(line, {**fields, "Connection": "keep-alive"})
    half = len(body) // 2
    return ask(gateway, short + body), ask(gateway, long + body[:half], body[half:])


def _head(line: str, fields: Mapping[str, str]) -> bytes:
    lines = [f"{line} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


_CREDENTIALS: Final = {"target": "payments-prod"}
_START: Final = {"workflow": "deploy-payments", "input": {"version": "1.4.2"}}


def bearer(token: str, **more: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        **{name.replace("_", "-"): text for name, text in more.items()},
    }


def form(token: str, **fields: str) -> bytes:
    usual = {"grant_type": GRANT_TYPE, "subject_token_type": JWT_TYPE, "subject_token": token}
    return urlencode({**usual, "audience": "payments-prod", **fields}).encode()


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


Case = tuple[str, dict[str, str], bytes | None]


def cases(token: str) -> dict[str, Case]:
    """Good and bad requests of every route that the short way knows."""
    json_type = {"Content-Type": _JSON}
    form_type = {"Content-Type": _FORM}
    keyed = {**bearer(token, Idempotency_Key="one"), **json_type}
    return {
        "whoami": ("GET /v1/whoami", bearer(token), None),
        "whoami without a token": ("GET /v1/whoami", {}, None),
        "whoami with a bad token": ("GET /v1/whoami", bearer(token[:-8] + "AAAAAAAA"), None),
        "whoami with two schemes": ("GET /v1/whoami", {"Authorization": f"bearer {token}"}, None),
        "whoami with basic": ("GET /v1/whoami", {"Authorization": "Basic eDp5"}, None),
        "whoami with blanks around its token": ("GET /v1/whoami", {"Authorization": f" Bearer {token} \t"}, None),
        "whoami with a query": ("GET /v1/whoami?x=1", bearer(token), None),
        "whoami with a token in its address": ("GET /v1/whoami?token=x", bearer(token), None),
        "whoami with a body that nobody asked for": ("GET /v1/whoami", bearer(token), b"{}"),
        "whoami by body": ("POST /v1/whoami", json_type, dump({"token": token})),
        "whoami by body and header": ("POST /v1/whoami", bearer(token) | json_type, dump({"token": token})),
        "whoami by an empty body": ("POST /v1/whoami", json_type, b""),
        "whoami of another host": ("GET /v1/whoami", bearer(token) | {"Host": "evil.example"}, None),
        "whoami with an odd trace": ("GET /v1/whoami", bearer(token) | {"traceparent": "00-x-y-z"}, None),
        "whoami for a stranger's page": ("GET /v1/whoami", bearer(token) | {"Origin": "https://evil.example"}, None),
        "a start whose key has blanks behind it": (
            "POST /v1/executions",
            {**bearer(token), **json_type, "Idempotency-Key": "blank ", "Content-Encoding": "identity "},
            dump(_START),
        ),
        "credentials": ("POST /v1/credentials", bearer(token) | json_type, dump(_CREDENTIALS)),
        "credentials of nothing": ("POST /v1/credentials", bearer(token) | json_type, dump({"target": "nothing"})),
        "credentials for too long": (
            "POST /v1/credentials", bearer(token) | json_type, dump({**_CREDENTIALS, "duration_s": 10**6}),
        ),
        "credentials as a list": ("POST /v1/credentials", bearer(token) | json_type, b"[]"),
        "credentials in another kind": ("POST /v1/credentials", bearer(token) | {"Content-Type": "text/plain"}, b"{}"),
        "credentials of a megabyte": ("POST /v1/credentials", bearer(token) | json_type, b"x" * 1_000_000),
        "start": ("POST /v1/executions", keyed, dump(_START)),
        "start without a key": ("POST /v1/executions", bearer(token) | json_type, dump(_START)),
        "start with a bad input": ("POST /v1/executions", keyed, dump({**_START, "input": {"version": 1}})),
        "start of nothing": ("POST /v1/executions", keyed, dump({"workflow": "nothing"})),
        "start twice in one": ("POST /v1/executions", keyed, b'{"workflow": "a", "workflow": "b"}'),
        "token": ("POST /token", form_type, form(token)),
        "token for nobody": ("POST /token", form_type, form(token, audience="nothing")),
        "token for no grant": ("POST /token", form_type, form(token, grant_type="password")),
        "token twice": ("POST /token", form_type, form(token) + b"&subject_token=x"),
        "token in latin-1": ("POST /token", form_type, b"grant_type=%ff%fe"),
        "token as JSON": ("POST /token", json_type, dump({"grant_type": GRANT_TYPE})),
        "another method": ("DELETE /v1/whoami", bearer(token), None),
        "an address nearby": ("GET /v1/whoami/", bearer(token), None),
        "an address in other letters": ("GET /V1/whoami", bearer(token), None),
        "an address escaped": ("GET /v1/who%61mi", bearer(token), None),
    }  # fmt: skip


@pytest.mark.requirement("HT-01", "TV-01")
@pytest.mark.parametrize("name", cases("x.y.z"))
def test_the_short_way_answers_as_the_long_one_does(scripted: Scripted, name: str) -> None:
    line, headers, body = cases(fresh())[name]

    short, long = both_ways(scripted.gateway, line, headers, body)

    assert short == long
    assert short[0] < 500


_ODD_BODIES: Final = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=60).map(lambda text: json.dumps({"workflow": text, "target": text}).encode()),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["workflow", "target", "input", "token", "duration_s", "grant_type", ""]),
                inner,
            )
        ),
        max_leaves=8,
    ).map(dump),
)
_LINES: Final = st.sampled_from(
    ["GET /v1/whoami", "POST /v1/whoami", "POST /v1/credentials", "POST /v1/executions", "POST /token"]
)
_KINDS: Final = st.sampled_from([_JSON, _FORM, f"{_JSON}; charset=utf-8", "text/plain", ""])


@pytest.mark.requirement("HT-01", "TV-48")
@settings(
    max_examples=REQUESTS // 2,
    deadline=None,
    # The gateway is the same for all of them, and is meant to be.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(line=_LINES, kind=_KINDS, body=_ODD_BODIES, random=st.randoms(use_true_random=False))
def test_no_body_brings_down_a_route_or_tells_its_two_ways_apart(
    scripted: Scripted, line: str, kind: str, body: bytes, random: Random
) -> None:
    token = random.choice([fresh(), "", Spoiler(random).token()])
    shown = re.sub(r"[^!-~]", "?", token)
    headers = {"Content-Type": kind, "Idempotency-Key": "any"} | (bearer(shown) if shown else {})

    short, long = both_ways(scripted.gateway, line, headers, body)

    assert short == long
    assert short[0] < 500


@pytest.mark.requirement("TV-48", "TV-21")
def test_no_tampered_token_is_more_than_a_refusal_to_a_running_gateway(scripted: Scripted) -> None:
    spoiler = Spoiler(Random(48))
    seen: Counter[str] = Counter()
    client = scripted.gateway.client

    # Half of them are of an issuer that it does not know, half are good tokens of one that it does, changed afterwards.
    for number in range(REQUESTS * 2):
        good = fresh()
        text = spoiler.token() if number % 2 else spoiler.text(good)
        answer = client.post("/v1/whoami", content=dump({"token": text}), headers={"Content-Type": _JSON})
        assert answer.status_code in {200, 400, 401, 413}, (answer.text, text)
        assert text == good or answer.status_code != 200, text
        seen[answer.json().get("code", "believed")] += 1

    assert len(seen) > 8, seen
    assert scripted.aws.peer.received == []


def in_flight(gateway: Gateway) -> float:
    """Return how many requests are being served, this question not counted."""
    text = gateway.client.get("/metrics").text
    line = next(one for one in text.splitlines() if one.startswith("oidc_gateway_http_requests_in_flight "))
    return float(line.rpartition(" ")[2]) - 1


@pytest.mark.requirement("HT-02")
def test_a_connection_serves_a_limited_number_of_requests_on_the_short_way_too(scripted: Scripted) -> None:
    port = int(scripted.gateway.url.rsplit(":", 1)[1])
    request = _head("GET /v1/whoami", {"Host": "localhost"})
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        for _ in range(ProtocolLimits().max_requests - 1):
            sock.sendall(request)
            assert read_answer(sock)[0] == 401

        sock.sendall(request)
        last = read_all(sock)

    assert last.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in last


@pytest.mark.requirement("F-26", "HT-08")
def test_requests_behind_the_last_one_of_a_connection_are_dropped_and_leave_nothing_in_flight(
    scripted: Scripted,
) -> None:
    gateway = scripted.gateway
    port = int(gateway.url.rsplit(":", 1)[1])
    good = _head("GET /v1/whoami", {"Host": "localhost", **bearer(fresh())})
    # Its key has to be asked for, so it cannot be answered at once.
    unknown = _head(
        "GET /v1/whoami", {"Host": "localhost", **bearer(fresh(header={"kid": "never-published"}))}
    )

    for _ in range(5):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
            sock.sendall(good + good + unknown * 3)
            received = bytearray()
            while data := sock.recv(65_536):
                received += data
        assert received.count(b"HTTP/1.1 200") == 1
        assert b"connection: close" in received.lower()

    assert in_flight(gateway) == 0
