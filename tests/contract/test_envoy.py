"""A second opinion: Envoy and we judge the same tokens, and every difference between us is known and has a reason."""

import functools
import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final
from urllib.parse import urlsplit

import pytest

from gateway.clock import SystemClock
from gateway.errors import ErrorCode, TokenRejected
from gateway.identity.identify import VerifyingIdentify
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.identity.jwks import FetchedKeys
from gateway.metrics import Metrics
from gateway.outbound.http import Answer
from gateway.outbound.keyfetch import FetchRules
from gateway.secret import Secret
from tests.support.corpus.every import corpus
from tests.support.corpus.keys import key_set, other_key_set
from tests.support.corpus.making import ISSUER, LEEWAY_S, OTHER_ISSUER, Sample
from tests.support.envoy import JudgedIssuer
from tests.support.switches import Board
from tests.support.tokens import AUDIENCE

Envoy = Callable[[Sequence[JudgedIssuer]], AbstractContextManager[str]]

# --- Where Envoy believes a token that we refuse, and why we do. It never happens the other way round. ---

_ENCODING = (
    "one token must have one spelling: Envoy's decoder repairs what RFC 7515 section 2 forbids (TV-06)"
)
_SHAPE = "Envoy drops what follows the third part; a token is taken as it was sent or not at all (TV-03)"
_SIZE = "our limits on size and structure are tighter than Envoy's (TV-02, TV-11)"
_JSON = (
    "Envoy's parser is more generous than RFC 8259; STS's may read the text differently again (TV-08, TV-10)"
)
_HEADER = "we understand no extension of the header, so none may change what the token means (TV-13)"
_NO_KID = (
    "without a kid Envoy tries every key; we never try keys in turn, and STS wants a kid too (TV-15, TV-17)"
)
_KIND = "Envoy does not look at typ or events: another kind of token of the same issuer must not pass for ours (TV-16, TV-26b)"
_ALGORITHM = (
    "Envoy takes any algorithm the key fits; we keep a list for each issuer, and STS takes fewer (TV-12)"
)
_KEY_USE = "the issuer says what the key is for, and it is not this; Envoy ignores use and key_ops (TV-18)"
_KEY_WEAK = "RSA below 2,048 bits is no proof; BoringSSL still verifies it (TV-19)"
_KEY_PUBLISHED = "everybody can sign with a key whose private half is public; Envoy ignores that half (TV-20)"
_KEY_TWICE = (
    "two keys share the name: whoever can add a key to the set would choose; Envoy tries both (KS-16)"
)
_SIGNATURE = (
    "an ES256 signature is exactly 64 bytes (RFC 7518 section 3.4); Envoy halves whatever it gets (TV-21)"
)
_AUDIENCE = "we compare code point by code point; Envoy ignores the scheme and a slash at the end (TV-24)"
_AUDIENCES = "a token for somebody else as well can be replayed by them; any match satisfies Envoy (TV-24)"
_NUMBER = "times are whole numbers within the calendar: STS refuses fractions, so they could not be used anyway (TV-27)"
_IAT = (
    "Envoy demands no iat and judges none; we need it for the token's age, and STS demands it (TV-28, TV-31)"
)
_AGE = "how old a token is and how long it lives are limits of ours (TV-32)"
_SUBJECT = "Envoy does not judge sub; ours goes into records, names and rules (TV-28, TV-35)"

DIFFERENCES: Final[Mapping[str, str]] = {
    "dot-at-the-end": _SHAPE,
    "too-long": _SIZE,
    "padded-header": _ENCODING,
    "padded-payload": _ENCODING,
    "padded-signature": _ENCODING,
    "unused-bits-set": _ENCODING,
    "payload-with-trailing-comma": _JSON,
    "raw-control-character": _JSON,
    "nested-too-deep": _SIZE,
    "too-many-members": _SIZE,
    "crit-known-claim": _HEADER,
    "crit-empty": _HEADER,
    "crit-unencoded-payload": _HEADER,
    "b64-alone": _HEADER,
    "zip": _HEADER,
    "cty-jwt": _HEADER,
    "kid-missing": _NO_KID,
    "kid-empty": _NO_KID,
    "typ-logout": _KIND,
    "typ-dpop": _KIND,
    "typ-security-event": _KIND,
    "typ-a-number": _KIND,
    "logout-token": _KIND,
    "rs512-not-on-the-list": _ALGORITHM,
    "ps256-not-on-the-list": _ALGORITHM,
    "eddsa-not-on-the-list": _ALGORITHM,
    "key-for-encryption": _KEY_USE,
    "key-not-for-verifying": _KEY_USE,
    "key-too-weak": _KEY_WEAK,
    "key-published-with-its-private-half": _KEY_PUBLISHED,
    "two-keys-of-one-name-first": _KEY_TWICE,
    "two-keys-of-one-name-second": _KEY_TWICE,
    "es256-wide": _SIGNATURE,
    "audience-with-slash": _AUDIENCE,
    "audience-without-scheme": _AUDIENCE,
    "audience-among-others": _AUDIENCES,
    "exp-a-fraction": _NUMBER,
    "exp-a-whole-fraction": _NUMBER,
    "exp-with-exponent": _NUMBER,
    "exp-beyond-any-date": _NUMBER,
    "nbf-after-exp": _NUMBER,
    "iat-missing": _IAT,
    "iat-later": _IAT,
    "iat-a-fraction": _NUMBER,
    "iat-after-exp": _IAT,
    "too-old": _AGE,
    "lives-too-long": _AGE,
    "subject-missing": _SUBJECT,
    "subject-empty": _SUBJECT,
    "subject-with-blank": _SUBJECT,
    "subject-with-nul": _SUBJECT,
    "subject-with-line-break": _SUBJECT,
    "subject-not-ascii": _SUBJECT,
    "subject-endless": _SUBJECT,
}

