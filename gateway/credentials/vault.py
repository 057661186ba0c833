"""The hot calls to Vault: log in with the caller's own token, have the AWS engine issue credentials, revoke the login."""

import asyncio
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

from gateway.clock import Clock
from gateway.credentials.revocation import Revocations
from gateway.credentials.session import SHORTEST_S, AwsCredentials, RoleSession, VaultToken
from gateway.credentials.vault_answers import (
    AnswerMismatch,
    Login,
    checked_credentials,
    checked_login,
    checked_wrapping,
    token_in,
    wrapping_token_in,
)
from gateway.credentials.vault_errors import engine_refusal, login_refusal, no_answer, unreadable
from gateway.errors import ConfigurationInvalid, ErrorCode, GatewayError, UpstreamFailed
from gateway.identity.token import VerifiedToken
from gateway.outbound.http import OutboundFailure
from gateway.outbound.vault import CaInvalid, Operation, VaultCall, VaultCalls
from gateway.outbound.vault_answers import AnswerUnreadable, VaultFault
from gateway.policy.rule import Vault, VaultAws, VaultRole
from gateway.secret import Secret

_log = logging.getLogger("gateway.vault")

_LONGEST_S: Final = 43_200


class VaultCredentials:
    """Asks Vault. Holds no token of its own: a login carries the caller's, and what it yields is passed by value.

    Open inside `async with`, while the revocations run that it starts.
    """

    def __init__(self, *, calls: VaultCalls, clock: Clock, pause_s: float = 10.0) -> None:
        """Prepare. pause_s: seconds before a revocation that failed is tried once more."""
        self._calls = calls
        self._clock = clock
        self._revocations = Revocations(self._revoke, pause_s=pause_s)

    async def __aenter__(self) -> Self:
        await self._revocations.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._revocations.__aexit__(kind, error, trace)

    async def login(self, token: VerifiedToken, role: VaultRole, *, deadline: float) -> VaultToken:
        """Log in for a token that leaves the gateway, wrapped where the role says so.

        deadline: the event loop's time. Raises AccessDenied, UpstreamFailed, Unavailable or ConfigurationInvalid.
        """
        asked_at = self._clock.wall()
        login = await self._login(token, role, wrap_s=role.wrap_s, deadline=deadline)
        return VaultToken(
            token=login.token,
            identity=f"auth/{role.mount}/role/{role.role}/{login.accessor}",
            expires_at=asked_at + login.lease_s,
            wrapped=login.creation_path is not None,
            creation_path=login.creation_path,
            policies=login.policies,
        )

    def give_back(self, unclaimed: VaultToken, role: VaultRole) -> None:
        """Revoke a token that nobody received, beside whatever happens next; a batch token only ends by its lease."""
        accessor = unclaimed.identity.rpartition("/")[2]
        _log.warning("vault: nobody received the token of accessor %s; it is revoked", accessor)
        if unclaimed.wrapped:
            self._revocations.beside(self._undo_wrapping(role.vault, unclaimed.token))
        else:
            self._revocations.soon(role.vault, unclaimed.token, accessor=accessor)

    async def aws(
        self, token: VerifiedToken, role: VaultRole, session: RoleSession, *, deadline: float
    ) -> AwsCredentials:
        """Log in, have the AWS engine issue credentials, and revoke the login beside the answer.

        The revocation ends the lease and not the AWS session, which lives until AWS ends it.
        Deadline and failures as for `login`.
        """
        engine = _engine(role, session)
        login = await self._login(token, role, wrap_s=None, deadline=deadline)
        try:
            return await self._issue(login, role, engine, session, deadline=deadline)
        finally:
            if login.revocable:
                self._revocations.soon(role.vault, login.token, accessor=login.accessor)

    async def _login(
        self, token: VerifiedToken, role: VaultRole, *, wrap_s: int | None, deadline: float
    ) -> Login:
        body = {"role": role.role, "jwt": token.compact.reveal()}
        call = _call("login", role.vault, f"auth/{role.mount}/login", body=body, wrap_s=wrap_s)
        try:
            document = await self._make(call, deadline=deadline)
        except VaultFault as fault:
            raise login_refusal(fault, token) from None
        try:
            return checked_login(document, role) if wrap_s is None else checked_wrapping(document, role)
        except AnswerMismatch as fault:
            await self._undo(document, role.vault)
            raise _mismatch(role, str(fault)) from None

    async def _issue(
        self, login: Login, role: VaultRole, engine: VaultAws, session: RoleSession, *, deadline: float
    ) -> AwsCredentials:
        body = {
            "role_arn": str(engine.arn),
            "role_session_name": session.name,
            "ttl": f"{session.duration_s}s",
        }
        path = f"{engine.mount}/sts/{engine.role}"
        asked_at = self._clock.wall()
        try:
            document = await self._make(
                _call("aws", role.vault, path, body=body, token=login.token), deadline=deadline
            )
        except VaultFault as fault:
            raise engine_refusal(fault) from None
        try:
            return checked_credentials(document, engine, session, asked_at=asked_at)
        except AnswerMismatch as fault:
            raise _mismatch(role, str(fault)) from None

    async def _make(self, call: VaultCall, *, deadline: float) -> dict[str, object]:
        loop = asyncio.get_running_loop()
        try:
            return await self._calls.make(call, deadline=deadline)
        except OutboundFailure as failure:
            # Timers may fire a little early.
            raise no_answer(failure, late=loop.time() >= deadline - 0.05) from None
        except AnswerUnreadable:
            raise unreadable() from None
        except CaInvalid as fault:
            raise ConfigurationInvalid(ErrorCode.MAPPING_INVALID_FOR_VAULT, str(fault)) from None

    async def _undo(self, document: dict[str, object], vault: Vault) -> None:
        """Revoke whatever token a wrong answer holds, before anybody is told."""
        held = token_in(document)
        wrapping = wrapping_token_in(document)
        if held is None and wrapping is not None:
            held = await self._unwrapped(vault, wrapping)
        if held is not None:
            await self._revocations.now(vault, held)

    async def _undo_wrapping(self, vault: Vault, wrapping: Secret) -> None:
        held = await self._unwrapped(vault, wrapping)
        if held is not None:
            await self._revocations.now(vault, held)

    async def _unwrapped(self, vault: Vault, wrapping: Secret) -> Secret | None:
        # The wrapping token cannot revoke what it wraps; unwrapping uses it up and shows the token that can.
        deadline = asyncio.get_running_loop().time() + 2.0
        try:
            call = _call("unwrap", vault, "sys/wrapping/unwrap", token=wrapping)
            return token_in(await self._calls.make(call, deadline=deadline))
        except (VaultFault, OutboundFailure, AnswerUnreadable):
            return None

    async def _revoke(self, vault: Vault, token: Secret, *, deadline: float) -> None:
        await self._calls.make(
            _call("revoke", vault, "auth/token/revoke-self", token=token), deadline=deadline
        )


