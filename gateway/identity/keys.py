"""Public keys: a JWK set as bytes becomes the keys that may verify a token; and who is asked for them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from gateway.identity.issuer import TrustedIssuer
from gateway.identity.jwk import (
    DropReason,
    UnfitKeyError,
    VerificationKey,
    holds_private_members,
    public_thumbprint,
    read_key,
)
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

MAX_KEYS: Final = 100
# A certificate chain (`x5c`) is a long string or several; a hundred keys with all members are 2,000.
_LIMITS: Final = JsonLimits(depth=8, members=4_096, array_length=MAX_KEYS, string_length=32_768)


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedKey:
    """A member of the set that is not used. thumbprint: None where its public part could not be read."""

    reason: DropReason
    thumbprint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """The usable keys of one set.

    by_id:     keys by `kid`; a `kid` that two usable keys share is in `ambiguous` instead.
    nameless:  keys without `kid`.
    exposed:   thumbprints whose private part stood in the set; they are never used again.
    version:   32 hex digits over the usable keys; equal sets have equal versions.
    """

    by_id: Mapping[str, VerificationKey]
    ambiguous: frozenset[str] = frozenset()
    nameless: tuple[VerificationKey, ...] = ()
    dropped: tuple[DroppedKey, ...] = ()
    exposed: frozenset[str] = frozenset()
    version: str

    @property
    def is_empty(self) -> bool:
        """Say whether no key of it could be used at all; an ambiguous `kid` counts as one that should be."""
        return not (self.by_id or self.nameless or self.ambiguous)

    @property
    def size(self) -> int:
        """Return the number of usable keys."""
        return len(self.by_id) + len(self.nameless)

    @property
    def thumbprints(self) -> frozenset[str]:
        """Return those of all usable keys."""
        return frozenset(key.thumbprint for key in (*self.by_id.values(), *self.nameless))

    def find(self, key_id: str | None) -> VerificationKey | None:
        """Return the key of this id. Keys are never tried in turn: without an id there must be just one key."""
        if key_id is not None:
            return self.by_id.get(key_id)
        found = (*self.by_id.values(), *self.nameless)
        return found[0] if len(found) == 1 and not self.ambiguous else None

    def without(self, exposed: frozenset[str]) -> "KeySet":
        """Return the set without the keys of these thumbprints."""
        if exposed.isdisjoint(self.thumbprints):
            return self
        kept = (key for key in (*self.by_id.values(), *self.nameless) if key.thumbprint not in exposed)
        return _assemble(kept, self.dropped, self.exposed | exposed)


class KeyFault(StrEnum):
    """Why a fetch gave no keys; for operators. A label of a metric: fixed."""

    DISCOVERY_MISMATCH = "discovery_mismatch"
    JWKS_HOST_NOT_ALLOWED = "jwks_host_not_allowed"
    ADDRESS_REFUSED = "address_refused"
    REDIRECT_REFUSED = "redirect_refused"
    TLS_FAILED = "tls_failed"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    BAD_ANSWER = "bad_answer"
    EMPTY_KEY_SET = "empty_key_set"
    INTERNAL = "internal_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetState:
    """What readiness and metrics say about one issuer.

    issuer:  its name in `gateway.yaml`. source: where the keys come from.
    keys:    usable keys held now, 0 when none or too old to use.
    age_s:   seconds since the last successful fetch; None before the first, 0 for a file.
    fault:   of the last attempt; None when it succeeded or none was made.
    version: of the key set held; empty when none. thumbprints: of its usable keys (RFC 7638).
    """

    issuer: str
    source: str
    keys: int
    age_s: float | None
    fault: KeyFault | None
    version: str
    thumbprints: tuple[str, ...] = ()


class Keys(Protocol):
    """Whoever knows the issuers' keys. Cached by issuer string and key location, so a reload keeps what it can."""

    def known(self, issuer: TrustedIssuer, key_id: str | None) -> VerificationKey | None:
        """Return the key if it is at hand; never waits, never fetches."""
        ...

    async def find(self, issuer: TrustedIssuer, key_id: str | None, *, deadline: float) -> VerificationKey:
        """Return the key, after at most one bounded fetch. deadline: monotonic seconds.

        Raises TokenRejected (`token_key_unknown`, `token_key_ambiguous`) or Unavailable (`keys_unavailable`).
        """
        ...

    def version(self, issuer: TrustedIssuer) -> str:
        """Return the version of the key set in use; empty when there is none."""
        ...

    def states(self) -> tuple[KeySetState, ...]:
        """Return one state for each issuer whose keys have been asked for."""
        ...


def read_key_set(data: bytes, *, exposed: frozenset[str] = frozenset()) -> KeySet:
    """Judge every key of a JWK set (RFC 7517 section 5) by itself; a bad one never spoils the others.

    exposed: thumbprints whose private part was published earlier.
    The set may turn out empty. Raises StrictJsonError when the text is no JWK set.
    """
    members = parse_json_object(data, _LIMITS).get("keys", [])
    if not isinstance(members, list):
        raise StrictJsonError("invalid", "Its member keys is not an array.")
    exposed |= _exposed_in(members)
    usable: list[VerificationKey] = []
    dropped: list[DroppedKey] = []
    for member in members:
        try:
            key = read_key(member)
        except UnfitKeyError as fault:
            dropped.append(DroppedKey(reason=fault.reason, thumbprint=fault.thumbprint))
            continue
        if key.thumbprint in exposed:
            dropped.append(DroppedKey(reason=DropReason.EXPOSED, thumbprint=key.thumbprint))
        else:
            usable.append(key)
    return _assemble(usable, tuple(dropped), exposed)


def _assemble(
    usable: Iterable[VerificationKey], dropped: tuple[DroppedKey, ...], exposed: frozenset[str]
) -> KeySet:
    by_id: dict[str, VerificationKey] = {}
    nameless: dict[str, VerificationKey] = {}
    ambiguous: set[str] = set()
    for key in usable:
        if key.key_id is None:
            nameless[key.thumbprint] = key
        elif by_id.setdefault(key.key_id, key) is not key:
            # Neither the first nor the last wins: whoever can add a key could choose (KS-16).
            ambiguous.add(key.key_id)
    for key_id in ambiguous:
        del by_id[key_id]
    listing = sorted(
        f"{key.key_id!r} {key.thumbprint} {sorted(key.algorithms)}"
        for key in (*by_id.values(), *nameless.values())
    )
    return KeySet(
        by_id=by_id,
        ambiguous=frozenset(ambiguous),
        nameless=tuple(nameless.values()),
        dropped=dropped,
        exposed=exposed,
        version=hashlib.sha256("\n".join(listing).encode()).hexdigest()[:32],
    )


def _exposed_in(members: list[object]) -> frozenset[str]:
    thumbprints = (
        public_thumbprint(member)
        for member in members
        if isinstance(member, dict) and holds_private_members(member)
    )
    return frozenset(thumbprint for thumbprint in thumbprints if thumbprint is not None)