KEY_SETS: Final[Mapping[str, Callable[[], Mapping[str, object]]]] = {
    ISSUER: key_set,
    OTHER_ISSUER: other_key_set,
}


# --- The two judges ---


@functools.cache
def samples() -> Mapping[str, Sample]:
    """Return the corpus, made once and at the moment it is needed: Envoy reads the machine's clock."""
    return {sample.name: sample for sample in corpus(int(time.time()))}


# Names alone are needed to list the cases; they are the same at every moment.
NAMES: Final = tuple(sample.name for sample in corpus(0))


@pytest.fixture(scope="module")
def envoy_url(envoy: Envoy) -> Iterator[str]:
    issuers = [
        JudgedIssuer(issuer=issuer, audiences=[AUDIENCE], jwks=keys(), leeway_s=LEEWAY_S)
        for issuer, keys in KEY_SETS.items()
    ]
    with envoy(issuers) as url:
        yield url


def envoy_believes(url: str, token: str) -> bool:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    try:
        # In bytes: the header may hold any of them.
        connection.request("GET", "/", headers={"Authorization": f"Bearer {token}".encode("latin-1")})
        status = connection.getresponse().status
    finally:
        connection.close()
    assert status in {200, 401, 403}, f"Envoy answered {status}, which is no verdict"
    return status == 200


async def our_verdict(token: str) -> ErrorCode | None:
    """Return why we refuse the token, None when we believe it."""
    clock = SystemClock()
    keys = FetchedKeys(fetch=never_fetch, clock=clock, metrics=Metrics())
    identify = VerifyingIdentify(keys, gate=Board().gate.issuer)
    try:
        await identify(Secret(token), trusted_issuers(), now=clock.wall(), deadline=clock.monotonic() + 5)
    except TokenRejected as refusal:
        return refusal.code
    return None


@functools.cache
def trusted_issuers() -> Mapping[str, TrustedIssuer]:
    return {
        issuer: TrustedIssuer(
            name=f"issuer-{number}",
            preset="generic",
            issuer=issuer,
            audiences=(AUDIENCE,),
            keys=KeyLocation(static_jwks=json.dumps(keys())),
            key_headers_ignored=True,  # as Envoy: not refused, and never used
            leeway_s=LEEWAY_S,
        )
        for number, (issuer, keys) in enumerate(KEY_SETS.items())
    }


async def never_fetch(url: str, rules: FetchRules, *, max_bytes: int, deadline: float) -> Answer:
    raise AssertionError(f"a static key set needs no {url}")


# --- What is asked of them ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.requirement(
    "TV-03",
    "TV-06",
    "TV-08",
    "TV-12",
    "TV-13",
    "TV-14",
    "TV-18",
    "TV-19",
    "TV-21",
    "TV-22",
    "TV-24",
    "TV-27",
    "KS-16",
)
async def test_we_judge_a_token_as_envoy_does_or_know_why_not(name: str, envoy_url: str) -> None:
    sample = samples()[name]

    ours = await our_verdict(sample.token)
    believed_by_envoy = envoy_believes(envoy_url, sample.token)

    assert ours == sample.code
    if name in DIFFERENCES:
        assert believed_by_envoy, f"Envoy refuses it now too: take {name} off the list of differences"
        assert ours is not None
    else:
        assert believed_by_envoy == (ours is None), f"A new difference: {name} needs an entry with its reason"


def test_every_listed_difference_is_about_a_token_of_the_corpus() -> None:
    assert DIFFERENCES.keys() <= set(NAMES)


def test_the_corpus_names_every_token_once() -> None:
    assert len(NAMES) == len(set(NAMES))
