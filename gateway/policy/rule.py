"""The words of the policy: conditions, targets, workflows, grants, rules and wishes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, Literal

from gateway.arn import RoleArn, StateMachineArn
from gateway.files.source import Place
from gateway.policy.input_schema import InputSchema

Scalar = str | int | bool
Issued = Literal["aws-credentials", "vault-token"]
Verb = Literal["start", "view", "stop", "obtain"]
WorkflowType = Literal["standard", "express", "express-sync"]
#: How often a token may use a rule: as often as it likes, for one success, or for one request and its repetition.
Replay = Literal["off", "once", "per-request"]


class Operator(StrEnum):
    """How a condition compares; each claim of a rule has exactly one."""

    EQUALS = "equals"
    ANY_OF = "any_of"
    CONTAINS = "contains"
    CONTAINS_ANY = "contains_any"
    CONTAINS_ALL = "contains_all"
    SCOPE = "scope"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One claim, one operator.

    claim:  a member name, or a JSON pointer when it starts with `/` (RFC 6901).
    wanted: the values that satisfy it; exactly one for `equals`, `contains` and `scope`, none for `absent`.
    """

    claim: str
    operator: Operator
    wanted: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsRole:
    """An IAM role that callers' tokens may become.

    duration_s: session length asked of STS, 900 to 43,200; used when credentials are handed out, and for our own use.
    teams:      teams whose rules may name it; empty when the installation has no teams.
    """

    name: str
    arn: RoleArn
    duration_s: int
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """A HashiCorp Vault (or OpenBao) server.

    address:    base URL without a closing slash; https, or http on loopback with `--dev`.
    namespace:  sent as `X-Vault-Namespace`; None: the root namespace.
    ca_pem:     PEM text of the only CA that may have signed its certificate; None: system roots.
    """

    name: str
    address: str
    namespace: str | None = None
    ca_pem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultAws:
    """A role of Vault's AWS secrets engine, which assumes an IAM role.

    mount, role: path `<mount>/sts/<role>`. arn: the IAM role that the engine must answer with.
    """

    mount: str
    role: str
    arn: RoleArn


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultRole:
    """A role of a Vault JWT auth mount that callers' tokens log in to.

    mount:      of the JWT auth method, without `auth/`; one mount, one issuer.
    role:       lower case, as Vault makes it.
    user_claim: the claim that becomes the entity alias; a text in every token.
    policies:   exactly these policies (and `default` where Vault adds it) may be on the token.
    ttl_s:      longest life of the token and of credentials that the engine issues with it.
    wrap_s:     life of the wrapping token when tokens are handed out response-wrapped; None: not wrapped.
    aws:        the engine role behind it; None: it yields Vault tokens only.
    """

    name: str
    vault: Vault
    mount: str
    role: str
    user_claim: str
    policies: tuple[str, ...]
    ttl_s: int
    wrap_s: int | None = None
    aws: VaultAws | None = None
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRole:
    """A role of a Vault AWS auth mount that tasks log in to with their IAM role. No target: no caller of ours becomes it.

    mount:      of the AWS auth method, without `auth/`.
    principals: the IAM roles that may log in; never empty.
    policies:   exactly these policies (and `default`) its tokens have; what they allow is the administrator's to write.
    ttl_s:      longest life of its tokens, renewed or not.
    server_id:  what the mount wants in X-Vault-AWS-IAM-Server-ID; one value for all its roles. None: the files do not say.
    """

    name: str
    vault: Vault
    mount: str
    role: str
    principals: tuple[RoleArn, ...]
    policies: tuple[str, ...]
    ttl_s: int
    server_id: str | None = None


# A closed union: a new kind of target makes mypy name every `match` that must learn it.
Target = AwsRole | VaultRole


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A state machine under a logical name.

    input_schema:   what its input must be; judged before any credential is minted.
    output_visible: output, error and cause may appear in answers.
    timeout_s:      for synchronous workflows the longest wait; for others advice to readers. None: not given.
    """

    name: str
    state_machine: StateMachineArn
    type: WorkflowType
    input_schema: InputSchema = field(repr=False)
    output_visible: bool
    timeout_s: int | None
    teams: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """One power: a verb, its object and the target it is used as.

    workflow: None for `obtain`.
    form:     what is handed out for `obtain`; None otherwise.
    """

    verb: Verb
    workflow: Workflow | None
    target: Target
    form: Issued | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Tokens of these issuers that satisfy all conditions hold these grants.

    id:       `team.name`, or the name alone without teams; for records and explanations, never for callers.
    issuers:  names of trusted issuers.
    replay:   how often one token may start and obtain through it.
    last_day: usable through this day, UTC; None for ever.
    written:  where it stands.
    """

    id: str
    team: str
    why: str
    issuers: tuple[str, ...]
    conditions: tuple[Condition, ...]
    grants: tuple[Grant, ...]
    last_day: date | None
    written: Place
    replay: Replay = "off"


_STRICTNESS: Final[tuple[Replay, ...]] = ("off", "per-request", "once")


def strictest(replays: Iterable[Replay]) -> Replay:
    """Return the one that allows least; `off` of none."""
    return max(replays, key=_STRICTNESS.index, default="off")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A wish to start a workflow, as a target where the caller names one."""

    workflow: str
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A wish to see an execution. own: its name carries the caller's digest, so a `start` grant suffices."""

    workflow: str
    own: bool
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """A wish to stop an execution. own: as in View."""

    workflow: str
    own: bool
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtain:
    """A wish for credentials. target: its name, or the ARN of its role."""

    target: str
    form: Issued


Wish = Start | View | Stop | Obtain
