"""The proof: from an unverified token, its issuer and a key to a verified token. Pure; the only maker of one."""

from types import MappingProxyType
from typing import Final

from gateway.errors import ErrorCode, TokenRejected
from gateway.identity.claim_rules import (
    check_audience,
    check_kind,
    check_subject,
    check_texts,
)
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.jwk import VerificationKey
from gateway.identity.presets import SUPPORTED_ALGORITHMS
from gateway.identity.refusals import signed
from gateway.identity.signature import signature_is_valid
from gateway.identity.times import check_times
from gateway.identity.token import Claims, Principal, UnverifiedToken, VerifiedToken

# Ways to bring a key along. It would never be used, and a token that tries is not one of an issuer we know.
_KEY_HEADERS: Final = ("jwk", "jku", "x5u", "x5c")


def check_acceptable(token: UnverifiedToken, issuer: TrustedIssuer) -> None:
    """Refuse what no key could make acceptable, so that nothing is fetched for it (KS-05). Raises TokenRejected."""
    if token.issuer != issuer.issuer:
        raise issuer_unknown()
    # Both lists: a file that named an algorithm we do not know must not name a way around verification.
    if token.algorithm not in issuer.algorithms or token.algorithm not in SUPPORTED_ALGORITHMS:
        raise TokenRejected(
            ErrorCode.TOKEN_ALG_NOT_ALLOWED,
            f"The signature algorithm {token.algorithm} is not accepted from this issuer.",
        )
    if not issuer.key_headers_ignored:
        for name in _KEY_HEADERS:
            if name in token.unbelieved_header:
                raise TokenRejected(
                    ErrorCode.TOKEN_HEADER_INVALID,
                    f"The token's header has the member {name}; keys come from the issuer alone.",
                )
    if token.key_id is None and issuer.kid_required:
        raise TokenRejected(
            ErrorCode.TOKEN_KID_MISSING,
            "The token's header names no key (kid).",
            hint="Configure the identity provider to publish key ids; AWS needs them too.",
        )
    _check_type(token, issuer)


def _check_type(token: UnverifiedToken, issuer: TrustedIssuer) -> None:
    typ = token.unbelieved_header.get("typ", "")
    plain = typ.lower().removeprefix("application/") if isinstance(typ, str) else None
    if plain == "" and "typ" in token.unbelieved_header:
        plain = None  # an empty typ is not an absent one
    if plain in issuer.types:
        return
    raise TokenRejected(
        ErrorCode.TOKEN_TYPE_NOT_ALLOWED,
        "The token's type (header typ) is not accepted from this issuer.",
        hint=_OKTA_ORG_HINT if plain == "okta-internal-at+jwt" else None,
    )


_OKTA_ORG_HINT: Final = (
    "It is an access token of an Okta org authorization server, which only Okta itself may accept; "
    "use an ID token, or a token of a custom authorization server (/oauth2/…)."
)


def issuer_unknown() -> TokenRejected:
    """Make the refusal of an issuer that is not configured; one text for all, naming none."""
    return TokenRejected(
        ErrorCode.TOKEN_ISSUER_UNKNOWN,
        "The token's issuer is not trusted here.",  # its name is not echoed: nothing in this token is verified yet
        hint="Issuers are compared byte for byte; look for a trailing slash, a path or the other case.",
    )


def verify_token(
    token: UnverifiedToken, issuer: TrustedIssuer, key: VerificationKey, *, now: float
) -> VerifiedToken:
    """Verify signature, times, kind, audience, client and subject, in this order, and believe the token.

    now: wall seconds. Raises TokenRejected; its claims name what failed, with the caller's own value.
    """
    check_acceptable(token, issuer)
    check_signature(token, key)
    members = token.unbelieved_payload
    try:
        expires = check_times(members, issuer, now=now)
        check_kind(members, issuer)
        check_audience(members, issuer)
        subject = check_subject(members, issuer)
        if not token.no_controls:
            check_texts(members)
    except TokenRejected as refusal:
        raise signed(refusal, issuer, members) from None
    return VerifiedToken(
        compact=token.compact,
        digest=token.compact.digest(),
        issuer=issuer,
        principal=Principal(issuer=token.issuer, subject=subject),
        claims=Claims(issuer=issuer.name, members=MappingProxyType(members)),
        expires_at=expires,
        key_id=token.key_id,
        algorithm=token.algorithm,
    )


def check_signature(token: UnverifiedToken, key: VerificationKey) -> None:
    """Check that the key is the one named, fits the algorithm and made the signature. Raises TokenRejected."""
    # Without kid the issuer's only key was chosen, whatever its name.
    if token.key_id is not None and key.key_id != token.key_id:
        raise TokenRejected(
            ErrorCode.TOKEN_KEY_MISMATCH, "The key does not bear the id that the token names."
        )
    if token.algorithm not in key.algorithms:
        raise TokenRejected(
            ErrorCode.TOKEN_KEY_MISMATCH, "The key that the token names is not meant for its algorithm."
        )
    if not signature_is_valid(token.algorithm, key, token.signing_input, token.signature):
        raise TokenRejected(
            ErrorCode.TOKEN_SIGNATURE_INVALID,
            "The token's signature is not valid.",
            hint="Send it exactly as issued.",
        )
