"""One call from text to a verified token: what is asked of whom, and what is remembered."""

import asyncio
import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.errors import AccessDenied, ErrorCode, GatewayError, TokenRejected, Unavailable
from gateway.identity.identify import CachingIdentify, VerifyingIdentify
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.identity.jwks import FetchedKeys
from gateway.identity.token import Identify, VerifiedToken
from gateway.metrics import Metrics
from gateway.secret import Secret
from tests.support.clocks import START_S, SettableClock
from tests.support.scripted_issuer import ScriptedIssuers, answer
from tests.support.switches import Board, off
from tests.support.tokens import b64, jwk, jwks, key_id, token, trusted

GITHUB = trusted(keys=KeyLocation())


class Counting:
    """Counts what is really verified."""

    def __init__(self, inner: Identify) -> None:
        self._inner = inner
        self.calls = 0

    async def __call__(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float, deadline: float
    ) -> VerifiedToken:
        self.calls += 1
        return await self._inner(text, issuers, now=now, deadline=deadline)

    def at_once(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float
    ) -> VerifiedToken | None:
        self.calls += 1
        return self._inner.at_once(text, issuers, now=now)


class Bench:
    """The whole way from text to token over scripted issuers."""

    def __init__(self, *issuers: TrustedIssuer) -> None:
        self.issuers = {issuer.issuer: issuer for issuer in issuers or (GITHUB,)}
        self.peer = ScriptedIssuers()
        self.clock = SettableClock()
        self.keys = FetchedKeys(fetch=self.peer, clock=self.clock, metrics=Metrics(), jitter=lambda: 1.0)
        self.switches = Board()
        self.verifying = VerifyingIdentify(self.keys, gate=self.switches.gate.issuer)
        self.counting = Counting(self.verifying)
        self.caching = CachingIdentify(
            self.counting, self.keys, self.clock, gate=self.switches.gate.issuer, max_entries=10
        )

    async def identify(self, text: str) -> VerifiedToken:
        deadline = self.clock.monotonic() + 5
        return await self.verifying(Secret(text), self.issuers, now=self.clock.wall(), deadline=deadline)

    async def cached(self, text: str) -> VerifiedToken:
        deadline = self.clock.monotonic() + 5
        return await self.caching(Secret(text), self.issuers, now=self.clock.wall(), deadline=deadline)

    async def refresh(self) -> None:
        self.keys.refresh_due()
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "issuer-keys-fetch"]
        await asyncio.gather(*tasks)

    async def refused(self, text: str, *, cached: bool = False) -> GatewayError:
        with pytest.raises(GatewayError) as caught:
            await (self.cached(text) if cached else self.identify(text))
        return caught.value


async def test_a_good_token_is_identified() -> None:
    bench = Bench()

    found = await bench.identify(token())

    assert found.principal.issuer == GITHUB.issuer
    assert found.issuer is GITHUB


@pytest.mark.requirement("KS-01", "KS-05")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param(token("generic"), ErrorCode.TOKEN_ISSUER_UNKNOWN, id="unknown-issuer"),
        pytest.param(token(iss="http://169.254.169.254/x"), ErrorCode.TOKEN_ISSUER_UNKNOWN, id="metadata-address"),
        pytest.param(token(header={"jku": "https://evil.example/keys"}), ErrorCode.TOKEN_HEADER_INVALID, id="jku"),
        pytest.param(token(header={"x5u": "https://evil.example/x"}), ErrorCode.TOKEN_HEADER_INVALID, id="x5u"),
        pytest.param(token(algorithm="ES256"), ErrorCode.TOKEN_ALG_NOT_ALLOWED, id="algorithm-not-listed"),
        pytest.param(token(header={"typ": "logout+jwt"}), ErrorCode.TOKEN_TYPE_NOT_ALLOWED, id="type-not-listed"),
        pytest.param(token(header={"kid": None}), ErrorCode.TOKEN_KID_MISSING, id="no-kid"),
        pytest.param(token() + "=", ErrorCode.TOKEN_ENCODING_INVALID, id="shape"),
        pytest.param("a" * 20_000, ErrorCode.TOKEN_TOO_LARGE, id="size"),
        pytest.param(token(now=START_S - 100_000), ErrorCode.TOKEN_KEY_UNKNOWN, id="expired-long-ago"),
    ],
)  # fmt: skip
async def test_nothing_is_fetched_for_a_token_that_could_not_be_accepted(text: str, code: ErrorCode) -> None:
    bench = Bench()

    fault = await bench.refused(text)

    assert fault.code is code
    assert bench.peer.calls == []


