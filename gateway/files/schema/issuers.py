"""An issuer of gateway.yaml."""

from typing import Literal

from pydantic import Field

from gateway.files.schema.claims import ClaimsShape
from gateway.files.schema.values import Duration, File, Shape, Url


class IssuerShape(Shape):
    """One identity provider whose tokens are believed."""

    preset: Literal["okta", "cognito", "auth0", "github-actions", "gitlab", "kubernetes", "generic"] = Field(
        description="What kind of issuer it is; supplies defaults and knows its claims."
    )
    issuer: Url | None = Field(
        default=None,
        description="Compared to `iss` byte for byte: https, no missing and no extra slash at the end. The preset may know it.",
    )
    audiences: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="The token must carry one of these, exactly. An audience nobody else uses.",
    )
    also_allowed: list[str] | None = Field(
        default=None,
        max_length=16,
        description="Foreign audiences that may stand beside ours, such as Auth0's userinfo URL.",
    )
    require: ClaimsShape | None = Field(
        default=None,
        description="Every token of this issuer must have these, judged before any rule. Compulsory for shared issuers.",
    )
    clients: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Client ids that `azp`, `cid` or `client_id` may name.",
    )
    tokens: list[Literal["id", "access"]] | None = Field(
        default=None,
        min_length=1,
        max_length=2,
        description="Cognito: kinds of tokens that are accepted. AWS takes ID tokens only.",
    )
    algorithms: list[str] | None = Field(
        default=None,
        max_length=16,
        description="Signature algorithms that are accepted; RS256 and ES256 unless the preset says otherwise.",
    )
    discovery_url: Url | None = Field(
        default=None, description="Where the provider's configuration document is, when not below the issuer."
    )
    jwks_uri: Url | None = Field(
        default=None, description="Where the key set is; then no discovery takes place."
    )
    jwks_file: File | None = Field(
        default=None, description="A key set in this folder; then nothing is fetched."
    )
    jwks_hosts: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Hosts that a discovered `jwks_uri` may name besides the issuer's own.",
    )
    ca_file: File | None = Field(
        default=None,
        description="PEM file in this folder: the only CAs that may have signed the issuer's certificate.",
    )
    allow_addresses: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Networks (CIDR) the issuer may live in although they are not public.",
    )
    leeway_s: int | None = Field(
        default=None, ge=0, le=60, description="Clock skew allowed on exp, nbf and iat, in seconds; 30."
    )
    max_age: Duration | None = Field(default=None, description="Oldest accepted `iat`; 1h.")
