"""What the claims of a token with a good signature must say besides its times: kind, audience, client, subject."""

from collections.abc import Mapping
from typing import Final

from gateway.errors import ErrorCode, TokenRejected
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.presets import PRESETS
from gateway.identity.refusals import Problem, missing, rejected, shown

Members = Mapping[str, object]

_MAX_SUBJECT_CHARS: Final = 255


def check_kind(members: Members, issuer: TrustedIssuer) -> None:
    """Refuse tokens that were made for something else, before their audience is read: the kind says where it stands."""
    if "events" in members:
        raise rejected(
            ErrorCode.TOKEN_TYPE_NOT_ALLOWED,
            "The token has a claim events: it is a logout or security event token.",
            "events",
            "present",
        )
    if issuer.okta_org and ("cid" in members or "scp" in members or members.get("aud") == issuer.issuer):
        raise rejected(
            ErrorCode.TOKEN_OKTA_ORG_SERVER,
            "This is an access token of an Okta org authorization server, which only Okta itself may accept.",
            "cid" if "cid" in members else "scp" if "scp" in members else "aud",
            "present",
            members.get("cid", members.get("scp", members.get("aud"))),
            hint="Use an ID token, or a token of a custom authorization server (/oauth2/…).",
        )
    if issuer.token_kinds and members.get("token_use") not in issuer.token_kinds:
        problem: Problem = "value" if "token_use" in members else "missing"
        raise rejected(
            ErrorCode.TOKEN_USE_MISMATCH,
            "The token is of a kind that is not accepted from this user pool.",
            "token_use",
            problem,
            members.get("token_use"),
            hint="Cognito issues an ID token and an access token; send the other one.",
        )


def check_audience(members: Members, issuer: TrustedIssuer) -> None:
    """Check `aud` (OIDC Core 1.0 section 3.1.3.7, rules 3 to 5) and the claims that name the client."""
    presented = _audiences(members, issuer)
    accepted = issuer.audiences
    if issuer.token_kinds and not accepted and members.get("token_use") == "id":
        accepted = issuer.clients  # a Cognito ID token's audience is the app client
    foreign = [value for value in presented if value not in accepted and value not in issuer.also_allowed]
    if presented and (foreign or not [value for value in presented if value in accepted]):
        raise _audience_mismatch(members["aud"], presented, issuer)
    _check_clients(members, issuer, presented)


def _audiences(members: Members, issuer: TrustedIssuer) -> tuple[str, ...]:
    """Return what the token names; empty only where `client_id` stands in for it (Cognito access tokens)."""
    if "aud" not in members:
        if "access" in issuer.token_kinds and members.get("token_use") == "access":
            return ()
        raise _audience_missing("missing", issuer)
    values: list[object]
    match members["aud"]:
        case str() as one:
            return (one,)
        case []:
            raise _audience_missing("value", issuer)
        case list() as several:
            values = several
        case other:
            values = [other]
    texts = tuple(value for value in values if isinstance(value, str))
    if len(texts) != len(values):
        raise rejected(
            ErrorCode.TOKEN_AUDIENCE_MISMATCH,
            "The token's audience (claim aud) is neither a text nor a list of texts.",
            "aud",
            "type",
            members["aud"],
        )
    return texts


def _audience_missing(problem: Problem, issuer: TrustedIssuer) -> TokenRejected:
    return rejected(
        ErrorCode.TOKEN_AUDIENCE_MISSING,
        "The token names no audience (claim aud).",
        "aud",
        problem,
        hint=_audience_hint(issuer),
    )


def _audience_mismatch(value: object, presented: tuple[str, ...], issuer: TrustedIssuer) -> TokenRejected:
    if len(presented) == 1:
        message = f"The token's audience is {shown(presented[0])}, which this gateway does not accept."
    else:
        message = "The token has several audiences, and this gateway does not accept all of them together."
    return rejected(
        ErrorCode.TOKEN_AUDIENCE_MISMATCH, message, "aud", "value", value, hint=_audience_hint(issuer)
    )


