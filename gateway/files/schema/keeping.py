"""Where the gateway keeps records and what its processes share: `audit` and `state` of gateway.yaml."""

from typing import Annotated, Final

from pydantic import Field

from gateway.files.schema.values import Duration, File, Shape

#: Shortest limit of a message that leaves room for what identifies a record.
SHORTEST_MESSAGE_BYTES: Final = 2_048


class SyslogShape(Shape):
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
        ge=SHORTEST_MESSAGE_BYTES,
        le=1_048_576,
        description="Longer records are sent in short; the receiver must take messages of this size.",
    )


class AuditShape(Shape):
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


class StateShape(Shape):
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