@pytest.mark.requirement("KS-01")
async def test_a_kid_becomes_no_part_of_a_request() -> None:
    bench = Bench()

    fault = await bench.refused(token(header={"kid": "../../evil.example?x=#"}))

    assert fault.code is ErrorCode.TOKEN_KEY_UNKNOWN
    assert "evil" not in "".join(bench.peer.calls)


@pytest.mark.requirement("KS-05")
async def test_with_its_key_at_hand_an_expired_token_is_told_so() -> None:
    bench = Bench()
    await bench.identify(token())

    fault = await bench.refused(token(now=START_S - 100_000))

    assert fault.code is ErrorCode.TOKEN_EXPIRED


@pytest.mark.requirement("TV-22")
async def test_an_unknown_issuer_is_neither_echoed_nor_told_which_are_known() -> None:
    bench = Bench(trusted("auth0", keys=KeyLocation()))

    fault = await bench.refused(token("auth0", iss="https://acme.eu.auth0.example"))

    assert fault.message == "The token's issuer is not trusted here."
    assert "trailing slash" in str(fault.hint)
    assert "auth0.example" not in f"{fault} {fault.hint}"


@pytest.mark.requirement("TV-17")
async def test_two_cognito_pools_with_one_key_and_one_kid_never_pass_for_each_other() -> None:
    ours = trusted("cognito-id", keys=KeyLocation())
    theirs = trusted(
        "cognito-id", name="theirs", issuer=f"{ours.issuer}-other", keys=KeyLocation(), clients=("x",)
    )
    bench = Bench(ours, theirs)

    both = [
        await bench.identify(token("cognito-id")),
        await bench.identify(token("cognito-id", iss=theirs.issuer, aud="x")),
    ]

    assert [found.issuer.name for found in both] == ["cognito-id", "theirs"]
    assert both[0].principal != both[1].principal
    assert (
        await bench.refused(token("cognito-id", iss=theirs.issuer))
    ).code is ErrorCode.TOKEN_AUDIENCE_MISMATCH
    bench.issuers.pop(theirs.issuer)
    assert (await bench.refused(token("cognito-id", iss=theirs.issuer, aud="x"))).code is (
        ErrorCode.TOKEN_ISSUER_UNKNOWN
    )


@pytest.mark.requirement("TV-17")
async def test_a_key_of_one_issuer_proves_nothing_for_another() -> None:
    other = trusted("generic", keys=KeyLocation())
    bench = Bench(GITHUB, other)
    bench.peer.by_url[f"{other.issuer}/keys"] = answer(jwks(jwk("RS256", "theirs", kid=key_id("RS256"))))
    await bench.identify(token("generic", which="theirs", header={"kid": key_id("RS256")}))
    forged = token(which="theirs", header={"kid": key_id("RS256")})

    assert (await bench.refused(forged)).code is ErrorCode.TOKEN_SIGNATURE_INVALID


@pytest.mark.requirement("TV-17")
async def test_a_key_that_another_issuer_is_known_to_have_is_unknown_for_this_one() -> None:
    other = trusted("generic", keys=KeyLocation())
    bench = Bench(GITHUB, other)
    theirs = {"kid": "theirs"}
    bench.peer.by_url[f"{other.issuer}/keys"] = answer(jwks(jwk("RS256", "theirs", kid="theirs")))
    await bench.identify(token("generic", which="theirs", header=theirs))

    for _ in range(2):
        fault = await bench.refused(token(which="theirs", header=theirs))

        assert fault.code is ErrorCode.TOKEN_KEY_UNKNOWN


