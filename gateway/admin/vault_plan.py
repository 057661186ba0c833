"""The difference between what Vault holds and what the files want, as changes that can be shown and made. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from gateway.admin.vault_effects import Effect, effect_of, normal
from gateway.admin.vault_fields import POLICY_MARK, PolicyMark, mark_of, missing_blocks
from gateway.admin.vault_items import Item, Kind, WantedVault

Action = Literal["create", "update", "delete"]

_NOTHING: Mapping[str, object] = {}
# STS of the public partitions, VPC endpoints included; other hosts below amazonaws.com are of AWS's customers.
_OF_AWS: Final = re.compile(
    r"https://(?:vpce-[a-z0-9-]+\.)?sts(?:-fips)?\.(?:[a-z]{2,5}(?:-[a-z]+)+-[0-9]{1,2}\.)?(?:vpce\.)?"
    r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws)/?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What was found in Vault.

    items:       by path, those that are wanted and there.
    mounts:      types of auth methods by mount; engines: types of secrets engines by mount. Without slashes.
    other_roles: paths of roles on the files' JWT mounts that the files do not want; other_tasks: on their AWS auth mounts.
    policies:    what the marks of policies say that are for the files' mounts and that the files do not want, by path.
    engine_roles: paths of engine roles that untouched policies of ours name, that are there and that the files do not want.
    batch:       auth mounts that are tuned to give batch tokens, whatever a role says.
    sts:         by AWS auth mount, whom Vault asks there who a task is; only where an administrator has said so.
    namespaces:  False where this Vault is of an edition that has none.
    """

    items: Mapping[str, Mapping[str, object]]
    mounts: Mapping[str, str]
    engines: Mapping[str, str]
    other_roles: tuple[str, ...] = ()
    other_tasks: tuple[str, ...] = ()
    policies: Mapping[str, PolicyMark] = field(default_factory=dict)
    engine_roles: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    sts: Mapping[str, str] = field(default_factory=dict)
    namespaces: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field that differs; both values as they mean, see `normal`."""

    field: str
    held: object
    wanted: object
    effect: Effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing to create, to correct or to delete.

    write: all fields to write; None for a deletion.
    """

    action: Action
    kind: Kind
    path: str
    fields: tuple[FieldChange, ...] = ()
    write: Mapping[str, object] | None = None

    @property
    def wider(self) -> bool:
        """Say whether Vault allows here what the files do not."""
        return self.action == "delete" or any(one.effect == "wider" for one in self.fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultPlan:
    """What has to happen in one Vault.

    changes:  to create and to correct, in the order in which they can be made.
    prune:    to delete, which only happens when asked for.
    problems: what stands in the way; one sentence each. remarks: what to know.
    """

    name: str
    changes: tuple[Change, ...]
    prune: tuple[Change, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def in_step(self) -> bool:
        """Say whether Vault is just what the files want."""
        return not (self.changes or self.prune or self.problems)


def plan(wanted: WantedVault, held: Held) -> VaultPlan:
    """Compare."""
    foreign = _foreign_policies(wanted, held)
    problems = [
        *wanted.problems,
        *_wrong_mounts(wanted, held),
        *foreign.values(),
        *(
            f"auth/{mount} is tuned to give batch tokens, which nobody can revoke. Correct it: "
            f"vault auth tune -token-type=default-service {mount}."
            for mount in held.batch
        ),
    ]
    blocked = {mount for mount, _, _ in _misfits(wanted, held)}
    changes = [
        change
        for item in wanted.items
        if item.path not in foreign
        and not _is_blocked(item, held, blocked)
        and (change := _compare(item, held)) is not None
    ]
    prune = [
        *(
            Change(action="delete", kind="auth role", path=path)
            for path in held.other_roles
            if path.removeprefix("auth/").rpartition("/role/")[0] not in wanted.unsure | blocked
        ),
        *(
            Change(action="delete", kind="policy", path=path)
            for path, mark in sorted(held.policies.items())
            if mark.untouched
        ),
        *(Change(action="delete", kind="engine role", path=path) for path in held.engine_roles),
    ]
    return VaultPlan(
        name=wanted.vault.name,
        changes=tuple(changes),
        prune=tuple(prune),
        problems=tuple(problems),
        remarks=(
            *wanted.remarks,
            *_left_to_hand(held),
            *_strange_sts(held),
            *_ignored_namespace(wanted, held),
        ),
    )


def _foreign_policies(wanted: WantedVault, held: Held) -> dict[str, str]:
    """Return by path why a policy cannot be written: it holds what somebody else wrote, which would be lost."""
    found = {}
    for item in wanted.items:
        if item.kind != "policy" or item.shared or item.path not in held.items:
            continue
        text = str(held.items[item.path].get("policy") or "")
        mark = mark_of(text)
        if not text.startswith(POLICY_MARK) and (mark is None or not mark.untouched):
            found[item.path] = (
                f"{item.path} is there and was not written here, or not all of it: it would be lost. Use another name in "
                "`policies`, or delete it first."
            )
    return found


def _left_to_hand(held: Held) -> list[str]:
    """Say what the files do not have and nobody can know to be ours."""
    return [
        *(
            f"{path} is not in the files. AWS auth mounts are shared with others: delete it by hand if it is yours."
            for path in held.other_tasks
        ),
        *(
            f"{path} is not in the files, but was changed since it was written here: delete it by hand, and with it "
            f"{' and '.join(mark.engine_roles)}, when nobody needs them."
            for path, mark in sorted(held.policies.items())
            if not mark.untouched
        ),
    ]


def _strange_sts(held: Held) -> list[str]:
    """Say where another than AWS decides who a task is: whoever answers there can log in as anybody."""
    return [
        f"auth/{mount} asks {endpoint} who a task is, which is no address of AWS. Whoever answers there can let anybody in."
        for mount, endpoint in sorted(held.sts.items())
        if not _OF_AWS.fullmatch(endpoint)
    ]


def _ignored_namespace(wanted: WantedVault, held: Held) -> tuple[str, ...]:
    if wanted.vault.namespace is None or held.namespaces:
        return ()
    return (
        f"This Vault is a Community edition and ignores the namespace {wanted.vault.namespace}; is it the right one?",
    )


def _misfits(wanted: WantedVault, held: Held) -> list[tuple[str, str, str]]:
    """Return mounts that are there and of another type: mount, its type, the type that is wanted."""
    return [
        (mount, held.mounts[mount], min(types))
        for mount, types in wanted.auth_types.items()
        if mount in held.mounts and held.mounts[mount] not in types
    ]


def _wrong_mounts(wanted: WantedVault, held: Held) -> list[str]:
    faults = [
        f"auth/{mount} is there and of the type {kind}, not {wanted_kind}. Name another mount in the files."
        for mount, kind, wanted_kind in _misfits(wanted, held)
    ]
    for engine in wanted.engines:
        if engine not in held.engines:
            faults.append(
                f"The AWS secrets engine {engine} is not there. Enable it (vault secrets enable -path={engine} aws) and give it "
                f"credentials that may assume the roles ({engine}/config/root); its roles are written then."
            )
        elif held.engines[engine] != "aws":
            faults.append(
                f"{engine} is there and of the type {held.engines[engine]}, not aws. Name another mount."
            )
    return faults


def _is_blocked(item: Item, held: Held, blocked: set[str]) -> bool:
    if item.kind == "engine role":
        return held.engines.get(item.path.rpartition("/roles/")[0]) != "aws"
    return any(
        item.path == f"sys/auth/{mount}"
        or item.path.startswith((f"auth/{mount}/config", f"auth/{mount}/role/"))
        for mount in blocked
    )


def _compare(item: Item, held: Held) -> Change | None:
    if item.kind == "auth mount":
        there = item.path.removeprefix("sys/auth/") in held.mounts
        return None if there else Change(action="create", kind=item.kind, path=item.path, write=item.fields)
    present = held.items.get(item.path, _unwritten(item, held))
    if present is None:
        fields = tuple(
            _change(name, None, value) for name, value in item.fields.items() if normal(name, value)
        )
        return Change(action="create", kind=item.kind, path=item.path, fields=fields, write=item.fields)
    wanted = _completed(item, present) if item.shared else item.fields
    fields = tuple(
        _change(name, present.get(name), value)
        for name, value in wanted.items()
        if normal(name, present.get(name)) != normal(name, value)
    )
    if not fields:
        return None
    return Change(action="update", kind=item.kind, path=item.path, fields=fields, write=wanted)


def _unwritten(item: Item, held: Held) -> Mapping[str, object] | None:
    """Return what a thing is before it is written for the first time: an AWS auth mount then demands no server id."""
    mount = item.path.removeprefix("auth/").removesuffix("/config/client")
    return _NOTHING if item.kind == "auth config" and mount in held.mounts else None


def _completed(item: Item, present: Mapping[str, object]) -> Mapping[str, object]:
    held = str(present.get("policy") or "")
    mark, ours = mark_of(held), mark_of(str(item.fields["policy"]))
    mounts = {user.removeprefix("auth/").rpartition("/role/")[0] for user in (ours.users if ours else ())}
    if mark is not None and mark.untouched and mark.is_of(mounts):
        return item.fields
    missing = missing_blocks(str(item.fields["policy"]), held)
    return {"policy": f"{held.rstrip()}\n\n{missing}" if missing else held}


def _change(name: str, held: object, wanted: object) -> FieldChange:
    before, after = normal(name, held), normal(name, wanted)
    return FieldChange(field=name, held=before, wanted=after, effect=effect_of(name, before, after))
