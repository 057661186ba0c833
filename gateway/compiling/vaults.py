"""Vault servers, and roles of their JWT auth: names that can stand in a path, and nothing that widens what is written."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from gateway.compiling.aws import compile_role_arn
from gateway.compiling.conditions import is_pointer, plain_name
from gateway.compiling.keys import ca_certificates, url_fault
from gateway.compiling.report import Report, Spot
from gateway.files.schema.gateway import GatewayShape, VaultShape
from gateway.files.schema.targets import TaskRoleShape, VaultAwsShape, VaultRoleShape
from gateway.files.schema.values import duration_s
from gateway.files.shapes import Shaped
from gateway.files.source import FindingCode, Source, show
from gateway.policy.rule import Vault, VaultAws, VaultRole

# Paths are put together from these names, so no name may hold what a path gives a meaning to.
_PATH: Final = re.compile(r"[a-z0-9._-]+(?:/[a-z0-9._-]+)*")
_ROLE: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_PATH_FIX: Final = "Use lower-case letters, digits, . _ and -, with / between parts; no // and no part that is . or .. alone."
_ROLE_FIX: Final = "Use lower-case letters, digits, . _ and -; begin and end with a letter, a digit or _."

_FOLDED: Final = {
    "role of Vault": "Vault makes the name of a role lower case, so it would be another one than is read here.",
    "policy": "Vault makes the name of a policy lower case, so it would be another one than is read here.",
}

_SHORTEST_S: Final = 30
_LONGEST_S: Final = 43_200
_SHORTEST_WRAP_S: Final = 10

_RESERVED_POLICIES: Final = frozenset({"root", "response-wrapping", "control-group"})
_IMPLIED_POLICY: Final = "default"
#: First parts of paths that are Vault's own, where no secrets engine can be mounted.
_OWN_PATHS: Final = frozenset({"auth", "audit", "cubbyhole", "identity", "sys"})
_OF_NOBODY: Final = frozenset({"iss", "aud", "exp", "iat", "nbf"})
#: Claims that differ in every run: as `user_claim` each run would leave an entity alias in Vault's storage.
_PER_RUN: Final = frozenset(
    {
        "jti", "nonce", "sid", "at_hash", "c_hash", "auth_time", "event_id", "origin_jti", "run_id", "run_number",
        "run_attempt", "check_run_id", "sha", "head_ref", "job_workflow_sha", "workflow_sha", "job_id", "pipeline_id",
        "ci_config_sha", "/kubernetes.io/pod/name", "/kubernetes.io/pod/uid",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Vaults:
    """Vault servers by name.

    written:    names that stand in gateway.yaml, those of faulty entries included.
    unreadable: nothing follows from a name that is not there.
    """

    known: Mapping[str, Vault]
    written: frozenset[str]
    unreadable: bool = False


def compile_vaults(
    gateway: Shaped[GatewayShape], attachments: Mapping[str, Source], report: Report, *, dev: bool
) -> Vaults:
    """Return the Vault servers that can be asked as they are written."""
    shapes = gateway.shape.vaults if gateway.shape is not None else None
    known = {}
    for name, shape in (shapes or {}).items():
        spot = Spot(gateway.document, ("vaults", name), report)
        known[name] = _vault(name, shape, attachments, spot, dev=dev)
    unreadable = gateway.is_unreadable("vaults")
    return Vaults(known=known, written=gateway.written("vaults"), unreadable=unreadable)


def _vault(
    name: str, shape: VaultShape, attachments: Mapping[str, Source], spot: Spot, *, dev: bool
) -> Vault:
    _judge_address(shape.address, spot / "address", dev=dev)
    namespace = shape.namespace
    if namespace == "root":
        (spot / "namespace").error(
            FindingCode.VALUE_INVALID, "root is the namespace without a name.", "Leave the key out."
        )
    elif namespace is not None:
        _judge_path(namespace, "namespace", spot / "namespace")
    return Vault(
        name=name,
        address=shape.address.removesuffix("/"),
        namespace=namespace,
        ca_pem=ca_certificates(shape.ca_file, attachments, spot / "ca_file"),
    )


def _judge_address(address: str, spot: Spot, *, dev: bool) -> None:
    fault = url_fault(address, of_issuer=True)
    if fault is None and urlsplit(address).path not in {"", "/"}:
        fault = "has a path"
    if fault is not None:
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{show(address)} {fault}.",
            "Write the address alone: https://HOST:PORT.",
        )
    elif address.startswith("http://") and not dev:
        spot.error(
            FindingCode.DEV_ONLY,
            f"{show(address)} is not encrypted; http is accepted for loopback addresses and only with --dev.",
            "Write https://.",
        )


def judge_vault_role(shape: VaultRoleShape, spot: Spot) -> None:
    """Report what is wrong with a Vault role by itself, but for its AWS engine."""
    judge_login(shape, spot)
    _judge_user_claim(shape.user_claim, spot / "user_claim")
    _judge_wrap(shape, spot)


def judge_login(shape: VaultRoleShape | TaskRoleShape, spot: Spot) -> None:
    """Report what is wrong with the mount, the role, the policies and the ttl of a login."""
    if shape.mount.startswith("auth/"):
        (spot / "mount").error(
            FindingCode.VALUE_INVALID,
            "auth/ stands before every auth mount by itself.",
            f"Write {shape.mount.removeprefix('auth/') or 'the rest'}.",
        )
    else:
        _judge_path(shape.mount, "mount", spot / "mount")
    _judge_role(shape.role, "role of Vault", spot / "role")
    for index, policy in enumerate(shape.policies):
        _judge_policy(policy, spot / "policies" / index)
    if not _SHORTEST_S <= duration_s(shape.ttl) <= _LONGEST_S:
        (spot / "ttl").error(
            FindingCode.VALUE_INVALID, f"No token is made here that lives {shape.ttl}.", "Write 30s to 12h."
        )


def compile_engine(shape: VaultAwsShape, spot: Spot) -> VaultAws | None:
    """Return the engine's role; None when its ARN cannot be read."""
    if shape.mount.split("/")[0] in _OWN_PATHS:
        (spot / "mount").error(
            FindingCode.VALUE_INVALID,
            f"{show(shape.mount)} is a path of Vault's own; no AWS secrets engine is mounted there.",
            "Write where the engine is mounted, such as aws.",
        )
    _judge_path(shape.mount, "mount", spot / "mount")
    _judge_role(shape.role, "role of the AWS engine", spot / "role")
    arn = compile_role_arn(shape.role_arn, spot / "role_arn")
    return None if arn is None else VaultAws(mount=shape.mount, role=shape.role, arn=arn)


