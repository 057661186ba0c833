"""The grants of a rule, each held against what others own: workflows, targets, and what AWS and Vault can do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, Literal, assert_never

from gateway.arn import RoleArn
from gateway.compiling.aws import region_partition
from gateway.compiling.issuers import AWS_ALGORITHMS, Issuers
from gateway.compiling.report import MAX_FINDINGS, Spot, unknown_reference
from gateway.compiling.targets import Targets
from gateway.files.mending import UNKNOWN_REGION
from gateway.files.schema.mapping import GrantShape
from gateway.files.schema.values import duration_text
from gateway.files.source import FindingCode
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.presets import PRESETS
from gateway.policy.rule import AwsRole, Grant, Target, VaultRole, Verb, Workflow

Path = tuple[str | int, ...]

#: Shortest session that AWS issues, behind Vault too.
_SHORTEST_S: Final = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What rules are judged against.

    teams:  issuers that each team may name; None when the installation has no teams.
    written_*: names that stand in gateway.yaml, those of faulty entries included.
    unsure_teams: those whose issuers are not certain, because their entries in gateway.yaml are wrong.
    region: whose STS hands out credentials.
    workers: processes that serve. tokens_shared: they all know which tokens were used, so that rules may limit it.
    vaults: there are Vaults, so that an issuer may be meant for them alone; otherwise what AWS cannot use is said with
            the issuer.
    """

    issuers: Issuers
    targets: Targets
    teams: Mapping[str, frozenset[str]] | None
    written_issuers: frozenset[str]
    written_teams: frozenset[str]
    region: str
    vaults: bool
    today: date
    unsure_teams: frozenset[str] = frozenset()
    workers: int = 1
    tokens_shared: bool = True


#: Grants about which nothing is to be said, by issuers and all that is written: most of a team's rules have the same.
GoodGrants = dict[tuple[object, ...], Grant]


