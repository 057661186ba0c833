"""The shapes of the three formats; also what editors complete and explain (JSON Schema)."""

import re
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

MAX_ISSUERS: Final = 64
MAX_CONDITIONS: Final = 32

GATEWAY_FORMAT: Final = "oidc-gateway/gateway.v1"
TARGETS_FORMAT: Final = "oidc-gateway/targets.v1"
MAPPING_FORMAT: Final = "oidc-gateway/mapping.v1"
CASES_FORMAT: Final = "oidc-gateway/tests.v1"

_DURATION = re.compile(r"([1-9][0-9]{0,6})([smh])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}

# Lower case, so that names which differ in case alone cannot exist; no dot, because rule ids are `team.name`.
NAME: Final = re.compile(r"^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$")
Name = Annotated[str, Field(pattern=NAME.pattern)]
Duration = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,6}[smh]$", examples=["30s", "15m", "1h"])]
#: So many in so long. Not `off`, which is a truth value to YAML.
RateText = Annotated[
    str,
    Field(
        pattern=r"^(?:unlimited|[1-9][0-9]{0,6}/[1-9][0-9]{0,3}[smh])$",
        examples=["600/1m", "20/1s", "unlimited"],
    ),
]
HostName = Annotated[
    str,
    Field(
        pattern=r"^(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+)$",
        examples=["gateway.internal.example"],
    ),
]
Network = Annotated[
    str,
    Field(
        pattern=r"^(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?|[0-9A-Fa-f]*:[0-9A-Fa-f:.]+(?:/[0-9]{1,3})?)$",
        examples=["10.0.0.0/16", "2001:db8::/64"],
    ),
]
Url = Annotated[str, Field(min_length=1, max_length=255)]
File = Annotated[str, Field(min_length=1, max_length=255)]
VaultName = Annotated[str, Field(min_length=1, max_length=128)]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2027-01-31"])]


def rate_of(text: str) -> tuple[int, int] | None:
    """Return number and seconds of a rate such as `600/1m`, None for `unlimited`; matched against the shape before."""
    if text == "unlimited":
        return None
    quota, _, window = text.partition("/")
    return int(quota), duration_s(window)


def duration_s(text: str) -> int:
    """Return the seconds of a duration such as `15m`; the text has been matched against the shape."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("not a duration")
    return int(found[1]) * _UNITS[found[2]]


def duration_text(seconds: int) -> str:
    """Write seconds as a file does, in the largest unit that they are a multiple of."""
    unit = next(unit for unit in ("h", "m", "s") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"


def _scalar(value: object) -> str | int | bool:
    if isinstance(value, str | int | bool):
        return value
    raise PydanticCustomError("scalar_type", "text, a whole number, true or false")


Scalar = Annotated[
    str | int | bool, PlainValidator(_scalar), WithJsonSchema({"type": ["string", "integer", "boolean"]})
]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


class ConditionShape(_Shape):
    """An operator and what it compares with; exactly one."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    any_of: list[Scalar] | None = Field(
        default=None, min_length=1, max_length=1000, description="The claim is one of these values."
    )
    contains: Scalar | None = Field(default=None, description="The claim is a list with this item.")
    contains_any: list[Scalar] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="The claim is a list with at least one of these items.",
    )
    contains_all: list[Scalar] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="The claim is a list with all of these items.",
    )
    scope: str | None = Field(
        default=None,
        min_length=1,
        description="The claim is a list of scopes, or a text of scopes with blanks between them, and this is one.",
    )
    absent: Literal[True] | None = Field(
        default=None, description="The token does not have this claim at all."
    )

    @model_validator(mode="after")
    def _has_one(self) -> "ConditionShape":
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError("one_operator", "exactly one operator")
        return self


def _is_operator(value: object) -> str:
    return "=operator" if isinstance(value, dict | ConditionShape) else "=value"


ClaimShape = Annotated[
    Annotated[Scalar, Tag("=value")] | Annotated[ConditionShape, Tag("=operator")],
    Discriminator(_is_operator),
]
ClaimsShape = Annotated[dict[str, ClaimShape], Field(min_length=1, max_length=MAX_CONDITIONS)]


class IssuerShape(_Shape):
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


