"""Tokens for tests: real keys made once per session, good defaults per kind of issuer, one override per test."""

import base64
import functools
import json
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm

from gateway.identity.issuer import KeyLocation, TrustedIssuer
from gateway.identity.keys import read_key_set
from gateway.identity.reading import read_token
from gateway.identity.token import VerifiedToken
from gateway.identity.verify import verify_token
from gateway.secret import Secret
from tests.support.canaries import RUN
from tests.support.clocks import START_S

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

AUDIENCE: Final = "https://gateway.acme.example"

# Who issues each kind of token, as `gateway.yaml` would have it. Keys are the first argument of `token` and `trusted`.
_ISSUERS: Final[Mapping[str, TrustedIssuer]] = {
    issuer.name: issuer
    for issuer in (
        TrustedIssuer(
            name="github",
            preset="github-actions",
            issuer="https://token.actions.githubusercontent.com",
            audiences=(AUDIENCE,),
            algorithms=("RS256",),
            types=("", "jwt"),
            blank_subjects=True,
            keys=KeyLocation(),
        ),
        TrustedIssuer(
            name="gitlab",
            preset="gitlab",
            issuer="https://gitlab.com",
            audiences=(AUDIENCE,),
            algorithms=("RS256",),
            types=("", "jwt"),
            keys=KeyLocation(),
        ),
        TrustedIssuer(
            name="okta",
            preset="okta",
            issuer="https://acme.okta.example/oauth2/agents",
            audiences=(AUDIENCE,),
            types=("", "jwt"),
            keys=KeyLocation(),
        ),
        TrustedIssuer(
            name="cognito-id",
            preset="cognito",
            issuer="https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC",
            audiences=(),
            clients=("4fk2client",),
            token_kinds=("id",),
            algorithms=("RS256",),
            types=("", "jwt"),
            keys=KeyLocation(),
        ),
        TrustedIssuer(
            name="cognito-access",
            preset="cognito",
            issuer="https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbC",
            audiences=(),
            clients=("4fk2client",),
            token_kinds=("access",),
            algorithms=("RS256",),
            types=("", "jwt"),
            keys=KeyLocation(),
        ),
        TrustedIssuer(
            name="auth0",
            preset="auth0",
            issuer="https://acme.eu.auth0.example/",
            audiences=(AUDIENCE,),
            types=("", "jwt", "at+jwt"),
            keys=KeyLocation(),
        ),
        TrustedIssuer(
            name="generic",
            preset="generic",
            issuer="https://issuer.example",
            audiences=(AUDIENCE,),
            algorithms=("RS256", "ES256", "PS256", "EdDSA"),
            keys=KeyLocation(),
        ),
    )
}

_CLAIMS: Final[Mapping[str, Mapping[str, object]]] = {
    "github": {
        "sub": "repo:acme/payments:environment:prod",
        "aud": AUDIENCE,
        "jti": "0f6a8f3e-6ab8-4b1e-9a0d-000000000001",
        "repository": "acme/payments",
        "repository_id": "4711",
        "repository_owner": "acme",
        "repository_owner_id": "12",
        "environment": "prod",
        "ref": "refs/heads/main",
        "ref_protected": "true",
        "event_name": "push",
        "job_workflow_ref": "acme/payments/.github/workflows/deploy.yaml@refs/heads/main",
        "run_id": "991",
    },
    "gitlab": {
        "sub": "project_path:acme/payments:ref_type:branch:ref:main",
        "aud": AUDIENCE,
        "jti": "0f6a8f3e-6ab8-4b1e-9a0d-000000000002",
        "namespace_id": "72",
        "namespace_path": "acme",
        "project_id": "20",
        "project_path": "acme/payments",
        "ref": "main",
        "ref_type": "branch",
        "ref_protected": "true",
        "runner_id": 1,
        "pipeline_source": "push",
    },
    "okta": {
        "sub": "0oa4triageagent",
        "aud": AUDIENCE,
        "jti": "AT.0001",
        "ver": 1,
        "cid": "0oa4triageagent",
        "scp": ["workflows.start"],
    },
    "cognito-id": {
        "sub": "c2f2c5a4-0000-4000-8000-000000000001",
        "aud": "4fk2client",
        "token_use": "id",
        "cognito:username": "jo",
        "cognito:groups": ["operators"],
        "email": "jo@acme.example",
        "email_verified": True,
    },
    "cognito-access": {
        "sub": "c2f2c5a4-0000-4000-8000-000000000001",
        "client_id": "4fk2client",
        "token_use": "access",
        "username": "jo",
        "cognito:groups": ["operators"],
        "scope": "aws.cognito.signin.user.admin",
        "version": 2,
    },
    "auth0": {
        "sub": "nw7partnerclient@clients",
        "aud": AUDIENCE,
        "azp": "nw7partnerclient",
        "gty": "client-credentials",
        "https://acme.example/partner": "northwind",
    },
    "generic": {"sub": "someone", "aud": AUDIENCE},
}

_ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "ES384": ECAlgorithm(ECAlgorithm.SHA384),
    "ES512": ECAlgorithm(ECAlgorithm.SHA512),
    "EdDSA": OKPAlgorithm(),
}
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}


def private_key(algorithm: str, which: str = "first") -> PrivateKey:
    """Return a key for the algorithm, made once per session. which: any word; another word is another key."""
    return _private_key(algorithm, which)


@functools.cache
def _private_key(algorithm: str, which: str) -> PrivateKey:
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm != "RS256":
        return _private_key("RS256", which)  # RSA keys are slow to make
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_id(algorithm: str, which: str = "first") -> str:
    """Return the `kid` under which `jwks` publishes that key."""
    return f"{which}-{algorithm.lower()}"


def jwk(algorithm: str = "RS256", which: str = "first", **members: object) -> dict[str, object]:
    """Return the public JWK of a session key; members replace or join, and None removes."""
    public = private_key(algorithm, which).public_key()
    match public:
        case rsa.RSAPublicKey():
            found: dict[str, object] = RSAAlgorithm.to_jwk(public, as_dict=True)
        case ec.EllipticCurvePublicKey():
            found = ECAlgorithm.to_jwk(public, as_dict=True)
        case _:
            found = OKPAlgorithm.to_jwk(public, as_dict=True)
    found.pop("key_ops", None)
    found |= {"kid": key_id(algorithm, which), "use": "sig", "alg": algorithm, **members}
    return {name: value for name, value in found.items() if value is not None}


def jwks(*keys: Mapping[str, object]) -> bytes:
    """Return a JWK set of these keys; of the four usual session keys without arguments."""
    usual = [jwk(algorithm) for algorithm in ("RS256", "ES256", "PS256", "EdDSA")]
    return json.dumps({"keys": list(keys) or usual}).encode()


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def sign(signing_input: bytes, algorithm: str = "RS256", which: str = "first") -> bytes:
    """Return the raw signature (JWS form) of a session key."""
    made = _ALGORITHMS[algorithm].sign(signing_input, private_key(algorithm, which))
    assert isinstance(made, bytes)
    return made


def raw_token(header: bytes, payload: bytes, *, algorithm: str = "RS256", which: str = "first") -> str:
    """Return a correctly signed compact token of exactly these bytes, however wrong they are."""
    signing_input = f"{b64(header)}.{b64(payload)}".encode("ascii")
    signature = b64(sign(signing_input, algorithm, which))
    RUN.hold(signature)
    return f"{signing_input.decode('ascii')}.{signature}"


def claims_of(
    kind: str = "github",
    *,
    now: float = START_S,
    claims: Mapping[str, object] | None = None,
    **overrides: object,
) -> dict[str, object]:
    """Return the claims that `token` would sign. None removes a claim; `claims` is for names that are no keywords."""
    found: dict[str, object] = {
        "iss": _ISSUERS[kind].issuer,
        **_CLAIMS[kind],
        "iat": int(now),
        "nbf": int(now),
        "exp": int(now) + 300,
        **(claims or {}),
        **overrides,
    }
    return {name: value for name, value in found.items() if value is not None}


def token(
    kind: str = "github",
    *,
    algorithm: str = "RS256",
    which: str = "first",
    header: Mapping[str, object] | None = None,
    now: float = START_S,
    claims: Mapping[str, object] | None = None,
    **overrides: object,
) -> str:
    """Return a good signed compact token of this kind of issuer, changed by header members and claims; None removes.

    kind: github, gitlab, okta, cognito-id, cognito-access, auth0, generic.
    now:  moment of issue; the token lives for 300 s.
    """
    return _signed(claims_of(kind, now=now, claims=claims, **overrides), header or {}, algorithm, which)


def _signed(
    payload: Mapping[str, object],
    header: Mapping[str, object],
    algorithm: str = "RS256",
    which: str = "first",
) -> str:
    members: dict[str, object] = {"alg": algorithm, "kid": key_id(algorithm, which), "typ": "JWT"}
    members |= header
    members = {name: value for name, value in members.items() if value is not None}
    return raw_token(
        json.dumps(members).encode(), json.dumps(payload).encode(), algorithm=algorithm, which=which
    )


def trusted(kind: str = "github", **changes: object) -> TrustedIssuer:
    """Return the trusted issuer of this kind, with its usual session keys in a static set; changes replace fields."""
    issuer = _ISSUERS[kind]
    fields: dict[str, Any] = {name: getattr(issuer, name) for name in TrustedIssuer.__dataclass_fields__}
    fields["keys"] = KeyLocation(static_jwks=jwks().decode())
    return TrustedIssuer(**(fields | changes))


def verified(
    kind: str = "github",
    *,
    now: float = START_S,
    claims: Mapping[str, object] | None = None,
    **overrides: object,
) -> VerifiedToken:
    """Return a token that the real verifier has verified; the only way to one, in tests as well."""
    unverified = read_token(Secret(_signed(claims_of(kind, now=now, claims=claims, **overrides), {})))
    key = read_key_set(jwks()).by_id[key_id("RS256")]
    return verify_token(unverified, trusted(kind), key, now=now)
