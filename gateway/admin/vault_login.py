"""A task of AWS logs in to Vault with its IAM role, and reads a secret: nothing stored, no key, no password.

access = VaultAccess(address="https://vault.acme.example:8200")
with logged_in_with_iam_role(access, IamLogin(role="payout-task")) as vault:
    password = vault.secret("secret/data/payments")["password"]
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import botocore.exceptions
import botocore.session
from hvac import aws_utils

from gateway.admin.vault_iam import GLOBAL_REGION, login_payload, sts_host
from gateway.admin.vault_refusals import login_refusal, refusal
from gateway.admin.vault_session import VaultAccess, VaultSession, opened
from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    GatewayError,
    RequestRejected,
    UpstreamFailed,
)
from gateway.outbound.vault_answers import VaultFault
from gateway.secret import Secret

_MOUNT: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_ROLE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REGION: Final = re.compile(r"[a-z]{2,5}(?:-[a-z]+)+-[0-9]{1,2}")
_HEADER: Final = re.compile(r"[!-~]{1,256}")
_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._~@:+=,-]{1,256}"
_PATH: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})+")


@dataclass(frozen=True, slots=True, kw_only=True)
class IamLogin:
    """Where and as what to log in.

    role:         of Vault's AWS auth method. mount: of that method, without `auth/`.
    header_value: what the mount wants in X-Vault-AWS-IAM-Server-ID, so that the login fits no other Vault; None: nothing.
    region:       whose STS Vault asks: `sts_region` of the mount's configuration; Vault's default is AWS's global STS.
    """

    role: str
    mount: str = "aws"
    header_value: str | None = None
    region: str = GLOBAL_REGION


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultLogin:
    """A token of Vault and what it may.

    lease_s: seconds it lives, unless it is renewed.
    """

    token: Secret = field(repr=False)
    accessor: Secret = field(repr=False)
    policies: tuple[str, ...]
    lease_s: int
    renewable: bool


class TaskVault:
    """Vault, logged in. Made by `logged_in_with_iam_role`."""

    def __init__(self, session: VaultSession) -> None:
        self._session = session

    def secret(self, path: str) -> Mapping[str, Any]:
        """Return the members of a secret, such as `secret/data/payments`; of version 2 of the KV engine its newest data.

        Raises AccessDenied, RequestRejected or UpstreamFailed: what is refused, and what to do.
        """
        return _read(self._session, path)


def login_with_iam_role(access: VaultAccess, login: IamLogin) -> VaultLogin:
    """Log in with the AWS credentials of this environment: of the Lambda function, ECS task, EC2 instance or profile.

    The credentials stay here: Vault gets a signed request for `sts:GetCallerIdentity`, which says who signed it and can do
    nothing else. Raises GatewayError of a class that says who must act, with one sentence and a hint.
    """
    _check(login)
    payload = _signed(login)
    with opened(access) as session:
        try:
            answer = session.aws_login(login.mount, payload)
        except VaultFault as fault:
            raise login_refusal(fault, mount=login.mount, role=login.role) from None
    return _read_login(answer)


@contextmanager
def logged_in_with_iam_role(access: VaultAccess, login: IamLogin) -> Iterator[TaskVault]:
    """Yield Vault, logged in with the AWS credentials of this environment; the token is revoked afterwards.

    Raises as `login_with_iam_role`.
    """
    token = login_with_iam_role(access, login).token
    with opened(replace(access, token=token)) as session:
        try:
            yield TaskVault(session)
        finally:
            # It ends by itself soon; what was read is good all the same.
            with suppress(GatewayError, VaultFault):
                session.write("auth/token/revoke-self", {})


def read_secret(access: VaultAccess, path: str) -> Mapping[str, Any]:
    """Return the members of a secret with the token of `access`; see `TaskVault.secret`."""
    with opened(access) as session:
        return _read(session, path)


def _check(login: IamLogin) -> None:
    for name, value, form in (
        ("role", login.role, _ROLE),
        ("mount", login.mount, _MOUNT),
        ("region", login.region, _REGION),
        ("header_value", login.header_value or "-", _HEADER),
    ):
        if form.fullmatch(value) is None:
            raise RequestRejected(
                ErrorCode.REQUEST_MALFORMED,
                f"The {name} has characters that none of Vault has.",
                hint="Write it as Vault lists it, without auth/ and without slashes at the ends.",
            )


def _signed(login: IamLogin) -> dict[str, object]:
    try:
        found = botocore.session.Session().get_credentials()
        held = found.get_frozen_credentials() if found is not None else None
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
        held = None  # its text may hold paths and profiles
    if held is None:
        raise ConfigurationInvalid(
            ErrorCode.AWS_DENIED,
            "There are no usable AWS credentials in this environment.",
            hint="On AWS give the task a role; elsewhere set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its companions.",
        )
    request = aws_utils.generate_sigv4_auth_request(header_value=login.header_value)
    if login.region != GLOBAL_REGION:
        # hvac signs for the global STS alone; a regional one judges the signature by its own name.
        request.headers["Host"] = sts_host(login.region)
        request.url = f"https://{sts_host(login.region)}/"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # hvac asks for the time with utcnow()
        aws_utils.SigV4Auth(held.access_key, held.secret_key, held.token, login.region).add_auth(request)
    return login_payload(
        login.role, method=request.method, url=request.url, headers=request.headers, body=request.body
    )


def _read_login(answer: Mapping[str, Any]) -> VaultLogin:
    auth = answer.get("auth") or {}
    token, policies = auth.get("client_token"), auth.get("policies") or ()
    if not isinstance(token, str) or not token:
        raise UpstreamFailed(
            ErrorCode.VAULT_ANSWER_MISMATCH,
            "Vault's answer to the login holds no token.",
            hint="Does the role demand a second factor? A task cannot give one.",
        )
    return VaultLogin(
        token=Secret(token),
        accessor=Secret(str(auth.get("accessor") or "")),
        policies=tuple(str(policy) for policy in policies),
        lease_s=int(auth.get("lease_duration") or 0),
        renewable=bool(auth.get("renewable")),
    )


def _read(session: VaultSession, path: str) -> Mapping[str, Any]:
    plain = path.strip("/")
    if _PATH.fullmatch(plain) is None:
        raise RequestRejected(
            ErrorCode.REQUEST_MALFORMED,
            "That is no path of a secret.",
            hint="Write mount and path, such as secret/data/payments (version 2 of the KV engine) or kv/payments (version 1).",
        )
    try:
        answer = session.read(plain)
    except VaultFault as fault:
        raise refusal(fault, f"read {plain}") from None
    data = (answer or {}).get("data")
    if isinstance(data, dict) and isinstance(data.get("metadata"), dict) and "data" in data:
        data = data["data"]  # version 2 wraps the secret; null where the newest version was deleted
    if not isinstance(data, dict):
        raise AccessDenied(
            ErrorCode.NOT_FOUND,
            f"There is no secret at {plain}.",
            hint=_where(plain),
        )
    return data


def _where(path: str) -> str:
    mount, _, rest = path.partition("/")
    if rest.startswith("data/"):
        return "Compare it with `vault kv list`; of a deleted secret the newest version is empty."
    return f"Version 2 of the KV engine has its secrets below data/: {mount}/data/{rest}."
