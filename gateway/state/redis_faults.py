"""What can be wrong with Redis: from an exception to one reason, one sentence and what to do about it.

[edge]
"""

import re
import ssl
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, get_args

from redis import exceptions

from gateway.outbound.words import mask_opaque
from gateway.state.address import Scheme

_T = TypeVar("_T")

Reason = Literal[
    "timeout",
    "unreachable",
    "tls",
    "password",
    "permission",
    "database",
    "loading",
    "readonly",
    "cluster",
    "version",
    "protocol",
    "evicting",
    "full",
    "clock",
    "data_lost",
    "other",
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)

#: Redis cannot be spoken to at all: nobody waits for it again until a probe got an answer.
DOWN: Final[frozenset[Reason]] = frozenset(
    {"timeout", "unreachable", "tls", "password", "database", "loading"}
)

_ADVICE: Final[dict[Reason, str]] = {
    "timeout": "look at its load (SLOWLOG, INFO commandstats) and at the network, and whether it is a Redis that listens "
    "there; state.timeout_ms is the limit",
    "unreachable": "check state.url, that Redis runs, and the network between",
    "tls": "check state.ca_file, that its certificate names the host of state.url, and that the port speaks TLS; where Redis "
    "asks for a client's certificate (tls-auth-clients), give state.certificate and state.key",
    "password": "state.username and state.password_file must be those of an ACL user that is `on`",
    "permission": "give the user what the README's ACL line gives",
    "database": "state.url ends in the number of a database that this Redis has",
    "loading": "it is reading its data from disk; nothing to do but wait",
    "readonly": "state.url must name the primary, not a replica",
    "cluster": "state.url must name one Redis, or an endpoint that stands for one, not a node of a Redis Cluster",
    "version": "Redis 6.2 or later, or Valkey, is needed",
    "protocol": "state.url must name a Redis 6.2 or later, or a Valkey: check what listens there, and what stands between",
    "evicting": "set maxmemory-policy noeviction: evicting would forget used tokens",
    "full": "raise maxmemory, or wait until entries expire; the README says what a million tokens need",
    "clock": "set both clocks right (NTP): beyond 60 s a used token could be forgotten while it is still valid",
    "data_lost": "tokens used before may be used again until they expire; turn on appendonly and keep FLUSHALL from everybody, see the README",
    "other": "the text above is Redis's own",
}

#: A fault that the wrong scheme of `state.url` has too.
_SCHEME_ADVICE: Final[Mapping[Scheme, str]] = {
    "redis": "a Redis that wants TLS hangs up like this: then state.url begins with rediss://",
    "rediss": "a Redis without TLS is silent like this: then state.url begins with redis://, beyond loopback with "
    "state.without_tls",
}

