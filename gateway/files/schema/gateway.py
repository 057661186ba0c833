"""gateway.yaml as a whole, with its teams, AWS and Vaults."""

from typing import Annotated, Final, Literal

from pydantic import Field

from gateway.files.schema.administration import AdminShape
from gateway.files.schema.issuers import IssuerShape
from gateway.files.schema.keeping import AuditShape, StateShape
from gateway.files.schema.serving import LimitsShape, ServerShape
from gateway.files.schema.values import MAX_ISSUERS, File, Name, Shape, Url

GATEWAY_FORMAT: Final = "oidc-gateway/gateway.v1"


class TeamShape(Shape):
    """Who may write rules, and about whose tokens."""

    contact: Annotated[str, Field(min_length=1)] = Field(description="Whom to ask about its rules.")
    issuers: list[Name] = Field(
        min_length=1, max_length=MAX_ISSUERS, description="Issuers its rules may name."
    )


class EndpointShape(Shape):
    """Base URLs for one Region, where they are not AWS's own."""

    sts: Url | None = Field(default=None, description="Base URL of STS, such as a VPC endpoint.")
    states: Url | None = Field(default=None, description="Base URL of Step Functions.")


class AwsShape(Shape):
    """Where AWS answers. No keys: the gateway holds none."""

    region: str = Field(
        pattern=r"^[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}$",
        description="STS for credentials that are handed out; a start uses its state machine's own Region.",
    )
    endpoints: dict[str, EndpointShape] | None = Field(default=None, description="Own base URLs, by Region.")
    emulator: bool = Field(
        default=False, description="STS is an emulator that invents provider and subject. Only with --dev."
    )


class VaultShape(Shape):
    """A HashiCorp Vault (or OpenBao) server. No token: the gateway holds none."""

    address: Url = Field(description="https://HOST:PORT, without a path.")
    namespace: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="Its namespace, such as acme/ci; the root namespace unless given."
    )
    ca_file: File | None = Field(
        default=None,
        description="PEM file in this folder: the only CAs that may have signed the server's certificate.",
    )


class GatewayShape(Shape):
    """config/gateway.yaml: whose tokens are believed, which teams write rules, and where AWS is."""

    format: Literal["oidc-gateway/gateway.v1"] = Field(description="The first key of the file.")
    issuers: dict[Name, IssuerShape] = Field(
        min_length=1, max_length=MAX_ISSUERS, description="Identity providers, by our name for each."
    )
    teams: dict[Name, TeamShape] | None = Field(
        default=None,
        min_length=1,
        description="Who may write rules. Without it everything belongs to one team.",
    )
    aws: AwsShape = Field(description="Where AWS answers.")
    vaults: dict[Name, VaultShape] | None = Field(
        default=None, description="Vault servers, by our name for each."
    )
    server: ServerShape = Field(default_factory=ServerShape, description="How the gateway listens.")
    limits: LimitsShape = Field(
        default_factory=LimitsShape, description="How much one caller may use of the gateway."
    )
    state: StateShape = Field(default_factory=StateShape, description="What workers and replicas share.")
    audit: AuditShape = Field(default_factory=AuditShape, description="Where the audit record is written.")
    admin: AdminShape | None = Field(
        default=None, description="The admin listener; off unless this is written."
    )
