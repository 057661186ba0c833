"""What a refusal of Vault means: for whom, which claim it is about, and whether to come again. Pure.

Vault has no error codes: nearly every refusal is a 400 with an English sentence. The sentences are recognised here, held to
the release that the tests run against, and never passed on: who is refused reads ours, with the claim's name.
"""

import re
from typing import Final, Literal

from gateway.errors import (
    AccessDenied,
    ConfigurationInvalid,
    ErrorCode,
    FailedClaim,
    GatewayError,
    Unavailable,
    Upstream,
    UpstreamFailed,
)
from gateway.identity.token import VerifiedToken
from gateway.outbound.http import OutboundFailure
from gateway.outbound.vault_answers import VaultFault
from gateway.policy.claims import MISSING, find_claim

Problem = Literal["missing", "type", "value"]

_RETRY_AFTER_S: Final = 5
_ASK: Final = "Ask the administrators, with the request id; the reason is in the gateway's log."

# Only names of a harmless form are repeated: the sentence comes from outside.
_NAME: Final = r"([A-Za-z0-9_:/.@~#-]{1,128})"
#: Sentences of a login that name a claim, and what is wrong with it.
_CLAIMS: Final[tuple[tuple[re.Pattern[str], Problem], ...]] = (
    (re.compile(rf'claim "{_NAME}" does not match any associated bound claim values'), "value"),
    (re.compile(rf'claim "{_NAME}" is missing'), "missing"),
    (re.compile(rf'claim "{_NAME}" not found in token'), "missing"),
    (re.compile(rf'"{_NAME}" claim not found in token'), "missing"),
    (re.compile(rf'claim "{_NAME}" could not be converted to string'), "type"),
    (re.compile(rf'"{_NAME}" claim could not be converted to string list'), "type"),
    (re.compile(rf"error converting claim '{_NAME}' to string"), "type"),
    (re.compile(r"invalid [a-zA-Z ]{2,20} \((iss|sub|aud|jti|exp|nbf|iat)\) claim"), "value"),
    (re.compile(r"\b(aud) claim does not match any bound audience"), "value"),
)
# What an administrator has to mend, in Vault or in the files.
_LOGIN_MISCONFIGURED: Final = re.compile(
    r'role "[^"]*" could not be found|missing role|could not load configuration|no audiences bound to the role'
    r"|role with oidc role_type is not allowed|error configuring token validator|bound claim is not a string"
)
_ENGINE_MISCONFIGURED: Final = re.compile(
    r'[Rr]ole "[^"]*" not found|not in allowed role arns|unable to determine one|allowed credential types'
    r"|not allowed for legacy roles|unknown credential_type|ValidationError|MalformedPolicyDocument|PackedPolicyTooLarge"
)
_KEYS_MISSING: Final = re.compile(r"error verifying token signature: .*(?:fetching keys|get keys failed)")
_KEY_UNKNOWN: Final = re.compile(r"error verifying token signature|no known key successfully validated")
_ALGORITHM: Final = re.compile(r"unexpected algorithm|invalid algorithm \(alg\)")
_WRONG_TYPE: Final = re.compile(r"received claim is not a|value .* in groups claim could not be parsed")
_ASSUME_DENIED: Final = re.compile(r"Error assuming role: (?:AccessDenied|.*is not authorized to perform)")
_THROTTLED: Final = re.compile(r"upstream rate limited|Throttling|rate limit quota|lease count quota")
_NO_ACTIVE_NODE: Final = re.compile(r"local node not active|active cluster node not found|node is not active")


def login_refusal(fault: VaultFault, token: VerifiedToken) -> GatewayError:
    """Translate an error of `auth/<mount>/login`."""
    if fault.status == 400:
        return _login_400(fault, token)
    if fault.status == 403:
        return _denied(
            fault,
            "Vault does not let this token log in here.",
            "Is the mount there, and do the role's bound CIDRs hold the gateway's address?",
        )
    return _by_status(fault)


def engine_refusal(fault: VaultFault) -> GatewayError:
    """Translate an error of `<mount>/sts/<role>`."""
    if fault.status in (400, 403) and _ASSUME_DENIED.search(fault.text):
        return _denied(
            fault,
            "AWS does not let Vault's AWS engine assume the target's role.",
            "The role's trust policy must name the identity that Vault uses.",
        )
    if fault.status == 400:
        if _ENGINE_MISCONFIGURED.search(fault.text):
            return _misconfigured(fault, "Vault's AWS engine cannot use this target as it is configured.")
        return _denied(fault, "Vault's AWS engine refused the call.", _ASK)
    if fault.status == 403:
        return _denied(
            fault,
            "The policies of the Vault role do not allow its AWS engine role.",
            "Ask the administrators to compare them with the target.",
        )
    return _by_status(fault)


