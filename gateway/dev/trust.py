"""What the roles of the embedded AWS trust and may do: the shipped templates where there are any, else what the rules imply."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.arn import RoleArn
from gateway.identity.issuer import TrustedIssuer
from gateway.policy.rule import AwsRole, Rule, Target, VaultRole, Workflow
from gateway.policy.snapshot import Policy

# ministack knows these three condition keys; AWS knows more for some issuers (GitHub: repository_id, ref, …).
_EMULATED_KEYS = ("aud", "sub", "amr")
_FOLLOW = ("states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution")


def provider_name(issuer: str) -> str:
    """Return an issuer the way ministack writes it in ARNs and condition keys: without scheme and closing slash.

    AWS keeps the slash.
    """
    return issuer.split("://", 1)[-1].rstrip("/")


def role_behind(target: Target) -> RoleArn | None:
    """Return the IAM role that a target ends in; None for one that yields tokens of Vault alone."""
    match target:
        case AwsRole():
            return target.arn
        case VaultRole():
            return None if target.aws is None else target.aws.arn


def trust_policy(role: RoleArn, policy: Policy, *, templates: Path, real: Mapping[str, str]) -> str:
    """Return the role's trust policy as JSON: about the issuers that stand in for the real ones, and about Vault's own
    AWS identity where a target reaches the role through Vault.

    templates: folder of `trust/ROLE.json`. real: by issuer name, what the templates call it.
    """
    behind_vault = any(
        isinstance(target, VaultRole) and role_behind(target) == role for target in policy.targets.values()
    )
    by_vault = [_trust_of_account(role.account)] if behind_vault else []
    template = templates / "trust" / f"{role.name}.json"
    if not template.is_file():
        return json.dumps(_document([*_implied_trust(role, policy), *by_vault]))
    by_real_name = {
        provider_name(real[issuer.name]): issuer for issuer in policy.issuers.values() if issuer.name in real
    }
    statements = json.loads(template.read_text())["Statement"]
    federated = [
        _on_loopback(one, by_real_name, account=role.account)
        for one in statements
        if "Federated" in one["Principal"]
    ]
    return json.dumps(_document([*federated, *by_vault]))


def permissions(role: RoleArn, policy: Policy, *, templates: Path) -> str:
    """Return what the role may do, as JSON. templates: folder of `permissions/ROLE.json`."""
    template = templates / "permissions" / f"{role.name}.json"
    if template.is_file():
        return template.read_text()
    statements = [
        statement
        for rule in policy.rules.values()
        for grant in rule.grants
        if role_behind(grant.target) == role and grant.workflow is not None
        for statement in _implied_permissions(grant.workflow, starts=grant.verb == "start")
    ]
    return json.dumps(_document(statements))


def _on_loopback(
    statement: Mapping[str, object], issuers: Mapping[str, TrustedIssuer], *, account: str
) -> dict[str, object]:
    principal, condition = statement["Principal"], statement["Condition"]
    if not (isinstance(principal, dict) and isinstance(condition, dict)):
        raise TypeError("A trust policy names its provider and its conditions as objects.")
    name = provider_name(str(principal["Federated"]).split(":oidc-provider/", 1)[-1])
    issuer = issuers[name]
    conditions: dict[str, object] = {}
    for key, wanted in condition["StringEquals"].items():
        suffix = key.rsplit(":", 1)[-1]
        if suffix in _EMULATED_KEYS:
            conditions[suffix] = list(issuer.clients) if suffix == "aud" and not issuer.audiences else wanted
    return _trust_statement(issuer, conditions, account=account)


def _implied_trust(role: RoleArn, policy: Policy) -> list[dict[str, object]]:
    by_name = {issuer.name: issuer for issuer in policy.issuers.values()}
    names = {name for rule in _rules_naming(role, policy.rules.values()) for name in rule.issuers}
    return [
        _trust_statement(
            by_name[name],
            {"aud": [*by_name[name].audiences, *by_name[name].clients]},
            account=role.account,
        )
        for name in sorted(names & by_name.keys())
    ]


def _rules_naming(role: RoleArn, rules: Iterable[Rule]) -> list[Rule]:
    return [
        rule
        for rule in rules
        if any(isinstance(grant.target, AwsRole) and grant.target.arn == role for grant in rule.grants)
    ]


def _trust_of_account(account: str) -> dict[str, object]:
    # The embedded Vault signs as the account's root user; a real one has an IAM user or role of its own.
    return {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "sts:AssumeRole",
    }


def _trust_statement(
    issuer: TrustedIssuer, conditions: Mapping[str, object], *, account: str
) -> dict[str, object]:
    name = provider_name(issuer.issuer)
    return {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{account}:oidc-provider/{name}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{name}:{key}": wanted for key, wanted in conditions.items()}},
    }


def _implied_permissions(workflow: Workflow, *, starts: bool) -> list[dict[str, object]]:
    start = "states:StartSyncExecution" if workflow.type == "express-sync" else "states:StartExecution"
    following: dict[str, object] = {
        "Effect": "Allow",
        "Action": list(_FOLLOW),
        "Resource": workflow.state_machine.execution("*"),
    }
    starting: dict[str, object] = {
        "Effect": "Allow",
        "Action": [start],
        "Resource": str(workflow.state_machine),
    }
    return [starting, following] if starts else [following]


def _document(statements: list[dict[str, object]]) -> dict[str, object]:
    return {"Version": "2012-10-17", "Statement": statements}
