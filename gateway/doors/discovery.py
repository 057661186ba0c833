"""What clients can find out by themselves: audiences, token endpoint, OAuth metadata and the OpenAPI document."""

import importlib.resources
import json
from collections.abc import Callable

from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from starlette.requests import Request
from starlette.responses import Response

from gateway.doors.documents import json_response
from gateway.doors.inbound import no_body, no_query
from gateway.doors.problems import TABLE
from gateway.doors.token_endpoint import GRANT_TYPE
from gateway.policy.snapshot import Policy


class DiscoveryDoor:
    """Handlers of `/.well-known/…` and `/openapi.json`.

    public_url: how callers reach this gateway, without a closing slash; asked when it is needed, because a port that
                the system chooses is known only once the gateway listens.
    """

    def __init__(self, *, public_url: Callable[[], str], version: str, policy: Callable[[], Policy]) -> None:
        self._public_url = public_url
        self._version = version
        self._policy = policy

    async def gateway(self, request: Request) -> Response:
        """`GET /.well-known/oidc-gateway`: clients ask here for the audience, as at PyPI."""
        await _bare(request)
        issuers = self._policy().issuers.values()
        audiences = dict.fromkeys(audience for issuer in issuers for audience in issuer.audiences)
        return json_response({"audiences": list(audiences), "token_endpoint": f"{self._public_url()}/token"})

    async def authorization_server(self, request: Request) -> Response:
        """`GET /.well-known/oauth-authorization-server` (RFC 8414)."""
        await _bare(request)
        return json_response(server_metadata(self._public_url()))

    async def openapi(self, request: Request) -> Response:
        """`GET /openapi.json`."""
        await _bare(request)
        return json_response(openapi_document(self._public_url(), self._version))


async def _bare(request: Request) -> None:
    no_query(request)
    await no_body(request)


def server_metadata(public_url: str) -> dict[str, object]:
    """Return the authorization server metadata, as authlib's model of RFC 8414 accepts it.

    Raises ValueError when it does not, which only a bad public URL can cause. Plain http, which only `--dev` has, is
    judged as if it were https: the RFC knows no other scheme.
    """
    document: dict[str, object] = {
        "issuer": public_url,
        "token_endpoint": f"{public_url}/token",
        # The RFC demands a value although there is no authorization endpoint; `none` is the registered one for that.
        "response_types_supported": ["none"],
        "grant_types_supported": [GRANT_TYPE],
        "token_endpoint_auth_methods_supported": ["none"],
    }
    secure = public_url.replace("http://", "https://", 1)
    AuthorizationServerMetadata(
        {**document, "issuer": secure, "token_endpoint": f"{secure}/token"}
    ).validate()
    return document


def openapi_document(public_url: str, version: str) -> dict[str, object]:
    """Return the OpenAPI 3.1 document of this gateway. Its codes come from the table, so that they cannot drift."""
    text = importlib.resources.files("gateway.doors").joinpath("openapi.json").read_text("utf-8")
    document: dict[str, object] = json.loads(
        text,
        object_hook=lambda found: _with_codes(found) if found.get("description") == _CODE_TEXT else found,
    )
    info = document["info"]
    return {
        **document,
        "info": {**(info if isinstance(info, dict) else {}), "version": version},
        "servers": [{"url": public_url}],
    }


_CODE_TEXT = "Stable; never renamed, never reused."


def _with_codes(schema: dict[str, object]) -> dict[str, object]:
    return {**schema, "enum": [str(code) for code in TABLE]}
