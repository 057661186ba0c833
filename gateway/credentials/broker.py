"""The one place that turns a verified token and a target into credentials."""

import asyncio
from typing import Final, Protocol

from gateway.credentials.cache import CredentialCache, CredentialKey, Fetch
from gateway.credentials.session import AwsCredentials, RoleSession, VaultToken
from gateway.credentials.suitability import require_usable_for_aws
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import AwsRole, Target, VaultRole

#: Longest a flight may take, in seconds; it belongs to nobody, so no caller's deadline holds for it.
FLIGHT_S: Final = 8.0


class AssumeRole(Protocol):
    """What the broker needs of STS."""

    async def assume(
        self, token: VerifiedToken, role: AwsRole, session: RoleSession, *, region: str, deadline: float
    ) -> AwsCredentials:
        """Ask one Region's STS, once or with the repetitions that can help. deadline: the event loop's time."""
        ...


class AskVault(Protocol):
    """What the broker needs of Vault."""

    async def aws(
        self, token: VerifiedToken, role: VaultRole, session: RoleSession, *, deadline: float
    ) -> AwsCredentials:
        """Log in, have the AWS engine issue credentials, and revoke the login again. deadline: as above."""
        ...

    async def login(self, token: VerifiedToken, role: VaultRole, *, deadline: float) -> VaultToken:
        """Log in for a token that leaves the gateway, wrapped where the role says so."""
        ...

    def give_back(self, unclaimed: VaultToken, role: VaultRole) -> None:
        """Revoke a token that nobody received, beside whatever happens next."""
        ...


class CredentialBroker:
    """A CredentialSource over STS, Vault and a cache. A token goes to the one target it was decided for and nowhere else."""

    def __init__(self, *, sts: AssumeRole, vault: AskVault, cache: CredentialCache) -> None:
        self._sts = sts
        self._vault = vault
        self._cache = cache

    async def aws(
        self,
        token: VerifiedToken,
        target: Target,
        session: RoleSession,
        *,
        region: str,
        deadline: float,
        instead_of: AwsCredentials | None = None,
    ) -> AwsCredentials:
        """Return credentials of the target; see CredentialSource. Also raises what the edges raise."""
        fetch = self._fetch(token, target, session, region)
        # What Vault issues does not depend on a Region, so all Regions share it.
        where = region if isinstance(target, AwsRole) else ""
        key = CredentialKey(token=token.digest, target=target, session=session, region=where)
        return await self._cache.obtain(key, fetch, deadline=deadline, instead_of=instead_of)

    async def vault_token(self, token: VerifiedToken, target: Target, *, deadline: float) -> VaultToken:
        """Return a token of a Vault role; see CredentialSource."""
        if not isinstance(target, VaultRole):
            raise TypeError(f"{target.name} is no Vault role, so it yields no token of Vault.")
        until = min(deadline, asyncio.get_running_loop().time() + FLIGHT_S)
        return await self._vault.login(token, target, deadline=until)

    def give_back(self, unclaimed: VaultToken, target: VaultRole) -> None:
        """Have a token revoked that nobody received; see CredentialSource."""
        self._vault.give_back(unclaimed, target)

    def _fetch(self, token: VerifiedToken, target: Target, session: RoleSession, region: str) -> Fetch:
        match target:
            case AwsRole() as role:
                require_usable_for_aws(token, role)
                return lambda: self._sts.assume(token, role, session, region=region, deadline=_flight())
            case VaultRole() as behind:
                return lambda: self._vault.aws(token, behind, session, deadline=_flight())


def _flight() -> float:
    return asyncio.get_running_loop().time() + FLIGHT_S
