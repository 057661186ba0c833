"""Identity providers for development: discovery, JWKS and fresh RS256 keys for several issuers on one loopback port.

The private keys are made at start and never leave this process. Whoever holds the mint key gets tokens over loopback; it stands in
a file that only the starter of the environment can read.
"""

import hmac
import json
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.dev.children import LOOPBACK
from gateway.dev.tokens import OrderInvalid, TokenOrder, complete_claims

_STOP_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DevIssuer:
    """One identity provider of ours.

    path:     where it answers, such as `/github`; a closing slash belongs to the issuer string.
    audience: `aud` of its tokens unless ordered otherwise.
    defaults: claims of its tokens unless ordered otherwise.
    """

    name: str
    path: str
    audience: str
    defaults: Mapping[str, object]
    key_id: str = field(default_factory=lambda: secrets.token_hex(8))
    key: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048), repr=False
    )

    def mint(self, order: TokenOrder, *, issuer: str) -> str:
        """Return a signed compact token. issuer: its `iss`."""
        claims = complete_claims(order, issuer=issuer, audience=self.audience, defaults=self.defaults)
        # pyjwt checks the types of registered claims it knows; a development token may be wrong on purpose.
        payload = json.dumps(claims, ensure_ascii=False).encode()
        return jwt.PyJWS().encode(
            payload, self.key, algorithm="RS256", headers={"kid": self.key_id, "typ": "JWT"}
        )


MintElsewhere = Callable[[TokenOrder], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuers:
    """The running providers.

    url:       base URL, without a closing slash.
    by_name:   providers whose keys we hold.
    elsewhere: issuers whose tokens come from another program (Cognito), by name; may be filled after the start.
    mint_key:  bearer secret of the mint endpoint.
    """

    url: str
    by_name: Mapping[str, DevIssuer]
    elsewhere: dict[str, MintElsewhere] = field(default_factory=dict)
    mint_key: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    def issuer_url(self, name: str) -> str:
        """Return the issuer string, as it stands in `iss`."""
        return self.url + self.by_name[name].path

    def mint(self, order: TokenOrder) -> str:
        """Return a compact token. Raises OrderInvalid."""
        if order.issuer in self.elsewhere:
            return self.elsewhere[order.issuer](order)
        if order.issuer not in self.by_name:
            known = ", ".join(sorted([*self.by_name, *self.elsewhere]))
            raise OrderInvalid(f"There is no issuer {order.issuer!r} here; there are: {known}.")
        return self.by_name[order.issuer].mint(order, issuer=self.issuer_url(order.issuer))


@contextmanager
def running_issuers(issuers: tuple[DevIssuer, ...]) -> Iterator[Issuers]:
    """Serve these providers on a free loopback port, in a thread, until the block ends."""
    with socket.socket() as listener:
        # Listening before the thread starts: connections wait in the queue, so nobody has to wait for a "started".
        listener.bind((LOOPBACK, 0))
        listener.listen()
        running = Issuers(
            url=f"http://{LOOPBACK}:{listener.getsockname()[1]}",
            by_name={issuer.name: issuer for issuer in issuers},
        )
        server = uvicorn.Server(
            uvicorn.Config(_app(running), lifespan="off", access_log=False, log_level="critical")
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="dev-issuers", daemon=True)
        thread.start()
        try:
            yield running
        finally:
            server.should_exit = True
            thread.join(_STOP_S)


def _app(issuers: Issuers) -> Starlette:
    routes = [Route("/mint", _mint_endpoint(issuers), methods=["POST"])]
    for issuer in issuers.by_name.values():
        base = issuer.path.rstrip("/")
        routes += [
            Route(f"{base}/.well-known/openid-configuration", _discovery(issuers, issuer)),
            Route(f"{base}/jwks", _jwks(issuer)),
        ]
    return Starlette(routes=routes)


Endpoint = Callable[[Request], Response]


def _discovery(issuers: Issuers, issuer: DevIssuer) -> Endpoint:
    url = issuers.issuer_url(issuer.name)
    document = {
        "issuer": url,
        "jwks_uri": f"{url.rstrip('/')}/jwks",
        "authorization_endpoint": f"{url.rstrip('/')}/authorize",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    return lambda _request: JSONResponse(document)


def _jwks(issuer: DevIssuer) -> Endpoint:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(issuer.key.public_key(), as_dict=True)
    key = {
        "kid": issuer.key_id,
        "kty": "RSA",
        "use": "sig",
        "alg": "RS256",
        "n": public["n"],
        "e": public["e"],
    }
    return lambda _request: JSONResponse({"keys": [key]})


def _mint_endpoint(issuers: Issuers) -> "Callable[[Request], object]":
    async def mint(request: Request) -> Response:
        expected = f"Bearer {issuers.mint_key}".encode()
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected):
            return JSONResponse({"error": "The mint key is missing or wrong."}, status_code=401)
        try:
            order = _read_order(await request.body())
            token = await run_in_threadpool(issuers.mint, order)
        except OrderInvalid as refusal:
            return JSONResponse({"error": str(refusal)}, status_code=400)
        return JSONResponse({"token": token})

    return mint


def _read_order(body: bytes) -> TokenOrder:
    try:
        order = json.loads(body)
        return TokenOrder(
            issuer=str(order["issuer"]),
            claims=dict(order.get("claims", {})),
            remove=tuple(map(str, order.get("remove", ()))),
            expires_in_s=order.get("expires_in_s"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as cause:
        raise OrderInvalid("The order is not the JSON object that this endpoint takes.") from cause
