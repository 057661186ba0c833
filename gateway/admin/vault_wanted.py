"""What Vault must hold for these files: mounts, roles and policies, every field of each. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import date

from gateway.admin.vault_fields import (
    engine_fields,
    engine_policy,
    jwt_config,
    jwt_role,
    policy_text,
)
from gateway.admin.vault_items import Item, WantedVault
from gateway.admin.vault_tasks import task_items, task_mounts, task_remarks
from gateway.identity.issuer import TrustedIssuer
from gateway.policy.rule import Condition, Grant, Rule, TaskRole, Vault, VaultAws, VaultRole
from gateway.policy.snapshot import Policy

#: Policies that Vault makes itself and that are never written here.
_OF_VAULT = frozenset({"default", "root"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """One Vault role and what the rules say of it.

    rules:  that grant it and are not over. grants: of those rules, of this role.
    """

    role: VaultRole
    rules: tuple[Rule, ...]
    grants: tuple[Grant, ...]


def wanted_of(policy: Policy, *, today: date) -> tuple[WantedVault, ...]:
    """Return what each Vault that targets or task roles name must hold, by name. today: UTC; rules that are over demand nothing."""
    by_vault: dict[str, list[Granted]] = defaultdict(list)
    for target in policy.targets.values():
        if isinstance(target, VaultRole):
            by_vault[target.vault.name].append(_granted(target, policy, today))
    tasks: dict[str, list[TaskRole]] = defaultdict(list)
    for task in policy.task_roles.values():
        tasks[task.vault.name].append(task)
    vaults = {one.role.vault.name: one.role.vault for granted in by_vault.values() for one in granted}
    vaults |= {task.vault.name: task.vault for task in policy.task_roles.values()}
    return tuple(_Wanted(policy, tasks[name]).of(vaults[name], by_vault[name]) for name in sorted(vaults))


def _granted(role: VaultRole, policy: Policy, today: date) -> Granted:
    rules = tuple(
        rule
        for rule in policy.rules.values()
        if rule.conditions and (rule.last_day is None or today <= rule.last_day)
        if any(grant.target == role for grant in rule.grants)
    )
    grants = tuple(grant for rule in rules for grant in rule.grants if grant.target == role)
    return Granted(role=role, rules=rules, grants=grants)


class _Wanted:
    """Collects the items of one Vault."""

    def __init__(self, policy: Policy, tasks: Sequence[TaskRole]) -> None:
        self._tasks = tasks
        self._emulated = policy.aws.emulator
        self._requirements = policy.requirements
        self._issuers = {issuer.name: issuer for issuer in policy.issuers.values()}
        self._problems: list[str] = []
        self._unsure: set[str] = set()
        self._remarks: list[str] = []

    def of(self, vault: Vault, all_granted: Sequence[Granted]) -> WantedVault:
        mounts = sorted({granted.role.mount for granted in all_granted})
        held = [granted for granted in all_granted if granted.rules]
        self._remarks += [
            f"No rule grants {granted.role.name}; nothing is needed for it."
            for granted in all_granted
            if not granted.rules
        ]
        self._judge_names(held)
        auth = [
            item
            for mount in mounts
            for item in self._auth(mount, [granted for granted in held if granted.role.mount == mount])
        ]
        callers = (*auth, *self._policies(held), *self._engine_roles(held))
        engines = {granted.role.aws.mount for granted in held if granted.role.aws is not None}
        return WantedVault(
            vault=vault,
            items=(*callers, *task_items(self._tasks, emulated=self._emulated)),
            mounts=tuple(mounts),
            task_mounts=task_mounts(self._tasks),
            engines=tuple(sorted(engines)),
            problems=tuple(self._problems),
            remarks=(*self._remarks, *task_remarks(self._tasks)),
            unsure=frozenset(self._unsure),
        )

    def _judge_names(self, held: Iterable[Granted]) -> None:
        first: dict[tuple[str, str], str] = {}
        for granted in held:
            role = granted.role
            taken = first.setdefault((role.mount, role.role), role.name)
            if taken != role.name:
                self._unsure.add(role.mount)
                self._problems.append(
                    f"{taken} and {role.name} name the same role auth/{role.mount}/role/{role.role}. Give each its own."
                )

    def _auth(self, mount: str, held: Sequence[Granted]) -> list[Item]:
        names = sorted({name for granted in held for rule in granted.rules for name in rule.issuers})
        if not names:
            return []
        if len(names) > 1:
            self._unsure.add(mount)
            self._problems.append(
                f"auth/{mount} would have to serve the issuers {' and '.join(names)}; a JWT mount of Vault serves one. "
                "Give each its own vault_role, on a mount of its own."
            )
            return []
        issuer = self._issuers[names[0]]
        config = jwt_config(issuer)
        if isinstance(config, str):
            self._unsure.add(mount)
            self._problems.append(f"auth/{mount}: {config}")
            return []
        if "access" in issuer.token_kinds and (issuer.audiences or "id" in issuer.token_kinds):
            self._remarks.append(
                f"auth/{mount}: access tokens of {issuer.name} have no audience, so Vault refuses them there; "
                "ID tokens log in."
            )
        mounted = Item(kind="auth mount", path=f"sys/auth/{mount}", fields={"type": "jwt"})
        configured = Item(kind="auth config", path=f"auth/{mount}/config", fields=config)
        roles = [item for granted in held if (item := self._auth_role(granted, issuer)) is not None]
        return [mounted, configured, *roles]

    def _auth_role(self, granted: Granted, issuer: TrustedIssuer) -> Item | None:
        role = granted.role
        conditions = [self._conditions(rule, issuer) for rule in granted.rules]
        fields = jwt_role(role, issuer, conditions)
        if fields is None:
            self._remarks.append(
                f"No token can satisfy the rules that grant {role.name}; nothing is needed for it."
            )
            return None
        if not fields["bound_claims"] and not fields["bound_subject"]:
            self._remarks.append(
                f"{role.name}: its rules have no claim in common that Vault can compare, so Vault lets in every token "
                f"of {issuer.name} with the right audience. Give each rule a vault_role of its own."
            )
        return Item(kind="auth role", path=f"auth/{role.mount}/role/{role.role}", fields=fields)

    def _conditions(self, rule: Rule, issuer: TrustedIssuer) -> tuple[Condition, ...]:
        return (*rule.conditions, *self._requirements.get(issuer.name, ()))

    def _policies(self, held: Iterable[Granted]) -> list[Item]:
        """Return the policies that let tokens ask the AWS engine: the first of each role that has an engine behind it."""
        wanted: dict[str, list[Granted]] = defaultdict(list)
        for granted in held:
            role = granted.role
            if role.aws is None:
                continue
            own = next((name for name in role.policies if name not in _OF_VAULT), None)
            if own is None:
                self._unsure.add(role.mount)
                self._problems.append(
                    f"{role.name} has an AWS engine and no policy of its own. Name one in `policies`; it is written for it."
                )
            else:
                wanted[own].append(granted)
        of_tasks = {policy for task in self._tasks for policy in task.policies}
        return [_policy(name, users, of_tasks) for name, users in sorted(wanted.items())]

    def _engine_roles(self, held: Iterable[Granted]) -> list[Item]:
        shared: dict[tuple[str, str], list[tuple[VaultAws, Granted]]] = defaultdict(list)
        for granted in held:
            if granted.role.aws is not None:
                engine = granted.role.aws
                shared[engine.mount, engine.role].append((engine, granted))
        return [self._engine_role(users) for _, users in sorted(shared.items())]

    def _engine_role(self, users: Sequence[tuple[VaultAws, Granted]]) -> Item:
        engine = users[0][0]
        names = " and ".join(sorted(granted.role.name for _, granted in users))
        grants = [grant for _, granted in users for grant in granted.grants]
        # A Vault token that is handed out may ask the engine too.
        handed_out = any(grant.verb == "obtain" for grant in grants)
        document = "" if handed_out else engine_policy(grants)
        if isinstance(document, int):
            self._unsure |= {granted.role.mount for _, granted in users}
            self._problems.append(
                f"{names}: the policy for all its workflows has {document} characters, and AWS takes 2,048. "
                "Spread the workflows over several vault_roles."
            )
            document = ""
        if handed_out and any(grant.workflow for grant in grants):
            self._remarks.append(
                f"{names} is handed out by `obtain`, so its engine role narrows nothing: starts under it may do what the "
                "IAM role may. Use another vault_role, with another engine role, for starts."
            )
        return Item(
            kind="engine role",
            path=f"{engine.mount}/roles/{engine.role}",
            fields=engine_fields(
                arns=sorted({str(one.arn) for one, _ in users}),
                policy_document=document,
                ttl_s=max(granted.role.ttl_s for _, granted in users),
            ),
        )


def _policy(name: str, users: Sequence[Granted], of_tasks: Set[str]) -> Item:
    handed_out = any(grant.form == "vault-token" for granted in users for grant in granted.grants)
    shared = handed_out or name in of_tasks
    return Item(
        kind="policy",
        path=f"sys/policies/acl/{name}",
        fields={"policy": policy_text([granted.role for granted in users], shared=shared)},
        shared=shared,
    )
