"""Reads what a Vault holds of what the files want, and writes what is missing: the administrator's side, with their token."""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from gateway.admin.vault_effects import normal
from gateway.admin.vault_fields import mark_of
from gateway.admin.vault_items import WantedVault, named_policies
from gateway.admin.vault_plan import Change, Held
from gateway.admin.vault_refusals import refusal
from gateway.admin.vault_session import VaultSession
from gateway.errors import ConfigurationInvalid, ErrorCode, UpstreamFailed
from gateway.outbound.vault_answers import VaultFault

# What an administrator may have set to narrow a role, and the files do not describe.
_KEPT = ("token_bound_cidrs", "external_id", "mfa_serial_number")


def read_held(session: VaultSession, wanted: WantedVault) -> Held:
    """Return what is there. Raises GatewayError: what could not be read, and what to do."""
    auth = _mounts(session, "sys/auth")
    mounts = {mount: str(about.get("type")) for mount, about in auth.items()}
    ours = tuple(mount for mount, types in wanted.auth_types.items() if mounts.get(mount) in types)
    items = {
        item.path: found
        for item in wanted.items
        if item.kind != "auth mount" and (found := _fields(session, item.path)) is not None
    }
    paths = {item.path for item in wanted.items}
    engines = _types(session, "sys/mounts")
    texts = dict(_policies(session))
    marked = {
        path: mark
        for path, text in texts.items()
        if (mark := mark_of(text)) is not None and mark.is_of(wanted.sure)
    }
    policies = {path: mark for path, mark in marked.items() if path not in paths | named_policies(wanted)}
    staying = [
        text
        for path, text in texts.items()
        if path not in paths and not (path in policies and policies[path].untouched)
    ]
    reached = {
        role
        for mark in marked.values()
        if mark.untouched
        for role in mark.engine_roles
        # A mark can name whatever path somebody writes there: a secret of another engine is never ours.
        if engines.get(role.rpartition("/roles/")[0]) == "aws" and not _is_asked(role, staying)
    }
    return Held(
        items=items,
        mounts=mounts,
        engines=engines,
        batch=tuple(mount for mount in ours if _gives_batch_tokens(auth[mount])),
        other_roles=_others(session, [mount for mount in ours if mount in wanted.mounts], paths),
        other_tasks=_others(session, [mount for mount in ours if mount in wanted.task_mounts], paths),
        policies=policies,
        engine_roles=tuple(path for path in sorted(reached - paths) if _fields(session, path) is not None),
        sts={
            mount: endpoint
            for mount in wanted.task_mounts
            if mount in ours
            and (
                endpoint := str(
                    (_fields(session, f"auth/{mount}/config/client") or {}).get("sts_endpoint") or ""
                )
            )
        },
        namespaces=_health(session).get("enterprise") is not False,
    )


def _others(session: VaultSession, mounts: Iterable[str], wanted: Set[str]) -> tuple[str, ...]:
    return tuple(
        path
        for mount in mounts
        for name in _names(session, f"auth/{mount}/role")
        if (path := f"auth/{mount}/role/{name}") not in wanted
    )


def make(session: VaultSession, change: Change) -> None:
    """Make one change. Raises GatewayError: what was refused, and what to do.

    A role or policy is written with every field in one call, so that it is never gone in between; where Vault keeps what
    should go all the same, it is deleted and written anew.
    """
    if change.write is None:
        _delete(session, change.path)
        return
    if change.kind == "auth mount":
        _write(session, change.path, {**change.write, "description": "Logins through oidc-gateway"})
        return
    fields = dict(change.write)
    before = _fields(session, change.path) or {}
    fields |= {name: before[name] for name in _KEPT if before.get(name)}
    if _is_of_another_kind(before, change.write):
        _delete(session, change.path)
    _write(session, change.path, fields)
    if _differs(session, change.path, change.write) and change.kind in ("auth role", "engine role"):
        _delete(session, change.path)
        _write(session, change.path, fields)
    if still := _differs(session, change.path, change.write):
        raise ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            f"Vault holds other values at {change.path} than were written: {', '.join(still)}.",
            hint="Is somebody else changing it, or is this another release of Vault? Run the plan again.",
        )


def _is_of_another_kind(before: Mapping[str, object], wanted: Mapping[str, object]) -> bool:
    """Say whether Vault would refuse to change this role of the AWS auth method."""
    unbound = before.get("resolve_aws_unique_ids") is True and wanted.get("resolve_aws_unique_ids") is False
    return unbound or ("auth_type" in wanted and before.get("auth_type", "iam") != wanted["auth_type"])


def _differs(session: VaultSession, path: str, wanted: Mapping[str, object]) -> list[str]:
    found = _fields(session, path) or {}
    return [name for name, value in wanted.items() if normal(name, found.get(name)) != normal(name, value)]


def _policies(session: VaultSession) -> Iterable[tuple[str, str]]:
    for name in _names(session, "sys/policies/acl"):
        path = f"sys/policies/acl/{name}"
        text = None if name == "root" else (_fields(session, path) or {}).get("policy")
        if isinstance(text, str):
            yield path, text


def _is_asked(engine_role: str, policies: Iterable[str]) -> bool:
    """Say whether a policy that stays leads to an engine role by its name."""
    mount, _, name = engine_role.rpartition("/roles/")
    return any(f'"{mount}/{way}/{name}"' in text for text in policies for way in ("sts", "creds"))


def _types(session: VaultSession, path: str) -> dict[str, str]:
    return {mount: str(about.get("type")) for mount, about in _mounts(session, path).items()}


def _gives_batch_tokens(about: Mapping[str, object]) -> bool:
    config = about.get("config")
    return isinstance(config, dict) and config.get("token_type") == "batch"


def _mounts(session: VaultSession, path: str) -> dict[str, Mapping[str, Any]]:
    found = _fields(session, path)
    if not found or not all(name.isprintable() for name in found):
        # Of both kinds Vault always has some, which nobody can disable.
        raise UpstreamFailed(
            ErrorCode.VAULT_ERROR,
            f"Cannot read {path}: what answers is no Vault.",
            hint="Use the address of Vault itself, of its active node.",
        )
    return {mount.rstrip("/"): about for mount, about in found.items() if isinstance(about, dict)}


def _health(session: VaultSession) -> Mapping[str, Any]:
    try:
        return session.read("sys/health") or {}
    except VaultFault as fault:
        raise refusal(fault, "read sys/health") from None


def _fields(session: VaultSession, path: str) -> Mapping[str, Any] | None:
    try:
        answer = session.read(path)
    except VaultFault as fault:
        raise refusal(fault, f"read {path}") from None
    if answer is None:
        return None
    if not isinstance(data := answer.get("data"), dict):
        raise UpstreamFailed(
            ErrorCode.VAULT_ERROR,
            f"Cannot read {path}: the answer holds no data, as none of Vault does.",
            hint="Use the address of Vault itself, of its active node.",
        )
    return data


def _names(session: VaultSession, path: str) -> tuple[str, ...]:
    try:
        return session.names(path)
    except VaultFault as fault:
        raise refusal(fault, f"list {path}") from None


def _write(session: VaultSession, path: str, fields: Mapping[str, object]) -> None:
    try:
        session.write(path, fields)
    except VaultFault as fault:
        raise refusal(fault, f"write {path}") from None


def _delete(session: VaultSession, path: str) -> None:
    try:
        session.delete(path)
    except VaultFault as fault:
        raise refusal(fault, f"delete {path}") from None
