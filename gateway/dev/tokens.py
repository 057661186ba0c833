"""What a development token says unless it is asked to say something else, for each kind of identity provider."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

LIFETIME_S = 3600  # long enough to paste commands from the terminal; GitHub's own tokens live for minutes


class OrderInvalid(ValueError):
    """A token cannot be made as it was ordered; the message names the failing part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOrder:
    """A token that somebody wants.

    issuer:       name of an issuer of `gateway.yaml`.
    claims:       replace or join the defaults; `aud` among them when the audience shall differ.
    remove:       claims that the token shall lack.
    expires_in_s: seconds from now to `exp`; negative for a token that has expired already.
    """

    issuer: str
    claims: Mapping[str, object] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    expires_in_s: int | None = None


def default_claims(preset: str, *, client: str | None) -> dict[str, object]:
    """Return the claims that make a token of this preset look like the provider's own and satisfy the example rules.

    client: the first of the issuer's `clients`, None when it has none.
    """
    make = _DEFAULTS.get(preset, _plain)
    return make(client)


def complete_claims(
    order: TokenOrder, *, issuer: str, audience: str | None, defaults: Mapping[str, object]
) -> dict[str, object]:
    """Return all claims of the token: defaults, registered claims, then what the order changes."""
    now = int(time.time())
    lifetime = LIFETIME_S if order.expires_in_s is None else order.expires_in_s
    claims: dict[str, object] = {
        "iss": issuer,
        **defaults,
        # An expired token must still have been issued before it expired.
        "iat": min(now, now + lifetime - 60),
        "exp": now + lifetime,
        "jti": secrets.token_hex(16),
    }
    if audience is not None:
        claims["aud"] = audience
    claims |= order.claims
    for name in order.remove:
        claims.pop(name, None)
    return claims


def parse_claim(text: str) -> tuple[str, object]:
    """Read `name=text` or `name:=json`. Raises OrderInvalid.

    The first `=` divides, so that names with colons work: `cognito:groups:=["a"]`, `https://acme.example/partner=x`.
    """
    name, divider, value = text.partition("=")
    if not divider or name in ("", ":"):
        raise OrderInvalid(f"Expected NAME=TEXT or NAME:=JSON, not {text!r}.")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except json.JSONDecodeError as cause:
        raise OrderInvalid(
            f"The value of {name[:-1]} is not JSON ({cause.msg}); for text write {name[:-1]}=TEXT."
        ) from cause


def _github(_client: str | None) -> dict[str, object]:
    return {
        "sub": "repo:acme/payments:environment:prod",
        "repository": "acme/payments",
        "repository_id": "4711",
        "repository_owner": "acme",
        "repository_owner_id": "12",
        "repository_visibility": "private",
        "environment": "prod",
        "ref": "refs/heads/main",
        "ref_type": "branch",
        "ref_protected": "true",  # text, as GitHub sends it
        "sha": "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
        "event_name": "push",
        "actor": "jo",
        "actor_id": "42",
        "workflow": "deploy",
        "workflow_ref": "acme/payments/.github/workflows/deploy.yaml@refs/heads/main",
        "job_workflow_ref": "acme/payments/.github/workflows/deploy.yaml@refs/heads/main",
        "run_id": "991",
        "run_number": "7",
        "run_attempt": "1",
        "runner_environment": "github-hosted",
    }


def _okta(client: str | None) -> dict[str, object]:
    name = client or "0oa4triageagent"
    return {"ver": 1, "cid": name, "sub": name, "scp": ["workflows.start"]}


def _auth0(client: str | None) -> dict[str, object]:
    name = client or "nw7partnerclient"
    return {
        "sub": f"{name}@clients",
        "azp": name,
        "gty": "client-credentials",
        "https://acme.example/partner": "northwind",
    }


def _plain(_client: str | None) -> dict[str, object]:
    return {"sub": "developer"}


_DEFAULTS: Mapping[str, Callable[[str | None], dict[str, object]]] = {
    "github-actions": _github,
    "okta": _okta,
    "auth0": _auth0,
}