def no_answer(failure: OutboundFailure, *, late: bool) -> GatewayError:
    """Return what callers learn when Vault did not answer properly. late: the call's own deadline has passed."""
    match failure.kind:
        case "redirect":
            return UpstreamFailed(
                ErrorCode.VAULT_ERROR,
                "Vault answered with a redirect, which is never followed.",
                hint="The token was not sent on. Ask the administrators for an address that answers itself.",
            )
        case "tls":
            return UpstreamFailed(
                ErrorCode.VAULT_ERROR,
                "Vault's certificate is not trusted.",
                hint="Ask the administrators to compare it with the vault's CA.",
            )
        case "too_large" | "encoding":
            return unreadable()
        case "connect" | "timeout" | "address" | "broken" if late:
            return Unavailable(
                ErrorCode.DEADLINE_EXCEEDED, "Vault did not answer in time.", retry_after_s=_RETRY_AFTER_S
            )
        case "timeout":
            return _not_ready("Vault did not answer in time.")
        case _:
            return _not_ready("Vault cannot be reached.")


def unreadable() -> UpstreamFailed:
    """Return what callers learn when Vault's answer cannot be read."""
    return UpstreamFailed(ErrorCode.VAULT_ERROR, "Vault's answer cannot be read.", hint=_ASK)


def _login_400(fault: VaultFault, token: VerifiedToken) -> GatewayError:
    text = fault.text
    if _LOGIN_MISCONFIGURED.search(text):
        return _misconfigured(
            fault, "The Vault role of this target is missing or cannot be used for a login."
        )
    if _KEYS_MISSING.search(text):
        return _not_ready("Vault could not fetch the issuer's keys.", fault)
    if _ALGORITHM.search(text):
        alg = FailedClaim(name="alg", problem="value", value=token.algorithm)
        return _denied(fault, "Vault does not accept the token's algorithm.", claims=(alg,))
    if _KEY_UNKNOWN.search(text):
        return _denied(
            fault,
            "Vault does not know the key that signed this token.",
            "Ask the administrators: the mount must trust this token's issuer.",
        )
    for sentence, problem in _CLAIMS:
        if found := sentence.search(text):
            return _claim_refused(fault, found[1], problem, token)
    if _WRONG_TYPE.search(text):
        return _denied(fault, "A claim of this token has a type that Vault cannot use.", _ASK)
    return _denied(fault, "Vault does not accept this token for this role.", _ASK)


def _claim_refused(fault: VaultFault, name: str, problem: Problem, token: VerifiedToken) -> AccessDenied:
    own = find_claim(token.claims.members, name)
    if own is MISSING:
        claim = FailedClaim(name=name, problem="missing")
    else:
        claim = FailedClaim(name=name, problem="value" if problem == "missing" else problem, value=own)
    hint = (
        "Ask the issuer for a fresh token, or compare the clocks." if name in ("exp", "nbf", "iat") else None
    )
    return _denied(fault, f"Vault does not accept the claim {name} of this token.", hint, claims=(claim,))


def _by_status(fault: VaultFault) -> GatewayError:
    if fault.status == 429 or _THROTTLED.search(fault.text):
        return UpstreamFailed(
            ErrorCode.VAULT_THROTTLED,
            "Vault limits how often it may be called.",
            upstream=_upstream(fault),
            retry_after_s=fault.retry_after_s or _RETRY_AFTER_S,
        )
    match fault.status:
        case 404:
            return _misconfigured(fault, "Vault has nothing at the path or in the namespace of this target.")
        case 412:
            return _not_ready("Vault's replica has not caught up.", fault)
        case 503 if not _NO_ACTIVE_NODE.search(fault.text):
            return UpstreamFailed(
                ErrorCode.VAULT_SEALED,
                "Vault is sealed or starting.",
                upstream=_upstream(fault),
                retry_after_s=fault.retry_after_s or _RETRY_AFTER_S,
            )
        case status if status >= 500 and _NO_ACTIVE_NODE.search(fault.text):
            return _not_ready("Vault has no active node.", fault)
        case _:
            return UpstreamFailed(
                ErrorCode.VAULT_ERROR, "Vault failed.", hint=_ASK, upstream=_upstream(fault)
            )


def _denied(
    fault: VaultFault, message: str, hint: str | None = None, *, claims: tuple[FailedClaim, ...] = ()
) -> AccessDenied:
    return AccessDenied(ErrorCode.VAULT_DENIED, message, hint=hint, claims=claims, upstream=_upstream(fault))


def _misconfigured(fault: VaultFault, message: str) -> ConfigurationInvalid:
    return ConfigurationInvalid(
        ErrorCode.MAPPING_INVALID_FOR_VAULT, message, hint=_ASK, upstream=_upstream(fault)
    )


def _not_ready(message: str, fault: VaultFault | None = None) -> UpstreamFailed:
    return UpstreamFailed(
        ErrorCode.VAULT_NOT_READY,
        message,
        upstream=_upstream(fault) if fault else None,
        retry_after_s=_RETRY_AFTER_S,
    )


def _upstream(fault: VaultFault) -> Upstream:
    return Upstream(service="vault", code=str(fault.status))
