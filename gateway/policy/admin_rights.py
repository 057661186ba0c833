"""Who may administer the running gateway, as the files say: values, and the judgement by names. Pure."""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from gateway.identity.issuer import TrustedIssuer
from gateway.policy.rule import Condition

#: Separate: whoever may write may not read by that.
Right = Literal["read", "write"]
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRule:
    """Tokens of this issuer (its name) that satisfy its requirements and all of these conditions have one right."""

    issuer: str
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRights:
    """Who may do what. Everything that is configured must agree; a right that nothing gives nobody has.

    clients:  by right, certificate subjects (RFC 4514) and URIs, exactly; None: certificates give no rights.
    audience: the only audience of administrators' tokens; None: there are no tokens.
    tokens:   by right.
    """

    clients: Mapping[Right, tuple[str, ...]] | None = None
    audience: str | None = None
    tokens: Mapping[Right, TokenRule]

    def issuers(self, trusted: Mapping[str, TrustedIssuer]) -> dict[str, TrustedIssuer]:
        """Return, by `iss`, whom administrators' tokens are believed: the same issuers, for another audience alone.

        What an exchange accepts beside its audience (other audiences, client ids, Cognito's access tokens, which
        name none) is not accepted here.
        """
        if self.audience is None:
            return {}
        named = {rule.issuer for rule in self.tokens.values()}
        return {
            issuer: replace(
                one,
                audiences=(self.audience,),
                also_allowed=(),
                clients=(),
                token_kinds=("id",) if one.token_kinds else (),
            )
            for issuer, one in trusted.items()
            if one.name in named
        }

    def allows_client(self, names: Iterable[str], right: Right) -> bool:
        """Say whether a client whose certificate bears these names has the right."""
        listed = (self.clients or {}).get(right, ())
        # Every pair is compared, in constant time, so that an answer's time tells nothing about the list.
        found = [
            hmac.compare_digest(name.encode("utf-8", "surrogatepass"), known.encode())
            for name in names
            for known in listed
        ]
        return any(found)
