"""One audit record as a value, and what a journal must do with it."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.errors import ErrorCode
from gateway.identity.token import Principal
from gateway.policy.claims import ClaimCheck

#: `unknown`: the process ended between intent and outcome; `found`: a later call saw what became of the execution.
RecordKind = Literal["refused", "intent", "outcome", "unknown", "found", "admin"]
#: Of an administrator, or of the gateway that notices what one has done.
AdminAct = Literal["switch", "reload", "explain", "view"]
Act = Literal["start", "view", "stop", "events", "obtain", "whoami", "switch", "reload", "explain"]


@dataclass(slots=True, kw_only=True, eq=False)
class Wording:
    """Room for what the records of one call share, so that it is put into words once.

    claims, checks: of these very values; a record that holds others has no use for it.
    words:          filled by whoever writes the first of the records.
    """

    claims: tuple[tuple[str, object], ...] = field(repr=False)
    checks: tuple[ClaimCheck, ...] = field(repr=False)
    words: tuple[object, object] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one call did or was refused, filled by `exchange` alone; or an act of an administrator (`admin_record`).

    at:         wall seconds of the call's one clock reading.
    policy:     digest of the policy snapshot that decided.
    token:      digest of the whole compact token; None when it could not be read.
    token_alias: the replay digest (over issuer and signing input), which signature rewriting does not change.
    issuer:     the trusted issuer's name; None before it is known.
    principal_digest: `Principal.digest`: exact also where the texts of issuer and subject are cut or masked.
    claims:     the verified claims; empty before the signature is verified.
    rules:      ids of all rules that matched; for a refusal the nearest one, if any.
    object:     the workflow or target the caller asked for.
    session:    name of the role session, planned until `issued` says that there is one: what CloudTrail shows.
    issued:     identity that acted or was handed out: an assumed-role ARN, or mount, role and accessor digest of Vault.
    lease:      id of the lease under which Vault issued AWS credentials.
    execution:  execution ARN, or the planned name while it is only an intent.
    existed:    a start found its execution there already.
    status:     of the execution, as AWS reported it.
    found_by:   request id of the later call that saw the execution; in a `found` record alone.
    earlier:    request id of the call that used this token, or this idempotency key, before; earlier_at: when it did.
    repeated:   of a refusal that stands for others too: how many refusals it stands for, itself included.
    upstream:   `service:code:request id` of an AWS refusal.
    trace:      id of the W3C trace the call belongs to; unless we traced it ourselves, the caller's own word.
    actor, why: of an administrator's act: who did it, and the reason given.
    changes:    what it changed, a line each; `+` for what came, `-` for what went, `~` for what is different.
    wording:    shared with the call's other records; says nothing of its own.
    """

    kind: RecordKind
    request_id: str
    at: float
    act: Act
    policy: str
    code: ErrorCode | None = None
    token: str | None = None
    token_alias: str | None = None
    token_bytes: int | None = None
    key_id_digest: str | None = None
    issuer: str | None = None
    principal: Principal | None = None
    principal_digest: str | None = None
    claims: tuple[tuple[str, object], ...] = field(default=(), repr=False)
    rules: tuple[str, ...] = ()
    checks: tuple[ClaimCheck, ...] = field(default=(), repr=False)
    object: str | None = None
    target: str | None = None
    session: str | None = None
    issued: str | None = None
    lease: str | None = None
    execution: str | None = None
    existed: bool | None = None
    status: str | None = None
    found_by: str | None = None
    expires_at: float | None = None
    earlier: str | None = None
    earlier_at: float | None = None
    repeated: int | None = None
    upstream: str | None = None
    source: str | None = None
    user_agent: str | None = None
    trace: str | None = None
    actor: str | None = None
    why: str | None = None
    changes: tuple[str, ...] = ()
    wording: Wording | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditHealth:
    """How a journal stands now. failing: the disk takes nothing. waiting: records in memory."""

    failing: bool
    waiting: int


class Journal(Protocol):
    """Keeps records; the only way a decision becomes evidence."""

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        """Durable on return; raises Unavailable (`audit_unavailable`) and then nothing may be exchanged.

        deadline: monotonic seconds after which waiting for the disk is no use; None: the journal's own patience.
        """
        ...

    async def conclude(self, record: Record) -> None:
        """Never raises: the effect has happened. A failure is logged and counted."""
        ...

    def refuse(self, record: Record) -> None:
        """Take a refusal; does not wait for the disk and never raises."""
        ...


class Notebook(Protocol):
    """Keeps records of what administrators do."""

    async def intend(self, record: Record, *, deadline: float | None = None) -> None:
        """Take a record of kind `admin` before the act; durable on return, see `Journal.intend`."""
        ...

    def note(self, record: Record) -> None:
        """Take a record of kind `admin`; does not wait for the disk and never raises."""
        ...
