"""What `check` says about rules towards Vault: what Vault cannot hold them to, and what they ask of one Vault together."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final

from gateway.compiling.issuers import Issuers
from gateway.compiling.report import Report, Spot
from gateway.compiling.targets import Targets
from gateway.files.document import Document
from gateway.files.source import Finding, FindingCode
from gateway.identity.issuer import TrustedIssuer
from gateway.policy.rule import Condition, Grant, Rule, VaultRole
from gateway.policy.vault_limits import blurred_claims, names_number, sight_of

_MOST_NAMED: Final = 5


def judge_towards_vault(
    conditions: Sequence[Condition],
    grants: Iterable[Grant],
    issuers: Iterable[TrustedIssuer],
    requirements: Mapping[str, tuple[Condition, ...]],
    spot: Spot,
) -> None:
    """Report conditions of one rule that Vault reads differently or not at all. spot: the rule's own."""
    roles = sorted({grant.target.name for grant in grants if isinstance(grant.target, VaultRole)})
    if not roles or spot.report.errors:
        return
    numbers = [condition for condition in conditions if names_number(condition)]
    for condition in numbers:
        spot.down("claims", condition.claim).error(
            FindingCode.VAULT_CLAIM_UNUSABLE,
            f"{condition.claim} is compared with a number, and {roles[0]} is a role of Vault: Vault cuts numbers to "
            "integers and rounds large ones.",
            "Let the issuer send it as text and write it in quotes, or compare another claim.",
        )
    if numbers:
        return
    for issuer in issuers:
        unseen = sight_of((*requirements.get(issuer.name, ()), *conditions), issuer).unseen
        if unseen:
            (spot / "claims").warning(
                FindingCode.VAULT_WIDER,
                f"Vault cannot demand all of this of a token that logs in as {_names(roles)}; the gateway alone "
                f"enforces {_names(unseen)}.",
                "Compare single claims with text, or see that such tokens cannot reach Vault but through the gateway.",
                key=True,
            )


def vault_findings(
    rules: Sequence[Rule],
    targets: Targets,
    issuers: Issuers,
    documents: Mapping[str, Document],
    *,
    complete: bool,
) -> tuple[Finding, ...]:
    """Return what is to be said about all rules together. complete: no rule had to be left out."""
    report = Report()
    if not any(isinstance(role, VaultRole) for role in targets.roles.values()):
        return ()
    uses: dict[str, list[tuple[Rule, Grant]]] = defaultdict(list)
    for rule in rules:
        for grant in rule.grants:
            if isinstance(grant.target, VaultRole):
                uses[grant.target.name].append((rule, grant))
    roles = {name: role for name, role in targets.roles.items() if isinstance(role, VaultRole)}
    _judge_mounts(uses, roles, issuers, documents, report)
    _judge_shared(uses, roles, targets, issuers, report)
    _judge_engines(uses, roles, targets, report)
    for name, role in roles.items():
        handed_out = any(grant.form == "vault-token" for _, grant in uses.get(name, ()))
        if complete and role.wrap_s is not None and not handed_out:
            (_spot(targets, name, report) / "wrap").warning(
                FindingCode.VALUE_INVALID,
                f"No rule hands out tokens of {name}, so there is nothing to wrap.",
                "Remove wrap, or grant { obtain: " + name + ", form: vault-token }.",
                key=True,
            )
    return tuple(report.findings)


def _judge_mounts(
    uses: Mapping[str, Sequence[tuple[Rule, Grant]]],
    roles: Mapping[str, VaultRole],
    issuers: Issuers,
    documents: Mapping[str, Document],
    report: Report,
) -> None:
    """A JWT mount of Vault has the keys of one issuer: tokens of a second one never log in there."""
    first: dict[tuple[str, str | None, str], tuple[str, str]] = {}
    told: set[Hashable] = set()
    named = [(rule, roles[name]) for name, granted in uses.items() for rule, _ in granted if name in roles]
    for rule, role in sorted(named, key=lambda one: (one[0].written, one[1].name)):
        mount = (role.vault.address, role.vault.namespace, role.mount)
        for issuer in rule.issuers:
            held, by = first.setdefault(mount, (issuer, rule.id))
            if held == issuer or (mount, issuer, role.name) in told or issuer not in issuers.trusted:
                continue
            told.add((mount, issuer, role.name))
            document = documents.get(rule.written.file)
            report.add(
                Finding(
                    code=FindingCode.VAULT_MISMATCH,
                    severity="error",
                    place=rule.written,
                    message=(
                        f"{rule.id} lets tokens of {issuer} log in as {role.name}, at the mount {role.mount}, where "
                        f"{by} lets those of {held}: a JWT mount of Vault serves one issuer."
                    ),
                    fix="Give every issuer a mount and a Vault role of its own.",
                    excerpt="" if document is None else document.excerpt(rule.written.line),
                )
            )


def _judge_shared(
    uses: Mapping[str, Sequence[tuple[Rule, Grant]]],
    roles: Mapping[str, VaultRole],
    targets: Targets,
    issuers: Issuers,
    report: Report,
) -> None:
    """Several rules with one role of Vault: it can demand only what they have in common."""
    for name, granted in uses.items():
        ruled = {rule.id: rule for rule, _ in granted}
        blurred = blurred_claims(
            [
                sight_of((*issuers.requirements.get(issuer, ()), *rule.conditions), issuers.trusted[issuer])
                for rule in ruled.values()
                for issuer in rule.issuers
                if issuer in issuers.trusted
            ]
        )
        if blurred and name in roles:
            (_spot(targets, name, report) / "role").warning(
                FindingCode.VAULT_WIDER,
                f"{_names(sorted(ruled))} log in to one role of Vault, which can demand only what they share; by "
                f"{_names(blurred)} the gateway alone tells them apart.",
                "Give each rule a Vault role of its own.",
            )


def _judge_engines(
    uses: Mapping[str, Sequence[tuple[Rule, Grant]]],
    roles: Mapping[str, VaultRole],
    targets: Targets,
    report: Report,
) -> None:
    """No session policy can be sent through Vault: say so where one would have told workflows apart."""
    workflows: dict[Hashable, set[str]] = defaultdict(set)
    behind: dict[Hashable, list[VaultRole]] = defaultdict(list)
    for name, role in roles.items():
        started = {grant.workflow.name for _, grant in uses.get(name, ()) if grant.workflow is not None}
        if role.aws is not None and started:
            engine = (role.vault.address, role.vault.namespace, role.aws.mount, role.aws.role)
            workflows[engine] |= started
            behind[engine].append(role)
    for shared, reached in workflows.items():
        if len(reached) > 1:
            names = [role.name for role in behind[shared]]
            (_spot(targets, names[0], report) / "aws").warning(
                FindingCode.VAULT_WIDER,
                f"Credentials behind {_names(names)} reach {_names(sorted(reached))} alike: through Vault no session "
                "policy can be sent, so the scope is the policy of the engine's role.",
                "Give each workflow an engine role of its own.",
                key=True,
            )


def _spot(targets: Targets, name: str, report: Report) -> Spot:
    spot = targets.spots[name]
    return Spot(spot.document, spot.path, report)


def _names(names: Sequence[str]) -> str:
    shown = [*names[:_MOST_NAMED], *(["others"] if len(names) > _MOST_NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