class TeamShape(_Shape):
    """Who may write rules, and about whose tokens."""

    contact: Annotated[str, Field(min_length=1)] = Field(description="Whom to ask about its rules.")
    issuers: list[Name] = Field(
        min_length=1, max_length=MAX_ISSUERS, description="Issuers its rules may name."
    )


class EndpointShape(_Shape):
    """Base URLs for one Region, where they are not AWS's own."""

    sts: Url | None = Field(default=None, description="Base URL of STS, such as a VPC endpoint.")
    states: Url | None = Field(default=None, description="Base URL of Step Functions.")


class AwsShape(_Shape):
    """Where AWS answers. No keys: the gateway holds none."""

    region: str = Field(
        pattern=r"^[a-z]{2,4}(?:-[a-z]+)+-[0-9]{1,2}$",
        description="STS for credentials that are handed out; a start uses its state machine's own Region.",
    )
    endpoints: dict[str, EndpointShape] | None = Field(default=None, description="Own base URLs, by Region.")
    emulator: bool = Field(
        default=False, description="STS is an emulator that invents provider and subject. Only with --dev."
    )


class VaultShape(_Shape):
    """A HashiCorp Vault (or OpenBao) server. No token: the gateway holds none."""

    address: Url = Field(description="https://HOST:PORT, without a path.")
    namespace: Annotated[str, Field(min_length=1, max_length=255)] | None = Field(
        default=None, description="Its namespace, such as acme/ci; the root namespace unless given."
    )
    ca_file: File | None = Field(
        default=None,
        description="PEM file in this folder: the only CAs that may have signed the server's certificate.",
    )


class TlsShape(_Shape):
    """The certificate that the gateway presents."""

    certificate: File = Field(description="PEM file with the certificate chain.")
    key: File = Field(description="PEM file with the private key; outside of this folder.")


class TracingShape(_Shape):
    """Where OpenTelemetry spans go. Needs the extra `otel`."""

    otlp: Url | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(?:/[^?#\s]*)?$",
        description="The collector, over OTLP/HTTP; without a path, /v1/traces is added.",
        examples=["http://127.0.0.1:4318"],
    )
    ratio: float = Field(default=1.0, ge=0, le=1, description="Share of all traces that is kept.")
    follow_callers: bool = Field(
        default=False, description="Whether a caller's own wish that its trace be kept, or not, stands."
    )


class LimitsShape(_Shape):
    """How much of the gateway one address, one identity and one rule may use. Read at start."""

    address: RateText | None = Field(
        default=None,
        description=(
            "Requests from one address, or one /64 of IPv6. Left out: 6000/1m, but unlimited where callers come "
            "through what is not in server.trusted_proxies."
        ),
    )
    subject: RateText = Field(default="6000/1m", description="Calls of one identity: issuer and subject.")
    rule: RateText = Field(default="30000/1m", description="Calls that one rule allows.")
    waiting: int = Field(
        default=500, ge=1, le=10_000, description="Long polls and event streams of one identity at once."
    )
    connections: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Open connections from one address. Left out: 1000, and no limit where `address` has none.",
    )


