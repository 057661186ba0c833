"""What is known of one call so far; every record of that call is made from it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.audit.record import Act, Record, RecordKind, Wording
from gateway.credentials.session import AwsCredentials, VaultToken
from gateway.errors import ErrorCode, GatewayError, TokenRejected
from gateway.executions.execution import Execution
from gateway.identity.token import Principal, VerifiedToken
from gateway.policy.claims import ClaimCheck
from gateway.policy.decide import Allowed, Denied
from gateway.policy.snapshot import Policy
from gateway.secret import Secret

_Members = Mapping[str, object]


@dataclass(slots=True, kw_only=True)
class Story:
    """Filled step by step by `exchange`, which alone writes it.

    notes:   for the log line of the request.
    object:  the workflow or target the caller asked for.
    planned: the execution's name, known before AWS is asked. session: the role session's, likewise.
    earlier: request id of the call that used this token, or this idempotency key, before; earlier_at: when it came.
    wording: what all records of the call share; worded: the claims that it was made of.
    """

    request_id: str
    act: Act
    at: float
    policy: Policy
    presented: Secret
    object: str | None
    source: str | None
    user_agent: str | None
    notes: dict[str, str]
    token: VerifiedToken | None = None
    decision: Allowed | Denied | None = None
    planned: str | None = None
    session: str | None = None
    issued: AwsCredentials | VaultToken | None = None
    execution: Execution | None = None
    earlier: str | None = None
    earlier_at: float | None = None
    trace: str | None = None
    wording: Wording | None = field(default=None, repr=False)
    worded: _Members | None = field(default=None, repr=False)

    def record(self, kind: RecordKind, failure: GatewayError | None = None) -> Record:
        """Return the record of what is known now."""
        token, decision = self.token, self.decision
        members = _members(token, failure)
        allowed = decision if isinstance(decision, Allowed) else None
        principal = token.principal if token else _principal(members)
        wording = self._shared(members, decision.checks if decision else ())
        return Record(
            kind=kind,
            request_id=self.request_id,
            at=self.at,
            act=self.act,
            policy=self.policy.digest,
            code=failure.code if failure else None,
            token=self.presented.digest(),
            token_alias=token.replay_id if token else None,
            token_bytes=len(self.presented),
            key_id_digest=_digest(token.key_id) if token and token.key_id else None,
            issuer=self._issuer(failure),
            principal=principal,
            principal_digest=principal.digest if principal else None,
            claims=wording.claims,
            rules=_rules(decision),
            checks=wording.checks,
            object=self.object,
            target=allowed.target.name if allowed else None,
            session=self.session if kind != "refused" else None,
            issued=self.issued.identity if self.issued else None,
            lease=self.issued.lease if isinstance(self.issued, AwsCredentials) else None,
            execution=self.execution.arn if self.execution else self.planned,
            existed=self.execution.existed if self.execution and self.act == "start" else None,
            status=self.execution.status if self.execution else None,
            expires_at=self.issued.expires_at if self.issued else None,
            earlier=self.earlier,
            earlier_at=self.earlier_at,
            upstream=_upstream(failure),
            source=self.source,
            user_agent=self.user_agent,
            trace=self.trace,
            # A refusal is its call's only record, and may be kept for long.
            wording=wording if kind != "refused" else None,
        )

    def labels(self, failure: GatewayError | None) -> dict[str, str]:
        """Return what metrics and the log say of the decision: words of ours only, never the caller's."""
        code = failure.code if failure else "allowed"
        return {"act": self.act, "code": code, "issuer": self._issuer(failure) or "unknown"}

    def pointers(self) -> dict[str, str]:
        """Return what leads from the log line to AWS's own records: the session that CloudTrail names."""
        if not isinstance(self.issued, AwsCredentials):
            return {}
        return {"session": self.issued.identity.rpartition("/")[2]}

    def _shared(self, members: _Members, checks: tuple[ClaimCheck, ...]) -> Wording:
        kept = self.wording
        # By identity: claims that are equal may still be written otherwise, as 1 and true are.
        if kept is None or self.worded is not members or kept.checks is not checks:
            self.wording = kept = Wording(claims=tuple(members.items()), checks=checks)
            self.worded = members
        return kept

    def _issuer(self, failure: GatewayError | None) -> str | None:
        """Return the issuer's configured name once a signature of its has been verified."""
        if self.token is not None:
            return self.token.issuer.name
        return failure.issuer if isinstance(failure, TokenRejected) else None


def internal_error() -> GatewayError:
    """Return what a caller may know of a bug of ours."""
    return GatewayError(
        ErrorCode.INTERNAL_ERROR,
        "The gateway failed while it worked on this request.",
        hint="Give its operators the request id.",
    )


def _members(token: VerifiedToken | None, failure: GatewayError | None) -> Mapping[str, object]:
    """Return the verified claims, also those of a token that was refused after its signature had been verified."""
    if token is not None:
        return token.claims.members
    return (failure.members or {}) if isinstance(failure, TokenRejected) else {}


def _principal(members: Mapping[str, object]) -> Principal | None:
    issuer, subject = members.get("iss"), members.get("sub")
    if isinstance(issuer, str) and isinstance(subject, str):
        return Principal(issuer=issuer, subject=subject)
    return None


def _rules(decision: Allowed | Denied | None) -> tuple[str, ...]:
    match decision:
        case Allowed():
            return decision.rules
        case Denied(nearest=str(nearest)):
            return (nearest,)
        case _:
            return ()


def _upstream(failure: GatewayError | None) -> str | None:
    if failure is None or failure.upstream is None:
        return None
    upstream = failure.upstream
    return f"{upstream.service}:{upstream.code}:{upstream.request_id or ''}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
