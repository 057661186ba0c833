"""Who asks on the admin listener, and may they: the kernel, a client certificate and a token must all agree."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request

from gateway.admin.account import account_of
from gateway.clock import Clock
from gateway.doors.inbound import EXCHANGE_S, one_token
from gateway.errors import AccessDenied, ErrorCode, FailedClaim
from gateway.identity.token import Identify, VerifiedToken
from gateway.policy.admin_rights import AdminRights, Right
from gateway.policy.decide import judge
from gateway.policy.refuse import failed_claims
from gateway.policy.snapshot import Policy

_LONGEST_NAME = 200
_DEEDS = {"read": "look at this gateway", "write": "change anything here"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Whom the transport knows; made by the listener, once a connection.

    uid:   of the process at the other end of a unix socket, which is our own; None on a TCP connection.
    names: subject and URIs of a client's verified certificate, the subject first; empty without one.
    """

    uid: int | None = None
    names: tuple[str, ...] = ()


class NotAdmitted(AccessDenied):
    """An administrator who is known may not do this. who: as far as it is known, for the record."""

    def __init__(self, right: Right, who: str, claims: tuple[FailedClaim, ...] = ()) -> None:
        super().__init__(
            ErrorCode.ADMIN_FORBIDDEN,
            f"This identity may not {_DEEDS[right]}.",
            hint="`admin` in gateway.yaml says who may; reading and writing are separate rights.",
            claims=claims,
        )
        self.who = who


class Gatekeeper:
    """Judges every request by the policy in force, so that a right that is taken away is gone at once.

    subject: raises AccessDenied for an identity that is switched off.
    """

    def __init__(
        self,
        *,
        identify: Identify,
        policy: Callable[[], Policy],
        subject: Callable[[VerifiedToken], None],
        clock: Clock,
    ) -> None:
        self._identify = identify
        self._subject = subject
        self._policy = policy
        self._clock = clock

    async def admit(self, request: Request, right: Right) -> str:
        """Return who asks; raises NotAdmitted, TokenRejected or Unavailable."""
        policy = self._policy()
        rights, peer = policy.admin, request.scope["state"]["peer"]
        if rights is None:
            # The block was taken out of the file since the start: nobody may do anything any more.
            raise NotAdmitted(right, "somebody on this machine")
        names = [_by_transport(peer, rights, right)]
        if rights.audience is not None:
            names.append(await self._by_token(request, rights, right, policy))
        return _printable(", ".join(name for name in names if name))

    async def _by_token(self, request: Request, rights: AdminRights, right: Right, policy: Policy) -> str:
        token = await self._identify(
            one_token(request),
            rights.issuers(policy.issuers),
            now=self._clock.wall(),
            deadline=request.scope["state"]["arrived"] + EXCHANGE_S,
        )
        self._subject(token)
        who = f"{token.issuer.name} {token.principal.subject}"
        rule = rights.tokens.get(right)
        if rule is None or rule.issuer != token.issuer.name:
            raise NotAdmitted(right, _printable(who))
        holds, checks = judge(token.claims, rule.conditions, policy)
        if not holds:
            raise NotAdmitted(right, _printable(who), failed_claims(checks))
        return who


def _by_transport(peer: Peer, rights: AdminRights, right: Right) -> str:
    """Return whom the transport knows, nobody (an empty text) where the token alone says; raises NotAdmitted."""
    if peer.uid is not None:
        return account_of(peer.uid)
    who = _printable(peer.names[0]) if peer.names else "somebody on this machine"
    if rights.clients is not None:
        if not rights.allows_client(peer.names, right):
            raise NotAdmitted(right, who)
        return who
    if rights.audience is None:
        raise NotAdmitted(right, who)
    return who if peer.names else ""


def _printable(name: str) -> str:
    """Return the name as one line: a token's subject and a certificate's subject are somebody's text."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name[:_LONGEST_NAME])
    return shown.strip() or "?"