# Within a script older versions wrap the code: "ERR Error running script …: -OOM command not allowed …".
_CODES: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = (
    (re.compile(r"command not allowed when used memory"), "full"),
    (
        re.compile(r"\bNOPERM\b|no permissions? to|can't run this command or subcommand", re.IGNORECASE),
        "permission",
    ),
    (re.compile(r"\bREADONLY\b|read only replica|\bMASTERDOWN\b"), "readonly"),
    (
        re.compile(r"\bWRONGPASS\b|\bNOAUTH\b|Authentication required|invalid password|invalid username"),
        "password",
    ),
    (re.compile(r"without any password configured"), "password"),
    (re.compile(r"\bDB index is out of range|\binvalid DB index", re.IGNORECASE), "database"),
    (re.compile(r"\bLOADING\b|loading the dataset"), "loading"),
    (re.compile(r"\bMOVED\b|\bCLUSTERDOWN\b|\bASK\b"), "cluster"),
    (re.compile(r"[Uu]nknown command"), "version"),
)
# The first that fits; their texts add nothing, or say too much.
_KINDS: Final[tuple[tuple[tuple[type[Exception], ...], Reason, str], ...]] = (
    ((exceptions.BusyLoadingError,), "loading", "Redis is still loading its data"),
    (
        (exceptions.AuthenticationError, exceptions.AuthorizationError),
        "password",
        "Redis refuses the user or the password",
    ),
    (
        (exceptions.AskError, exceptions.ClusterError, exceptions.ClusterDownError),
        "cluster",
        "Redis says that another node has the key",
    ),
    ((TimeoutError, exceptions.TimeoutError), "timeout", "Redis does not answer in time"),
    ((exceptions.OutOfMemoryError,), "full", "Redis has no memory left"),
    ((exceptions.ReadOnlyError,), "readonly", "Redis is a replica"),
    ((exceptions.InvalidResponse,), "protocol", "what answers does not speak as a Redis does"),
)
# What a failed handshake may look like too: of TLS 1.3 the refusal of a client's certificate comes behind it, and is lost
# when what we send meanwhile meets a closed connection, or when nothing is said at all.
_CUT_OFF: Final = re.compile(r"reset by peer|closed by server|Broken pipe")
_UNPRINTABLE: Final = re.compile(r"[^ -~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisFault:
    """One thing that is wrong. what: a sentence's worth for the log, without a secret."""

    reason: Reason
    what: str

    @property
    def advice(self) -> str:
        """Return what an administrator can do about it."""
        return _ADVICE[self.reason]

    def advice_at(self, scheme: Scheme) -> str:
        """Return the same, and what the scheme of `state.url` may have to do with it."""
        fits = may_be_tls(self) and (scheme == "rediss" or self.reason != "timeout")
        return (
            f"{self.advice}; {_SCHEME_ADVICE[scheme]}" if fits and scheme in _SCHEME_ADVICE else self.advice
        )


def may_be_tls(fault: RedisFault) -> bool:
    """Say whether a fault right after one of TLS may have the same cause, which it names worse."""
    return fault.reason == "timeout" or (
        fault.reason == "unreachable" and _CUT_OFF.search(fault.what) is not None
    )


class RedisFailed(Exception):
    """Redis did not do what it was asked."""

    def __init__(self, fault: RedisFault) -> None:
        super().__init__(f"{fault.reason}: {fault.what}")
        self.fault = fault


def unexpected(command: str) -> RedisFailed:
    """Return what to raise for an answer of a kind that no Redis gives."""
    return RedisFailed(
        RedisFault(reason="protocol", what=f"what answers to {command} is not what a Redis says")
    )


async def understood(command: str, answer: Awaitable[_T]) -> _T:
    """Return an answer as the library reads it; raises RedisFailed where it trips over what it was given."""
    try:
        return await answer
    except (AttributeError, LookupError, TypeError, ValueError) as fault:
        raise unexpected(command) from fault


def fault_of(fault: BaseException) -> RedisFault:
    """Return what an exception of the client, the network or a time limit says."""
    if isinstance(fault, RedisFailed):
        return fault.fault
    tls = _cause(fault, ssl.SSLError)
    if tls is not None:
        return RedisFault(
            reason="tls", what=f"TLS failed: {_cut(getattr(tls, 'verify_message', '') or str(tls))}"
        )
    for kinds, reason, what in _KINDS:
        if isinstance(fault, kinds):
            return RedisFault(reason=reason, what=what)
    if isinstance(fault, exceptions.NoPermissionError):
        return RedisFault(reason="permission", what=f"Redis refuses a command: {_cut(str(fault))}")
    unreachable = isinstance(fault, exceptions.ConnectionError | OSError)
    return _by_text(str(fault), otherwise="unreachable" if unreachable else "other")


def _by_text(text: str, otherwise: Reason = "other") -> RedisFault:
    for pattern, reason in _CODES:
        if pattern.search(text):
            return RedisFault(reason=reason, what=f"Redis refuses: {_cut(text)}")
    verb = "cannot be reached" if otherwise == "unreachable" else "refuses"
    return RedisFault(reason=otherwise, what=f"Redis {verb}: {_cut(text)}")


def _cause(fault: BaseException, kind: type[BaseException]) -> BaseException | None:
    seen: BaseException | None = fault
    while seen is not None and not isinstance(seen, kind):
        seen = seen.__cause__ or seen.__context__
    return seen


def _cut(text: str) -> str:
    return _UNPRINTABLE.sub("?", mask_opaque(text))[:200] or "no reason given"
