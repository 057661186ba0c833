"""What is judged before anything is done: in which order, at what cost, and what of it is seen afterwards."""

import logging
from typing import NoReturn

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message

from gateway.doors.callers import Callers
from gateway.doors.draining import Draining
from gateway.doors.entrance import Entrance
from gateway.doors.hosts import Hosts
from gateway.doors.middleware import Front
from gateway.doors.reception import Reception
from gateway.metrics import Metrics
from gateway.state.rates import Rate, RateTable
from tests.support.clocks import SettableClock

QUOTA = 3


async def fine(request: Request) -> Response:
    return PlainTextResponse(str(request.scope["state"]["source"]))


ROUTES = [
    Route("/v1/whoami", fine, methods=["GET", "POST"]),
    Route("/token", fine, methods=["POST"]),
    *(Route(path, fine) for path in ("/livez", "/readyz", "/metrics")),
]


class House:
    """A front with every limit, and callers before it."""

    def __init__(self, *, trusted: tuple[str, ...] = (), quota: int = QUOTA) -> None:
        self.metrics = Metrics()
        self.draining = Draining()
        self.clock = SettableClock(wall_s=1_795_342_620.0)
        self.rates = RateTable("address", Rate(quota=quota, window_s=60), clock=self.clock)
        self.front = Front(
            Router(ROUTES, redirect_slashes=False),
            reception=Reception(
                metrics=self.metrics,
                draining=self.draining,
                clock=self.clock,
                entrance=Entrance(
                    metrics=self.metrics,
                    draining=self.draining,
                    hosts=Hosts(["gateway.example"]),
                    callers=Callers(trusted),
                    address=self.rates,
                ),
            ),
        )

    async def ask(
        self,
        path: str = "/v1/whoami",
        *,
        peer: str = "203.0.113.9",
        method: str = "GET",
        headers: dict[str, str] | None = None,
        content: bytes = b"",
    ) -> httpx2.Response:
        transport = httpx2.ASGITransport(self.front, client=(peer, 40_000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway.example") as client:
            return await client.request(method, path, headers=headers, content=content)

    def limited(self) -> float | None:
        return self.metrics.registry.get_sample_value("oidc_gateway_rate_limited_total", {"limit": "address"})


@pytest.fixture
def house() -> House:
    return House()


@pytest.mark.requirement("HT-10")
async def test_one_request_too_many_is_told_when_to_come_back(house: House) -> None:
    for _ in range(QUOTA):
        assert (await house.ask()).status_code == 200

    refused = await house.ask()

    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert refused.headers["retry-after"] == str(refused.json()["retry_after_s"])
    assert 60 <= int(refused.headers["retry-after"]) <= 120
    assert refused.headers["ratelimit-policy"] == '"address";q=3;w=60'
    assert refused.headers["ratelimit"] == f'"address";r=0;t={refused.headers["retry-after"]}'
    assert house.limited() == 1


@pytest.mark.requirement("HT-10")
async def test_every_answer_but_those_of_health_says_where_the_caller_stands(house: House) -> None:
    answers = [await house.ask(), await house.ask("/nowhere"), await house.ask(method="DELETE")]
    health = [await house.ask(path) for path in ("/livez", "/readyz", "/metrics")]

    assert [answer.headers["ratelimit"] for answer in answers] == [
        f'"address";r={left};t=60' for left in (2, 1, 0)
    ]
    assert not any("ratelimit" in answer.headers for answer in health)


@pytest.mark.requirement("HT-10")
async def test_the_refusal_at_the_token_endpoint_has_its_shape(house: House) -> None:
    for _ in range(QUOTA):
        await house.ask()

    refused = await house.ask("/token", method="POST")

    assert (refused.status_code, refused.json()["error"]) == (429, "temporarily_unavailable")


@pytest.mark.requirement("HT-10", "F-27")
async def test_only_the_address_that_sends_too_much_is_refused(house: House) -> None:
    for _ in range(50):
        await house.ask(peer="203.0.113.9")

    assert (await house.ask(peer="203.0.113.9")).status_code == 429
    assert (await house.ask(peer="203.0.113.10")).status_code == 200
    assert (await house.ask("/readyz", peer="203.0.113.9")).status_code == 200


@pytest.mark.requirement("HT-10")
async def test_a_subscribers_whole_network_counts_as_one(house: House) -> None:
    answers = [await house.ask(peer=f"2001:db8::{number}") for number in range(QUOTA + 1)]

    assert [answer.status_code for answer in answers] == [200] * QUOTA + [429]
    assert (await house.ask(peer="2001:db8:0:1::1")).status_code == 200


@pytest.mark.requirement("HT-06", "HT-10")
async def test_a_spoofed_address_neither_escapes_a_limit_nor_uses_up_anothers(house: House) -> None:
    answers = [
        await house.ask(headers={"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(QUOTA + 1)
    ]

    assert [answer.status_code for answer in answers] == [200] * QUOTA + [429]
    assert (await house.ask(peer="198.51.100.1")).status_code == 200


@pytest.mark.requirement("HT-06", "HT-10")
async def test_callers_behind_a_listed_proxy_are_told_apart() -> None:
    house = House(trusted=("10.0.0.0/8",))

    for _ in range(QUOTA):
        await house.ask(peer="10.0.0.1", headers={"X-Forwarded-For": "2.2.2.2, 203.0.113.9"})
    noisy = await house.ask(peer="10.0.0.1", headers={"X-Forwarded-For": "1.1.1.1, 203.0.113.9"})
    quiet = await house.ask(peer="10.0.0.1", headers={"X-Forwarded-For": "203.0.113.9, 203.0.113.10"})

    assert (noisy.status_code, quiet.status_code, quiet.text) == (429, 200, "203.0.113.10")


@pytest.mark.requirement("HT-10")
async def test_a_refusal_reads_no_body_and_keeps_the_connection_where_none_is_left(house: House) -> None:
    sent: list[Message] = []

    async def receive() -> NoReturn:
        raise AssertionError("The body was read.")

    async def send(message: Message) -> None:
        sent.append(message)

    for _ in range(QUOTA):
        await house.ask()
    kept = await house.ask()
    await house.front(
        {
            "type": "http",
            "method": "POST",
            "path": "/v1/whoami",
            "raw_path": b"/v1/whoami",
            "query_string": b"",
            "client": ("203.0.113.9", 1),
            "headers": [(b"host", b"gateway.example"), (b"content-length", b"10")],
        },
        receive,
        send,
    )

    assert "connection" not in kept.headers
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.requirement("HT-10")
async def test_a_flood_leaves_one_line_a_minute_and_a_count(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gateway.access")

    for _ in range(100):
        await house.ask()

    told = [vars(record) for record in caplog.records if record.name == "gateway.access"]
    assert [one["status"] for one in told] == [200] * QUOTA + [429]
    assert (told[-1]["code"], told[-1]["limit"], told[-1]["source"]) == (
        "rate_limited",
        "address",
        "203.0.113.9",
    )
    assert house.limited() == 100 - QUOTA


@pytest.mark.requirement("HT-05")
@pytest.mark.parametrize("path", ["/v1/whoami", "/nowhere", "/openapi.json"])
async def test_another_name_is_misdirected_wherever_it_leads(house: House, path: str) -> None:
    answer = await house.ask(path, headers={"Host": "evil.example"})

    assert (answer.status_code, answer.json()["code"]) == (421, "host_not_allowed")
    assert "evil" not in answer.text
    assert "gateway.example" not in answer.text


@pytest.mark.requirement("HT-05")
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_that_know_an_address_only_are_answered(house: House, path: str) -> None:
    answer = await house.ask(path, headers={"Host": "10.42.0.17:8080"})

    assert answer.status_code == 200


@pytest.mark.requirement("HT-08")
async def test_what_is_refused_for_want_of_room_does_not_count_against_the_caller(house: House) -> None:
    house.draining.refuse()

    answers = [await house.ask() for _ in range(QUOTA + 1)]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(503, "draining")}
    assert house.limited() is None


@pytest.mark.requirement("HT-13")
async def test_ten_thousand_addresses_paths_and_methods_add_no_series() -> None:
    house = House(quota=1)
    methods = ("GET", "BREW", "X-1")

    def series() -> int:
        return len(list(house.metrics.exposition().splitlines()))

    async def ask(number: int) -> None:
        await house.ask(
            f"/{number}", peer=f"198.18.{number // 256}.{number % 256}", method=methods[number % 3]
        )
        await house.ask("/v1/whoami", peer="203.0.113.9", headers={"Host": f"{number}.example"})

    for number in range(3):
        await ask(number)
    before = series()
    for number in range(3, 5_000):
        await ask(number)

    assert series() == before


@pytest.mark.requirement("HT-05", "SE-05")
async def test_the_log_does_not_repeat_the_name_that_was_asked_for(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway.access")

    await house.ask("/v1/whoami", headers={"Host": "somewhere.example"})

    (line,) = [vars(record) for record in caplog.records if record.name == "gateway.access"]
    assert line["code"] == "host_not_allowed"
    assert "somewhere.example" not in str(line)
