"""Error codes and the exceptions that carry them, named by who must act. Nothing here knows HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class ErrorCode(StrEnum):
    """What a machine matches on; never renamed, never reused. Documented one by one in the README."""

    # The request itself.
    REQUEST_MALFORMED = "request_malformed"
    REQUEST_AMBIGUOUS = "request_ambiguous"
    TOKEN_IN_QUERY = "token_in_query"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    URI_TOO_LONG = "uri_too_long"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    HEADERS_TOO_LARGE = "headers_too_large"
    HOST_NOT_ALLOWED = "host_not_allowed"
    RATE_LIMITED = "rate_limited"
    GRANT_TYPE_UNSUPPORTED = "grant_type_unsupported"
    IDEMPOTENCY_KEY_MISSING = "idempotency_key_missing"
    IDEMPOTENCY_UNSUPPORTED = "idempotency_unsupported"
    # The gateway.
    INTERNAL_ERROR = "internal_error"
    OVERLOADED = "overloaded"
    DRAINING = "draining"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    SWITCHES_UNAVAILABLE = "switches_unavailable"
    REPLAY_STORE_UNAVAILABLE = "replay_store_unavailable"
    REPLAY_STORE_FULL = "replay_store_full"
    # The admin listener.
    ADMIN_FORBIDDEN = "admin_forbidden"
    # The token, before its signature is verified.
    TOKEN_MISSING = "token_missing"
    TOKEN_TOO_LARGE = "token_too_large"
    TOKEN_MALFORMED = "token_malformed"
    TOKEN_OPAQUE = "token_opaque"
    TOKEN_ENCRYPTED = "token_encrypted"
    TOKEN_ENCODING_INVALID = "token_encoding_invalid"
    TOKEN_JSON_INVALID = "token_json_invalid"
    TOKEN_JSON_DUPLICATE = "token_json_duplicate"
    TOKEN_JSON_TOO_COMPLEX = "token_json_too_complex"
    TOKEN_HEADER_INVALID = "token_header_invalid"
    TOKEN_CRIT_UNSUPPORTED = "token_crit_unsupported"
    TOKEN_KID_MISSING = "token_kid_missing"
    TOKEN_TYPE_NOT_ALLOWED = "token_type_not_allowed"
    TOKEN_ALG_NOT_ALLOWED = "token_alg_not_allowed"
    TOKEN_ISSUER_UNKNOWN = "token_issuer_unknown"
    TOKEN_KEY_UNKNOWN = "token_key_unknown"
    TOKEN_KEY_MISMATCH = "token_key_mismatch"
    TOKEN_KEY_AMBIGUOUS = "token_key_ambiguous"
    TOKEN_SIGNATURE_INVALID = "token_signature_invalid"
    KEYS_UNAVAILABLE = "keys_unavailable"
    ISSUER_DISABLED = "issuer_disabled"
    # The token, after its signature is verified.
    CLAIM_MISSING = "claim_missing"
    CLAIM_VALUE_INVALID = "claim_value_invalid"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_ISSUED_IN_FUTURE = "token_issued_in_future"
    TOKEN_TOO_OLD = "token_too_old"
    TOKEN_LIFETIME_TOO_LONG = "token_lifetime_too_long"
    TOKEN_AUDIENCE_MISSING = "token_audience_missing"
    TOKEN_AUDIENCE_MISMATCH = "token_audience_mismatch"
    TOKEN_CLIENT_MISMATCH = "token_client_mismatch"
    TOKEN_USE_MISMATCH = "token_use_mismatch"
    TOKEN_OKTA_ORG_SERVER = "token_okta_org_server"
    # The rules.
    CLAIM_MISMATCH = "claim_mismatch"
    CLAIM_DISTRIBUTED = "claim_distributed"
    ACTOR_MISMATCH = "actor_mismatch"
    RULE_EXPIRED = "rule_expired"
    WORKFLOW_UNKNOWN = "workflow_unknown"
    TARGET_UNKNOWN = "target_unknown"
    TARGET_AMBIGUOUS = "target_ambiguous"
    RULE_DISABLED = "rule_disabled"
    SUBJECT_DISABLED = "subject_disabled"
    WORKFLOW_DISABLED = "workflow_disabled"
    TOKEN_UNUSABLE_FOR_AWS = "token_unusable_for_aws"
    # The token was used before, or is being used.
    TOKEN_REPLAYED = "token_replayed"
    REQUEST_IN_PROGRESS = "request_in_progress"
    # AWS STS.
    AWS_DENIED = "aws_denied"
    AWS_TOKEN_REJECTED = "aws_token_rejected"
    AWS_IDP_REJECTED = "aws_idp_rejected"
    AWS_IDP_UNREACHABLE = "aws_idp_unreachable"
    AWS_THROTTLED = "aws_throttled"
    AWS_UNAVAILABLE = "aws_unavailable"
    AWS_ERROR = "aws_error"
    AWS_ANSWER_MISMATCH = "aws_answer_mismatch"
    MAPPING_INVALID_FOR_AWS = "mapping_invalid_for_aws"
    # Vault.
    VAULT_DENIED = "vault_denied"
    MAPPING_INVALID_FOR_VAULT = "mapping_invalid_for_vault"
    VAULT_ERROR = "vault_error"
    VAULT_ANSWER_MISMATCH = "vault_answer_mismatch"
    VAULT_NOT_READY = "vault_not_ready"
    VAULT_THROTTLED = "vault_throttled"
    VAULT_SEALED = "vault_sealed"
    # The workflow.
    INPUT_TOO_LARGE = "input_too_large"
    INPUT_INVALID = "input_invalid"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    EXECUTION_UNKNOWN = "execution_unknown"
    EXECUTION_UNSUPPORTED = "execution_unsupported"
    WORKFLOW_LIMIT = "workflow_limit"
    WORKFLOW_THROTTLED = "workflow_throttled"
    START_UNKNOWN = "start_unknown"


Stage = Literal["http", "token", "rule", "replay", "aws", "vault", "workflow", "audit", "gateway", "admin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedClaim:
    """One claim of the caller's own, verified token that was not as required.

    value: what the caller presented, None when the claim is missing. Never the expected value.
    """

    name: str
    problem: Literal["missing", "present", "type", "value"]
    value: object = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFault:
    """One place of a workflow input that breaks its schema.

    path:    JSON pointer into the caller's input (RFC 6901); empty for the whole input.
    problem: the JSON Schema keyword that failed, such as `pattern` or `required`. Never a value.
    """

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Which answer of AWS or Vault a failure stands for.

    code:       AWS's error code, such as `AccessDenied`, or the HTTP status of Vault, which has no codes; what else
                they say stays in our log.
    request_id: AWS's own request id, None when no answer came; Vault's refusals carry none.
    """

    service: Literal["sts", "states", "vault"]
    code: str
    request_id: str | None = None


