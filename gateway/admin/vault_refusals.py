"""What Vault's refusals mean to the administrator or task that runs a command: one sentence, and what to do. Pure.

Vault has no error codes, so its sentences are recognised; they are never passed on, because they repeat requests, claims and
other parties' names.
"""

import re
from typing import Final

from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    GatewayError,
    Unavailable,
    UpstreamFailed,
)
from gateway.outbound.vault_answers import VaultFault

_Kind = type[GatewayError]

_BY_STATUS: Final[dict[int, tuple[_Kind, ErrorCode, str, str]]] = {
    404: (
        ConfigurationInvalid,
        ErrorCode.MAPPING_INVALID_FOR_VAULT,
        "Vault knows no such path",
        "Compare mount, path and namespace.",
    ),
    412: (Unavailable, ErrorCode.VAULT_NOT_READY, "Vault's replica has not caught up", "Try again."),
    429: (Unavailable, ErrorCode.VAULT_THROTTLED, "Vault has too many requests", "Try again later."),
    503: (
        Unavailable,
        ErrorCode.VAULT_SEALED,
        "Vault is sealed, or this is a standby node",
        "Unseal it, or use the address of the active node.",
    ),
}

# Of `auth/<mount>/login` with an AWS identity: what to look for, what to say, what to do.
_LOGIN: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = (
    (
        re.compile(r"ExpiredToken"),
        "the AWS session has expired",
        "Get new AWS credentials; on AWS the platform renews them by itself.",
    ),
    (
        re.compile(
            r"SignatureDoesNotMatch|InvalidClientTokenId|InvalidSignature|UnrecognizedClient|IncompleteSignature"
        ),
        "AWS does not accept the credentials that signed the request",
        "Compare access key, secret and session token: all three must come from one session.",
    ),
    (
        re.compile(r"IAM Principal .* does not belong to the role|no longer bound"),
        "this AWS identity is not one that the role is for",
        "Compare account and role of `aws sts get-caller-identity` with bound_iam_principal_arn of Vault's role.",
    ),
    (
        re.compile(r"error validating X-Vault-AWS-IAM-Server-ID header: missing"),
        "this mount wants a server id and got none",
        "Give it with --header-value; it is iam_server_id_header_value of the mount's configuration.",
    ),
    (
        re.compile(r"error validating X-Vault-AWS-IAM-Server-ID header"),
        "the server id is not the one that the mount wants",
        "Compare --header-value with iam_server_id_header_value of the mount's configuration.",
    ),
    (
        re.compile(r"entry for role .* not found"),
        "there is no such role on the mount",
        "Compare --role and --mount with `vault list auth/MOUNT/roles`.",
    ),
    (
        re.compile(r"auth method iam not allowed"),
        "the role is for EC2 instances, not for IAM identities",
        "Use a role with auth_type=iam.",
    ),
    (
        re.compile(r"regional STS endpoint|region missing|Credential should be scoped to a valid region"),
        "Vault and the request do not agree about the Region of STS",
        "Give the mount's sts_region with --region.",
    ),
    (
        re.compile(r"error making upstream request: received error code 403|AccessDenied"),
        "AWS refused the signed request",
        "Is the AWS session still valid, and may it call sts:GetCallerIdentity?",
    ),
    (
        re.compile(r"error making upstream request"),
        "Vault could not ask AWS who this is",
        "Look at sts_endpoint of the mount's configuration and at Vault's way to AWS.",
    ),
)
_KEYS: Final = re.compile(r"error checking (jwks|oidc discovery)|error fetching|fetching keys", re.IGNORECASE)
_NO_ROUTE: Final = re.compile(r"no handler for route|unsupported path|route entry not found")


def login_refusal(fault: VaultFault, *, mount: str, role: str) -> GatewayError:
    """Translate an error of a login with an AWS identity."""
    doing = f"log in at auth/{mount} as {role}"
    if _NO_ROUTE.search(fault.text) or fault.status == 403:
        return AccessDenied(
            ErrorCode.VAULT_DENIED,
            f"Cannot {doing}: Vault refuses logins there.",
            hint="Is the mount enabled in this namespace (vault auth enable aws), and does the role allow this address?",
        )
    if fault.status in (400, 500):
        for pattern, what, hint in _LOGIN:
            if pattern.search(fault.text):
                return AccessDenied(ErrorCode.VAULT_DENIED, f"Cannot {doing}: {what}.", hint=hint)
    return refusal(fault, doing)


def refusal(fault: VaultFault, doing: str) -> GatewayError:
    """Translate an error of any other call. doing: what was tried, such as `read secret/data/payments`."""
    if fault.status in (401, 403):
        return AccessDenied(
            ErrorCode.VAULT_DENIED,
            f"Cannot {doing}: Vault's policies do not allow it to this token, or the token has ended.",
            hint="Look at `vault token lookup`, and at the policies of the token.",
        )
    if fault.status == 400 and _KEYS.search(fault.text):
        return UpstreamFailed(
            ErrorCode.VAULT_ERROR,
            f"Cannot {doing}: Vault could not fetch the issuer's keys.",
            hint="Vault itself must reach the issuer and trust its certificate; nothing was changed there.",
        )
    if fault.status == 400 and "to internal ID" in fault.text:
        return UpstreamFailed(
            ErrorCode.VAULT_ERROR,
            f"Cannot {doing}: Vault could not look up in AWS the IAM roles that may log in.",
            hint="The roles must be there, and the mount's own AWS identity (config/client) needs iam:GetRole.",
        )
    found = _BY_STATUS.get(fault.status)
    if found is not None:
        kind, code, what, hint = found
        return kind(code, f"Cannot {doing}: {what}.", hint=hint)
    return UpstreamFailed(
        ErrorCode.VAULT_ERROR,
        f"Cannot {doing}: Vault answered with status {fault.status}.",
        hint="Its own log says why.",
    )
