"""Policies with roles of Vault, built from values, and the tools of the administrator who makes Vault follow them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

from gateway.admin.vault_apply import make, read_held
from gateway.admin.vault_items import Item, WantedVault
from gateway.admin.vault_plan import VaultPlan, plan
from gateway.admin.vault_session import VaultAccess, VaultSession, opened
from gateway.admin.vault_wanted import wanted_of
from gateway.arn import RoleArn, parse_role
from gateway.dev.vault import VaultServer
from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.policy.rule import Condition, Grant, Rule, TaskRole, Vault, VaultRole
from gateway.policy.snapshot import Policy
from tests.support import policies
from tests.support.tokens import trusted

TODAY = date(2026, 11, 22)
KEYS = "https://keys.example/jwks"
ENVIRONMENT = [
    "VAULT_ADDR",
    "VAULT_TOKEN",
    "VAULT_NAMESPACE",
    "VAULT_CACERT",
    "BAO_ADDR",
    "BAO_TOKEN",
    "BAO_NAMESPACE",
    "BAO_CACERT",
]


def start_as(target: VaultRole, workflow: str = "deploy") -> Grant:
    return Grant(verb="start", workflow=policies.workflow(workflow), target=target)


def token_of(target: VaultRole) -> Grant:
    return Grant(verb="obtain", workflow=None, target=target, form="vault-token")


def credentials_of(target: VaultRole) -> Grant:
    return Grant(verb="obtain", workflow=None, target=target, form="aws-credentials")


def vault_policy(
    *rules: Rule,
    require: Sequence[Condition] = (),
    issuers: Sequence[TrustedIssuer] = (),
    targets: Sequence[VaultRole] = (),
    jwks_url: str = KEYS,
) -> Policy:
    """Return a policy of these rules; its issuer `github` publishes its keys at `jwks_url`, others may join."""
    made = policies.policy(*rules, require=tuple(require))
    every = [replace(trusted(), keys=KeyLocation(jwks_uri=jwks_url)), *issuers]
    return replace(
        made,
        issuers={one.issuer: one for one in every},
        targets={**made.targets, **{one.name: one for one in targets}},
    )


def task_role(
    address: str = "https://vault.acme.example:8200",
    *,
    name: str = "pay",
    mount: str = "aws",
    principals: tuple[RoleArn, ...] = (parse_role("arn:aws:iam::111122223333:role/pay"),),
    server_id: str | None = None,
) -> TaskRole:
    """Return a role for tasks, whose policy has its name and whose tokens live five minutes."""
    return TaskRole(
        name=name,
        vault=Vault(name="main", address=address),
        mount=mount,
        role=name,
        principals=principals,
        policies=(name,),
        ttl_s=300,
        server_id=server_id,
    )


def task_policy(*tasks: TaskRole) -> Policy:
    """Return a policy with these task roles, and no rule that has to do with Vault."""
    return replace(policies.policy(), task_roles={task.name: task for task in tasks})


def wanted(policy: Policy, *, today: date = TODAY) -> WantedVault:
    """Return what the one Vault of a policy must hold."""
    (only,) = wanted_of(policy, today=today)
    return only


def item(found: WantedVault, path: str = "auth/jwt-github/role/payments-ci") -> Item:
    """Return the item at a path."""
    return next(one for one in found.items if one.path == path)


@contextmanager
def administrator(server: VaultServer) -> Iterator[VaultSession]:
    """Yield a session that may do everything."""
    with opened(VaultAccess(address=server.address, token=server.root_token)) as session:
        yield session


def planned(session: VaultSession, policy: Policy) -> VaultPlan:
    found = wanted(policy)
    return plan(found, read_held(session, found))


def apply(session: VaultSession, policy: Policy, *, prune: bool = False) -> VaultPlan:
    """Make Vault follow a policy, and return what was planned."""
    found = planned(session, policy)
    for change in (*found.changes, *(found.prune if prune else ())):
        make(session, change)
    return found