@pytest.mark.requirement("TV-48")
async def test_a_bug_of_ours_is_an_internal_error_and_its_text_goes_nowhere(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("hunter2")

    monkeypatch.setattr("gateway.identity.identify.verify_token", broken)

    fault = await Bench().refused(token())

    assert isinstance(fault, Unavailable)
    assert fault.code is ErrorCode.INTERNAL_ERROR
    assert fault.__cause__ is None
    assert vars(caplog.records[-1])["exception"] == "ValueError"
    assert "hunter2" not in f"{fault} {fault.hint} {caplog.text}"


@pytest.mark.requirement("TV-02")
async def test_the_longest_token_can_be_raised_to_what_sts_takes() -> None:
    bench = Bench()
    text = token(padding="x" * 8_000, more="y" * 2_000)
    short = VerifyingIdentify(bench.keys, gate=Board().gate.issuer, max_token_chars=1_000)

    assert (await bench.identify(text)).compact == Secret(text)
    with pytest.raises(TokenRejected, match="token_too_large"):
        await short(Secret(text), bench.issuers, now=START_S, deadline=2_000.0)


# The cache


@pytest.mark.requirement("TV-49")
async def test_the_same_token_is_verified_once() -> None:
    bench = Bench()
    text = token()

    first, second = await bench.cached(text), await bench.cached(text)

    assert first is second
    assert bench.counting.calls == 1


@pytest.mark.requirement("TV-49")
async def test_another_signature_is_never_a_hit() -> None:
    bench = Bench()
    text = token()
    await bench.cached(text)
    head = text.rpartition(".")[0]

    fault = await bench.refused(f"{head}.{b64(b'x' * 256)}", cached=True)

    assert fault.code is ErrorCode.TOKEN_SIGNATURE_INVALID


@pytest.mark.requirement("TV-49")
async def test_a_result_is_kept_for_a_minute() -> None:
    bench = Bench()
    text = token()
    await bench.cached(text)

    bench.clock.advance(59.9)
    await bench.cached(text)
    assert bench.counting.calls == 1
    bench.clock.advance(0.1)
    await bench.cached(text)
    assert bench.counting.calls == 2


@pytest.mark.requirement("TV-49", "TV-29")
async def test_a_token_expires_in_the_cache_as_well() -> None:
    bench = Bench()
    text = token(exp=int(START_S) + 10)
    await bench.cached(text)

    bench.clock.advance(40)

    assert (await bench.refused(text, cached=True)).code is ErrorCode.TOKEN_EXPIRED
    assert bench.counting.calls == 1


@pytest.mark.requirement("TV-49", "KS-15")
async def test_a_key_that_was_removed_takes_its_tokens_along_at_once() -> None:
    bench = Bench()
    text = token()
    await bench.identify(text)
    bench.clock.monotonic_s += 481  # the refresh is due; the token is as fresh as before
    await bench.cached(text)

    bench.peer.keys = answer(jwks(jwk("RS256", "new")))
    await bench.refresh()

    assert (await bench.refused(text, cached=True)).code is ErrorCode.TOKEN_KEY_UNKNOWN


@pytest.mark.requirement("TV-49")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"audiences": ("another",)}, ErrorCode.TOKEN_AUDIENCE_MISMATCH, id="audience"),
        pytest.param({"algorithms": ("ES256",)}, ErrorCode.TOKEN_ALG_NOT_ALLOWED, id="algorithms"),
        pytest.param({"clients": ("app",)}, ErrorCode.TOKEN_CLIENT_MISMATCH, id="clients"),
        pytest.param(None, ErrorCode.TOKEN_ISSUER_UNKNOWN, id="removed"),
    ],
)
async def test_a_changed_issuer_takes_effect_at_once(change: dict[str, Any] | None, code: ErrorCode) -> None:
    bench = Bench()
    text = token()
    await bench.cached(text)

    del bench.issuers[GITHUB.issuer]
    if change is not None:
        bench.issuers[GITHUB.issuer] = dataclasses.replace(GITHUB, **change)

    assert (await bench.refused(text, cached=True)).code is code


@pytest.mark.requirement("TV-49")
async def test_a_reload_that_changes_nothing_keeps_what_was_verified() -> None:
    bench = Bench()
    text = token()
    await bench.cached(text)

    bench.issuers = {GITHUB.issuer: trusted(keys=KeyLocation())}
    await bench.cached(text)

    assert bench.counting.calls == 1


