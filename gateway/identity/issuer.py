"""One trusted identity provider, as the administrators' file describes it and its preset completes it."""

from dataclasses import dataclass
from typing import Literal

TokenKind = Literal["id", "access"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLocation:
    """Where an issuer's public keys come from and which network rules hold on the way there.

    discovery_url:   the OpenID Provider configuration document (OIDC Discovery 1.0 section 4), or None.
    jwks_uri:        explicit key set URL; then no discovery takes place.
    static_jwks:     text of a local key set file; then nothing is fetched at all.
    hosts:           hosts that a discovered `jwks_uri` may name besides the issuer's own.
    ca_pem:          PEM text of the only CA that may have signed the issuer's certificate; None: system roots.
    allow_addresses: CIDR networks that are allowed although they are not public.
    allow_http:      plain http to a literal loopback address is allowed (`--dev` only).
    """

    discovery_url: str | None = None
    jwks_uri: str | None = None
    static_jwks: str | None = None
    hosts: tuple[str, ...] = ()
    ca_pem: str | None = None
    allow_addresses: tuple[str, ...] = ()
    allow_http: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedIssuer:
    """One identity provider.

    name:           its key in `gateway.yaml`; what records and metrics call it.
    preset:         the preset that supplied the defaults.
    issuer:         compared to `iss` byte for byte (OIDC Core 1.0 section 3.1.3.7, rule 2).
    audiences:      the token must carry one of these; empty only where `clients` stand in for it (Cognito).
    also_allowed:   foreign audiences that may stand beside ours, such as Auth0's userinfo URL.
    clients:        allowed `azp`, `cid` or `client_id`; empty when clients are not restricted.
    token_kinds:    Cognito's `token_use` values that are accepted; empty for issuers without that claim.
    client_claims:  claims that name the client, in this order: `azp`, `cid`, `client_id`.
    algorithms:     signature algorithms accepted; asymmetric only (RFC 8725 section 3.1).
    types:          accepted `typ` headers, lower case, without `application/`; an empty text allows its absence.
    blank_subjects: spaces are allowed inside `sub` (GitHub environment names).
    okta_org:       an Okta org authorization server: its access tokens are refused by name.
    kid_required:   a token without `kid` is refused; False only with a static key file.
    key_headers_ignored: tokens with `jwk`, `jku`, `x5u` or `x5c` headers are read without them; False: refused.
    keys:           where its keys come from.
    leeway_s:       clock skew allowed on `exp`, `nbf` and `iat`, 0 to 60.
    max_age_s:      oldest accepted `iat`, in seconds before now.
    max_lifetime_s: longest accepted `exp` minus `iat`.
    """

    name: str
    preset: str
    issuer: str
    audiences: tuple[str, ...]
    keys: KeyLocation
    also_allowed: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    token_kinds: tuple[TokenKind, ...] = ()
    client_claims: tuple[str, ...] = ("azp", "cid", "client_id")
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    types: tuple[str, ...] = ("", "jwt", "at+jwt")
    blank_subjects: bool = False
    okta_org: bool = False
    kid_required: bool = True
    key_headers_ignored: bool = False
    leeway_s: int = 30
    max_age_s: int = 3600
    max_lifetime_s: int = 86_400