class ServerShape(_Shape):
    """How the gateway itself listens. Read at start."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: Url | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(?:/[^?#\s]*)?$",
        description="How callers reach the gateway; the address it listens on unless given.",
    )
    log: Literal["json", "console"] = Field(
        default="json", description="One JSON object a line, or text for people."
    )
    behind_tls_proxy: bool = Field(
        default=False,
        description="A proxy in front ends TLS; only then may the gateway listen without it beyond loopback.",
    )
    hosts: list[HostName] | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="Names it answers under, besides those of public_url, of the address it listens on and of loopback.",
    )
    trusted_proxies: list[Network] | None = Field(
        default=None,
        min_length=1,
        max_length=256,
        description="Addresses of proxies and load balancers whose X-Forwarded-For is believed.",
    )
    max_connections: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Open connections of one process; more are closed."
    )
    tls: TlsShape | None = Field(default=None, description="Certificate and key, when no proxy ends TLS.")
    workers: int = Field(
        default=1, ge=1, le=64, description="Processes that serve on the one port, each with its own caches."
    )
    max_concurrency: int = Field(
        default=4096,
        ge=1,
        le=10_000,
        description="Calls in progress at once; more are refused as overloaded.",
    )
    idle: Duration = Field(
        default="5s",
        description="How long a connection may wait for its next request: longer than a load balancer in front keeps it.",
    )
    serve_on: Duration = Field(
        default="5s",
        description="How long everything is still served after a stop signal, while load balancers take note.",
    )
    drain: Duration = Field(
        default="25s", description="How long calls in progress may finish after a stop signal."
    )
    tracing: TracingShape | None = Field(
        default=None, description="OpenTelemetry; off unless this is written."
    )


class SyslogShape(_Shape):
    """A syslog receiver that gets every audit record too."""

    to: str = Field(
        pattern=r"^(?:(?:tls|tcp)://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}|unix:/.+)$",
        max_length=300,
        examples=["tls://syslog.acme.example:6514", "unix:/run/systemd/journal/syslog"],
        description="tls://HOST:PORT, tcp://HOST:PORT or unix:/PATH.",
    )
    ca_file: File | None = Field(
        default=None,
        description="PEM file in this folder: the only CAs that may have signed the receiver's certificate.",
    )
    max_lag: Annotated[str, Field(pattern=r"^(?:unlimited|[1-9][0-9]{0,6}[smh])$")] = Field(
        default="1h",
        description="Age of the oldest record not sent at which nothing more is granted; or unlimited.",
    )
    max_message_bytes: int = Field(
        default=8_192,
        ge=2_048,
        le=1_048_576,
        description="Longer records are sent in short; the receiver must take messages of this size.",
    )


class AuditShape(_Shape):
    """Where the audit record is written. Read at start."""

    directory: str = Field(
        default="audit",
        min_length=1,
        description="Folder for the journal, relative to where the gateway starts.",
    )
    rotate_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=64 * 1024,
        le=2**40,
        description="A journal file is closed when it has grown to this size.",
    )
    signing_key: File | None = Field(
        default=None,
        description="PEM file with the Ed25519 key that signs the journal's heads, as `oidc-gateway audit keygen` makes it; outside of this folder.",
    )
    head_records: int = Field(
        default=1_000, ge=1, le=1_000_000, description="Records after which a head is signed."
    )
    head_every: Duration = Field(
        default="60s", description="How long a record waits for a signed head at most."
    )
    syslog: SyslogShape | None = Field(default=None, description="A second place for the records.")


class StateShape(_Shape):
    """What the processes of one installation share, and where. Read at start."""

    url: str | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="Redis or Valkey: rediss://HOST:PORT/DB, redis:// without TLS, unix:///PATH?db=N; no user and no password.",
    )
    username: str | None = Field(default=None, min_length=1, max_length=256, description="Its ACL user.")
    password_file: File | None = Field(
        default=None,
        description="File with that user's password and nothing else; outside of this folder. Read at every connection.",
    )
    ca_file: File | None = Field(
        default=None, description="PEM file: the only CAs that may have signed its certificate."
    )
    certificate: File | None = Field(
        default=None, description="PEM file with a certificate to present, where it asks for one."
    )
    key: File | None = Field(
        default=None, description="PEM file with that certificate's key; outside of this folder."
    )
    prefix: str = Field(
        default="oidc-gateway:",
        pattern=r"^[!-z|~]{1,100}$",
        description="What every key begins with: installations that share one Redis have one each.",
    )
    timeout_ms: int = Field(
        default=250, ge=10, le=5000, description="Longest wait for one command, connecting included."
    )
    without_tls: bool = Field(
        default=False,
        description="Allows redis:// beyond loopback: nobody else must reach that network, for who writes there can forge.",
    )
    switches: File | None = Field(
        default=None,
        description="File of what is switched off, or `redis`. Unless given: switches.json in audit.directory.",
    )


class AdminRuleShape(_Shape):
    """Whose tokens have one right of administration; the same grammar as a rule's."""

    issuer: Name = Field(description="An issuer of this file.")
    claims: ClaimsShape = Field(description="All of these must hold, compared by value and type.")