class GrantReader:
    """Reads the grants of one rule; what is wrong with one goes to the rule's spot and makes that one inert.

    good: those of the team's other rules, judged against the same; more are added.
    """

    def __init__(
        self,
        team: str,
        issuers: tuple[TrustedIssuer, ...],
        against: Around,
        spot: Spot,
        good: GoodGrants | None = None,
    ) -> None:
        self._good = {} if good is None else good
        self._team = team
        self._issuers = issuers
        self._against = against
        self._spot = spot
        #: What the grants name and no file defines: kind and name.
        self.unknown: set[tuple[str, str]] = set()

    def read(self, shape: GrantShape, index: int) -> Grant | None:
        """Return the grant; None when it cannot hold."""
        issuers = tuple(issuer.name for issuer in self._issuers)
        key = (issuers, shape.start, shape.view, shape.stop, shape.obtain, shape.as_, shape.form)
        known = self._good.get(key)
        if known is not None and not self._spot.document.holes:
            return known
        found = len(self._spot.report.findings)
        grant = self._read(shape, index)
        # What stands in for something wrong is not judged, and a full report says nothing.
        silent = len(self._spot.report.findings) == found < MAX_FINDINGS
        if grant is not None and silent and not self._spot.document.holes:
            self._good[key] = grant
        return grant

    def _read(self, shape: GrantShape, index: int) -> Grant | None:
        verb, name = _verb(shape)
        at = ("grants", index)
        if (self._spot / "grants" / index).is_hole:
            return None
        if verb == "obtain":
            return self._obtain(name, shape.form or "aws-credentials", at)
        workflow = self._workflow(name, (*at, verb))
        target = self._target(shape.as_ or "", (*at, "as"))
        if workflow is None or target is None or not self._suits(target, (*at, "as")):
            return None
        if not self._yields_aws(target, (*at, "as")) or not self._agree(workflow, target, at):
            return None
        if verb != "start" and workflow.type != "standard":
            self._spot.down(*at, verb).warning(
                FindingCode.AWS_MISMATCH,
                f"AWS cannot show or stop executions of EXPRESS workflows such as {workflow.name}.",
                "Remove this grant.",
            )
        if verb == "start":
            self._judge_lifetime(workflow, target, (*at, "as"))
        return Grant(verb=verb, workflow=workflow, target=target)

    def _obtain(self, name: str, form: Literal["aws-credentials", "vault-token"], at: Path) -> Grant | None:
        target = self._target(name, (*at, "obtain"))
        if target is None or not self._suits(target, (*at, "obtain")):
            return None
        if form == "vault-token" and isinstance(target, AwsRole):
            self._spot.down(*at, "form").error(
                FindingCode.VAULT_MISMATCH,
                f"{name} is an IAM role; tokens of Vault come from vault_roles.",
                "Leave form out, or name a Vault role.",
            )
            return None
        if form == "aws-credentials" and not (
            self._in_partition(target, at) and self._yields_aws(target, (*at, "obtain"))
        ):
            return None
        return Grant(verb="obtain", workflow=None, target=target, form=form)

    def _workflow(self, name: str, at: Path) -> Workflow | None:
        targets = self._against.targets
        workflow = targets.workflows.get(name)
        if self._spot.down(*at).is_hole:
            return None
        if workflow is None:
            self._be_missing("workflow", name, targets.written_workflows, at)
            return None
        return workflow if self._owned(workflow.teams, "workflow", name, at) else None

    def _target(self, name: str, at: Path) -> Target | None:
        targets = self._against.targets
        target = targets.roles.get(name)
        if self._spot.down(*at).is_hole:
            return None
        if target is None:
            self._be_missing("target", name, targets.written_roles, at)
            return None
        return target if self._owned(target.teams, "target", name, at) else None

    def _be_missing(self, kind: str, name: str, written: frozenset[str], at: Path) -> None:
        """Report a name that no entry bears; one whose entry is faulty is reported there."""
        targets = self._against.targets
        if name not in written and targets.complete:
            self.unknown.add((kind, name))
            unknown_reference(self._spot.down(*at), kind, name, sorted(written))

    def _owned(
        self, teams: tuple[str, ...], kind: Literal["workflow", "target"], name: str, at: Path
    ) -> bool:
        against = self._against
        if against.teams is None or self._team in teams or (not teams and self._team in against.unsure_teams):
            return True
        self._spot.down(*at).error(
            FindingCode.GRANT_NOT_OWNED,
            f"The {kind} {name} does not belong to team {self._team}; this grant is inert.",
            f"The platform team can add {self._team} to its teams.",
        )
        return False

    def _suits(self, target: Target, at: Path) -> bool:
        """Say whether the tokens of the rule's issuers can become this target at all."""
        match target:
            case AwsRole():
                suitable = [self._suits_aws(issuer, at) for issuer in self._issuers]
            case VaultRole():
                suitable = [self._suits_vault(issuer, target, at) for issuer in self._issuers]
            case _:
                assert_never(target)
        return all(suitable)

    def _suits_aws(self, issuer: TrustedIssuer, at: Path) -> bool:
        if not self._against.vaults:
            return True
        if issuer.algorithms and not AWS_ALGORITHMS.intersection(issuer.algorithms):
            self._spot.down(*at).error(
                FindingCode.AWS_TOKEN_UNUSABLE,
                f"AWS STS refuses tokens signed with {', '.join(issuer.algorithms)}, as those of {issuer.name} are.",
                "Let the issuer sign with RS256 or ES256, or name a Vault role.",
            )
            return False
        if issuer.token_kinds == ("access",):
            self._spot.down(*at).warning(
                FindingCode.AWS_TOKEN_UNUSABLE,
                f"AWS STS refuses the access tokens of {issuer.name}, which have no `aud` unless the app uses resource "
                "binding.",
                "Use ID tokens, see that the app asks for a resource, or name a Vault role.",
            )
        return True

    def _suits_vault(self, issuer: TrustedIssuer, role: VaultRole, at: Path) -> bool:
        spot = self._spot.down(*at)
        preset = PRESETS[issuer.preset]
        known = preset.claim_types.get(role.user_claim)
        if known is not None and known != "string":
            spot.error(
                FindingCode.VAULT_CLAIM_UNUSABLE,
                f"{role.name} names callers by {role.user_claim}, which {preset.name} does not send as text; Vault "
                "refuses such a token.",
                "The platform team can name another user_claim, such as sub.",
            )
            return False
        if known is None and not preset.custom_claims_bind and role.user_claim not in preset.subject_claims:
            spot.warning(
                FindingCode.VAULT_CLAIM_UNUSABLE,
                f"{role.name} names callers by {role.user_claim}, which tokens of {preset.name} do not have by all "
                "that is known here; Vault refuses a token without it.",
                "Look for a misspelling of user_claim in the targets.",
            )
        if len(issuer.token_kinds) > 1:
            spot.warning(
                FindingCode.VAULT_CLAIM_UNUSABLE,
                f"A role of Vault takes tokens with an audience or tokens without one, not both: access tokens of "
                f"{issuer.name}, which have none, will be refused.",
                "Accept one kind of tokens in this issuer's entry, or see that the app asks for a resource.",
            )
        return True

    def _yields_aws(self, target: Target, at: Path) -> bool:
        """Say whether AWS credentials can be had of a target."""
        if isinstance(target, AwsRole):
            return True
        if target.aws is None:
            self._spot.down(*at).error(
                FindingCode.VAULT_MISMATCH,
                f"{target.name} has no aws, so it yields tokens of Vault and no AWS credentials.",
                "Write { obtain: …, form: vault-token }, or let the platform team add aws to it.",
            )
            return False
        if target.ttl_s < _SHORTEST_S:
            self._spot.down(*at).error(
                FindingCode.VAULT_MISMATCH,
                f"AWS issues no session shorter than 15m, and {target.name} allows {duration_text(target.ttl_s)}.",
                "The platform team can raise its ttl to 15m or more.",
            )
            return False
        return True

    def _in_partition(self, target: Target, at: Path) -> bool:
        partition = region_partition(self._against.region)
        # Behind Vault its own engine asks STS, wherever that is.
        if not isinstance(target, AwsRole) or target.arn.partition == partition:
            return True
        if self._against.region == UNKNOWN_REGION:
            return True
        self._spot.down(*at, "obtain").error(
            FindingCode.AWS_MISMATCH,
            f"{target.name} is in the partition {target.arn.partition}, but STS of {self._against.region} is in {partition}.",
            "Credentials are handed out by STS of aws.region in gateway.yaml.",
        )
        return False

    def _agree(self, workflow: Workflow, target: Target, at: Path) -> bool:
        machine, role = workflow.state_machine, _role_of(target)
        if role is None:
            return True
        for what, ours, theirs in (
            ("partition", role.partition, machine.partition),
            ("account", role.account, machine.account),
        ):
            if ours != theirs:
                self._spot.down(*at, "as").error(
                    FindingCode.AWS_MISMATCH,
                    f"{target.name} is in {what} {ours}, the state machine of {workflow.name} in {theirs}; AWS refuses that.",
                    "Name a role of the same account.",
                )
                return False
        return True

    def _judge_lifetime(self, workflow: Workflow, target: Target, at: Path) -> None:
        """Compare how long Vault's lease and the workflow last; one of AWS's roles is renewed by its caller's token."""
        if not isinstance(target, VaultRole) or workflow.timeout_s is None:
            return
        ttl_s, timeout_s = target.ttl_s, workflow.timeout_s
        spot = self._spot.down(*at)
        if ttl_s < timeout_s:
            spot.warning(
                FindingCode.TTL_MISMATCH,
                f"What {target.name} issues ends after {duration_text(ttl_s)}, before {workflow.name} may: its timeout is "
                f"{duration_text(timeout_s)}.",
                "Raise ttl, lower timeout, or see that whoever follows it comes with a fresh token.",
            )
        elif ttl_s > max(_SHORTEST_S, 4 * timeout_s):
            spot.warning(
                FindingCode.TTL_MISMATCH,
                f"What {target.name} issues lives {duration_text(ttl_s)}, much longer than {workflow.name} can last: its "
                f"timeout is {duration_text(timeout_s)}.",
                f"Lower ttl to {duration_text(max(_SHORTEST_S, timeout_s))}.",
            )


def _role_of(target: Target) -> RoleArn | None:
    if isinstance(target, AwsRole):
        return target.arn
    return None if target.aws is None else target.aws.arn


def _verb(shape: GrantShape) -> tuple[Verb, str]:
    if shape.start is not None:
        return "start", shape.start
    if shape.view is not None:
        return "view", shape.view
    if shape.stop is not None:
        return "stop", shape.stop
    return "obtain", shape.obtain or ""
