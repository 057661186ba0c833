"""When keys are fetched, how long they are kept, and who waits for whom."""

import asyncio
import dataclasses
import logging

import pytest

from gateway.errors import ErrorCode, TokenRejected, Unavailable
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.identity.jwks import FetchedKeys, _jitter
from gateway.identity.keys import KeyFault, KeySetState
from gateway.metrics import Metrics
from gateway.outbound.http import FailureKind
from tests.support.clocks import SettableClock
from tests.support.hang import no_hang
from tests.support.scripted_issuer import Scripted, ScriptedIssuers, answer
from tests.support.tokens import jwk, jwks, key_id, trusted

KID = key_id("RS256")
ISSUER = trusted(keys=KeyLocation())
OTHERS = [
    trusted("generic", name=f"other-{n}", issuer=f"https://other-{n}.example", keys=KeyLocation())
    for n in range(6)
]


class Bench:
    """Keys over scripted issuers, with both clocks in the hand of the test."""

    def __init__(self) -> None:
        self.peer = ScriptedIssuers()
        self.clock = SettableClock()
        self.metrics = Metrics()
        self.keys = FetchedKeys(fetch=self.peer, clock=self.clock, metrics=self.metrics, jitter=lambda: 1.0)

    async def find(self, key: str | None = KID, issuer: TrustedIssuer = ISSUER, within_s: float = 5.0) -> str:
        found = await self.keys.find(issuer, key, deadline=self.clock.monotonic() + within_s)
        return found.thumbprint

    async def code(self, key: str | None = KID, issuer: TrustedIssuer = ISSUER) -> ErrorCode:
        with pytest.raises((TokenRejected, Unavailable)) as caught:
            await self.find(key, issuer)
        return caught.value.code

    async def refresh(self) -> None:
        """Do what the ticker does, and wait for what it started."""
        self.keys.refresh_due()
        await self.settle()

    async def settle(self) -> None:
        tasks = [t for t in asyncio.all_tasks() if t.get_name() == "issuer-keys-fetch"]
        await asyncio.gather(*tasks, return_exceptions=True)

    def state(self, issuer: TrustedIssuer = ISSUER) -> KeySetState:
        return next(state for state in self.keys.states() if state.issuer == issuer.name)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Where from


@pytest.mark.requirement("KS-01", "KS-02")
async def test_keys_are_found_by_discovery(bench: Bench) -> None:
    await bench.find()

    assert bench.peer.calls == [
        "https://token.actions.githubusercontent.com/.well-known/openid-configuration",
        "https://token.actions.githubusercontent.com/keys",
    ]


@pytest.mark.requirement("KS-02")
@pytest.mark.parametrize(
    ("location", "calls"),
    [
        pytest.param(
            KeyLocation(jwks_uri="https://keys.example/a/keys"), ["https://keys.example/a/keys"], id="jwks-uri"
        ),
        pytest.param(
            KeyLocation(discovery_url="https://inside.example/doc"), ["https://inside.example/doc"], id="discovery-url"
        ),
    ],
)  # fmt: skip
async def test_an_explicit_url_is_asked_as_it_stands(
    bench: Bench, location: KeyLocation, calls: list[str]
) -> None:
    bench.peer.by_url["https://inside.example/doc"] = "timeout"

    await bench.keys.prefetch([trusted(keys=location)], deadline=bench.clock.monotonic() + 5)

    assert bench.peer.calls == calls


@pytest.mark.requirement("KS-18")
async def test_a_static_key_file_causes_no_traffic_and_never_grows_stale(bench: Bench) -> None:
    issuer = trusted()

    await bench.find(issuer=issuer)
    bench.clock.advance(10 * 86_400)
    await bench.refresh()

    assert await bench.find(issuer=issuer)
    assert await bench.code("unknown", issuer) is ErrorCode.TOKEN_KEY_UNKNOWN
    assert bench.peer.calls == []
    assert bench.state(issuer).source == "file"


@pytest.mark.requirement("KS-18")
@pytest.mark.parametrize("text", ["", "{}", "{", '{"keys":[{"kty":"oct","k":"AAAA"}]}'])
async def test_a_static_key_file_without_keys_verifies_nothing(bench: Bench, text: str) -> None:
    issuer = trusted(keys=KeyLocation(static_jwks=text))

    assert await bench.code(KID, issuer) is ErrorCode.KEYS_UNAVAILABLE
    assert bench.peer.calls == []