class AdminOidcShape(_Shape):
    """Administration with a token. Where this is written, every request needs one."""

    audience: Url = Field(
        description="The only audience these tokens may have; never one that an issuer here accepts for exchanges."
    )
    read: AdminRuleShape | None = Field(
        default=None, description="Who may see the state, rules and explanations."
    )
    write: AdminRuleShape | None = Field(
        default=None, description="Who may reload and switch; may not read unless `read` says so too."
    )


class AdminTlsShape(_Shape):
    """TLS of the admin listener, and the client certificates it wants."""

    certificate: File = Field(description="PEM file with the certificate chain.")
    key: File = Field(description="PEM file with the private key; outside of this folder.")
    client_ca: File | None = Field(
        default=None,
        description="PEM file: the only CAs whose clients may connect. Every client needs one then.",
    )
    readers: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Clients that may read: the certificate's subject as RFC 4514 writes it (CN=ops,O=Acme), or a URI of it.",
    )
    writers: list[str] | None = Field(
        default=None, min_length=1, max_length=100, description="Clients that may reload and switch."
    )


class AdminShape(_Shape):
    """The admin listener. `listen` and `tls` are read at start, who may do what with every change of the file."""

    listen: str = Field(
        pattern=r"^(?:unix:/[!-~]{1,100}|(?:127\.0\.0\.1|\[::1\]):[0-9]{1,5})$",
        description="unix:/PATH, for this user alone; or 127.0.0.1:PORT or [::1]:PORT, with client certificates or tokens.",
        examples=["unix:/run/oidc-gateway/admin.sock", "127.0.0.1:9090"],
    )
    tls: AdminTlsShape | None = Field(default=None, description="Certificates; not for a unix socket.")
    oidc: AdminOidcShape | None = Field(default=None, description="Tokens of administrators.")


class GatewayShape(_Shape):
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


Teams = Annotated[list[Name], Field(min_length=1)]


class RoleShape(_Shape):
    """An IAM role that callers' tokens may become."""

    arn: str = Field(description="arn:aws:iam::ACCOUNT:role/NAME, complete.")
    duration: Duration = Field(
        default="1h", description="Session length, 15m to 12h, at most the role's own maximum."
    )
    teams: Teams | None = Field(
        default=None, description="Teams whose rules may name it; compulsory where gateway.yaml has teams."
    )


class VaultAwsShape(_Shape):
    """A role of Vault's AWS secrets engine, which assumes an IAM role."""

    mount: VaultName = Field(description="Where the AWS secrets engine is mounted, such as aws.")
    role: VaultName = Field(description="The engine's role, of type assumed_role.")
    role_arn: str = Field(
        description="arn:aws:iam::ACCOUNT:role/NAME that the engine's role assumes; Vault's answer must name it."
    )


class VaultRoleShape(_Shape):
    """A role of a Vault JWT auth mount that callers' tokens log in to."""

    vault: Name = Field(description="Name of a Vault in gateway.yaml.")
    mount: VaultName = Field(
        description="Where the JWT auth method is mounted, without auth/. One mount serves one issuer."
    )
    role: VaultName = Field(description="The role there, in lower case, as Vault makes it.")
    user_claim: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="Claim that names the caller's entity in Vault: a text in every token, the same in all its runs."
    )
    policies: Annotated[list[VaultName], Field(min_length=1, max_length=64)] = Field(
        description="Exactly these policies the token may have, and Vault's own `default`."
    )
    ttl: Duration = Field(
        description="Longest life of its tokens and of AWS credentials behind it, 30s to 12h; at least 15m for AWS."
    )
    wrap: Duration | None = Field(
        default=None,
        description="Hand tokens out response-wrapped; for how long they can be unwrapped.",
    )
    aws: VaultAwsShape | None = Field(
        default=None,
        description="The AWS secrets engine behind it; compulsory for AWS credentials and for workflows.",
    )
    teams: Teams | None = Field(
        default=None, description="Teams whose rules may name it; compulsory where gateway.yaml has teams."
    )


