"""What one Vault must hold, as values: mounts, roles and policies."""

from collections.abc import Mapping
from dataclasses import dataclass
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
    """

    vault: Vault
    items: tuple[Item, ...]
    mounts: tuple[str, ...]
    task_mounts: tuple[str, ...] = ()
    engines: tuple[str, ...]
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def auth_types(self) -> Mapping[str, frozenset[str]]:
        """Return what type each auth mount may be of."""
        return {**dict.fromkeys(self.mounts, _JWT), **dict.fromkeys(self.task_mounts, _AWS)}
