"""What Vault answers, held against what the target allows. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from gateway.credentials.session import AwsCredentials, RoleSession, is_session_of
from gateway.policy.rule import VaultAws, VaultRole
from gateway.secret import Secret

_KEY_ID: Final = re.compile(r"[A-Za-z0-9_]{16,128}")
_LEASE: Final = re.compile(r"[A-Za-z0-9._/-]{1,256}")
_LATE_S: Final = 60
# Vault adds this one to every token unless its role says otherwise.
_DEFAULT: Final = "default"
_DIGEST_CHARS: Final = 16


class AnswerMismatch(Exception):
    """Vault's answer is not what the target allows; the message says in what, without any value of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login whose answer was checked.

    accessor: digest; the accessor itself is a secret.
    lease_s:  life of the token, or of the wrapping token around it, in seconds.
    revocable: a service token, which lives in Vault until it ends or is revoked; a batch token only ends.
    """

    token: Secret = field(repr=False)
    accessor: str
    lease_s: int
    policies: tuple[str, ...] = ()
    revocable: bool = False
    creation_path: str | None = None


def token_in(document: Mapping[str, object]) -> Secret | None:
    """Return the token that an answer holds, however wrong the rest of it is: it must be revoked. None when there is none."""
    return _token(_object(document, "auth"), "client_token")


def wrapping_token_in(document: Mapping[str, object]) -> Secret | None:
    """Return the wrapping token that an answer holds, None when there is none."""
    return _token(_object(document, "wrap_info"), "token")


def checked_login(document: Mapping[str, object], role: VaultRole) -> Login:
    """Read the answer to a login that was not wrapped; raises AnswerMismatch."""
    auth = _object(document, "auth")
    token = token_in(document)
    if auth.get("mfa_requirement") is not None:
        raise AnswerMismatch("it demands a second factor, which a token from an issuer cannot give")
    if token is None:
        raise AnswerMismatch("it holds no token")
    policies = _policies(auth, role)
    lease_s = _seconds(auth.get("lease_duration"))
    if not 0 < lease_s <= role.ttl_s:
        raise AnswerMismatch("the token lives longer than the target allows")
    if _object(auth, "metadata").get("role") != role.role:
        raise AnswerMismatch("the token is not one of the role that was asked for")
    return Login(
        token=token,
        accessor=_accessor(auth.get("accessor"), token),
        lease_s=lease_s,
        policies=policies,
        revocable=_revocable(auth),
    )


def checked_wrapping(document: Mapping[str, object], role: VaultRole) -> Login:
    """Read the answer to a login that was to be wrapped; raises AnswerMismatch.

    What is inside only the receiver sees: its policies are what Vault's role says, and are not checked here.
    """
    wrap = _object(document, "wrap_info")
    token = wrapping_token_in(document)
    if token is None or token_in(document) is not None:
        raise AnswerMismatch("it is not wrapped")
    path = f"auth/{role.mount}/login"
    if wrap.get("creation_path") != path:
        raise AnswerMismatch("the wrapped answer is not that of the login")
    lease_s = _seconds(wrap.get("ttl"))
    if not 0 < lease_s <= (role.wrap_s or 0):
        raise AnswerMismatch("the wrapping token lives longer than the target allows")
    accessor = _accessor(wrap.get("wrapped_accessor"), token)
    return Login(token=token, accessor=accessor, lease_s=lease_s, creation_path=path)


def checked_credentials(
    document: Mapping[str, object], engine: VaultAws, session: RoleSession, *, asked_at: float
) -> AwsCredentials:
    """Read the AWS engine's answer; raises AnswerMismatch.

    asked_at: wall seconds before the call; lifetimes are counted from it, so that none is believed to be longer than it is.
    """
    data, lease = _object(document, "data"), document.get("lease_id")
    key_id, secret, session_token = (_text(data.get(name)) for name in _triple(data))
    identity = _text(data.get("arn"))
    if not (_KEY_ID.fullmatch(key_id) and secret and session_token):
        raise AnswerMismatch("the AWS credentials are not complete")
    if not is_session_of(identity, engine.arn, session.name):
        raise AnswerMismatch("the AWS session is not one of the role and name that were asked for")
    if not isinstance(lease, str) or _LEASE.fullmatch(lease) is None:
        raise AnswerMismatch("the AWS credentials come without a lease")
    # The lease may be shorter than the session, which it does not end: what counts is when AWS ends it.
    left_s = _seconds(data.get("ttl", document.get("lease_duration")))
    if not 0 < left_s <= session.duration_s + _LATE_S:
        raise AnswerMismatch("the expiry of the AWS credentials is not within what was asked for")
    return AwsCredentials(
        access_key_id=key_id,
        secret_access_key=Secret(secret),
        session_token=Secret(session_token),
        expires_at=asked_at + left_s,
        identity=identity,
        lease=lease,
    )


def _triple(data: Mapping[str, object]) -> tuple[str, str, str]:
    # The older name of the session token; newer releases send both, equal.
    return "access_key", "secret_key", "session_token" if "session_token" in data else "security_token"


def _policies(auth: Mapping[str, object], role: VaultRole) -> tuple[str, ...]:
    # Together, because a policy that is named in one list alone would be on the token all the same.
    held = frozenset(
        policy
        for name in ("policies", "token_policies", "identity_policies")
        for policy in _texts(auth.get(name))
    )
    if "root" in held:
        raise AnswerMismatch("the token is a root token")
    if held - {_DEFAULT} != frozenset(role.policies) - {_DEFAULT}:
        raise AnswerMismatch("the token's policies are not those of the target")
    return tuple(sorted(held))


def _revocable(auth: Mapping[str, object]) -> bool:
    match auth.get("token_type"), auth.get("renewable"):
        case "service", bool():
            return True
        case "batch", False:
            return False
        case _:
            raise AnswerMismatch("the token is of a type that is not expected")


def _accessor(accessor: object, token: Secret) -> str:
    """Return a digest that tells tokens apart; batch tokens have no accessor."""
    text = Secret(accessor) if isinstance(accessor, str) and accessor else token
    return text.digest()[:_DIGEST_CHARS]


def _object(document: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _token(holder: Mapping[str, object], name: str) -> Secret | None:
    found = holder.get(name)
    # What cannot stand in a header field cannot be a token, and was never one.
    if not isinstance(found, str) or re.fullmatch("[!-~]{1,4096}", found) is None:
        return None
    return Secret(found)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise AnswerMismatch("the token's policies cannot be read")
    return tuple(value)


def _seconds(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