@pytest.mark.requirement("KS-03", "KS-04", "KS-12", "KS-14")
@pytest.mark.parametrize(
    ("discovery", "keys", "fault"),
    [
        pytest.param(None, answer(b"", status=204), KeyFault.BAD_ANSWER, id="204"),
        pytest.param(None, answer(jwks(), status=206), KeyFault.BAD_ANSWER, id="206"),
        pytest.param(None, answer(b"", status=304), KeyFault.BAD_ANSWER, id="304"),
        pytest.param(None, answer(jwks(), status=404), KeyFault.BAD_ANSWER, id="404"),
        pytest.param(None, answer(jwks(), status=500), KeyFault.BAD_ANSWER, id="500"),
        pytest.param(None, answer(b"<html/>"), KeyFault.BAD_ANSWER, id="html"),
        pytest.param(None, answer(b"[]"), KeyFault.BAD_ANSWER, id="array"),
        pytest.param(None, answer(jwks() + b"x"), KeyFault.BAD_ANSWER, id="trailing-data"),
        pytest.param(None, answer(b'{"keys":[]}'), KeyFault.EMPTY_KEY_SET, id="no-keys"),
        pytest.param(None, answer(b"{}"), KeyFault.EMPTY_KEY_SET, id="empty-object"),
        pytest.param(None, answer(jwks(jwk(use="enc"))), KeyFault.EMPTY_KEY_SET, id="only-encryption"),
        pytest.param(answer(b"{}"), None, KeyFault.DISCOVERY_MISMATCH, id="other-issuer"),
        pytest.param(
            answer(
                b'{"issuer":"https://token.actions.githubusercontent.com","jwks_uri":"https://evil.example/k"}'
            ),
            None,
            KeyFault.JWKS_HOST_NOT_ALLOWED,
            id="foreign-host",
        ),
        pytest.param(None, "connect", KeyFault.UNREACHABLE, id="connect"),
        pytest.param(None, "tls", KeyFault.TLS_FAILED, id="tls"),
        pytest.param(None, "timeout", KeyFault.TIMEOUT, id="timeout"),
        pytest.param(None, "address", KeyFault.ADDRESS_REFUSED, id="address"),
        pytest.param(None, "redirect", KeyFault.REDIRECT_REFUSED, id="redirect"),
        pytest.param(None, "too_large", KeyFault.TOO_LARGE, id="too-large"),
        pytest.param(None, "encoding", KeyFault.BAD_ANSWER, id="encoding"),
        pytest.param(None, "broken", KeyFault.BAD_ANSWER, id="broken"),
    ],
)
async def test_a_failed_fetch_says_why_and_never_replaces_working_keys(
    bench: Bench, discovery: Scripted | None, keys: Scripted | None, fault: KeyFault
) -> None:
    await bench.find()
    before = bench.peer.keys
    if discovery is not None:
        bench.peer.by_url[f"{ISSUER.issuer}/.well-known/openid-configuration"] = discovery
    if keys is not None:
        bench.peer.keys = keys

    bench.clock.advance(481)
    await bench.refresh()

    assert bench.state().fault is fault
    assert await bench.find()
    # and removed again
    bench.peer.by_url.clear()
    bench.peer.keys = before
    bench.clock.advance(61)
    await bench.refresh()
    assert bench.state().fault is None


async def test_a_bug_while_fetching_is_logged_and_ends_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.peer.by_url[f"{ISSUER.issuer}/.well-known/openid-configuration"] = None  # type: ignore[assignment]
    bench.peer.keys = None  # type: ignore[assignment]

    assert await bench.code() is ErrorCode.KEYS_UNAVAILABLE
    assert bench.state().fault is KeyFault.INTERNAL
    assert "issuer_keys_bug" in caplog.messages


DISCOVERY = f"{ISSUER.issuer}/.well-known/openid-configuration"
KEY_SET = f"{ISSUER.issuer}/keys"


@pytest.mark.requirement("KS-25")
@pytest.mark.parametrize(
    ("url", "scripted", "fault", "reason"),
    [
        pytest.param(DISCOVERY, "connect", "unreachable", "scripted", id="discovery"),
        pytest.param(KEY_SET, "connect", "unreachable", "scripted", id="key-set"),
        pytest.param(KEY_SET, answer(b"", status=404), "bad_answer", "The issuer answered 404.", id="status"),
        pytest.param(
            KEY_SET, answer(b"{}"), "empty_key_set", "The key set holds no usable key.", id="no-keys"
        ),
    ],
)
async def test_a_fetch_that_failed_is_logged_with_the_url_that_was_asked_and_why(
    bench: Bench, caplog: pytest.LogCaptureFixture, url: str, scripted: Scripted, fault: str, reason: str
) -> None:
    bench.peer.by_url[url] = scripted

    await bench.code()

    [logged] = [vars(record) for record in caplog.records if record.message == "issuer_keys_fetch_failed"]
    assert {name: logged[name] for name in ("issuer", "url", "fault", "reason", "failures")} == {
        "issuer": ISSUER.name,
        "url": url,
        "fault": fault,
        "reason": reason,
        "failures": 1,
    }


