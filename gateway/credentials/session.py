"""What is asked of STS, what comes back, and the session policy that narrows it. Pure."""

from dataclasses import dataclass, field
from typing import Protocol

from gateway.identity.token import VerifiedToken
from gateway.policy.rule import Target, Workflow
from gateway.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleSession:
    """A session to ask for: a function of target, token and act alone, never of the request, so that it can be shared.

    name:           2 to 64 characters of `[A-Za-z0-9_+=,.@-]`.
    duration_s:     900 to 43,200.
    session_policy: JSON text that narrows the role, at most 2,048 characters; None when credentials are handed out.
    """

    name: str
    duration_s: int
    session_policy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """A complete triple. identity: the assumed-role ARN, for the record. expires_at: seconds since the epoch."""

    access_key_id: str
    secret_access_key: Secret = field(repr=False)
    session_token: Secret = field(repr=False)
    expires_at: float
    identity: str


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
        Raises AccessDenied, UpstreamFailed, Unavailable or TokenRejected (`token_expired` by AWS).
        """
        ...


def session_for(
    token: VerifiedToken, target: Target, *, workflow: Workflow | None, duration_s: int | None = None
) -> RoleSession:
    """Return the session for one act.

    workflow:   the workflow that is started, seen or stopped under it: the session policy then allows exactly that
                machine and its executions, for 900 s. None when the credentials leave the gateway: then there is no
                session policy and the target's own duration holds, or `duration_s` where the caller asks for less.
    """
    raise NotImplementedError
