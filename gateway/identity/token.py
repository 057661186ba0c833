"""What a token is before and after it is believed: the types. Reading is in `reading`, proof in `verify`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.identity.issuer import TrustedIssuer
from gateway.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a verified token speaks for: the pair that OIDC Core 1.0 section 5.7 calls unique and stable."""

    issuer: str
    subject: str

    @property
    def digest(self) -> str:
        """Return 32 hex digits of SHA-256(issuer NUL subject); the first half of every execution name."""
        return hashlib.sha256(f"{self.issuer}\0{self.subject}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Claims, believed or supposed: a value without power, so that tests and offline answers need no forged token.

    issuer: the *name* of the trusted issuer in `gateway.yaml`, which is what rules refer to.
    """

    issuer: str
    members: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnverifiedToken:
    """The permitted peeks into a token nobody has verified, and no others.

    claimed_expiry:  `exp` where it is an integer, else None. Only used to avoid a useless fetch.
    signing_input:   the received bytes before the second dot (RFC 7515 section 5.2).
    no_controls:     the payload holds no control character, however written; False where that takes a closer look.
    unbelieved_header, unbelieved_payload: parsed once for `verify_token`; nobody else reads them.
    """

    compact: Secret
    issuer: str
    key_id: str | None
    algorithm: str
    claimed_expiry: int | None
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    unbelieved_header: Mapping[str, object] = field(repr=False)
    unbelieved_payload: Mapping[str, object] = field(repr=False)
    no_controls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedToken:
    """A token whose signature, time, audience and kind have been verified; made by `verify_token` alone.

    digest:     SHA-256 of the whole compact token, 64 hex digits.
    expires_at: `exp`, seconds since the epoch.
    algorithm:  the verified `alg`; some targets accept fewer than we do.
    """

    compact: Secret
    digest: str
    issuer: TrustedIssuer
    principal: Principal
    claims: Claims
    expires_at: int
    key_id: str | None
    algorithm: str

    @property
    def replay_id(self) -> str:
        """Return the digest of issuer and signing input: never of the signature, of which anybody can make a second
        valid one (ES256).
        """
        signed, _, _ = self.compact.reveal().rpartition(".")
        return hashlib.sha256(f"{self.principal.issuer}\0{signed}".encode()).hexdigest()


class Identify(Protocol):
    """Read, find the issuer, find the key, prove: one call from text to a verified token."""

    async def __call__(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float, deadline: float
    ) -> VerifiedToken:
        """Return the verified token.

        issuers:  by their `iss` string.
        now:      wall seconds; deadline: monotonic seconds.
        Raises TokenRejected, AccessDenied (`issuer_disabled`) or Unavailable (`keys_unavailable`, `switches_unavailable`).
        """
        ...

    def at_once(
        self, text: Secret, issuers: Mapping[str, TrustedIssuer], *, now: float
    ) -> VerifiedToken | None:
        """Return the verified token without waiting for anything, None where its key has to be asked for first."""
        ...