def twins(role: VaultRole, others: Iterable[VaultRole], spot: Spot) -> None:
    """Report a role of Vault that stands under two names: Vault can hold it in one way only."""
    for other in others:
        if _in_vault(role) != _in_vault(other):
            continue
        if (role.user_claim, set(role.policies), role.ttl_s) == (
            other.user_claim,
            set(other.policies),
            other.ttl_s,
        ):
            (spot / "role").warning(
                FindingCode.NAME_TAKEN,
                f"{other.name} is the same role of Vault; whoever may log in as one may log in as the other.",
                "Keep every role of Vault once, unless two teams or two forms need it.",
            )
        else:
            (spot / "role").error(
                FindingCode.VAULT_MISMATCH,
                f"{other.name} is the same role of Vault with another user_claim, other policies or another ttl.",
                "Vault holds a role in one way only: use two roles, or write both alike.",
            )
        return


def _in_vault(role: VaultRole) -> tuple[str, str | None, str, str]:
    return role.vault.address, role.vault.namespace, role.mount, role.role


def _judge_path(text: str, what: str, spot: Spot) -> bool:
    if _PATH.fullmatch(text) and not {".", ".."}.intersection(text.split("/")):
        return True
    _refuse(text, what, spot, _PATH_FIX)
    return False


def _judge_role(text: str, what: str, spot: Spot) -> None:
    if _ROLE.fullmatch(text) is None:
        _refuse(text, what, spot, _ROLE_FIX)


def _refuse(text: str, what: str, spot: Spot, fix: str) -> None:
    if text == text.lower() or not text.isascii():
        spot.error(FindingCode.VALUE_INVALID, f"{show(text)} is no {what}.", fix)
        return
    # Vault does so for some kinds and not for others; whoever reads a file should not have to know for which.
    why = _FOLDED.get(what, f"The name of a {what} is lower case here.")
    spot.error(
        FindingCode.VALUE_INVALID,
        f"{show(text)} has capitals. {why}",
        f"Write {show(text.lower())}, and name it so in Vault.",
    )


def _judge_policy(policy: str, spot: Spot) -> None:
    if not _judge_path(policy, "policy", spot):
        return
    if policy in _RESERVED_POLICIES:
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{policy} is a policy of Vault's own; no token made here may have it.",
            "Name a policy that allows what is needed and no more.",
        )
    elif policy == _IMPLIED_POLICY:
        spot.warning(
            FindingCode.VALUE_INVALID, "Vault adds default by itself.", "Leave it out; it is always allowed."
        )


def _judge_user_claim(claim: str, spot: Spot) -> None:
    if not is_pointer(claim) if claim.startswith("/") else "*" in claim:
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{show(claim)} is no claim name.",
            "Write the member's name, or a JSON pointer such as /kubernetes.io/serviceaccount/uid.",
        )
    elif (plain := plain_name(claim)) is not None:
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{show(claim)} is a pointer to the member {plain}; a claim has one name here, by which it is judged.",
            f"Write {plain}.",
        )
    elif claim in _OF_NOBODY:
        spot.error(
            FindingCode.VALUE_INVALID,
            f"{claim} does not say who the caller is, so Vault could not tell callers apart by it.",
            "Name a claim that does, such as sub or an id.",
        )
    elif claim in _PER_RUN:
        spot.warning(
            FindingCode.VAULT_CLAIM_UNUSABLE,
            f"{claim} differs in every run: each one leaves an entity alias in Vault, which never goes away by itself.",
            "Name a claim that stays the same, such as sub or an id.",
        )


def _judge_wrap(shape: VaultRoleShape, spot: Spot) -> None:
    wrap_s = None if shape.wrap is None else duration_s(shape.wrap)
    longest_s = max(duration_s(shape.ttl), _SHORTEST_WRAP_S)
    if wrap_s is not None and not _SHORTEST_WRAP_S <= wrap_s <= longest_s:
        (spot / "wrap").error(
            FindingCode.VALUE_INVALID,
            f"A token that lives {shape.ttl} cannot stay wrapped for {shape.wrap}.",
            "Write 10s or more, and at most the ttl.",
        )
