"""What one Vault must hold, as values: mounts, roles and policies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from gateway.policy.rule import Vault

Kind = Literal["auth mount", "auth config", "auth role", "policy", "engine role"]

# One plugin under two names.
_JWT: Final = frozenset({"jwt", "oidc"})
_AWS: Final = frozenset({"aws"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that Vault holds.

    path:   below `/v1/`, as `vault read` takes it.
    fields: all that are compared and written; no secret among them.
    shared: of a policy, when tokens with it are handed out: what else they may read is the administrator's to say, so more may
            stand in it.
    """

    kind: Kind
    path: str
    fields: Mapping[str, object]
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedVault:
    """What one Vault must hold.

    items:    in the order in which they can be written.
    mounts:   JWT auth mounts that the files name, without `auth/`; every role there is theirs.
    task_mounts: AWS auth mounts that the files name, likewise.
    engines:  AWS secrets engines that must be there already: only an administrator can give them their AWS credentials.
    problems: what the files ask for and Vault cannot hold; one sentence each, with what to do.
    remarks:  what to know about it.
    unsure:   of `mounts`, those of which the files do not tell for certain what is wanted there: nothing of theirs is "not in
              the files".
    """

    vault: Vault
    items: tuple[Item, ...]
    mounts: tuple[str, ...]
    task_mounts: tuple[str, ...] = ()
    engines: tuple[str, ...]
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    unsure: frozenset[str] = frozenset()

    @property
    def sure(self) -> tuple[str, ...]:
        """Return the JWT auth mounts of which the files tell all that is wanted there."""
        return tuple(mount for mount in self.mounts if mount not in self.unsure)

    def with_errors(self, errors: Iterable[str]) -> "WantedVault":
        """Return this with what is wrong in the files. Rules may be missing then, of whatever role."""
        faults = tuple(errors)
        return (
            replace(self, problems=(*faults, *self.problems), unsure=frozenset(self.mounts))
            if faults
            else self
        )

    @property
    def auth_types(self) -> Mapping[str, frozenset[str]]:
        """Return what type each auth mount may be of."""
        return {**dict.fromkeys(self.mounts, _JWT), **dict.fromkeys(self.task_mounts, _AWS)}


def named_policies(wanted: WantedVault) -> frozenset[str]:
    """Return the paths of the policies that wanted roles give to their tokens."""
    found = [item.fields.get("token_policies") for item in wanted.items]
    return frozenset(
        f"sys/policies/acl/{name}" for names in found if isinstance(names, list) for name in names
    )
