"""What switching off does not end, and how to end it: sessions that were handed out before. Pure."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from shlex import quote

from gateway.arn import RoleArn
from gateway.credentials.session import SHORTEST_S
from gateway.identity.token import Principal
from gateway.policy.rule import AwsRole, Grant, Rule, VaultAws, VaultRole
from gateway.policy.snapshot import Policy
from gateway.state.switches import SwitchKind

_POLICY_NAME = "oidc-gateway-deny-older-sessions"


def left_over(policy: Policy | None, kind: SwitchKind, name: str, *, now: float) -> tuple[str, ...]:
    """Return lines for an administrator who has switched this off, which holds everywhere by `now`, wall seconds.

    policy: what the files say; None when they cannot be read: then no role is named.
    """
    grants = list(_grants(policy, kind, name)) if policy is not None else []
    roles = _roles(grants)
    lines = [
        "Executions that run go on: whoever may stop them still can, and a console can.",
        *(
            []
            if kind == "workflow"
            else _sessions(roles, _subject_of(policy, kind, name), now, known=policy is not None)
        ),
        *_vault_tokens(grants),
    ]
    return tuple(lines)


def deny_older(now: float, *, user_id: str | None = None) -> str:
    """Return the policy, as JSON, that makes sessions issued before `now` worthless.

    user_id: pattern of `aws:userid` of the sessions meant, ROLE_ID:SESSION_NAME; None: all of the role.
    """
    issued = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition: dict[str, object] = {"DateLessThan": {"aws:TokenIssueTime": issued}}
    if user_id is not None:
        condition["StringLike"] = {"aws:userid": user_id}
    statement = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def _grants(policy: Policy, kind: SwitchKind, name: str) -> Iterator[Grant]:
    issuer = name.partition(" ")[0]
    for rule in policy.rules.values():
        if _is_meant(rule, kind, name, issuer):
            yield from rule.grants


def _is_meant(rule: Rule, kind: SwitchKind, name: str, issuer: str) -> bool:
    match kind:
        case "rule":
            return rule.id == name
        case "workflow":
            return False  # what starts a workflow never leaves the gateway
        case "issuer" | "subject":
            return issuer in rule.issuers


def _subject_of(policy: Policy | None, kind: SwitchKind, name: str) -> Principal | None:
    issuer_name, _, subject = name.partition(" ")
    if kind != "subject" or policy is None:
        return None
    issuer = next((one.issuer for one in policy.issuers.values() if one.name == issuer_name), None)
    return None if issuer is None else Principal(issuer=issuer, subject=subject)


def _roles(grants: Iterable[Grant]) -> tuple[RoleArn, ...]:
    """Return the roles whose credentials may have left the gateway."""
    found: dict[RoleArn, None] = {}
    for grant in grants:
        if grant.form != "aws-credentials":
            continue
        match grant.target:
            case AwsRole(arn=arn) | VaultRole(aws=VaultAws(arn=arn)):
                found[arn] = None
            case _:
                continue
    return tuple(found)


def _sessions(
    roles: tuple[RoleArn, ...], subject: Principal | None, now: float, *, known: bool
) -> Iterator[str]:
    if known and not roles:
        yield f"No AWS credentials were handed out for it; sessions inside the gateway end within {SHORTEST_S // 60} minutes."
        return
    yield "AWS credentials that were handed out work until they expire. To end them now, with IAM rights of your own:"
    # Session names hold these digits: target.IDENTITY.token.
    user_id = None if subject is None else f"*:*.{subject.digest[:8]}.*"
    document = quote(deny_older(now, user_id=user_id))
    for name in [role.name for role in roles] or ["ROLE"]:
        yield (
            f"  aws iam put-role-policy --role-name {quote(name)} --policy-name {_POLICY_NAME} "
            f"--policy-document {document}"
        )
    if user_id is None:
        yield (
            "  (It ends everybody's older sessions of the role, also those that gateways hold for up to "
            f"{SHORTEST_S // 60} minutes: restart them afterwards.)"
        )


def _vault_tokens(grants: Iterable[Grant]) -> Iterator[str]:
    mounts: dict[str, None] = {}
    for grant in grants:
        if grant.form == "vault-token" and isinstance(grant.target, VaultRole):
            mounts[grant.target.mount] = None
    if mounts:
        yield "Tokens of Vault work until their ttl ends. To end all of a mount's now, whoever has them:"
    for mount in mounts:
        yield f"  vault lease revoke -prefix {quote(f'auth/{mount}/login')}"