# Rotation and revocation


@pytest.mark.requirement("KS-15")
async def test_a_key_that_is_missing_from_a_good_answer_is_gone_at_once(bench: Bench) -> None:
    old = key_id("RS256", "old")
    bench.peer.keys = answer(jwks(jwk(), jwk("RS256", "old")))
    await bench.find(old)
    version = bench.keys.version(ISSUER)

    bench.peer.keys = answer(jwks(jwk()))
    bench.clock.advance(481)
    await bench.refresh()

    assert bench.keys.known(ISSUER, old) is None
    assert await bench.code(old) is ErrorCode.TOKEN_KEY_UNKNOWN
    assert await bench.find()
    assert bench.keys.version(ISSUER) != version


@pytest.mark.requirement("KS-16")
async def test_a_kid_of_two_keys_is_ambiguous(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.peer.keys = answer(jwks(jwk(kid="twin"), jwk("ES256", kid="twin")))

    assert await bench.code("twin") is ErrorCode.TOKEN_KEY_AMBIGUOUS
    assert "issuer_key_ids_ambiguous" in caplog.messages


@pytest.mark.requirement("TV-20")
@pytest.mark.parametrize("others", [True, False], ids=["beside-a-good-key", "alone"])
async def test_a_key_whose_private_part_is_published_is_never_used_again(
    bench: Bench, caplog: pytest.LogCaptureFixture, others: bool
) -> None:
    await bench.find()
    bench.peer.keys = answer(jwks(jwk(d="AQAB"), *([jwk("ES256")] if others else [])))
    bench.clock.advance(481)
    await bench.refresh()

    assert bench.keys.known(ISSUER, KID) is None
    assert "issuer_published_private_key" in caplog.messages

    bench.peer.keys = answer(jwks(jwk(), jwk("ES256")))
    bench.clock.advance(3_600)
    await bench.refresh()
    assert bench.keys.known(ISSUER, KID) is None
    assert bench.keys.known(ISSUER, key_id("ES256")) is not None


@pytest.mark.requirement("KS-17")
async def test_every_change_of_the_keys_is_logged_by_thumbprint(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.peer.keys = answer(jwks(jwk()))
    first = await bench.find()
    bench.peer.keys = answer(jwks(jwk("RS256", "new")))
    bench.clock.advance(481)
    await bench.refresh()

    changes = [vars(r) for r in caplog.records if r.name == "gateway.identity.jwks"]

    assert [change["message"] for change in changes] == ["issuer_keys_changed", "issuer_keys_replaced"]
    assert changes[0]["added"] == [first]
    assert changes[1]["removed"] == [first]
    assert changes[1]["levelname"] == "WARNING"
    assert {change["source"] for change in changes} == {DISCOVERY}


@pytest.mark.requirement("KS-17")
async def test_a_change_that_leaves_a_key_is_no_replacement(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bench.peer.keys = answer(jwks(jwk(), jwk("RS256", "old")))
    await bench.find()
    bench.peer.keys = answer(jwks(jwk(), jwk("RS256", "new")))
    bench.clock.advance(481)
    await bench.refresh()

    last = vars(caplog.records[-1])

    assert (last["message"], last["levelname"]) == ("issuer_keys_changed", "INFO")
    assert (len(last["added"]), len(last["removed"])) == (1, 1)


# Freshness


@pytest.mark.requirement("KS-19")
@pytest.mark.parametrize(
    ("header", "due_s"),
    [("max-age=0", 240), ("max-age=1000", 800), ("max-age=99999", 2_880), ("", 480)],
)
async def test_keys_are_refreshed_in_the_background_at_four_fifths_of_their_freshness(
    bench: Bench, header: str, due_s: float
) -> None:
    bench.peer.keys = answer(jwks(), headers={"cache-control": header})
    await bench.find()

    bench.clock.advance(due_s - 1)
    await bench.refresh()
    assert bench.peer.key_fetches == 1
    bench.clock.advance(1)
    await bench.refresh()
    assert bench.peer.key_fetches == 2


@pytest.mark.requirement("KS-19")
@pytest.mark.parametrize(("jitter", "due_s"), [(0.9, 432), (1.1, 528)])
async def test_a_refresh_is_due_earlier_or_later_by_chance(jitter: float, due_s: float) -> None:
    bench = Bench()
    bench.keys = FetchedKeys(
        fetch=bench.peer, clock=bench.clock, metrics=bench.metrics, jitter=lambda: jitter
    )
    await bench.find()

    bench.clock.advance(due_s - 1)
    await bench.refresh()
    assert bench.peer.key_fetches == 1
    bench.clock.advance(2)
    await bench.refresh()
    assert bench.peer.key_fetches == 2


@pytest.mark.requirement("KS-19")
def test_chance_is_ten_percent_in_either_direction() -> None:
    found = [_jitter() for _ in range(500)]

    assert 0.9 <= min(found) < 0.95
    assert 1.05 < max(found) <= 1.1


async def test_the_background_refresh_runs_inside_the_context_and_ends_with_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.identity.jwks._TICK_S", 0.001)
    await bench.find()
    bench.clock.advance(481)
    bench.peer.gate.clear()
    bench.peer.arrived.clear()

    async with bench.keys:
        await asyncio.wait_for(bench.peer.arrived.wait(), 5)

    assert bench.peer.key_fetches == 2
    assert bench.peer.running == 0
    assert len(asyncio.all_tasks()) == 1


# Cool-down


@pytest.mark.requirement("KS-20", "KS-29")
async def test_a_flood_of_unknown_keys_causes_one_fetch_a_minute_and_leaves_nothing_behind(
    bench: Bench,
) -> None:
    await bench.find()
    bench.clock.advance(60)

    codes = {await bench.code(f"random-{n}") for n in range(1_000)}

    assert codes == {ErrorCode.TOKEN_KEY_UNKNOWN}
    assert bench.peer.key_fetches == 2
    assert len(bench.keys.states()) == 1
    bench.clock.advance(60)
    await bench.code("random")
    assert bench.peer.key_fetches == 3


@pytest.mark.requirement("KS-20")
async def test_the_cool_down_counts_from_the_end_of_a_failed_attempt_too(bench: Bench) -> None:
    bench.peer.keys = "connect"

    codes = {await bench.code(f"random-{n}") for n in range(1_000)}

    assert codes == {ErrorCode.KEYS_UNAVAILABLE}
    assert bench.peer.key_fetches == 1


@pytest.mark.requirement("KS-20", "KS-23")
async def test_unavailable_keys_say_when_a_retry_can_help(bench: Bench) -> None:
    bench.peer.keys = "connect"
    await bench.code()
    bench.clock.advance(20)

    with pytest.raises(Unavailable) as caught:
        await bench.find()

    assert caught.value.retry_after_s == 40
    assert caught.value.message == "The keys of the token's issuer cannot be fetched right now."


@pytest.mark.requirement("KS-20")
async def test_a_new_key_is_found_by_the_one_fetch_that_the_cool_down_allows(bench: Bench) -> None:
    await bench.find()
    new = key_id("RS256", "new")
    bench.peer.keys = answer(jwks(jwk(), jwk("RS256", "new")))

    assert await bench.code(new) is ErrorCode.TOKEN_KEY_UNKNOWN
    bench.clock.advance(60)
    assert await bench.find(new)


@pytest.mark.requirement("KS-20")
async def test_after_five_failures_the_background_asks_every_ten_minutes_and_callers_still_every_minute(
    bench: Bench,
) -> None:
    bench.peer.keys = "connect"
    await bench.code()
    for _ in range(4):
        bench.clock.advance(60)
        await bench.refresh()
    assert bench.peer.calls.count(f"{ISSUER.issuer}/keys") == 5

    bench.clock.advance(599)
    await bench.refresh()
    assert bench.peer.key_fetches == 5
    bench.clock.advance(1)
    await bench.refresh()
    assert bench.peer.key_fetches == 6
    bench.peer.keys = answer(jwks())
    bench.clock.advance(60)
    assert await bench.find()


# Waiting


@pytest.mark.requirement("KS-21")
async def test_two_hundred_calls_share_one_fetch_and_the_first_may_leave(bench: Bench) -> None:
    bench.peer.gate.clear()
    calls = [asyncio.create_task(bench.find()) for _ in range(200)]
    await bench.peer.arrived.wait()

    calls[0].cancel()
    await asyncio.sleep(0)
    bench.peer.gate.set()
    found = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(found[0], asyncio.CancelledError)
    assert len(set(found[1:])) == 1
    assert bench.peer.key_fetches == 1


@pytest.mark.requirement("KS-21")
async def test_who_waits_gives_up_at_an_own_deadline_and_the_fetch_goes_on(bench: Bench) -> None:
    bench.peer.gate.clear()
    patient = asyncio.create_task(bench.find())
    await bench.peer.arrived.wait()

    with pytest.raises(Unavailable, match="keys_unavailable"):
        await bench.find(within_s=0.001)
    bench.peer.gate.set()

    assert await patient
    assert bench.peer.key_fetches == 1


@pytest.mark.requirement("KS-21")
async def test_nobody_waits_for_a_fetch_longer_than_a_few_seconds_whatever_time_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.identity.jwks._LONGEST_WAIT_S", 0.001)
    monkeypatch.setattr("gateway.identity.retrieval._FETCH_S", 3_600)
    bench.peer.gate.clear()

    with no_hang(), pytest.raises(Unavailable, match="keys_unavailable"):
        await bench.find(within_s=3_600)

    bench.peer.gate.set()
    await bench.settle()


@pytest.mark.requirement("KS-21", "KS-11")
async def test_a_transport_that_ignores_its_deadline_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.identity.retrieval._FETCH_S", -0.99)
    bench.peer.gate.clear()

    assert await bench.code() is ErrorCode.KEYS_UNAVAILABLE
    assert bench.state().fault is KeyFault.TIMEOUT


@pytest.mark.requirement("KS-22")
async def test_a_known_key_never_waits_for_a_fetch(bench: Bench) -> None:
    await bench.find()
    bench.clock.advance(481)
    bench.peer.gate.clear()
    bench.peer.arrived.clear()
    bench.keys.refresh_due()
    await bench.peer.arrived.wait()

    # No event loop turn passes while the key is found: the coroutine ends at its first step.
    search = bench.keys.find(ISSUER, KID, deadline=bench.clock.monotonic())
    with pytest.raises(StopIteration) as ended:
        search.send(None)

    assert ended.value.value.key_id == KID
    bench.peer.gate.set()
    await bench.settle()


# Staleness


@pytest.mark.requirement("KS-23")
async def test_known_keys_outlive_an_outage_of_a_day_and_come_back_after_it(bench: Bench) -> None:
    await bench.find()
    bench.peer.keys = "connect"

    for hours in (1, 22, 1):
        bench.clock.advance(hours * 3_600)
        await bench.refresh()
        assert await bench.find()
    bench.clock.advance(1)
    assert bench.keys.known(ISSUER, KID) is None
    assert bench.keys.version(ISSUER) == ""
    assert await bench.code() is ErrorCode.KEYS_UNAVAILABLE
    assert bench.state().keys == 0

    bench.peer.keys = answer(jwks())
    bench.clock.advance(60)
    assert await bench.find()


@pytest.mark.requirement("KS-23", "TV-34")
async def test_a_jump_of_the_wall_clock_changes_nothing(bench: Bench) -> None:
    await bench.find()

    bench.clock.wall_s += 40 * 86_400

    assert bench.keys.known(ISSUER, KID) is not None
    await bench.refresh()
    assert bench.peer.key_fetches == 1


# Several issuers


@pytest.mark.requirement("KS-24")
async def test_an_issuer_that_hangs_holds_up_no_other(bench: Bench) -> None:
    bench.peer.held = {f"{ISSUER.issuer}/keys"}
    bench.peer.gate.clear()
    hanging = asyncio.create_task(bench.find())
    await bench.peer.arrived.wait()

    assert [await bench.find(issuer=other) for other in OTHERS]

    bench.peer.gate.set()
    assert await hanging


@pytest.mark.requirement("KS-24")
async def test_at_most_four_fetches_run_and_one_per_issuer(bench: Bench) -> None:
    bench.peer.gate.clear()
    calls = [asyncio.create_task(bench.find(issuer=issuer)) for issuer in OTHERS for _ in range(3)]
    await bench.peer.arrived.wait()
    for _ in range(50):
        await asyncio.sleep(0)

    assert bench.peer.most_running == 4
    bench.peer.gate.set()
    await asyncio.gather(*calls)
    assert bench.peer.most_running == 4
    assert bench.peer.key_fetches == len(OTHERS)


@pytest.mark.requirement("KS-25")
async def test_a_start_with_a_dead_issuer_says_so_and_recovers_without_restart(bench: Bench) -> None:
    dead = OTHERS[0]
    bench.peer.by_url[f"{dead.issuer}/keys"] = "connect"

    await bench.keys.prefetch([ISSUER, dead], deadline=bench.clock.monotonic() + 5)

    assert (bench.state().keys, bench.state().fault) == (4, None)
    assert (bench.state(dead).keys, bench.state(dead).fault) == (0, KeyFault.UNREACHABLE)
    assert bench.state(dead).age_s is None
    assert await bench.code(KID, dead) is ErrorCode.KEYS_UNAVAILABLE

    del bench.peer.by_url[f"{dead.issuer}/keys"]
    bench.clock.advance(60)
    await bench.refresh()
    assert bench.state(dead).keys == 4


@pytest.mark.requirement("KS-25")
async def test_a_start_waits_for_a_hanging_issuer_until_its_deadline(bench: Bench) -> None:
    bench.peer.gate.clear()

    await bench.keys.prefetch([ISSUER], deadline=bench.clock.monotonic() + 0.001)

    assert bench.state().keys == 0
    bench.peer.gate.set()
    await bench.settle()
    assert bench.state().keys == 4


@pytest.mark.requirement("KS-25")
async def test_the_state_tells_age_and_source(bench: Bench) -> None:
    await bench.find()
    bench.clock.advance(30)

    state = bench.state()

    assert state.age_s == 30
    assert state.source == f"{ISSUER.issuer}/.well-known/openid-configuration"
    assert state.version == bench.keys.version(ISSUER)


@pytest.mark.requirement("KS-28")
async def test_keys_survive_a_reload_that_leaves_their_location_alone(bench: Bench) -> None:
    await bench.find()
    renamed = dataclasses.replace(ISSUER, name="renamed", audiences=("another",))

    await bench.keys.prefetch([renamed], deadline=bench.clock.monotonic() + 5)

    assert bench.keys.known(renamed, KID) is not None
    assert [state.issuer for state in bench.keys.states()] == ["renamed"]
    assert bench.peer.key_fetches == 1


@pytest.mark.requirement("KS-28")
@pytest.mark.parametrize(
    "location",
    [
        pytest.param(KeyLocation(jwks_uri="https://elsewhere.example/keys"), id="url"),
        pytest.param(KeyLocation(ca_pem="another CA"), id="ca"),
        pytest.param(KeyLocation(hosts=("more.example",)), id="hosts"),
    ],
)
async def test_an_issuer_whose_location_changed_starts_empty(bench: Bench, location: KeyLocation) -> None:
    await bench.find()

    assert bench.keys.known(trusted(keys=location), KID) is None


@pytest.mark.requirement("KS-29")
async def test_issuers_that_are_configured_no_longer_leave_nothing_behind(bench: Bench) -> None:
    for n in range(300):
        bench.keys.known(trusted(issuer=f"https://gone-{n}.example", keys=KeyLocation()), KID)
    assert len(bench.keys.states()) == 128

    await bench.keys.prefetch([ISSUER], deadline=bench.clock.monotonic() + 5)

    assert len(bench.keys.states()) == 1


@pytest.mark.requirement("TV-17")
async def test_two_issuers_with_one_kid_keep_their_own_keys(bench: Bench) -> None:
    other = OTHERS[0]
    bench.peer.by_url[f"{other.issuer}/keys"] = answer(jwks(jwk("RS256", "theirs", kid=KID)))

    assert await bench.find() != await bench.find(issuer=other)


@pytest.mark.requirement("KS-13")
async def test_metrics_count_keys_fetches_and_what_was_dropped(bench: Bench) -> None:
    bench.peer.keys = answer(jwks(jwk(), jwk("ES256", use="enc")))
    await bench.find()

    text = bench.metrics.exposition().decode()

    assert 'oidc_gateway_issuer_keys{issuer="github"} 1.0' in text
    assert 'oidc_gateway_issuer_key_fetches_total{issuer="github",result="ok"} 1.0' in text
    assert 'oidc_gateway_issuer_keys_dropped_total{issuer="github",reason="use"} 1.0' in text


def test_a_failure_kind_of_the_transport_has_a_fault_each() -> None:
    from typing import get_args

    from gateway.identity.retrieval import _FAULTS

    assert set(_FAULTS) == set(get_args(FailureKind))