@pytest.mark.requirement("TV-49")
async def test_refusals_are_not_remembered_and_the_cache_is_bounded() -> None:
    bench = Bench()
    await bench.refused(token(sub=""), cached=True)
    assert len(bench.caching._entries) == 0

    for n in range(25):
        await bench.cached(token(run_id=str(n)))

    assert len(bench.caching._entries) == 10


# Switches.


@pytest.mark.requirement("KS-27")
async def test_an_issuer_that_is_off_is_refused_before_any_key_is_looked_up_or_fetched() -> None:
    bench = Bench()
    bench.switches.switch_off(off("issuer", "github"))

    failure = await bench.refused(token())

    assert failure.code is ErrorCode.ISSUER_DISABLED
    assert bench.peer.calls == []


@pytest.mark.requirement("KS-27")
async def test_before_the_algorithm_or_a_key_of_an_issuer_that_is_off_is_judged_the_switch_answers() -> None:
    bench = Bench()
    bench.switches.switch_off(off("issuer", "github"))

    header = b64(b'{"alg":"EdDSA","kid":"x"}')

    failure = await bench.refused(f"{header}.{token().split('.')[1]}.AA")

    assert failure.code is ErrorCode.ISSUER_DISABLED


@pytest.mark.requirement("KS-27")
async def test_a_token_that_was_verified_before_does_not_outlive_the_switch() -> None:
    bench = Bench()
    text = token()
    await bench.cached(text)
    bench.switches.switch_off(off("issuer", "github"))

    failure = await bench.refused(text, cached=True)

    assert failure.code is ErrorCode.ISSUER_DISABLED
    assert bench.counting.calls == 1


@pytest.mark.requirement("KS-27")
async def test_a_switch_that_is_turned_while_keys_are_fetched_refuses_all_the_same() -> None:
    bench = Bench()
    bench.peer.gate.clear()
    call = asyncio.create_task(bench.identify(token()))
    await bench.peer.arrived.wait()
    bench.switches.switch_off(off("issuer", "github"))

    bench.peer.gate.set()

    with pytest.raises(AccessDenied) as refused:
        await call
    assert refused.value.code is ErrorCode.ISSUER_DISABLED


@pytest.mark.requirement("KS-27")
async def test_another_issuer_is_not_touched() -> None:
    bench = Bench(GITHUB, trusted("gitlab", keys=KeyLocation()))
    bench.switches.switch_off(off("issuer", "gitlab"))

    assert (await bench.identify(token())).issuer is GITHUB


@pytest.mark.requirement("AD-06", "F-38")
@pytest.mark.parametrize("cached", [False, True], ids=["anew", "verified-before"])
async def test_while_nobody_can_tell_what_is_off_every_issuer_is(*, cached: bool) -> None:
    bench = Bench()
    text = token()
    if cached:
        await bench.cached(text)
    bench.switches.break_down()

    failure = await bench.refused(text, cached=cached)

    assert failure.code is ErrorCode.SWITCHES_UNAVAILABLE


@pytest.mark.parametrize("cached", [False, True], ids=["verifying", "cached"])
async def test_a_token_whose_key_is_known_is_verified_at_once_and_any_other_has_to_be_asked_for(
    cached: bool,
) -> None:
    bench = Bench()
    one = bench.caching if cached else bench.verifying
    now = bench.clock.wall()

    before = one.at_once(Secret(token()), bench.issuers, now=now)
    asked = await one(Secret(token()), bench.issuers, now=now, deadline=bench.clock.monotonic() + 5)
    after = one.at_once(Secret(token()), bench.issuers, now=now)

    assert before is None
    assert asked == after


async def test_what_is_refused_is_refused_at_once_in_the_same_words() -> None:
    bench = Bench()
    await bench.identify(token())
    forged = token()[:-6] + "AAAAAA"

    with pytest.raises(TokenRejected) as at_once:
        bench.caching.at_once(Secret(forged), bench.issuers, now=bench.clock.wall())

    asked = await bench.refused(forged, cached=True)
    assert (at_once.value.code, at_once.value.message) == (asked.code, asked.message)
    assert asked.code is ErrorCode.TOKEN_SIGNATURE_INVALID
