"""What an administrator can do next, by the code of a refusal."""

from collections.abc import Mapping
from typing import Final

from gateway.errors import ErrorCode

_CALLER: Final = "The caller must change the request; nothing here needs changing."
_TOKEN: Final = "The caller must present another token; nothing here needs changing."
_LATER: Final = (
    "The same request may succeed later; if it keeps failing, look at the gateway's log and metrics."
)

ADVICE: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.REQUEST_MALFORMED: _CALLER,
    ErrorCode.REQUEST_AMBIGUOUS: "The caller sent the token, or another part, twice. " + _CALLER,
    ErrorCode.TOKEN_IN_QUERY: "The caller put a token into a URL, where proxies log it: treat that token as disclosed.",
    ErrorCode.GRANT_TYPE_UNSUPPORTED: "The token endpoint takes the grant type of RFC 8693 only. " + _CALLER,
    ErrorCode.NOT_FOUND: _CALLER,
    ErrorCode.METHOD_NOT_ALLOWED: _CALLER,
    ErrorCode.REQUEST_TIMEOUT: "The caller, or a proxy before it, sends too slowly.",
    ErrorCode.BODY_TOO_LARGE: _CALLER,
    ErrorCode.URI_TOO_LONG: _CALLER,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: _CALLER,
    ErrorCode.HEADERS_TOO_LARGE: "Look for a proxy that adds headers; otherwise the caller must send fewer.",
    ErrorCode.HOST_NOT_ALLOWED: "If callers should reach the gateway under this name, add it to server.hosts; otherwise find out who sends it.",
    ErrorCode.RATE_LIMITED: "The log says which limit; raise it under `limits` in gateway.yaml if this much is right.",
    ErrorCode.IDEMPOTENCY_KEY_MISSING: "The caller must send Idempotency-Key; its CI run id and attempt make a good one.",
    ErrorCode.IDEMPOTENCY_UNSUPPORTED: "AWS cannot repeat an EXPRESS start safely: the caller leaves the key out, the workflow becomes STANDARD, or the gateway gets a `state` that remembers keys.",
    ErrorCode.INTERNAL_ERROR: "A bug of the gateway: its log holds the place under this request id. Please report it.",
    ErrorCode.OVERLOADED: "More calls came than are served at once: add replicas or raise server.max_concurrency.",
    ErrorCode.DRAINING: "The process was shutting down; the next one serves the same request.",
    ErrorCode.DEADLINE_EXCEEDED: _LATER,
    ErrorCode.AUDIT_UNAVAILABLE: "The audit directory could not be written in time: make room, or mend the disk; or the second copy is too far behind: mend its receiver. The log says which. Nothing was granted meanwhile.",
    ErrorCode.SWITCHES_UNAVAILABLE: "What is switched off cannot be read: mend the switch file, or Redis. Nothing is granted meanwhile.",
    ErrorCode.REPLAY_STORE_UNAVAILABLE: "The store of used tokens does not answer: look at Redis and at the gateway's log. Rules without `replay` go on.",
    ErrorCode.REPLAY_STORE_FULL: "The store of used tokens is full: give Redis more memory. Rules without `replay` go on.",
    ErrorCode.ADMIN_FORBIDDEN: "Somebody without this right asked the admin listener. If it should have it, change `admin` in gateway.yaml; reading and writing are separate.",
    ErrorCode.TOKEN_MISSING: _TOKEN,
    ErrorCode.TOKEN_TOO_LARGE: "The token is larger than is read; have the issuer put fewer claims into it.",
    ErrorCode.TOKEN_MALFORMED: "What came is no compact JWT. " + _TOKEN,
    ErrorCode.TOKEN_OPAQUE: "The provider issued an opaque token: register the gateway's audience (an API) there, so that it issues a JWT.",
    ErrorCode.TOKEN_ENCRYPTED: "The provider encrypts its tokens: switch that off for this audience.",
    ErrorCode.TOKEN_ENCODING_INVALID: _TOKEN,
    ErrorCode.TOKEN_JSON_INVALID: _TOKEN,
    ErrorCode.TOKEN_JSON_DUPLICATE: "The token names a member twice, which parsers read differently. Find out who made it.",
    ErrorCode.TOKEN_JSON_TOO_COMPLEX: _TOKEN,
    ErrorCode.TOKEN_HEADER_INVALID: _TOKEN,
    ErrorCode.TOKEN_CRIT_UNSUPPORTED: _TOKEN,
    ErrorCode.TOKEN_KID_MISSING: "The token names no key. Only an issuer with a static key file may do without.",
    ErrorCode.TOKEN_TYPE_NOT_ALLOWED: "The token's `typ` is of another kind, such as a logout token. "
    + _TOKEN,
    ErrorCode.TOKEN_ALG_NOT_ALLOWED: "If the issuer really signs so, add the algorithm to `algorithms` of its entry in gateway.yaml.",
    ErrorCode.TOKEN_ISSUER_UNKNOWN: "If it should be trusted, add the issuer to gateway.yaml; issuers are compared byte for byte, so look for a trailing slash.",
    ErrorCode.TOKEN_KEY_UNKNOWN: "The issuer does not publish the key named in the token. Just after a rotation a retry helps; otherwise it is not this issuer's token.",
    ErrorCode.TOKEN_KEY_MISMATCH: "The token's algorithm does not fit the key it names. Find out who made it.",
    ErrorCode.TOKEN_KEY_AMBIGUOUS: "The issuer publishes several keys under one id; tell its operators.",
    ErrorCode.TOKEN_SIGNATURE_INVALID: "The token was changed or forged, or a proxy altered it. Find out who sent it.",
    ErrorCode.KEYS_UNAVAILABLE: "The issuer's keys could not be fetched: see the log and oidc_gateway_issuer_key_fetches_total for why.",
    ErrorCode.ISSUER_DISABLED: "Somebody switched the issuer off: `oidc-gateway switch list` says who and why.",
    ErrorCode.CLAIM_MISSING: _TOKEN,
    ErrorCode.CLAIM_VALUE_INVALID: _TOKEN,
    ErrorCode.TOKEN_EXPIRED: "The caller must fetch a fresh token; if it was fresh, compare the clocks.",
    ErrorCode.TOKEN_NOT_YET_VALID: "Compare the clocks of the issuer and of this machine; `leeway_s` allows up to 60 s.",
    ErrorCode.TOKEN_ISSUED_IN_FUTURE: "Compare the clocks of the issuer and of this machine; `leeway_s` allows up to 60 s.",
    ErrorCode.TOKEN_TOO_OLD: "The caller must fetch a fresh token, or the issuer's `max_age` in gateway.yaml be raised.",
    ErrorCode.TOKEN_LIFETIME_TOO_LONG: "Have the issuer make tokens that live shorter.",
    ErrorCode.TOKEN_AUDIENCE_MISSING: "Have the caller ask for the gateway's audience.",
    ErrorCode.TOKEN_AUDIENCE_MISMATCH: "The token was made for somebody else: have the caller ask for one of the `audiences` of this issuer in gateway.yaml.",
    ErrorCode.TOKEN_CLIENT_MISMATCH: "If this client should be allowed, add it to `clients` of the issuer in gateway.yaml.",
    ErrorCode.TOKEN_USE_MISMATCH: "If this kind of Cognito token should be accepted, add it to `tokens` of the issuer in gateway.yaml.",
    ErrorCode.TOKEN_OKTA_ORG_SERVER: "Okta's org server issues access tokens only Okta may verify: use a custom authorization server.",
    ErrorCode.CLAIM_MISMATCH: "If it should be allowed, change the rule or add one to the team's mapping file; otherwise the caller must come with other claims.",
    ErrorCode.CLAIM_DISTRIBUTED: "The provider only refers to a claim that a rule needs, often because there are too many groups: have it put the claim into the token.",
    ErrorCode.ACTOR_MISMATCH: "If this chain of actors should be allowed, add a rule for it.",
    ErrorCode.RULE_EXPIRED: "If it should still be allowed, set a later `last_day` in the rule.",
    ErrorCode.WORKFLOW_UNKNOWN: "No rule for this issuer grants a workflow of this name: look for a misspelling, or add a rule.",
    ErrorCode.TARGET_UNKNOWN: "No rule for this issuer grants a target of this name: look for a misspelling, or add a rule.",
    ErrorCode.TARGET_AMBIGUOUS: "The caller must name one target, or the rules be made to differ in their claims.",
    ErrorCode.RULE_DISABLED: "Somebody switched the rule off: `oidc-gateway switch list` says who and why.",
    ErrorCode.SUBJECT_DISABLED: "Somebody switched this identity off: `oidc-gateway switch list` says who and why.",
    ErrorCode.WORKFLOW_DISABLED: "Somebody switched the workflow off: `oidc-gateway switch list` says who and why.",
    ErrorCode.TOKEN_UNUSABLE_FOR_AWS: "AWS would not accept this token, so it was not sent. " + _TOKEN,
    ErrorCode.TOKEN_REPLAYED: "The rule takes each token once. If the same job sent it twice, have it fetch a fresh one, or use `replay: per-request`; otherwise somebody else holds the token.",
    ErrorCode.REQUEST_IN_PROGRESS: "The same token or idempotency key is being used by another call right now; it can be sent again when that one has ended.",
    ErrorCode.AWS_DENIED: "Compare the role's trust policy with the claims above: provider, `aud`, `sub` and every condition must fit. CloudTrail has the call under AWS's request id.",
    ErrorCode.AWS_TOKEN_REJECTED: "AWS does not accept the token: compare its audience with the client ids of the IAM OIDC provider.",
    ErrorCode.AWS_IDP_REJECTED: "AWS asked the identity provider and was refused: check that its discovery document and keys are public.",
    ErrorCode.AWS_IDP_UNREACHABLE: "AWS could not reach the identity provider; retry, and check that it is reachable from the internet.",
    ErrorCode.AWS_THROTTLED: _LATER,
    ErrorCode.AWS_UNAVAILABLE: _LATER,
    ErrorCode.AWS_ERROR: "AWS answered in an unexpected way: the gateway's log has its words under this request id.",
    ErrorCode.AWS_ANSWER_MISMATCH: "What AWS returned is not what was asked for, so it was thrown away. Find out what answers in AWS's place.",
    ErrorCode.MAPPING_INVALID_FOR_AWS: "AWS knows the role or state machine not as targets.yaml writes it: correct the ARN there.",
    ErrorCode.VAULT_DENIED: "Compare the Vault role with the claims above: bound audiences, bound claims, bound CIDRs and policies must fit. Vault's own words are in the gateway's log.",
    ErrorCode.MAPPING_INVALID_FOR_VAULT: "Vault knows the mount, role or engine role not as targets.yaml writes it: correct it there or in Vault. Vault's own words are in the gateway's log.",
    ErrorCode.VAULT_ERROR: "Vault failed or answered in an unexpected way: the gateway's log has its words under this request id.",
    ErrorCode.VAULT_ANSWER_MISMATCH: "Vault gave more, or other, than targets.yaml allows, so it was revoked and thrown away: compare the Vault role's policies, TTLs and type with the target. If they agree, find out what answers in Vault's place.",
    ErrorCode.VAULT_NOT_READY: "Vault could not be reached, has no active node or could not fetch the issuer's keys. "
    + _LATER,
    ErrorCode.VAULT_THROTTLED: "A quota of Vault's is used up: raise it, or have callers come less often. "
    + _LATER,
    ErrorCode.VAULT_SEALED: "Vault is sealed or starting: unseal it.",
    ErrorCode.INPUT_TOO_LARGE: _CALLER,
    ErrorCode.INPUT_INVALID: "The input breaks the workflow's schema. " + _CALLER,
    ErrorCode.IDEMPOTENCY_CONFLICT: "The same key was used with another input before: the caller needs a new key for a new wish.",
    ErrorCode.EXECUTION_UNKNOWN: "AWS has no execution of this name: it was never started, or ended more than 90 days ago.",
    ErrorCode.EXECUTION_UNSUPPORTED: "AWS neither describes nor stops EXPRESS executions: use a STANDARD workflow where they must be followed.",
    ErrorCode.WORKFLOW_LIMIT: "The account's limit of running executions is reached: end some, or have AWS raise it.",
    ErrorCode.WORKFLOW_THROTTLED: _LATER,
    ErrorCode.START_UNKNOWN: "AWS did not say whether it started: look the execution up by its name. A retry with the same key is safe; an EXPRESS start has no key, so look first.",
}

UNFINISHED: Final = (
    "The gateway ended, or still works on it, between the record before the effect and the one after it: "
    "look in AWS for the execution or session named above. A retry with the same key is safe."
)
"""For an intent without an outcome."""

INTERRUPTED: Final = (
    "Nobody's token is kept, so the gateway cannot ask AWS by itself. Let the caller repeat a start with the same key, or "
    "ask for the execution: the answer closes this story. What has no execution name is in CloudTrail, under a role session "
    "name that ends with the first 8 digits of the token's SHA-256."
)
"""For a call during which the process ended."""
