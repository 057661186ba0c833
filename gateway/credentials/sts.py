"""AssumeRoleWithWebIdentity: the caller's own token for credentials of one role, unsigned, checked on the way back."""

import asyncio
import logging
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from urllib.parse import quote_plus

from gateway.clock import Clock
from gateway.credentials.session import SHORTEST_S, AwsCredentials, RoleSession, is_session_of
from gateway.credentials.sts_errors import no_answer, refusal, repeatable
from gateway.errors import ConfigurationInvalid, ErrorCode, GatewayError, UpstreamFailed
from gateway.identity.token import VerifiedToken
from gateway.outbound.aws import AwsCall, AwsCalls
from gateway.outbound.aws_answers import AnswerInvalid, AwsFault, xml_texts
from gateway.outbound.aws_endpoints import AwsEndpointData, RegionUnknown
from gateway.outbound.http import OutboundFailure
from gateway.policy.rule import AwsRole
from gateway.policy.snapshot import AwsEndpoints
from gateway.secret import Secret

_log = logging.getLogger("gateway.aws")

#: Longest time for one exchange with STS, all attempts together, in seconds.
STEP_S: Final = 8.0
_SESSION_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_]{16,128}")
_TOKEN_LENGTH: Final = range(4, 20_001)
_DURATION_S: Final = range(SHORTEST_S, 43_201)
_POLICY_LENGTH: Final = 2048
_LATE_S: Final = 60.0
# The administrators' own, the same for all callers of a workflow, and full of what has to be escaped.
_REPEATED: Final = frozenset({"RoleArn", "Policy"})
_PLAIN: Final = (string.ascii_letters + string.digits + "-._~").encode()
_FORM: Final = b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15"
_HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
    "Accept": "text/xml",
    "User-Agent": "oidc-gateway",
}


class StsCredentials:
    """Asks STS. Holds no credentials of its own: the call is unsigned and carries the caller's token."""

    def __init__(
        self, *, calls: AwsCalls, data: AwsEndpointData, endpoints: Callable[[], AwsEndpoints], clock: Clock
    ) -> None:
        self._calls = calls
        self._data = data
        self._endpoints = endpoints
        self._clock = clock

    async def assume(
        self, token: VerifiedToken, role: AwsRole, session: RoleSession, *, region: str, deadline: float
    ) -> AwsCredentials:
        """Return credentials of the role, asked of one Region's STS and nobody else.

        deadline: monotonic seconds; the exchange takes at most 8 seconds of it.
        Raises AccessDenied, TokenRejected, UpstreamFailed or ConfigurationInvalid.
        """
        _check(token, session)
        endpoints = self._endpoints()
        call = AwsCall(
            service="sts",
            operation="AssumeRoleWithWebIdentity",
            region=region,
            url=self._url(region, role, endpoints),
            headers=_HEADERS,
            body=request_form(token, role, session),
            private=(token.compact.reveal(),),
        )
        loop = asyncio.get_running_loop()
        try:
            answer = await self._calls.make(call, repeatable, deadline=min(deadline, loop.time() + STEP_S))
        except AwsFault as fault:
            raise refusal(fault, token) from None
        except OutboundFailure:
            # Timers may fire a little early.
            raise no_answer(late=loop.time() >= deadline - 0.05) from None
        asked = _Asked(token=token, role=role, session=session, endpoints=endpoints)
        try:
            return _credentials(xml_texts(answer.body), asked, now=self._clock.wall())
        except AnswerInvalid as fault:
            raise _mismatch(str(fault)) from None

    def _url(self, region: str, role: AwsRole, endpoints: AwsEndpoints) -> str:
        try:
            url = self._data.url("sts", region, overrides=endpoints.sts)
            fits = region in endpoints.sts or self._data.partition(region) == role.arn.partition
        except RegionUnknown as error:
            raise _misconfigured(f"The Region {region} is not known.") from error
        if not fits:
            raise _misconfigured(f"{role.name} belongs to another AWS partition than the Region {region}.")
        return url


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    token: VerifiedToken
    role: AwsRole
    session: RoleSession
    endpoints: AwsEndpoints


