"""Ten thousand tokens that somebody has tampered with, before and after signing: what they can never bring about."""

import asyncio
import json
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.clock import Clock
from gateway.errors import GatewayError, TokenRejected
from gateway.identity import reading
from gateway.identity.identify import CachingIdentify, VerifyingIdentify
from gateway.identity.jwks import FetchedKeys
from gateway.identity.reading import QUICK_JSON
from gateway.identity.token import Identify, VerifiedToken
from gateway.metrics import Metrics
from gateway.secret import Secret
from gateway.strict_json import (
    TOKEN_LIMITS,
    JsonLimits,
    Quick,
    StrictJsonError,
    _count_structure,
    _parse_closely,
    parse_json_object,
)
from tests.support.clocks import START_S, SettableClock
from tests.support.mutations import Spoiler
from tests.support.scripted_issuer import ScriptedIssuers
from tests.support.switches import Board
from tests.support.token_oracle import oracle_accepts
from tests.support.tokens import claims_of, token, trusted

GENERIC = trusted("generic")
ISSUERS = {GENERIC.issuer: GENERIC}
MALFORMED = 10_000


class Judges:
    """The gateway's ways to one verdict: the careful one, the one that waits for nothing, and the one that remembers."""

    def __init__(self) -> None:
        clock: Clock = SettableClock()
        keys = FetchedKeys(fetch=ScriptedIssuers(), clock=clock, metrics=Metrics(), jitter=lambda: 1.0)
        gate = Board().gate.issuer
        self.verifying: Identify = VerifyingIdentify(keys, gate=gate)
        self.caching: Identify = CachingIdentify(self.verifying, keys, clock, gate=gate, max_entries=64)
        # A key set from a file is read at the first question, which nobody waits for.
        self.first = asyncio.run(self.careful(self.verifying, token("generic")))

    async def careful(self, identify: Identify, text: str) -> str:
        try:
            found = await identify(Secret(text), ISSUERS, now=START_S, deadline=2_000.0)
        except GatewayError as refusal:
            return _told(refusal)
        return _believed(found)

    def at_once(self, identify: Identify, text: str) -> str:
        try:
            found = identify.at_once(Secret(text), ISSUERS, now=START_S)
        except GatewayError as refusal:
            return _told(refusal)
        return "unknown key" if found is None else _believed(found)


def _told(refusal: GatewayError) -> str:
    # Anything else is a 5xx, or a refusal of something that is not the token.
    assert isinstance(refusal, TokenRejected), refusal
    return str(refusal.code)


def _believed(found: VerifiedToken) -> str:
    return f"believed {found.principal.subject}"


@pytest.fixture(scope="module")
def judges() -> Judges:
    return Judges()


@pytest.mark.requirement("TV-46", "TV-48", "TV-21", "TV-06", "TV-09", "TV-27")
def test_of_ten_thousand_tampered_tokens_those_are_believed_that_a_second_opinion_believes(
    judges: Judges,
) -> None:
    spoiler = Spoiler(Random(20_261_122))
    verdicts: Counter[str] = Counter()
    malformed = 0

    while malformed < MALFORMED:
        text = spoiler.token()
        verdict = judges.at_once(judges.verifying, text)
        if verdict == "unknown key":
            verdict = asyncio.run(judges.careful(judges.verifying, text))
        believed = verdict.startswith("believed")
        assert believed == oracle_accepts(text), (verdict, text)
        malformed += not believed
        verdicts[verdict.split()[0]] += 1

    # Every kind of spoil did its work; a generator that only makes garbage would prove nothing.
    assert verdicts["believed"] > 100
    assert len(verdicts) > 20, verdicts


@pytest.mark.requirement("TV-48", "TV-49")
@settings(max_examples=150, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_every_way_to_a_verdict_comes_to_the_same_one(judges: Judges, random: Random) -> None:
    text = Spoiler(random).token()

    async def all_ways() -> set[str]:
        reading._decode_header.cache_clear()
        reading._read_header.cache_clear()
        cold = await judges.careful(judges.verifying, text)
        warm = await judges.careful(judges.verifying, text)
        kept = [await judges.careful(judges.caching, text) for _ in range(2)]
        quick = [judges.at_once(one, text) for one in (judges.verifying, judges.caching)]
        # Nothing to wait for means: the key is there, or the verdict would have been "unknown" after the question.
        quick = [cold if one == "unknown key" and cold == "token_key_unknown" else one for one in quick]
        return {cold, warm, *kept, *quick}

    assert len(asyncio.run(all_ways())) == 1


def _read(data: bytes, limits: JsonLimits, quick: Quick) -> object:
    try:
        return parse_json_object(data, limits, quick=quick)
    except StrictJsonError as fault:
        return fault.kind


def _read_closely(data: bytes, limits: JsonLimits) -> object:
    try:
        text = data.decode("utf-8")
        if text.startswith("\ufeff"):
            return "invalid"
        _count_structure(data, limits)
        return _parse_closely(text, data, limits)
    except StrictJsonError as fault:
        return fault.kind
    except UnicodeDecodeError:
        return "invalid"


@pytest.mark.requirement("TV-08", "TV-09", "TV-10", "TV-11")
@settings(max_examples=500, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_tampered_json_text_reads_the_same_with_and_without_the_quick_look(random: Random) -> None:
    good = repr(claims_of("github")).replace("'", '"').replace("None", "null").encode()
    data = Spoiler(random).json_text(good)

    assert (
        _read(data, TOKEN_LIMITS, json.loads)
        == _read(data, TOKEN_LIMITS, QUICK_JSON)
        == _read_closely(data, TOKEN_LIMITS)
    )
