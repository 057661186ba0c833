"""What is held of one issuer's keys and how attempts change it: no network, no clock, no log."""

import math
from dataclasses import dataclass, field
from typing import Final

from gateway.identity.discovery import KeyFetchError, discovery_url
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.keys import KeyFault, KeySet, KeySetState, read_key_set
from gateway.strict_json import StrictJsonError

_COOL_DOWN_S: Final = 60.0
_LONG_COOL_DOWN_S: Final = 600.0
_FAILURES_UNTIL_LONG: Final = 5
_STALE_MAX_S: Final = 86_400.0
_REFRESH_AT: Final = 0.8  # of freshness


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a fetched set changed, for the log. added, removed: thumbprints."""

    fetched: KeySet
    added: frozenset[str]
    removed: frozenset[str]

    @property
    def replaced_all(self) -> bool:
        """No overlap is how an issuer that was taken over looks, and how a hasty rotation does."""
        return bool(self.removed) and self.fetched.thumbprints == self.added


@dataclass(slots=True, kw_only=True)
class Holding:
    """The keys of one issuer string at one key location. All times are monotonic seconds.

    fetched_at:    of the last success.
    refresh_at:    when a background refresh is due.
    attempt_ended: the cool-down counts from here, whatever came of the attempt.
    exposed:       thumbprints whose private part was published; never used again.
    """

    issuer: TrustedIssuer
    held: KeySet | None = field(default=None, init=False)
    fetched_at: float = field(default=-math.inf, init=False)
    refresh_at: float = field(default=-math.inf, init=False)
    attempt_ended: float = field(default=-math.inf, init=False)
    failures: int = field(default=0, init=False)
    fault: KeyFault | None = field(default=None, init=False)
    exposed: frozenset[str] = field(default=frozenset(), init=False)

    @property
    def is_static(self) -> bool:
        """Say whether the keys come from a local file, which never grows stale and causes no traffic."""
        return self.issuer.keys.static_jwks is not None

    @property
    def source(self) -> str:
        """Return where the keys come from."""
        location = self.issuer.keys
        if self.is_static:
            return "file"
        return location.jwks_uri or location.discovery_url or discovery_url(self.issuer.issuer)

    def usable(self, *, now: float) -> KeySet | None:
        """Return the last good set, up to 24 hours after its fetch."""
        if not self.is_static and now - self.fetched_at > _STALE_MAX_S:
            return None
        return self.held

    def cool_down_s(self, *, now: float) -> float:
        """Return the seconds until a caller may cause the next attempt, 0 when one may now."""
        return max(0.0, self.attempt_ended + _COOL_DOWN_S - now)

    def is_due(self, *, now: float) -> bool:
        """Say whether the background should refresh now."""
        return not self.is_static and now >= self.refresh_at

    def take(self, data: bytes, *, fresh_s: float, now: float, jitter: float) -> Change:
        """Make a key set the one in use. Raises KeyFetchError; an empty set never replaces working keys."""
        try:
            fetched = read_key_set(data, exposed=self.exposed)
        except StrictJsonError as fault:
            raise KeyFetchError(
                KeyFault.BAD_ANSWER, f"The key set is not acceptable: {fault.message}"
            ) from None
        before = frozenset[str]() if self.held is None else self.held.thumbprints
        if fetched.is_empty:
            self._expose(fetched.exposed)
            raise EmptyKeySetError(fetched)
        self.exposed = fetched.exposed
        self.held = fetched
        self.fetched_at = now
        self.refresh_at = now + fresh_s * _REFRESH_AT * jitter
        return Change(
            fetched=fetched, added=fetched.thumbprints - before, removed=before - fetched.thumbprints
        )

    def _expose(self, thumbprints: frozenset[str]) -> None:
        # A key whose private part is out is not used once more, even when what came is no successor.
        self.exposed = thumbprints
        if self.held is not None:
            kept = self.held.without(thumbprints)
            self.held = None if kept.is_empty else kept

    def conclude(self, fault: KeyFault | None, *, now: float, jitter: float) -> None:
        """Note that an attempt has ended."""
        self.attempt_ended = now
        self.fault = fault
        if fault is None:
            self.failures = 0
            return
        self.failures += 1
        # The long step is for the background alone: callers who are waiting notice recovery within a minute.
        long = self.failures >= _FAILURES_UNTIL_LONG
        self.refresh_at = now + (_LONG_COOL_DOWN_S if long else _COOL_DOWN_S) * jitter

    def state(self, *, now: float) -> KeySetState:
        """Return what readiness and metrics say."""
        held = self.usable(now=now)
        fetched = math.isfinite(self.fetched_at)
        return KeySetState(
            issuer=self.issuer.name,
            source=self.source,
            keys=0 if held is None else held.size,
            age_s=0.0 if self.is_static else now - self.fetched_at if fetched else None,
            fault=self.fault,
            version="" if held is None else held.version,
            thumbprints=() if held is None else tuple(sorted(held.thumbprints)),
        )


class EmptyKeySetError(KeyFetchError):
    """A well-formed set without a usable key. fetched: it, for the reasons."""

    def __init__(self, fetched: KeySet) -> None:
        super().__init__(KeyFault.EMPTY_KEY_SET, "The key set holds no usable key.")
        self.fetched = fetched
