"""Limits of one identity and one rule, behind the signature check."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing

import pytest

from gateway.errors import RateLimited
from gateway.exchange.call import Call
from gateway.exchange.limits import CallLimits, while_waiting
from gateway.identity.token import Principal
from gateway.metrics import Metrics
from gateway.secret import Secret
from gateway.state.rates import Rate, RateTable
from tests.support.clocks import SettableClock

NOISY = Principal(issuer="https://issuer.example", subject="noisy")
QUIET = Principal(issuer="https://issuer.example", subject="quiet")
#: The same text in another issuer is somebody else.
NAMESAKE = Principal(issuer="https://other.example", subject="noisy")


def call() -> Call:
    return Call(request_id="r", token=Secret("t"), now=0, deadline=0)


def limits(metrics: Metrics | None = None, quota: int = 2, waiting: int = 2) -> CallLimits:
    clock, rate = SettableClock(), Rate(quota=quota, window_s=60)
    return CallLimits(
        metrics=metrics or Metrics(),
        subject=RateTable("subject", rate, clock=clock),
        rule=RateTable("rule", rate, clock=clock),
        waiting=waiting,
    )


@pytest.mark.requirement("HT-10", "F-27")
def test_only_the_identity_that_calls_too_often_is_refused() -> None:
    metrics = Metrics()
    one = limits(metrics)
    refused = call()
    for _ in range(2):
        one.admit_subject(call(), NOISY)

    with pytest.raises(RateLimited) as caught:
        one.admit_subject(refused, NOISY)

    one.admit_subject(call(), QUIET)
    one.admit_subject(call(), NAMESAKE)
    assert caught.value.retry_after_s is not None
    assert refused.notes == {"limit": "subject"}
    assert metrics.registry.get_sample_value("oidc_gateway_rate_limited_total", {"limit": "subject"}) == 1


@pytest.mark.requirement("HT-10")
def test_where_an_identity_stands_is_told_and_of_a_rule_only_that_it_refuses() -> None:
    one, first, second = limits(), call(), call()

    one.admit_subject(first, NOISY)
    one.admit_rules(first, ["payments/deploy"])
    one.admit_rules(second, ["payments/deploy"])
    with pytest.raises(RateLimited) as caught:
        one.admit_rules(second, ["payments/deploy"])

    assert [standing.limit for standing in first.standings] == ["subject"]
    assert [standing.limit for standing in second.standings] == ["rule"]
    assert "payments" not in f"{caught.value.message}{caught.value.hint}"


@pytest.mark.requirement("HT-10")
def test_every_rule_that_matches_is_counted() -> None:
    one = limits()
    one.admit_rules(call(), ["a", "b"])
    one.admit_rules(call(), ["b"])

    with pytest.raises(RateLimited):
        one.admit_rules(call(), ["a", "b"])


def test_a_subject_as_long_as_a_token_takes_no_more_memory_than_its_digest() -> None:
    table = RateTable("subject", Rate(quota=9, window_s=60), clock=SettableClock())
    one = CallLimits(metrics=Metrics(), subject=table)

    one.admit_subject(call(), Principal(issuer="https://issuer.example", subject="s" * 8_000))

    assert [len(key) for key in table._young] == [32]


# Calls that wait.


@pytest.mark.requirement("HT-08", "F-27")
def test_one_identity_has_so_many_places_to_wait_and_others_their_own() -> None:
    one = limits()
    held = [one.wait(call(), NOISY), one.wait(call(), NOISY)]

    with pytest.raises(RateLimited) as caught:
        one.wait(call(), NOISY)

    held += [one.wait(call(), QUIET)]
    assert caught.value.retry_after_s == 1
    held[0].leave()
    held[0].leave()
    held += [one.wait(call(), NOISY)]
    with pytest.raises(RateLimited):
        one.wait(call(), NOISY)


async def events() -> AsyncIterator[int]:
    yield 1
    await asyncio.Event().wait()


@pytest.mark.requirement("HT-08", "HT-15")
@pytest.mark.parametrize("begun", [False, True], ids=["before the first event", "after it"])
async def test_a_stream_whose_caller_left_gives_its_place_back(begun: bool) -> None:
    one = limits(waiting=1)
    with ExitStack() as places:
        places.callback(one.wait(call(), NOISY).leave)
        stream = while_waiting(places.pop_all(), events())

    if begun:
        async with aclosing(stream):  # type: ignore[type-var]  # a generator, though its type does not say so
            await anext(stream)
    del stream, places
    gc.collect()

    one.wait(call(), NOISY).leave()
    assert one._waiters == {}


@pytest.mark.requirement("HT-08")
def test_ten_thousand_who_waited_leave_nothing() -> None:
    one = limits()

    for number in range(10_000):
        one.wait(call(), Principal(issuer="i", subject=str(number))).leave()

    assert one._waiters == {}