class TaskRoleShape(_Shape):
    """A role of a Vault AWS auth mount that tasks log in to with their IAM role; no rule names it."""

    vault: Name = Field(description="Name of a Vault in gateway.yaml.")
    mount: VaultName = Field(description="Where the AWS auth method is mounted, without auth/.")
    role: VaultName = Field(description="The role there, in lower case, as Vault makes it.")
    principals: Annotated[list[str], Field(min_length=1, max_length=64)] = Field(
        description="IAM roles that may log in: arn:aws:iam::ACCOUNT:role/NAME, complete, without wildcards."
    )
    policies: Annotated[list[VaultName], Field(min_length=1, max_length=64)] = Field(
        description="Exactly these policies the token has, and Vault's own `default`. What they allow is written in Vault."
    )
    ttl: Duration = Field(description="Longest life of its tokens, 30s to 12h, renewed or not.")
    server_id: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="What a login must carry in X-Vault-AWS-IAM-Server-ID; a setting of the mount, so alike in all its roles.",
    )
    for_: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = Field(
        default=None,
        alias="for",
        description="Workflows whose tasks use it; its ttl is compared with their timeouts.",
    )


class WorkflowShape(_Shape):
    """A state machine under a name that callers use."""

    state_machine: str = Field(
        description="arn:aws:states:REGION:ACCOUNT:stateMachine:NAME, complete; a version or alias may follow."
    )
    type: Literal["standard", "express", "express-sync"] = Field(
        description="As in AWS; the gateway holds no right to look it up."
    )
    input_schema: File | None = Field(
        default=None,
        description="A JSON Schema file in this folder, or `any`. Without it only the input {} is accepted.",
    )
    output: Literal["hidden", "visible"] = Field(
        default="hidden", description="Whether output, error and cause appear in answers."
    )
    timeout: Duration | None = Field(
        default=None, description="Longest run; for express-sync the longest wait, at most 300s."
    )
    teams: Teams | None = Field(
        default=None, description="Teams whose rules may name it; compulsory where gateway.yaml has teams."
    )


class TargetsShape(_Shape):
    """config/targets.yaml or config/targets/*.yaml: every ARN once, under a name."""

    format: Literal["oidc-gateway/targets.v1"] = Field(description="The first key of the file.")
    roles: dict[Name, RoleShape] = Field(default_factory=dict, description="IAM roles, by our name for each.")
    vault_roles: dict[Name, VaultRoleShape] = Field(
        default_factory=dict, description="Roles of Vault's JWT auth, by our name for each."
    )
    task_roles: dict[Name, TaskRoleShape] = Field(
        default_factory=dict, description="Roles of Vault's AWS auth, by our name for each."
    )
    workflows: dict[Name, WorkflowShape] = Field(
        default_factory=dict, description="State machines, by the name callers use."
    )


