"""The policy: one immutable compiled snapshot of all files, with its digest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from gateway.identity.issuer import TrustedIssuer
from gateway.policy.admin_rights import AdminRights
from gateway.policy.index import GrantIndex
from gateway.policy.rule import Condition, Rule, Target, TaskRole, Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsEndpoints:
    """Where AWS answers.

    region:   whose STS hands out credentials that leave the gateway.
    sts, states: base URL per Region where it is not AWS's own.
    emulator: the emulators invent Provider and Subject of STS answers, so these two are not checked (`--dev` only).
    """

    region: str
    sts: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    emulator: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything a decision needs; swapped as a whole, and a call keeps the one it began with.

    digest:       `sha256:` and 64 hex digits over the bytes of all files it was compiled from.
    issuers:      by their `iss` string.
    requirements: by issuer name: conditions every token of it must satisfy, judged before any rule.
    rules:        by id.
    task_roles:   by our name for each; no decision needs them, `vault plan` does.
    admin:        who may administer; None where there is no admin listener.
    """

    digest: str
    issuers: Mapping[str, TrustedIssuer]
    requirements: Mapping[str, tuple[Condition, ...]]
    workflows: Mapping[str, Workflow]
    targets: Mapping[str, Target]
    rules: Mapping[str, Rule]
    index: GrantIndex = field(repr=False)
    aws: AwsEndpoints
    task_roles: Mapping[str, TaskRole] = field(default_factory=dict)
    admin: AdminRights | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """How the active policy relates to the files on disk.

    state:     `current`, or `stale` when the files changed and the change was rejected.
    loaded_at: wall seconds at which the active policy was taken.
    findings:  number of errors in the rejected files, 0 when current.
    held_back: teams whose files are not in force as they are written, but their last good rules.
    without_rules: those of them of which there are none: this process has never seen their files in a good state.
    """

    digest: str
    state: Literal["current", "stale"]
    loaded_at: float
    findings: int
    held_back: tuple[str, ...] = ()
    without_rules: tuple[str, ...] = ()


class PolicySource(Protocol):
    """Where the current policy comes from."""

    def current(self) -> Policy:
        """Return the active snapshot."""
        ...

    def state(self) -> PolicyState:
        """Return how it relates to the files."""
        ...
