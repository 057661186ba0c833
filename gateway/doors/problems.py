"""How every error code is said at every door: one table, and the answers made from it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from starlette.responses import Response

from gateway.errors import ErrorCode, FailedClaim, GatewayError, Stage, Upstream

#: `error` of a `/token` answer: RFC 6749 sections 4.1.2.1 and 5.2, RFC 8693 section 2.2.2.
OAuthError = Literal[
    "invalid_request", "invalid_target", "unsupported_grant_type", "temporarily_unavailable", "server_error"
]
#: Says an error in one door's shape. The last argument adds header fields, such as `Allow`.
ErrorShape = Callable[[GatewayError, str, Mapping[str, str]], Response]

_NO_HEADERS: Final[Mapping[str, str]] = {}
# The token endpoint never answers 401 or 403 for a subject token (RFC 8693 section 2.2.2).
_PLAIN_400_AT_TOKEN: Final = frozenset({400, 401, 403, 404, 409, 422})
# RFC 6749 section 5.2: error_description is printable ASCII without quote and backslash.
_NOT_IN_DESCRIPTION: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")
_PLAIN: Final = str.maketrans({"…": "...", "–": "-", "—": "-", "’": "'"})
_TO_ASCII: Final = str.maketrans({'"': "'", "`": "'", "\\": "/"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """How one code is said.

    status:       of the native doors.
    title:        the same for every occurrence (RFC 9457 section 3.1.3); what differs goes into `detail`.
    retryable:    the same request may succeed later although nobody has changed anything.
    token_status: of `/token`.
    oauth:        `error` of `/token`.
    """

    status: int
    title: str
    stage: Stage
    retryable: bool
    token_status: int
    oauth: OAuthError


def _said(
    stage: Stage, status: int, title: str, oauth: OAuthError | None = None, *, retryable: bool = False
) -> Said:
    return Said(
        status=status,
        title=title,
        stage=stage,
        retryable=retryable,
        token_status=400 if status in _PLAIN_400_AT_TOKEN else status,
        oauth=oauth or _usual_oauth_error(status),
    )


def _usual_oauth_error(status: int) -> OAuthError:
    if status in {429, 503, 504}:
        return "temporarily_unavailable"
    return "server_error" if status >= 500 else "invalid_request"


_C = ErrorCode

#: Complete: a test fails when a code lacks its row.
TABLE: Final[Mapping[ErrorCode, Said]] = {
    _C.REQUEST_MALFORMED: _said("http", 400, "The request is malformed."),
    _C.REQUEST_AMBIGUOUS: _said("http", 400, "The request says the same thing twice."),
    _C.TOKEN_IN_QUERY: _said("http", 400, "The token was sent in the URL."),
    _C.NOT_FOUND: _said("http", 404, "There is nothing at this address."),
    _C.METHOD_NOT_ALLOWED: _said("http", 405, "This address does not answer this method."),
    _C.REQUEST_TIMEOUT: _said("http", 408, "The request did not arrive in time.", retryable=True),
    _C.BODY_TOO_LARGE: _said("http", 413, "The body is too large."),
    _C.URI_TOO_LONG: _said("http", 414, "The address is too long."),
    _C.UNSUPPORTED_MEDIA_TYPE: _said("http", 415, "The body has a media type that is not accepted here."),
    _C.HEADERS_TOO_LARGE: _said("http", 431, "The header fields are too large or too many."),
    _C.HOST_NOT_ALLOWED: _said("http", 421, "The gateway does not answer under this name."),
    _C.RATE_LIMITED: _said("http", 429, "Too many requests.", retryable=True),
    _C.GRANT_TYPE_UNSUPPORTED: _said(
        "http", 400, "This grant type is not supported.", "unsupported_grant_type"
    ),
    _C.IDEMPOTENCY_KEY_MISSING: _said("workflow", 400, "A start needs an Idempotency-Key."),
    _C.IDEMPOTENCY_UNSUPPORTED: _said("workflow", 422, "This workflow takes no Idempotency-Key."),
    _C.INTERNAL_ERROR: _said("gateway", 500, "The gateway failed."),
    _C.OVERLOADED: _said("gateway", 503, "The gateway is overloaded.", retryable=True),
    _C.DRAINING: _said("gateway", 503, "The gateway is shutting down.", retryable=True),
    _C.DEADLINE_EXCEEDED: _said("gateway", 504, "The request ran out of time.", retryable=True),
    _C.AUDIT_UNAVAILABLE: _said("audit", 503, "The audit record cannot be written.", retryable=True),
    _C.SWITCHES_UNAVAILABLE: _said(
        "gateway", 503, "What is switched off cannot be read, so nothing is allowed.", retryable=True
    ),
    _C.REPLAY_STORE_UNAVAILABLE: _said(
        "replay", 503, "It cannot be known whether the token was used before.", retryable=True
    ),
    _C.REPLAY_STORE_FULL: _said("replay", 503, "No more used tokens can be remembered.", retryable=True),
    _C.ADMIN_FORBIDDEN: _said("admin", 403, "This identity may not administer the gateway so."),
    _C.TOKEN_MISSING: _said("token", 401, "A token is needed."),
    _C.TOKEN_TOO_LARGE: _said("token", 401, "The token is too large."),
    _C.TOKEN_MALFORMED: _said("token", 401, "The token is not a compact JWS."),
    _C.TOKEN_OPAQUE: _said("token", 401, "The token is opaque; a JWT is needed."),
    _C.TOKEN_ENCRYPTED: _said("token", 401, "The token is encrypted; a signed one is needed."),
    _C.TOKEN_ENCODING_INVALID: _said("token", 401, "The token is not canonical base64url."),
    _C.TOKEN_JSON_INVALID: _said("token", 401, "The token holds invalid JSON."),
    _C.TOKEN_JSON_DUPLICATE: _said("token", 401, "The token holds a member twice."),
    _C.TOKEN_JSON_TOO_COMPLEX: _said("token", 401, "The token's JSON is too complex."),
    _C.TOKEN_HEADER_INVALID: _said("token", 401, "The token's header is not acceptable."),
    _C.TOKEN_CRIT_UNSUPPORTED: _said("token", 401, "The token demands an extension that is not supported."),
    _C.TOKEN_KID_MISSING: _said("token", 401, "The token names no key."),
    _C.TOKEN_TYPE_NOT_ALLOWED: _said("token", 401, "A token of this type is not accepted."),
    _C.TOKEN_ALG_NOT_ALLOWED: _said("token", 401, "The token's algorithm is not accepted."),
    _C.TOKEN_ISSUER_UNKNOWN: _said("token", 401, "The token's issuer is not trusted here."),
    _C.TOKEN_KEY_UNKNOWN: _said("token", 401, "The token's key is unknown."),
    _C.TOKEN_KEY_MISMATCH: _said("token", 401, "The token's key does not fit its algorithm."),
    _C.TOKEN_KEY_AMBIGUOUS: _said("token", 401, "The token's key is ambiguous."),
    _C.TOKEN_SIGNATURE_INVALID: _said("token", 401, "The token's signature is invalid."),
    _C.KEYS_UNAVAILABLE: _said("token", 503, "The issuer's keys cannot be had now.", retryable=True),
    _C.ISSUER_DISABLED: _said("token", 403, "The token's issuer is switched off."),
    _C.CLAIM_MISSING: _said("token", 401, "The token lacks a claim."),
    _C.CLAIM_VALUE_INVALID: _said("token", 401, "A claim of the token has an invalid value."),
    _C.TOKEN_EXPIRED: _said("token", 401, "The token has expired."),
    _C.TOKEN_NOT_YET_VALID: _said("token", 401, "The token is not valid yet."),
    _C.TOKEN_ISSUED_IN_FUTURE: _said("token", 401, "The token was issued in the future."),
    _C.TOKEN_TOO_OLD: _said("token", 401, "The token is too old."),
    _C.TOKEN_LIFETIME_TOO_LONG: _said("token", 401, "The token lives too long."),
    _C.TOKEN_AUDIENCE_MISSING: _said("token", 401, "The token names no audience."),
    _C.TOKEN_AUDIENCE_MISMATCH: _said("token", 401, "The token is meant for another audience."),
    _C.TOKEN_CLIENT_MISMATCH: _said("token", 401, "The token was issued to another client."),
    _C.TOKEN_USE_MISMATCH: _said("token", 401, "A token of this use is not accepted."),
    _C.TOKEN_OKTA_ORG_SERVER: _said(
        "token", 401, "Access tokens of an Okta org authorization server are not accepted."
    ),
    _C.CLAIM_MISMATCH: _said("rule", 403, "No rule allows this identity to do this."),
    _C.CLAIM_DISTRIBUTED: _said("rule", 403, "A required claim is only referred to, not present."),
    _C.ACTOR_MISMATCH: _said("rule", 403, "No rule allows this chain of actors."),
    _C.RULE_EXPIRED: _said("rule", 403, "The rule that allowed this has passed its last day."),
    _C.WORKFLOW_UNKNOWN: _said("rule", 404, "The workflow is unknown.", "invalid_target"),
    _C.TARGET_UNKNOWN: _said("rule", 404, "The target is unknown.", "invalid_target"),
    _C.TARGET_AMBIGUOUS: _said("rule", 409, "Several targets allow this; name one.", "invalid_target"),
    _C.RULE_DISABLED: _said("rule", 403, "The rule that allowed this is switched off."),
    _C.SUBJECT_DISABLED: _said("rule", 403, "This identity is switched off."),
    _C.WORKFLOW_DISABLED: _said("rule", 403, "The workflow is switched off."),
    _C.TOKEN_UNUSABLE_FOR_AWS: _said("rule", 403, "AWS would not take this token."),
    _C.TOKEN_REPLAYED: _said("replay", 409, "The token was used before."),
    _C.REQUEST_IN_PROGRESS: _said("replay", 409, "The same request is in progress.", retryable=True),
    _C.AWS_DENIED: _said("aws", 403, "AWS refused the role to this token.", "invalid_target"),
    _C.AWS_TOKEN_REJECTED: _said("aws", 403, "AWS rejected the token."),
    _C.AWS_IDP_REJECTED: _said("aws", 403, "The issuer rejected the token towards AWS."),
    _C.AWS_IDP_UNREACHABLE: _said("aws", 503, "AWS could not reach the issuer.", retryable=True),
    _C.AWS_THROTTLED: _said("aws", 503, "AWS is throttling.", retryable=True),
    _C.AWS_UNAVAILABLE: _said("aws", 503, "AWS did not answer.", retryable=True),
    _C.AWS_ERROR: _said("aws", 502, "AWS answered with an error."),
    _C.AWS_ANSWER_MISMATCH: _said("aws", 502, "AWS's answer is not what was asked for."),
    _C.MAPPING_INVALID_FOR_AWS: _said("aws", 500, "AWS refused what the mapping files ask for."),
    _C.VAULT_DENIED: _said("vault", 403, "Vault refused the role to this token.", "invalid_target"),
    _C.MAPPING_INVALID_FOR_VAULT: _said("vault", 500, "Vault refused what the mapping files ask for."),
    _C.VAULT_ERROR: _said("vault", 502, "Vault answered with an error."),
    _C.VAULT_ANSWER_MISMATCH: _said("vault", 502, "Vault's answer is not what was asked for."),
    _C.VAULT_NOT_READY: _said("vault", 503, "Vault cannot answer now.", retryable=True),
    _C.VAULT_THROTTLED: _said("vault", 503, "Vault is throttling.", retryable=True),
    _C.VAULT_SEALED: _said("vault", 503, "Vault is sealed.", retryable=True),
    _C.INPUT_TOO_LARGE: _said("workflow", 413, "The workflow's input is too large."),
    _C.INPUT_INVALID: _said("workflow", 422, "The workflow does not accept this input."),
    _C.IDEMPOTENCY_CONFLICT: _said("workflow", 409, "This Idempotency-Key was used with another input."),
    _C.EXECUTION_UNKNOWN: _said("workflow", 404, "The execution is unknown."),
    _C.EXECUTION_UNSUPPORTED: _said(
        "workflow", 422, "Executions of this workflow cannot be seen or stopped."
    ),
    _C.WORKFLOW_LIMIT: _said(
        "workflow", 503, "The account runs as many executions as it may.", retryable=True
    ),
    _C.WORKFLOW_THROTTLED: _said("workflow", 503, "Step Functions is throttling.", retryable=True),
    _C.START_UNKNOWN: _said("workflow", 504, "It is not known whether the workflow started.", "server_error"),
}


def problem_document(error: GatewayError, request_id: str) -> dict[str, object]:
    """Return the RFC 9457 problem document of an error; our own words only, never a rule."""
    said = TABLE[error.code]
    return {
        "type": f"urn:oidc-gateway:problem:{error.code}",
        "title": said.title,
        "status": said.status,
        "code": str(error.code),
        "stage": said.stage,
        "retryable": said.retryable,
        "request_id": request_id,
        "detail": _detail(error),
        **_particulars(error),
    }


def token_error_document(error: GatewayError, request_id: str) -> dict[str, object]:
    """Return the body of a `/token` error: RFC 6749 section 5.2, and our code and particulars beside it."""
    return {
        "error": TABLE[error.code].oauth,
        "error_description": _description(_detail(error)),
        "code": str(error.code),
        "request_id": request_id,
        **_particulars(error),
    }


def problem_response(
    error: GatewayError, request_id: str, headers: Mapping[str, str] = _NO_HEADERS
) -> Response:
    """Say an error in the native shape."""
    status = TABLE[error.code].status
    challenge = {"WWW-Authenticate": _challenge(error.code)} if status == 401 else {}
    return Response(
        _json(problem_document(error, request_id)),
        status,
        {**challenge, **_retry_after(error), **headers},
        "application/problem+json",
    )


def token_error_response(
    error: GatewayError, request_id: str, headers: Mapping[str, str] = _NO_HEADERS
) -> Response:
    """Say an error in the shape of the token endpoint."""
    return Response(
        _json(token_error_document(error, request_id)),
        TABLE[error.code].token_status,
        {**_retry_after(error), **headers},
        "application/json",
    )


def _particulars(error: GatewayError) -> dict[str, object]:
    """Return the members that only some errors have."""
    members: dict[str, object] = {}
    if error.claims:
        members["claims"] = [_claim(claim) for claim in error.claims]
    if error.targets:
        members["targets"] = list(error.targets)
    if error.faults:
        members["errors"] = [{"path": fault.path, "problem": fault.problem} for fault in error.faults]
    if error.upstream is not None:
        members["upstream"] = _upstream(error.upstream)
    if error.url is not None:
        members["url"] = error.url
    if error.retry_after_s is not None:
        members["retry_after_s"] = error.retry_after_s
    return members


def _claim(claim: FailedClaim) -> dict[str, object]:
    said: dict[str, object] = {"name": claim.name, "problem": claim.problem}
    return said if claim.problem == "missing" else {**said, "value": claim.value}


def _upstream(upstream: Upstream) -> dict[str, object]:
    said: dict[str, object] = {"service": upstream.service, "code": upstream.code}
    return said if upstream.request_id is None else {**said, "request_id": upstream.request_id}


def _detail(error: GatewayError) -> str:
    text = error.message if error.hint is None else f"{error.message} {error.hint}"
    # Build logs show the JSON as it is sent, where everything beyond ASCII is an escape.
    return text.translate(_PLAIN)


def _description(text: str) -> str:
    return _NOT_IN_DESCRIPTION.sub("?", text.translate(_TO_ASCII))


def _challenge(code: ErrorCode) -> str:
    # RFC 6750 section 3.1: a request without any token is told the scheme and no error.
    return "Bearer" if code is ErrorCode.TOKEN_MISSING else 'Bearer error="invalid_token"'


def _retry_after(error: GatewayError) -> dict[str, str]:
    return {} if error.retry_after_s is None else {"Retry-After": str(error.retry_after_s)}


def _json(document: dict[str, object]) -> bytes:
    # ASCII only: whatever a claim holds, the answer is one line that no terminal or log interprets.
    return json.dumps(document, separators=(",", ":")).encode("ascii") + b"\n"
