"""What a token holds: the grants of all rules that it satisfies, each once."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.policy.rule import Grant, Replay, strictest


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A grant that a token holds. replay: the strictest of the rules that give it."""

    grant: Grant
    replay: Replay


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class Holdings:
    """All that a token holds: one value for all tokens that satisfy the same rules, so that what is made of it can be kept.

    grants: in the order in which they are filed.
    """

    grants: tuple[Held, ...]

    @classmethod
    def of(cls, given: Iterable[tuple[Grant, Replay]]) -> "Holdings":
        """Put together what rules give, each grant with the replay of its rule."""
        held: dict[tuple[str, str | None, str, str | None], Held] = {}
        for grant, replay in given:
            workflow = grant.workflow.name if grant.workflow else None
            key = (grant.verb, workflow, grant.target.name, grant.form)
            before = held.get(key)
            if before is None:
                held[key] = Held(grant=grant, replay=replay)
            elif before.replay != replay:
                held[key] = Held(grant=before.grant, replay=strictest([before.replay, replay]))
        return cls(grants=tuple(held.values()))


#: Of tokens that satisfy no rule.
NOTHING: Final = Holdings(grants=())