class GatewayError(Exception):
    """Base of every deliberate failure.

    code:          what a machine matches on.
    message:       one sentence that names the failing thing; may be shown to the caller.
    hint:          what the reader can do next, None when there is nothing to do.
    claims:        the caller's own claims that failed; empty before the signature is verified.
    targets:       target names to choose from (`target_ambiguous`).
    faults:        places of the input that break the workflow's schema (`input_invalid`).
    upstream:      AWS's or Vault's answer behind the failure.
    url:           the execution that exists already (`idempotency_conflict`).
    retry_after_s: seconds after which a retry can help, None when none will.
    repeated:      the same was said to the same caller before, within the last minute: no log line tells of it again.
    """

    repeated = False

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        hint: str | None = None,
        claims: tuple[FailedClaim, ...] = (),
        targets: tuple[str, ...] = (),
        faults: tuple[InputFault, ...] = (),
        upstream: Upstream | None = None,
        url: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.claims = claims
        self.targets = targets
        self.faults = faults
        self.upstream = upstream
        self.url = url
        self.retry_after_s = retry_after_s


class RequestRejected(GatewayError):
    """The caller must change the request."""


class RateLimited(RequestRejected):
    """The caller must send less. Repeated, it leaves neither record nor log line."""

    def __init__(
        self, code: ErrorCode, message: str, *, hint: str, retry_after_s: int, repeated: bool = False
    ) -> None:
        super().__init__(code, message, hint=hint, retry_after_s=retry_after_s)
        self.repeated = repeated


class TokenRejected(GatewayError):
    """The caller must present another token.

    issuer, members: the trusted issuer's name and the claims, once the signature has been verified; for the record
    and the administrator. None before: then nothing in the token is believed.
    """

    issuer: str | None = None
    members: Mapping[str, object] | None = None


class AccessDenied(GatewayError):
    """The token is good; an administrator would have to grant more."""


class UpstreamFailed(GatewayError):
    """AWS, Vault or an issuer refused, failed or did not answer; the message says which and whether to retry."""


class Unavailable(GatewayError):
    """This gateway cannot decide or record right now; the same request may succeed later."""


class ConfigurationInvalid(GatewayError):
    """An administrator must mend a file or a setting before this can work."""
