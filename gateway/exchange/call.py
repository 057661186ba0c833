"""What a door asks of the exchange, and what it gets back."""

from dataclasses import dataclass, field

from gateway.credentials.session import AwsCredentials, VaultToken
from gateway.executions.execution import Execution
from gateway.identity.token import VerifiedToken
from gateway.policy.holdings import Holdings
from gateway.policy.rule import Target, VaultRole, Workflow
from gateway.secret import Secret
from gateway.state.rates import Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request of a caller; made by a door.

    now:        the call's only reading of the wall clock, seconds since the epoch.
    deadline:   monotonic seconds by which the call must be answered (a wait that was asked for comes on top).
    source:     the caller's address; user_agent: as sent, cut. Both for the record only.
    notes:      filled with what the request's one log line should say of it.
    standings:  filled with where the caller stands with its rate limits, for the answer.
    trace_id:   of the trace it belongs to, 32 hex digits; None when there is none.
    """

    request_id: str
    token: Secret
    now: float
    deadline: float
    source: str | None = None
    user_agent: str | None = None
    notes: dict[str, str] = field(default_factory=dict)
    standings: list[Standing] = field(default_factory=list)
    trace_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What the caller wants started. input: the parsed JSON object; idempotency_key: None when none was sent."""

    workflow: str
    target: str | None
    input: dict[str, object] = field(repr=False)
    idempotency_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRequest:
    """An execution the caller wants to see or stop, by workflow and execution name."""

    workflow: str
    name: str
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An execution and as what it was reached. replayed: this is what an earlier request was answered, without its data."""

    execution: Execution
    workflow: Workflow
    target: Target
    replayed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """Credentials that leave the gateway."""

    target: Target
    credentials: AwsCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class ObtainedVaultToken:
    """A Vault token that leaves the gateway."""

    target: VaultRole
    token: VaultToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a token speaks for, what it holds now, and the digest of the policy that says so."""

    token: VerifiedToken
    holdings: Holdings
    policy: str
