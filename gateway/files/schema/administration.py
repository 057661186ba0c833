"""Who may administer the running gateway, and where: `admin` of gateway.yaml."""

from pydantic import Field

from gateway.files.schema.claims import ClaimsShape
from gateway.files.schema.values import File, Name, Shape, Url


class AdminRuleShape(Shape):
    """Whose tokens have one right of administration; the same grammar as a rule's."""

    issuer: Name = Field(description="An issuer of this file.")
    claims: ClaimsShape = Field(description="All of these must hold, compared by value and type.")


class AdminOidcShape(Shape):
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


class AdminTlsShape(Shape):
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


class AdminShape(Shape):
    """The admin listener. `listen` and `tls` are read at start, who may do what with every change of the file."""

    listen: str = Field(
        pattern=r"^(?:unix:/[!-~]{1,100}|(?:127\.0\.0\.1|\[::1\]):[0-9]{1,5})$",
        description="unix:/PATH, for this user alone; or 127.0.0.1:PORT or [::1]:PORT, with client certificates or tokens.",
        examples=["unix:/run/oidc-gateway/admin.sock", "127.0.0.1:9090"],
    )
    tls: AdminTlsShape | None = Field(default=None, description="Certificates; not for a unix socket.")
    oidc: AdminOidcShape | None = Field(default=None, description="Tokens of administrators.")