def _call(
    operation: Operation,
    vault: Vault,
    path: str,
    *,
    body: Mapping[str, object] | None = None,
    token: Secret | None = None,
    wrap_s: int | None = None,
) -> VaultCall:
    return VaultCall(
        operation=operation,
        address=vault.address,
        namespace=vault.namespace,
        ca_pem=vault.ca_pem,
        path=path,
        body=body or {},
        token=token,
        wrap_s=wrap_s,
    )


def _engine(role: VaultRole, session: RoleSession) -> VaultAws:
    if role.aws is None:
        raise ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_VAULT, f"{role.name} has no AWS engine behind it."
        )
    if session.duration_s > role.ttl_s:
        raise ConfigurationInvalid(
            ErrorCode.MAPPING_INVALID_FOR_VAULT,
            f"AWS issues no session shorter than {SHORTEST_S} s, and {role.name} allows {role.ttl_s} s at most.",
            hint="Ask the administrators to raise the target's ttl.",
        )
    if not SHORTEST_S <= session.duration_s <= _LONGEST_S:
        raise GatewayError(ErrorCode.INTERNAL_ERROR, "AWS would not take the duration.")
    return role.aws


def _mismatch(role: VaultRole, what: str) -> UpstreamFailed:
    _log.error("vault: the answer for %s is dropped: %s", role.name, what)
    return UpstreamFailed(
        ErrorCode.VAULT_ANSWER_MISMATCH,
        f"Vault's answer is not what the target allows: {what}.",
        hint="It was revoked and dropped. Ask the administrators to compare Vault's role with the target.",
    )
