"""Starts an OpenID provider that we did not write, shaped as Okta and as Auth0, and asks it for tokens."""

import json
import urllib.parse
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.dev.children import LOOPBACK, Server, running
from tests.support.components import node, node_packages
from tests.support.loopback import post

_PROGRAM = Path(__file__).with_name("oidc_provider.mjs")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningIssuer:
    """One issuer that signs real tokens for its clients.

    issuer:   as in `iss`; Auth0's ends in a slash.
    audience: the API that its tokens are for.
    scope:    a scope that its clients may ask for.
    """

    issuer: str
    discovery_url: str
    jwks_uri: str
    token_endpoint: str
    audience: str
    scope: str

    def token(self, client: str, *, scope: str | None = None) -> str:
        """Return an access token from the client_credentials flow."""
        basic = b64encode(f"{client}:not-a-secret".encode()).decode()
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": scope or self.scope})
        answer = post(
            self.token_endpoint,
            form,
            {"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Basic {basic}"},
        )
        return str(json.loads(answer)["access_token"])


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcProvider:
    """Two issuers of one process.

    okta:  clients `agent` and `reporter`: no `typ`, `cid`, `scp` as a list, `groups`.
    auth0: client `machine`: `azp`, `gty`; client `web`: a person's token, `aud` as a list, a claim named by a URL.
    """

    okta: RunningIssuer
    auth0: RunningIssuer


@contextmanager
def running_oidc_provider(
    *, port: int | None = None, okta_key: Mapping[str, object] | None = None
) -> Iterator[OidcProvider]:
    """Yield panva's provider, shaped as Okta and as Auth0, with fresh keys.

    port:     a free one when None.
    okta_key: the private JWK that the first of them signs with and publishes; one of its own making when None.
    """

    def command(port: int, scratch: Path) -> Sequence[str]:
        arguments = [node(), str(_PROGRAM), str(node_packages()), str(port)]
        if okta_key is None:
            return arguments
        (scratch / "key.json").write_text(json.dumps(okta_key))
        return [*arguments, str(scratch / "key.json")]

    server = Server(
        name="oidc-provider",
        command=command,
        environment=lambda _port: {},
        health="/.well-known/openid-configuration",
    )
    with running(server, port=port) as bound:
        origin = f"http://{LOOPBACK}:{bound}"
        okta, discovery = f"{origin}/oauth2/default", "/.well-known/openid-configuration"
        yield OidcProvider(
            okta=RunningIssuer(
                issuer=okta,
                discovery_url=okta + discovery,
                jwks_uri=f"{okta}/v1/keys",
                token_endpoint=f"{okta}/v1/token",
                audience="api://gateway",
                scope="workflows.start",
            ),
            auth0=RunningIssuer(
                issuer=f"{origin}/",
                discovery_url=origin + discovery,
                jwks_uri=f"{origin}/.well-known/jwks.json",
                token_endpoint=f"{origin}/oauth/token",
                audience="https://gateway.acme.example",
                scope="start:workflows",
            ),
        )
