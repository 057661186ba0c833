"""How the gateway listens and what one caller may use of it: `server` and `limits` of gateway.yaml."""

from typing import Literal

from pydantic import Field

from gateway.files.schema.values import Duration, File, HostName, Network, RateText, Shape, Url


class TlsShape(Shape):
    """The certificate that the gateway presents."""

    certificate: File = Field(description="PEM file with the certificate chain.")
    key: File = Field(description="PEM file with the private key; outside of this folder.")


class TracingShape(Shape):
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


class LimitsShape(Shape):
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


class ServerShape(Shape):
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
