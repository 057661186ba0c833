"""A real Vault as a test needs it: mounts, roles, policies and an AWS engine, made with hvac; and what lives in it."""

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hvac

from gateway.dev.vault import VaultServer
from gateway.policy.rule import VaultAws, VaultRole
from tests.support.aws_seed import seed_role
from tests.support.boto import ACCOUNT, client
from tests.support.caller import until
from tests.support.tokens import AUDIENCE, trusted
from tests.support.vault_edge import engine, vault_role

LOOPBACK = "127.0.0.1"
# A policy may not be empty; this one allows what nothing is at.
_NOTHING = 'path "nothing/here" { capabilities = ["read"] }'


@contextmanager
def serving_keys(body: bytes) -> Iterator[str]:
    """Serve a JWK set on loopback and yield its URL."""

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name there
            """Print nothing."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Keys)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_port}/keys"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hvac_client(address: str, token: str = "") -> Iterator[Any]:
    """Yield hvac's client with this token or none; it reads neither VAULT_TOKEN nor a token file."""
    client = hvac.Client(url=address, token=token)
    try:
        yield client
    finally:
        client.adapter.close()


def accessors(admin: hvac.Client) -> set[str]:
    """Return the accessors of all tokens that live in this client's Vault."""
    return set(admin.list("auth/token/accessors")["data"]["keys"])


class PreparedVault:
    """One Vault with one JWT mount for the tests' GitHub issuer, as its administrator sees it.

    address: of the server. mount: the JWT mount; other tests have others.
    """

    def __init__(self, address: str, *, admin: Any, jwks_url: str) -> None:
        self.address = address
        self.admin = admin
        self.mount = self.add_mount(jwks_url)

    def add_mount(self, jwks_url: str | None, **config: object) -> str:
        """Enable a JWT auth method for the tests' GitHub issuer and return its path. jwks_url: None for static keys."""
        path = f"jwt-{uuid.uuid4().hex[:8]}"
        self.admin.sys.enable_auth_method("jwt", path=path)
        keys = {} if jwks_url is None else {"jwks_url": jwks_url}
        settings = {**keys, "bound_issuer": trusted().issuer, **config}
        self.admin.write_data(f"auth/{path}/config", data=settings)
        return path

    def add_policy(self, rules: str) -> str:
        """Write a policy and return its name."""
        name = f"policy-{uuid.uuid4().hex[:8]}"
        self.admin.sys.create_or_update_policy(name, rules)
        return name

    def add_role(self, *, mount: str | None = None, ttl_s: int = 900, **fields: object) -> VaultRole:
        """Write a role of the JWT mount, and return the target that fits it exactly; fields replace and join."""
        name = f"role-{uuid.uuid4().hex[:8]}"
        written: dict[str, object] = {
            "role_type": "jwt",
            "bound_audiences": [AUDIENCE],
            "bound_claims": {"repository_id": "4711"},
            "user_claim": "repository_id",
            "token_policies": [self.add_policy(_NOTHING)],
            "token_ttl": ttl_s,
            "token_explicit_max_ttl": ttl_s,
            **fields,
        }
        path = mount or self.mount
        self.admin.write_data(f"auth/{path}/role/{name}", data=written)
        policies = written["token_policies"]
        assert isinstance(policies, list)
        return vault_role(
            self.address, name=name, mount=path, role=name, policies=tuple(policies), ttl_s=ttl_s
        )

    def add_engine(self, aws_url: str, *, role_arn: str, **fields: object) -> VaultAws:
        """Mount an AWS secrets engine with one role that assumes this IAM role; fields replace and join."""
        path, name = f"aws-{uuid.uuid4().hex[:8]}", "deployer"
        self.admin.sys.enable_secrets_engine("aws", path=path)
        root = {"access_key": "test", "secret_key": "test", "region": "eu-west-1", "sts_region": "eu-west-1"}
        endpoints = {"iam_endpoint": aws_url, "sts_endpoint": aws_url}
        self.admin.write_data(f"{path}/config/root", data={**root, **endpoints})
        self.admin.write_data(
            f"{path}/roles/{name}",
            data={"credential_type": "assumed_role", "role_arns": [role_arn], **fields},
        )
        return VaultAws(mount=path, role=name, arn=engine(arn=role_arn).arn)

    def may_use(self, engine: VaultAws) -> str:
        """Return a new policy that allows what the gateway does with this engine's role."""
        return self.add_policy(f'path "{engine.mount}/sts/{engine.role}" {{ capabilities = ["update"] }}')

    def tokens(self) -> set[str]:
        """Return the accessors of all tokens that live in this Vault."""
        return accessors(self.admin)

    def keeps_only(self, before: set[str]) -> bool:
        """Say whether soon no token lives but these; Vault revokes one whose uses are spent beside its answer."""
        return until(lambda: self.tokens() <= before or None)

    def seen_by(self, token: str) -> Mapping[str, Any]:
        """Return what Vault says of a token to its bearer."""
        with hvac_client(self.address, token) as bearer:
            found: Mapping[str, Any] = bearer.auth.token.lookup_self()["data"]
        return found

    def revoke(self, token: str) -> None:
        """Revoke a token that a test was given."""
        self.admin.auth.token.revoke(token)


@contextmanager
def prepared_vault(server: VaultServer, *, jwks_url: str) -> Iterator[PreparedVault]:
    """Yield this server with a JWT mount of its own for the tests' GitHub issuer."""
    with hvac_client(server.address, server.root_token.reveal()) as admin:
        yield PreparedVault(server.address, admin=admin, jwks_url=jwks_url)


def assumable_role(aws_url: str, *, trusted_account: str = ACCOUNT) -> str:
    """Make an IAM role that Vault's own AWS identity may assume, and return its ARN."""
    arn = seed_role(aws_url, subject="nobody").arn
    trust = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",'
        f'"Principal":{{"AWS":"arn:aws:iam::{trusted_account}:root"}}}}]}}'
    )
    client("iam", aws_url).update_assume_role_policy(RoleName=arn.name, PolicyDocument=trust)
    return str(arn)