class GrantShape(_Shape):
    """One power: start, view or stop a workflow as a target, or obtain a target."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["start", "as"]},
                {"required": ["view", "as"]},
                {"required": ["stop", "as"]},
                {"required": ["obtain"], "not": {"required": ["as"]}},
            ]
        }
    )

    start: Name | None = Field(
        default=None, description="Workflow to start; its own executions may be seen and stopped too."
    )
    view: Name | None = Field(default=None, description="Workflow whose executions, anybody's, may be seen.")
    stop: Name | None = Field(
        default=None, description="Workflow whose executions, anybody's, may be stopped."
    )
    obtain: Name | None = Field(default=None, description="Target whose credentials leave the gateway.")
    as_: Name | None = Field(
        default=None, alias="as", description="Target under whose authority this happens."
    )
    form: Literal["aws-credentials", "vault-token"] | None = Field(
        default=None, description="What is handed out by `obtain`; AWS credentials unless given."
    )

    @model_validator(mode="after")
    def _has_one(self) -> "GrantShape":
        if sum(getattr(self, verb) is not None for verb in ("start", "view", "stop", "obtain")) != 1:
            raise PydanticCustomError("one_verb", "exactly one verb")
        if (self.obtain is None) != (self.as_ is not None):
            raise PydanticCustomError("as_missing" if self.obtain is None else "as_extra", "as")
        if self.form is not None and self.obtain is None:
            raise PydanticCustomError("form_extra", "form")
        return self


def _is_list(value: object) -> str:
    return "=list" if isinstance(value, list) else "=name"


RuleIssuer = Annotated[
    Annotated[Name, Tag("=name")]
    | Annotated[list[Name], Field(min_length=1, max_length=MAX_ISSUERS), Tag("=list")],
    Discriminator(_is_list),
]


class RuleShape(_Shape):
    """Tokens of this issuer that satisfy all claims hold these grants."""

    name: Name = Field(description="Its id is TEAM.name, for audit and explain; no caller ever writes it.")
    why: str = Field(min_length=1, description="Why it exists: a ticket and a sentence.")
    issuer: RuleIssuer = Field(
        description="Name of an issuer in gateway.yaml, or a list of issuers of one preset."
    )
    claims: ClaimsShape = Field(
        description="All must hold, exactly, in value and type. Names are single members; JSON pointers start with `/`."
    )
    grants: list[GrantShape] = Field(min_length=1, max_length=100, description="One power a line.")
    replay: Literal["off", "once", "per-request"] = Field(
        default="off",
        description="How often one token may start and obtain here: without limit, for one success (once), "
        "or for one request and its repetition (per-request).",
    )
    last_day: Day | None = Field(
        default=None, description="Usable through this day, UTC; afterwards rule_expired."
    )


class MappingShape(_Shape):
    """config/mappings/TEAM/*.yaml: who may do what."""

    format: Literal["oidc-gateway/mapping.v1"] = Field(description="The first key of the file.")
    rules: list[RuleShape] = Field(description="Their order means nothing.")


def _anything(value: object) -> object:
    return value


ClaimValue = Annotated[object, PlainValidator(_anything), WithJsonSchema({})]


class WishShape(_Shape):
    """One power, as in a rule's grants."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["start"]},
                {"required": ["view"]},
                {"required": ["stop"]},
                {"required": ["obtain"], "not": {"required": ["as"]}},
            ]
        }
    )

    start: Name | None = Field(default=None, description="Workflow to start.")
    view: Name | None = Field(
        default=None, description="Workflow whose executions, anybody's, would be seen."
    )
    stop: Name | None = Field(
        default=None, description="Workflow whose executions, anybody's, would be stopped."
    )
    obtain: Name | None = Field(default=None, description="Target whose credentials would leave the gateway.")
    as_: Name | None = Field(default=None, alias="as", description="As this target; any target unless given.")
    form: Literal["aws-credentials", "vault-token"] | None = Field(
        default=None, description="What would be handed out by `obtain`; AWS credentials unless given."
    )

    @model_validator(mode="after")
    def _has_one(self) -> "WishShape":
        if sum(getattr(self, verb) is not None for verb in ("start", "view", "stop", "obtain")) != 1:
            raise PydanticCustomError("one_verb", "exactly one verb")
        if self.obtain is not None and self.as_ is not None:
            raise PydanticCustomError("as_extra", "as")
        if self.form is not None and self.obtain is None:
            raise PydanticCustomError("form_extra", "form")
        return self


class CaseShape(_Shape):
    """One token, by its claims, and what it must and must not be allowed."""

    name: str = Field(min_length=1, max_length=200, description="What it shows, as a sentence.")
    issuer: Name = Field(description="Name of an issuer in gateway.yaml, who has signed these claims.")
    claims: Annotated[dict[str, ClaimValue], Field(min_length=1, max_length=512)] = Field(
        description="The token's claims, those that the issuer's `require` asks for included."
    )
    may: list[WishShape] = Field(
        default_factory=list, max_length=100, description="What the team's rules must allow."
    )
    may_not: list[WishShape] = Field(
        default_factory=list,
        max_length=100,
        description="What no rule of the team may allow. While one does, the team's last good rules stay in force.",
    )
    today: Day | None = Field(default=None, description="On this day, UTC; today unless given.")

    @model_validator(mode="after")
    def _asks(self) -> "CaseShape":
        if not self.may and not self.may_not:
            raise PydanticCustomError("nothing_asked", "nothing asked")
        return self


class CasesShape(_Shape):
    """config/mappings/TEAM/*.test.yaml: what the team's rules must and must not allow."""

    format: Literal["oidc-gateway/tests.v1"] = Field(description="The first key of the file.")
    tests: list[CaseShape] = Field(min_length=1, max_length=1000, description="Each is judged by itself.")
