"""When a token may be used: `exp`, `nbf` and `iat` against one reading of the clock."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from gateway.errors import ErrorCode
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.refusals import missing, rejected

Members = Mapping[str, object]

_LAST_SECOND: Final = 253_402_300_799  # of the year 9999


def check_times(members: Members, issuer: TrustedIssuer, *, now: float) -> int:
    """Check `exp`, `nbf` and `iat` (RFC 7519 section 4.1) and return `exp`. One leeway holds for all three."""
    expires, issued = _time(members, "exp"), _time(members, "iat")
    starts = _time(members, "nbf") if "nbf" in members else 0
    for name, value in (("iat", issued), ("nbf", starts)):
        if value > expires:
            raise rejected(
                ErrorCode.CLAIM_VALUE_INVALID,
                f"The token's {name} is later than its exp.",
                name,
                "value",
                value,
            )
    if now >= expires + issuer.leeway_s:
        raise rejected(
            ErrorCode.TOKEN_EXPIRED,
            f"The token expired at {_utc(expires)}.",
            "exp",
            "value",
            expires,
            hint="Request a new token right before it is used.",
        )
    if starts > now + issuer.leeway_s:
        raise rejected(
            ErrorCode.TOKEN_NOT_YET_VALID,
            f"The token is not valid before {_utc(starts)}.",
            "nbf",
            "value",
            starts,
            hint="If this is unexpected, one of the two clocks is wrong.",
        )
    _check_age(issued, expires, issuer, now=now)
    return expires


def _check_age(issued: int, expires: int, issuer: TrustedIssuer, *, now: float) -> None:
    if issued > now + issuer.leeway_s:
        raise rejected(
            ErrorCode.TOKEN_ISSUED_IN_FUTURE,
            f"The token says that it was issued at {_utc(issued)}, which is still to come.",
            "iat",
            "value",
            issued,
            hint="One of the two clocks is wrong.",
        )
    if now - issued > issuer.max_age_s:
        raise rejected(
            ErrorCode.TOKEN_TOO_OLD,
            f"The token was issued at {_utc(issued)}, which is longer ago than is accepted here.",
            "iat",
            "value",
            issued,
            hint="Request a new token right before it is used.",
        )
    if expires - issued > issuer.max_lifetime_s:
        raise rejected(
            ErrorCode.TOKEN_LIFETIME_TOO_LONG,
            f"The token lives for {expires - issued:,} seconds, which is longer than is accepted here.",
            "exp",
            "value",
            expires,
            hint="Ask the identity provider for a shorter lifetime.",
        )


def _time(members: Members, name: str) -> int:
    if name not in members:
        raise missing(name)
    value = members[name]
    # bool is a subclass of int; fractions and texts are what STS refuses too.
    if type(value) is not int:
        raise rejected(
            ErrorCode.CLAIM_VALUE_INVALID, f"The token's {name} is not a whole number.", name, "type", value
        )
    if not 0 <= value <= _LAST_SECOND:
        raise rejected(
            ErrorCode.CLAIM_VALUE_INVALID,
            f"The token's {name} is not a time between 1970 and 9999.",
            name,
            "value",
            value,
        )
    return value


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
