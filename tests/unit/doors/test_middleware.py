"""What every request and every answer has, whatever the route does."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import NoReturn

import httpx2
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message, Scope

from gateway.doors.draining import Draining
from gateway.doors.entrance import Entrance
from gateway.doors.middleware import Front
from gateway.doors.reception import Reception
from gateway.errors import ErrorCode, GatewayError, RequestRejected
from gateway.metrics import Metrics
from tests.support.clocks import SettableClock

SECRET = "eyJhbGciOi.the-token.signature"


async def length(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


async def state(request: Request) -> Response:
    return PlainTextResponse(f"{request.state.request_id} {request.state.arrived}")


async def boom(_: Request) -> Response:
    raise ValueError(SECRET)


async def deliberate(_: Request) -> Response:
    raise RequestRejected(ErrorCode.REQUEST_MALFORMED, "Not like this.")


async def verifier_bug(_: Request) -> Response:
    keys: dict[str, str] = {}
    try:
        return PlainTextResponse(keys[SECRET])
    except KeyError as fault:
        raise GatewayError(ErrorCode.INTERNAL_ERROR, "The gateway failed.") from fault


async def framework(request: Request) -> Response:
    raise HTTPException(int(request.path_params["status"]), SECRET)


async def left(_: Request) -> Response:
    raise ClientDisconnect


async def chatty(_: Request) -> Response:
    return PlainTextResponse("x", headers={"Cache-Control": "public", "Server": "me", "X-Request-Id": "mine"})


ROUTES = [
    Route("/v1/executions", length, methods=["POST"]),
    Route("/v1/whoami", state, methods=["GET"]),
    Route("/v1/whoami", length, methods=["POST"]),
    Route("/v1/executions/{workflow}/{name}", state),
    Route("/token", length, methods=["POST"]),
    Route("/livez", state),
    Route("/boom", boom),
    Route("/deliberate", deliberate),
    Route("/verifier-bug", verifier_bug),
    Route("/framework/{status}", framework),
    Route("/left", left),
    Route("/chatty", chatty),
]


class House:
    """A front with routes behind it, and a client before it."""

    def __init__(self, *, max_in_flight: int = 10) -> None:
        self.metrics = Metrics()
        self.draining = Draining()
        self.clock = SettableClock()
        self.front = Front(
            Router(ROUTES, redirect_slashes=False),
            reception=Reception(
                metrics=self.metrics,
                draining=self.draining,
                clock=self.clock,
                entrance=Entrance(metrics=self.metrics, draining=self.draining, max_in_flight=max_in_flight),
            ),
        )

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | AsyncIterator[bytes] = b"",
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.front)
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.example") as client:
            return await client.request(method, path, content=content, headers=headers)

    def count(self, route: str, method: str, status: int) -> float | None:
        return self.metrics.registry.get_sample_value(
            "oidc_gateway_http_requests_total", {"route": route, "method": method, "status": str(status)}
        )


@pytest.fixture
def house() -> House:
    return House()


async def endless(piece: bytes) -> AsyncIterator[bytes]:
    while True:
        yield piece


EVERY_ANSWER = pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/whoami"),
        ("GET", "/livez"),
        ("GET", "/nowhere"),
        ("DELETE", "/v1/whoami"),
        ("GET", "/boom"),
        ("GET", "/deliberate"),
        ("GET", "/framework/418"),
        ("GET", "/framework/500"),
        ("GET", "/chatty"),
        ("GET", "/v1/whoami/"),
        ("GET", "//v1/whoami"),
        ("GET", "/%00%1b%5b31m"),
    ],
)


#: Each once, and with the value that forbids.
FORBIDDING = {
    "cache-control": ["no-store"],
    "pragma": ["no-cache"],
    "x-content-type-options": ["nosniff"],
    "content-security-policy": ["default-src 'none'; frame-ancestors 'none'"],
    "referrer-policy": ["no-referrer"],
}


@pytest.mark.requirement("HT-11")
@EVERY_ANSWER
async def test_every_answer_forbids_caching_sniffing_framing_and_referrers(
    house: House, method: str, path: str
) -> None:
    answer = await house.ask(method, path)

    assert {name: answer.headers.get_list(name) for name in FORBIDDING} == FORBIDDING
    assert "server" not in answer.headers
    assert not any(name.startswith("access-control-") for name in answer.headers)


@EVERY_ANSWER
async def test_every_answer_has_a_request_id_of_ours(house: House, method: str, path: str) -> None:
    answer = await house.ask(method, path, headers={"X-Request-Id": "chosen-by-the-caller"})

    ids = answer.headers.get_list("x-request-id")
    assert len(ids) == 1
    assert len(ids[0]) == 32
    if answer.headers["content-type"] == "application/problem+json":
        assert answer.json()["request_id"] == ids[0]


@pytest.mark.requirement("HT-12")
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/whoami/", 404, "not_found"),
        ("PUT", "/v1/executions", 405, "method_not_allowed"),
        ("GET", "/boom", 500, "internal_error"),
        ("GET", "/verifier-bug", 500, "internal_error"),
        ("GET", "/framework/500", 500, "internal_error"),
        ("GET", "/framework/413", 413, "body_too_large"),
        ("GET", "/framework/418", 400, "request_malformed"),
        ("GET", "/deliberate", 400, "request_malformed"),
    ],
)
async def test_whatever_goes_wrong_is_a_problem_document_without_a_foreign_word(
    house: House, method: str, path: str, status: int, code: str
) -> None:
    answer = await house.ask(method, path)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.requirement("HT-12")
async def test_errors_around_the_token_endpoint_have_its_shape(house: House) -> None:
    answer = await house.ask("GET", "/token")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"] == "invalid_request"


async def test_a_wrong_method_is_told_the_methods_of_all_routes_of_its_path(house: House) -> None:
    answer = await house.ask("DELETE", "/v1/whoami")

    assert answer.headers["allow"] == "GET, HEAD, POST"


@pytest.mark.requirement("HT-12")
@pytest.mark.parametrize("path", ["/boom", "/verifier-bug"])
async def test_an_unforeseen_fault_is_logged_by_place_and_never_by_text(
    house: House, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await house.ask("GET", path)

    (record,) = [record for record in caplog.records if record.name == "gateway.http"]
    assert record.__dict__["request_id"] == answer.headers["x-request-id"]
    assert record.__dict__["exception"] in {"ValueError", "KeyError"}
    assert record.exc_info is None
    assert SECRET not in caplog.text + repr([record.__dict__ for record in caplog.records])


@pytest.mark.requirement("HT-03")
@pytest.mark.parametrize(
    ("path", "limit"),
    [("/v1/executions", 320 * 1024), ("/v1/whoami", 64 * 1024), ("/token", 64 * 1024)],
)
async def test_a_body_at_its_limit_is_read_and_a_byte_more_is_refused_unread(
    house: House, path: str, limit: int
) -> None:
    at_limit = await house.ask("POST", path, b"a" * limit)
    beyond = await house.ask("POST", path, b"a" * (limit + 1))

    assert at_limit.text == str(limit)
    assert (beyond.status_code, beyond.json()["code"]) == (413, "body_too_large")
    assert beyond.headers["connection"] == "close"


@pytest.mark.requirement("HT-03")
async def test_a_declared_gigabyte_is_refused_before_a_byte_of_it_is_read(house: House) -> None:
    sent: list[Message] = []

    async def receive() -> NoReturn:
        raise AssertionError("The body was read.")

    async def send(message: Message) -> None:
        sent.append(message)

    await house.front(scope_of("POST", "/v1/executions", [(b"content-length", b"1073741824")]), receive, send)

    assert sent[0]["status"] == 413


@pytest.mark.requirement("HT-03")
async def test_a_body_without_an_end_or_a_length_is_counted(house: House) -> None:
    answer = await house.ask("POST", "/v1/executions", endless(b"a" * 10_000))

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


async def test_one_line_is_logged_for_each_request_and_holds_nothing_of_it(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.access")

    answer = await house.ask(
        "GET", f"/v1/executions/deploy/{SECRET}?token={SECRET}", headers={"Authorization": f"Bearer {SECRET}"}
    )

    (record,) = [record for record in caplog.records if record.name == "gateway.access"]
    fields = {
        name: record.__dict__[name] for name in ("request_id", "method", "route", "status", "ms", "bytes")
    }
    assert fields == {
        "request_id": answer.headers["x-request-id"],
        "method": "GET",
        "route": "/v1/executions/{workflow}/{name}",
        "status": 200,
        "ms": 0.0,
        "bytes": len(answer.content),
    }
    assert SECRET not in repr(record.__dict__)


async def test_metrics_name_the_route_template_and_never_the_path(house: House) -> None:
    await house.ask("GET", "/v1/executions/deploy/1")
    await house.ask("GET", "/chosen-by-a-caller")

    assert house.count("/v1/executions/{workflow}/{name}", "GET", 200) == 1
    assert house.count("unmatched", "GET", 404) == 1
    assert b"chosen-by-a-caller" not in house.metrics.exposition()
    assert house.metrics.registry.get_sample_value("oidc_gateway_http_requests_in_flight") == 0


async def test_a_caller_who_left_is_counted_and_not_answered(house: House) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await house.front(scope_of("GET", "/left"), nothing, send)

    assert sent == []
    assert house.count("/left", "GET", 499) == 1


@pytest.mark.requirement("HT-09")
async def test_a_request_knows_when_it_arrived(house: House) -> None:
    answer = await house.ask("GET", "/v1/whoami")

    assert answer.text == f"{answer.headers['x-request-id']} {house.clock.monotonic_s}"


@pytest.mark.requirement("HT-14")
async def test_a_process_that_leaves_still_serves_and_closes_its_connections(house: House) -> None:
    house.draining.leave()

    answer = await house.ask("GET", "/v1/whoami")

    assert answer.status_code == 200
    assert answer.headers["connection"] == "close"


@pytest.mark.requirement("HT-14")
async def test_a_process_that_refuses_says_so_and_still_answers_health(house: House) -> None:
    house.draining.refuse()

    refused = await house.ask("GET", "/v1/whoami")
    health = await house.ask("GET", "/livez")

    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
        503,
        "draining",
        "1",
    )
    assert health.status_code == 200


async def test_beyond_its_capacity_the_process_refuses_at_once_and_still_answers_health() -> None:
    house = House(max_in_flight=0)

    refused = await house.ask("GET", "/v1/whoami")
    health = await house.ask("GET", "/livez")

    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert health.status_code == 200


@pytest.mark.requirement("HT-14")
async def test_a_request_that_is_given_up_at_the_end_reads_why(house: House) -> None:
    sent: list[Message] = []

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    task = asyncio.create_task(house.front(scope_of("POST", "/v1/whoami"), never, send))
    await asyncio.sleep(0)
    task.cancel()
    await task

    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"])["code"] == "draining"


def scope_of(method: str, path: str, headers: list[tuple[bytes, bytes]] | None = None) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers or [],
    }


async def nothing() -> Message:
    return {"type": "http.disconnect"}