def request_form(token: VerifiedToken, role: AwsRole, session: RoleSession) -> bytes:
    """Return the request as the AWS query protocol writes it."""
    fields = {
        "RoleArn": str(role.arn),
        "RoleSessionName": session.name,
        "WebIdentityToken": token.compact.reveal(),
        "DurationSeconds": str(session.duration_s),
    }
    if session.session_policy is not None:
        fields["Policy"] = session.session_policy
    return _FORM + "".join([f"&{name}={_quoted(name, value)}" for name, value in fields.items()]).encode()


def _quoted(name: str, value: str) -> str:
    if not value.encode().translate(None, _PLAIN):
        return value  # a token, nearly all of the form; `quote_plus` takes seven times as long to see it
    return _quoted_again(value) if name in _REPEATED else quote_plus(value)


@lru_cache(maxsize=1024)
def _quoted_again(value: str) -> str:
    return quote_plus(value)


def _check(token: VerifiedToken, session: RoleSession) -> None:
    # botocore checks minimum lengths only, and so do the emulators; what leaves us is right in itself.
    faults = {
        "the session name": _SESSION_NAME.fullmatch(session.name) is None,
        "the token's length": len(token.compact) not in _TOKEN_LENGTH,
        "the duration": session.duration_s not in _DURATION_S,
        "the session policy's length": len(session.session_policy or "") > _POLICY_LENGTH,
    }
    for name, wrong in faults.items():
        if wrong:
            raise GatewayError(ErrorCode.INTERNAL_ERROR, f"STS would not take {name}.")


def _credentials(texts: Mapping[str, str], asked: _Asked, *, now: float) -> AwsCredentials:
    """Read the answer and hold it against what was asked; raises AnswerInvalid or UpstreamFailed."""
    found = {path.removeprefix("AssumeRoleWithWebIdentityResult/"): text for path, text in texts.items()}
    identity = found.get("AssumedRoleUser/Arn", "")
    expires_at = _time(found.get("Credentials/Expiration", ""))
    key_id = found.get("Credentials/AccessKeyId", "")
    secret, session_token = (
        found.get("Credentials/SecretAccessKey", ""),
        found.get("Credentials/SessionToken", ""),
    )
    if not (_KEY_ID.fullmatch(key_id) and secret and session_token):
        raise AnswerInvalid("the credentials are not complete")
    if not is_session_of(identity, asked.role.arn, asked.session.name):
        raise AnswerInvalid("the session is not one of the role and name that were asked for")
    if not now < expires_at <= now + asked.session.duration_s + _LATE_S:
        raise AnswerInvalid("the expiry is not within what was asked for")
    if not asked.endpoints.emulator:
        _check_origin(found, asked)
    return AwsCredentials(
        access_key_id=key_id,
        secret_access_key=Secret(secret),
        session_token=Secret(session_token),
        expires_at=expires_at,
        identity=identity,
    )


def _check_origin(found: Mapping[str, str], asked: _Asked) -> None:
    principal, role = asked.token.principal, asked.role.arn
    if found.get("SubjectFromWebIdentityToken") != principal.subject:
        raise AnswerInvalid("the subject is not the token's")
    # The API reference says that Provider holds `iss`; recorded answers hold the ARN of the IAM OIDC provider, whose
    # name is the issuer without its scheme. Both mean this issuer and nothing else does.
    bare = principal.issuer.removeprefix("https://")
    provider = f"arn:{role.partition}:iam::{role.account}:oidc-provider/{bare}"
    # Whether IAM keeps the slash at the end of an issuer's URL is not documented.
    if found.get("Provider", "").removesuffix("/") not in {
        text.removesuffix("/") for text in (principal.issuer, bare, provider)
    }:
        raise AnswerInvalid("the provider is not the token's issuer")


def _time(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise AnswerInvalid("the expiry cannot be read") from None
    if moment.tzinfo is None:
        raise AnswerInvalid("the expiry has no time zone")
    return moment.timestamp()


def _mismatch(what: str) -> UpstreamFailed:
    _log.error("AWS STS answered something else than was asked for, the credentials are dropped: %s", what)
    return UpstreamFailed(
        ErrorCode.AWS_ANSWER_MISMATCH,
        f"The answer of AWS STS is not what was asked for: {what}.",
        hint="The credentials were dropped. Ask the administrators to look at what answers as STS.",
    )


def _misconfigured(message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(ErrorCode.MAPPING_INVALID_FOR_AWS, message)