def _audience_hint(issuer: TrustedIssuer) -> str | None:
    preset = PRESETS.get(issuer.preset)
    return None if preset is None else preset.audience_hint


def _check_clients(members: Members, issuer: TrustedIssuer, audiences: tuple[str, ...]) -> None:
    named = [name for name in issuer.client_claims if name in members]
    for name in named:
        client = members[name]
        if not isinstance(client, str):
            raise _client_mismatch(name, "type", client)
        if issuer.clients and client not in issuer.clients:
            raise _client_mismatch(name, "value", client)
    if len(audiences) > 1:
        # Whoever shares an audience with us could otherwise pass their tokens on to us.
        if not named:
            raise _client_mismatch("azp", "missing")
        if not issuer.clients:
            raise _client_mismatch(named[0], "value", members[named[0]])
    if issuer.token_kinds:
        _check_cognito_client(members, issuer, audiences)
    elif issuer.clients and not named:
        raise _client_mismatch(issuer.client_claims[0] if issuer.client_claims else "azp", "missing")


def _check_cognito_client(members: Members, issuer: TrustedIssuer, audiences: tuple[str, ...]) -> None:
    if members.get("token_use") == "access":
        if "client_id" not in members:
            raise _client_mismatch("client_id", "missing")
        if members["client_id"] not in issuer.clients:
            raise _client_mismatch("client_id", "value", members["client_id"])
    elif issuer.clients and not all(audience in issuer.clients for audience in audiences):
        raise _client_mismatch("aud", "value", members.get("aud"))


def _client_mismatch(name: str, problem: Problem, value: object = None) -> TokenRejected:
    if problem == "missing":
        message = f"The token names no client (claim {name}), which is required here."
    else:
        message = f"The token was issued to a client (claim {name}) that is not accepted here."
    return rejected(ErrorCode.TOKEN_CLIENT_MISMATCH, message, name, problem, value)


def check_subject(members: Members, issuer: TrustedIssuer) -> str:
    """Check `sub` (OIDC Core 1.0 section 2) and return it."""
    if "sub" not in members:
        raise missing("sub")
    subject = members["sub"]
    if not isinstance(subject, str):
        raise rejected(
            ErrorCode.CLAIM_VALUE_INVALID, "The token's sub is not a text.", "sub", "type", subject
        )
    # isprintable lets the blank pass, and of ASCII nothing else that is white space or control.
    plain = subject.isascii() and subject.isprintable()
    blanks = " " in subject
    outer_blanks = subject != subject.strip(" ")
    if (
        not 1 <= len(subject) <= _MAX_SUBJECT_CHARS
        or not plain
        or outer_blanks
        or (blanks and not issuer.blank_subjects)
    ):
        spaces = "with blanks only inside" if issuer.blank_subjects else "without white space"
        raise rejected(
            ErrorCode.CLAIM_VALUE_INVALID,
            f"The token's sub is not 1 to {_MAX_SUBJECT_CHARS} printable ASCII characters {spaces}.",
            "sub",
            "value",
            subject,
        )
    return subject


def check_texts(members: Members) -> None:
    """Refuse control characters in claims that a rule could compare or a log could show.

    Objects inside claims are left alone: an address may have lines (OIDC Core 1.0 section 5.1.1).
    """
    for name, value in members.items():
        texts = value if isinstance(value, list) else (value,)
        if _has_controls(name) or any(isinstance(text, str) and _has_controls(text) for text in texts):
            label = shown(name)
            raise rejected(
                ErrorCode.CLAIM_VALUE_INVALID,
                f"The token's claim {label} holds control characters.",
                label,
                "value",
            )


def _has_controls(text: str) -> bool:
    # isprintable is one fast pass; it also refuses much that is harmless, which only then is looked at closely.
    return not text.isprintable() and any(char < " " or char == "\x7f" for char in text)
