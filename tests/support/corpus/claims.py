"""What is wrong with what a well-signed token says: issuer, audience, times, subject, kind."""

from gateway.errors import ErrorCode
from tests.support.corpus.making import ISSUER, LEEWAY_S, OTHER_ISSUER, Maker, Rows
from tests.support.tokens import AUDIENCE


def issuer(make: Maker) -> Rows:
    unknown = ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-unknown", make.claiming(iss="https://else.example"), unknown
    yield "issuer-with-slash", make.claiming(iss=f"{ISSUER}/"), unknown
    yield "issuer-in-capitals", make.claiming(iss=ISSUER.upper()), unknown
    yield "issuer-with-port", make.claiming(iss="https://issuer.example:443/tenant"), unknown
    yield "issuer-over-http", make.claiming(iss=ISSUER.replace("https", "http")), unknown
    yield "issuer-without-scheme", make.claiming(iss=ISSUER.removeprefix("https://")), unknown
    yield "issuer-cut", make.claiming(iss="https://issuer.example"), unknown
    yield "issuer-with-more", make.claiming(iss=f"{ISSUER}.attacker.example"), unknown
    yield "issuer-missing", make.claiming(iss=...), ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-a-number", make.claiming(iss=7), ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-a-list", make.claiming(iss=[ISSUER]), ErrorCode.TOKEN_ISSUER_UNKNOWN
    yield "issuer-the-other", make.claiming(iss=OTHER_ISSUER), ErrorCode.TOKEN_SIGNATURE_INVALID


def audience(make: Maker) -> Rows:
    mismatch = ErrorCode.TOKEN_AUDIENCE_MISMATCH
    yield "audience-missing", make.claiming(aud=...), ErrorCode.TOKEN_AUDIENCE_MISSING
    yield "audience-wrong", make.claiming(aud="https://else.example"), mismatch
    yield "audience-with-slash", make.claiming(aud=f"{AUDIENCE}/"), mismatch
    yield "audience-without-scheme", make.claiming(aud=AUDIENCE.removeprefix("https://")), mismatch
    yield "audience-in-capitals", make.claiming(aud=AUDIENCE.upper()), mismatch
    yield "audience-in-a-text-of-several", make.claiming(aud=f"https://else.example {AUDIENCE}"), mismatch
    yield "audience-among-others", make.claiming(aud=["https://else.example", AUDIENCE]), mismatch
    yield "audience-list-empty", make.claiming(aud=[]), ErrorCode.TOKEN_AUDIENCE_MISSING
    yield "audience-empty", make.claiming(aud=""), mismatch
    yield "audience-a-number", make.claiming(aud=7), mismatch
    yield "audience-an-object", make.claiming(aud={AUDIENCE: True}), mismatch
    yield "audience-list-with-a-number", make.claiming(aud=[AUDIENCE, 7]), mismatch


def time(make: Maker) -> Rows:
    now = make.now
    invalid = ErrorCode.CLAIM_VALUE_INVALID
    missing = ErrorCode.CLAIM_MISSING
    yield "exp-missing", make.claiming(exp=...), missing
    yield "exp-null", make.claiming(exp=None), invalid
    yield "exp-a-text", make.claiming(exp=str(now + 600)), invalid
    yield "exp-a-fraction", make.claiming(exp=now + 600.5), invalid
    yield "exp-a-whole-fraction", make.time_as(f"{now + 600}.0"), invalid
    yield "exp-with-exponent", make.time_as(f"{(now + 600) // 100}e2"), invalid
    yield "exp-true", make.claiming(exp=True), invalid
    yield "exp-negative", make.claiming(exp=-1), invalid
    yield "exp-beyond-64-bits", make.time_as("1" + "0" * 25), invalid
    yield "exp-beyond-any-date", make.claiming(exp=253_402_300_800), invalid
    yield "exp-a-list", make.claiming(exp=[now + 600]), invalid
    yield (
        "expired-beyond-leeway",
        make.claiming(iat=now - 600, exp=now - LEEWAY_S - 5),
        ErrorCode.TOKEN_EXPIRED,
    )
    yield "expired-long-ago", make.claiming(iat=now - 7_200, exp=now - 3_600), ErrorCode.TOKEN_EXPIRED
    yield "exp-zero", make.claiming(iat=0, exp=0), ErrorCode.TOKEN_EXPIRED
    yield "not-before-later", make.claiming(nbf=now + 300), ErrorCode.TOKEN_NOT_YET_VALID
    yield "nbf-a-text", make.claiming(nbf=str(now - 60)), invalid
    yield "nbf-true", make.claiming(nbf=True), invalid
    yield "nbf-null", make.claiming(nbf=None), invalid
    yield "nbf-after-exp", make.claiming(nbf=now + 20, exp=now + 10), invalid
    yield "iat-missing", make.claiming(iat=...), missing
    yield "iat-later", make.claiming(iat=now + 300), ErrorCode.TOKEN_ISSUED_IN_FUTURE
    yield "iat-a-text", make.claiming(iat=str(now - 60)), invalid
    yield "iat-false", make.claiming(iat=False), invalid
    yield "iat-a-fraction", make.claiming(iat=now - 60.5), invalid
    yield "iat-after-exp", make.claiming(iat=now + 20, exp=now + 10), invalid
    yield "too-old", make.claiming(iat=now - 7_200), ErrorCode.TOKEN_TOO_OLD
    yield "lives-too-long", make.claiming(exp=now + 10 * 86_400), ErrorCode.TOKEN_LIFETIME_TOO_LONG


def subject_and_kind(make: Maker) -> Rows:
    invalid = ErrorCode.CLAIM_VALUE_INVALID
    yield "subject-missing", make.claiming(sub=...), ErrorCode.CLAIM_MISSING
    yield "subject-null", make.claiming(sub=None), invalid
    yield "subject-empty", make.claiming(sub=""), invalid
    yield "subject-a-number", make.claiming(sub=7), invalid
    yield "subject-with-blank", make.claiming(sub="build 7"), invalid
    yield "subject-with-nul", make.claiming(sub="build\0"), invalid
    yield "subject-with-line-break", make.claiming(sub="build\r\nX: y"), invalid
    yield "subject-not-ascii", make.claiming(sub="b\u00fcild"), invalid
    yield "subject-endless", make.claiming(sub="s" * 256), invalid
    yield (
        "logout-token",
        make.claiming(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
        ErrorCode.TOKEN_TYPE_NOT_ALLOWED,
    )
