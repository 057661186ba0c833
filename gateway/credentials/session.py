"""What is asked of STS, what comes back, and the session policy that narrows it. Pure."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol, assert_never

from gateway.arn import AssumedRoleArn, RoleArn, StateMachineArn
from gateway.errors import ErrorCode, RequestRejected
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import AwsRole, Target, VaultRole, Workflow, WorkflowType
from gateway.secret import Secret

#: Shortest session that STS issues, in seconds; ours last no longer.
SHORTEST_S: Final = 900
_UNCLEAN: Final = re.compile(r"[^A-Za-z0-9_+=,.@-]")
# STS takes 64 characters; two digests of 8 with their dots take 18.
_TARGET_LENGTH: Final = 46


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSession:
    """A session to ask for: a function of target, token and act alone, never of the request, so that it can be shared.

    name:           2 to 64 characters of `[A-Za-z0-9_+=,.@-]`.
    duration_s:     900 to 43,200.
    session_policy: JSON text that narrows the role, at most 2,048 characters; None when credentials are handed out, and
                    behind Vault, whose AWS engine takes none: there the engine role's own policy is the scope.
    handed_out:     the credentials leave the gateway; they are never used by it, and never reused for long.
    """

    name: str
    duration_s: int
    session_policy: str | None
    handed_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """A complete triple.

    identity:   the assumed-role ARN, for the record.
    expires_at: seconds since the epoch.
    lease:      id of the lease under which Vault issued it, for the record; None when STS issued it.
    """

    access_key_id: str
    secret_access_key: Secret = field(repr=False)
    session_token: Secret = field(repr=False)
    expires_at: float
    identity: str
    lease: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultToken:
    """A token of a Vault role that leaves the gateway, or the wrapping token around it.

    identity:      mount, role and the digest of the accessor, for the record; the accessor itself is a secret.
    expires_at:    seconds since the epoch; of the wrapping token where it is wrapped.
    wrapped:       `token` unwraps once, at `sys/wrapping/unwrap`, into the token itself.
    creation_path: what the wrapping token must have been made by; who unwraps compares it first. None: not wrapped.
    policies:      on the token, sorted; empty where it is wrapped, because nobody but its receiver sees inside.
    """

    token: Secret = field(repr=False)
    identity: str
    expires_at: float
    wrapped: bool
    creation_path: str | None = None
    policies: tuple[str, ...] = ()


class CredentialSource(Protocol):
    """Trades the caller's own token for credentials of a target."""

    async def aws(
        self,
        token: VerifiedToken,
        target: Target,
        session: RoleSession,
        *,
        region: str,
        deadline: float,
        instead_of: AwsCredentials | None = None,
    ) -> AwsCredentials:
        """Return credentials, cached and single-flight per (token digest, target, session).

        region:     whose STS endpoint is asked.
        deadline:   monotonic seconds.
        instead_of: credentials that AWS just called expired; they are not returned again.
        Behind Vault the Region says nothing, and the service token that fetched the credentials is revoked afterwards.
        Raises AccessDenied, UpstreamFailed, Unavailable, ConfigurationInvalid or TokenRejected (`token_expired` by AWS).
        """
        ...

    async def vault_token(self, token: VerifiedToken, target: Target, *, deadline: float) -> VaultToken:
        """Return a token of a Vault role, made for this call alone: never cached, never shared.

        target:   a VaultRole; compilation grants the form `vault-token` for no other.
        deadline: monotonic seconds.
        Raises AccessDenied, UpstreamFailed, Unavailable or ConfigurationInvalid.
        """
        ...

    def give_back(self, unclaimed: VaultToken, target: VaultRole) -> None:
        """Have a token revoked that nobody received, because the caller left while it was made. Never raises."""
        ...


def session_for(
    token: VerifiedToken, target: Target, *, workflow: Workflow | None, duration_s: int | None = None
) -> RoleSession:
    """Return the session for one act.

    workflow:   the workflow that is started, seen or stopped under it: the session policy then allows exactly that
                machine and its executions, for 900 s. None when the credentials leave the gateway: then there is no
                session policy and the target's own duration holds, or `duration_s` where the caller asks for less.
                Behind Vault there is never a session policy.
    Raises RequestRejected (`request_malformed`) when `duration_s` is below 900 or above the target's.
    """
    name = session_name(token, target.name)
    if workflow is None:
        duration = _duration(target, duration_s)
        return RoleSession(name=name, duration_s=duration, session_policy=None, handed_out=True)
    return RoleSession(
        name=name,
        duration_s=SHORTEST_S,
        session_policy=session_policy(workflow) if isinstance(target, AwsRole) else None,
        handed_out=False,
    )


def session_name(token: VerifiedToken, target: str) -> str:
    """Return `<target>.<8 hex of issuer and subject>.<8 hex of the token's digest>`, which CloudTrail shows.

    A target that has foreign characters or is too long is cleaned and cut, and told apart by a hash of its name.
    """
    clean = _UNCLEAN.sub("-", target)[:_TARGET_LENGTH]
    if clean != target:
        clean = f"{clean[: _TARGET_LENGTH - 9]}-{hashlib.sha256(target.encode()).hexdigest()[:8]}"
    return f"{clean}.{token.principal.digest[:8]}.{token.digest[:8]}"


def is_session_of(identity: str, role: RoleArn, name: str) -> bool:
    """Say whether an identity that AWS or Vault answered is the session of this role with this name."""
    asked = AssumedRoleArn(partition=role.partition, account=role.account, role=role.name, session=name)
    return identity == str(asked)


def session_policy(workflow: Workflow) -> str:
    """Return the IAM policy that leaves of any role what this workflow needs: its one machine and its executions."""
    return _session_policy(workflow.state_machine, workflow.type)


@lru_cache(maxsize=1024)
def _session_policy(machine: StateMachineArn, kind: WorkflowType) -> str:
    # IAM judges a version or alias by the machine's own ARN; the qualifier is a condition key.
    start: dict[str, object] = {
        "Effect": "Allow",
        "Action": "states:StartSyncExecution" if kind == "express-sync" else "states:StartExecution",
        "Resource": f"arn:{machine.partition}:states:{machine.region}:{machine.account}:stateMachine:{machine.name}",
    }
    if machine.qualifier is not None:
        only = {"states:StateMachineQualifier": [machine.qualifier]}
        start["Condition"] = {"ForAnyValue:StringEquals": only}
    follow = {
        "Effect": "Allow",
        "Action": ["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution"],
        "Resource": machine.execution("*"),
    }
    statements = [start, follow] if kind == "standard" else [start]
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def _duration(target: Target, asked_s: int | None) -> int:
    match target:
        case AwsRole(duration_s=longest_s) | VaultRole(ttl_s=longest_s):
            pass
        case _:
            assert_never(target)
    if asked_s is None:
        return longest_s
    if not SHORTEST_S <= asked_s <= longest_s:
        raise RequestRejected(
            ErrorCode.REQUEST_MALFORMED,
            f"duration_s must lie between {SHORTEST_S} and {longest_s} for {target.name}.",
        )
    return asked_s
