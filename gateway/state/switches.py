"""What an administrator has switched off. Values, and what a store of them must do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, get_args

SwitchKind = Literal["issuer", "rule", "subject", "workflow"]
KINDS: Final[tuple[SwitchKind, ...]] = get_args(SwitchKind)
#: How many things may be off at once, and of how many it is remembered who switched them on again.
MAX_OFF: Final = 10_000
MAX_ON: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """How one thing was switched off, or on again.

    name: an issuer's name in `gateway.yaml`, a rule's id, a workflow's name; for a subject the issuer's name, a blank,
          and `sub` exactly as tokens carry it.
    why:  one line, for the record and for colleagues. by: who turned it. at: wall seconds.
    """

    kind: SwitchKind
    name: str
    why: str
    by: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchBoard:
    """Everything that is off, as one value.

    readable: False when the store cannot be read: then everything counts as off.
    off:      by kind and name.
    on:       what was switched on again, the last MAX_ON; allows nothing, but the record must say who did it.
    rules:    ids of the rules among `off`.
    digest:   `sha256:` and 64 hex digits over the switches; replicas compare it.
    """

    readable: bool
    digest: str
    off: Mapping[tuple[SwitchKind, str], Switch] = field(default_factory=dict)
    on: Mapping[tuple[SwitchKind, str], Switch] = field(default_factory=dict)
    rules: frozenset[str] = frozenset()


class Switches(Protocol):
    """What the exchange asks, on every call: no wait, no I/O."""

    def current(self) -> SwitchBoard:
        """Return what is off now; at most 5 s behind the store, else `readable` is False."""
        ...


class SwitchStore(Protocol):
    """What administrators turn. Both raise Unavailable (`switches_unavailable`)."""

    async def turn_off(self, switch: Switch) -> bool:
        """Switch off; False when it was off already, and then the earlier entry stays."""
        ...

    async def turn_on(self, switch: Switch) -> Switch | None:
        """Switch on, by whom the value says; returns how it was switched off, None when it was not off."""
        ...

    async def read(self) -> SwitchBoard:
        """Return what is off, read now."""
        ...
