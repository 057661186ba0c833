"""The one place that turns a verified token and a target into credentials."""

import asyncio
from typing import Final, Protocol, assert_never

from gateway.credentials.cache import CredentialCache, CredentialKey
from gateway.credentials.session import AwsCredentials, RoleSession
from gateway.credentials.suitability import require_usable_for_aws
from gateway.identity.token import VerifiedToken
from gateway.policy.rule import AwsRole, Target

#: Longest a flight may take, in seconds; it belongs to nobody, so no caller's deadline holds for it.
FLIGHT_S: Final = 8.0


class AssumeRole(Protocol):
    """What the broker needs of STS."""

    async def assume(
        self, token: VerifiedToken, role: AwsRole, session: RoleSession, *, region: str, deadline: float
    ) -> AwsCredentials:
        """Ask one Region's STS, once or with the repetitions that can help. deadline: the event loop's time."""
        ...


class CredentialBroker:
    """A CredentialSource over STS and a cache. A token goes to the one target it was decided for and nowhere else."""

    def __init__(self, *, sts: AssumeRole, cache: CredentialCache) -> None:
        self._sts = sts
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
        """Return credentials of the target; see CredentialSource. Also raises what `StsCredentials.assume` raises."""
        match target:
            case AwsRole():
                require_usable_for_aws(token, target)
            case _:
                assert_never(target)

        async def fetch() -> AwsCredentials:
            until = asyncio.get_running_loop().time() + FLIGHT_S
            return await self._sts.assume(token, target, session, region=region, deadline=until)

        key = CredentialKey(token=token.digest, target=target, session=session, region=region)
        return await self._cache.obtain(key, fetch, deadline=deadline, instead_of=instead_of)
