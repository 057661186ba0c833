"""One call from text to a verified token: read, find the issuer, find the key, prove; and a cache in front of it."""

import logging
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.errors import ErrorCode, GatewayError, TokenRejected, Unavailable
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.jwk import VerificationKey
from gateway.identity.keys import Keys
from gateway.identity.reading import LONGEST_FOR_STS_CHARS, MAX_TOKEN_CHARS, read_token
from gateway.identity.refusals import signed
from gateway.identity.times import check_times
from gateway.identity.token import Identify, UnverifiedToken, VerifiedToken
from gateway.identity.verify import check_acceptable, issuer_unknown, verify_token
from gateway.secret import Secret

_log = logging.getLogger(__name__)

_LONG_PAST_S: Final = 300  # what STS tolerates; nobody accepts a token that expired earlier
_CACHED_FOR_S: Final = 60.0


class IssuerGate(Protocol):
    """Asked about the issuer before anything else of it is looked at, on every call."""

    def __call__(self, issuer: TrustedIssuer) -> None:
        """Return, or raise AccessDenied (`issuer_disabled`) or Unavailable (`switches_unavailable`)."""
        ...


class VerifyingIdentify:
    """Implements Identify. Nothing is fetched for a token that could not be accepted anyway.

    gate: asked before the issuer's keys are looked up or fetched, and again once they are there.
    """

    def __init__(self, keys: Keys, *, gate: IssuerGate, max_token_chars: int = MAX_TOKEN_CHARS) -> None:
        self._keys = keys
        self._gate = gate
        self._max_token_chars = max_token_chars

    async def __call__(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float, deadline: float
    ) -> VerifiedToken:
        """Return the verified token, or raise TokenRejected, AccessDenied or Unavailable and nothing else."""
        try:
            token, issuer = self._read(text, issuers)
            key = await self._key(token, issuer, now=now, deadline=deadline)
            self._gate(issuer)  # a fetch takes seconds, and the switch may have been turned meanwhile
            return verify_token(token, issuer, key, now=now)
        except GatewayError:
            raise
        except Exception as bug:  # noqa: BLE001 - turned into a refusal of its own
            raise _no_verdict(bug) from None

    def at_once(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float
    ) -> VerifiedToken | None:
        """Return the verified token, None where its key has to be asked for first; raises as the call does."""
        try:
            token, issuer = self._read(text, issuers)
            key = self._keys.known(issuer, token.key_id)
            return None if key is None else verify_token(token, issuer, key, now=now)
        except GatewayError:
            raise
        except Exception as bug:  # noqa: BLE001 - as above
            raise _no_verdict(bug) from None

    def _read(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer]
    ) -> tuple[UnverifiedToken, TrustedIssuer]:
        token = read_token(text, max_chars=self._max_token_chars)
        issuer = issuers.get(token.issuer)
        if issuer is None:
            raise issuer_unknown()
        self._gate(issuer)
        check_acceptable(token, issuer)
        return token, issuer

    async def _key(
        self, token: UnverifiedToken, issuer: TrustedIssuer, *, now: float, deadline: float
    ) -> VerificationKey:
        known = self._keys.known(issuer, token.key_id)
        if known is not None:
            return known
        if token.claimed_expiry is not None and token.claimed_expiry + _LONG_PAST_S <= now:
            raise TokenRejected(
                ErrorCode.TOKEN_KEY_UNKNOWN,
                "The key that the token names is not known here.",
                hint="Request a new token.",
            )
        return await self._keys.find(issuer, token.key_id, deadline=deadline)


def _no_verdict(bug: Exception) -> Unavailable:
    """Log a bug of ours, and return what it is to the caller: never a pass, and never "invalid token" either."""
    # The exception's text may hold claims, so its class is all that is kept of it.
    _log.error("verification_bug", extra={"exception": type(bug).__name__})
    return Unavailable(
        ErrorCode.INTERNAL_ERROR, "The token could not be judged because of a fault in the gateway."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remembered:
    token: VerifiedToken
    keys: str
    until: float


class CachingIdentify:
    """Implements Identify by remembering what another one has verified.

    Filed by SHA-256 of the whole compact token, signature included. A hit counts only while the issuer is configured
    with the same values and its key set is the same, at most 60 s; the gate and the times are asked again on every hit.
    """

    def __init__(
        self,
        inner: Identify,
        keys: Keys,
        clock: Clock,
        *,
        gate: IssuerGate,
        max_entries: int = 4096,
    ) -> None:
        self._inner = inner
        self._keys = keys
        self._clock = clock
        self._gate = gate
        self._max_entries = max_entries
        self._entries: OrderedDict[str, _Remembered] = OrderedDict()

    async def __call__(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float, deadline: float
    ) -> VerifiedToken:
        """Return the verified token, as Identify says."""
        digest = _filed_under(text)
        token = self._recall(digest, issuers, now=now)
        if token is None:
            token = await self._inner(text, issuers, now=now, deadline=deadline)
            self._remember(digest, token)
        return token

    def at_once(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float
    ) -> VerifiedToken | None:
        """Return the verified token, None where its key has to be asked for first, as Identify says."""
        digest = _filed_under(text)
        token = self._recall(digest, issuers, now=now)
        if token is None:
            token = self._inner.at_once(text, issuers, now=now)
            if token is not None:
                self._remember(digest, token)
        return token

    def _recall(
        self, digest: str | None, issuers: Mapping[str, TrustedIssuer], *, now: float
    ) -> VerifiedToken | None:
        entry = self._entries.get(digest) if digest is not None else None
        if entry is None or digest is None:
            return None
        if not self._still_holds(entry, issuers):
            del self._entries[digest]
            return None
        self._gate(entry.token.issuer)
        members = entry.token.claims.members
        try:
            check_times(members, entry.token.issuer, now=now)
        except TokenRejected as refusal:
            raise signed(refusal, entry.token.issuer, members) from None
        return entry.token

    def _still_holds(self, entry: _Remembered, issuers: Mapping[str, TrustedIssuer]) -> bool:
        issuer = entry.token.issuer
        return (
            self._clock.monotonic() < entry.until
            and issuers.get(issuer.issuer) == issuer
            and self._keys.version(issuer) == entry.keys
        )

    def _remember(self, digest: str | None, token: VerifiedToken) -> None:
        if digest is None:
            return
        now = self._clock.monotonic()
        # Nothing was awaited between the key's look-up and here, so this version is of the set that held the key.
        self._entries[digest] = _Remembered(
            token=token, keys=self._keys.version(token.issuer), until=now + _CACHED_FOR_S
        )
        # The oldest stand first. What no hit can count any more is memory alone, 5 kB each.
        while next(iter(self._entries.values())).until <= now:
            self._entries.popitem(last=False)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)


def _filed_under(text: Secret) -> str | None:
    """Return the digest of the whole token; None for what is too long to be one, and not worth a digest."""
    return None if len(text) > LONGEST_FOR_STS_CHARS else text.digest()
