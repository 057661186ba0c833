"""The baseline `plain`: what a team writes in an afternoon with Starlette and PyJWT. Run by uvicorn."""

import os
from typing import Any, Final

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

_ISSUER: Final = os.environ.get("BENCH_ISSUER", "")
_AUDIENCE: Final = os.environ.get("BENCH_AUDIENCE", "")
_CLAIM: Final = os.environ.get("BENCH_CLAIM", "")
_WANTED: Final = os.environ.get("BENCH_WANTED", "")
_KEYS: Final = jwt.PyJWKClient(os.environ.get("BENCH_JWKS", "http://127.0.0.1:1/"))


class Refused(Exception):
    """Holds the answer."""

    def __init__(self, error: str, status: int) -> None:
        super().__init__(error)
        self.response = JSONResponse({"error": error}, status)


def verify(token: str) -> dict[str, Any]:
    """Return the claims after checking signature, issuer, audience, times and one claim; raises Refused."""
    try:
        key = _KEYS.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=_ISSUER, audience=_AUDIENCE)
    except jwt.PyJWTError:
        raise Refused("invalid_token", 401) from None
    if claims.get(_CLAIM) != _WANTED:
        raise Refused("forbidden", 403)
    return claims


def bearer(request: Request) -> str:
    """Return the caller's token."""
    return request.headers.get("authorization", "").removeprefix("Bearer ")


async def whoami(request: Request) -> Response:
    """Say who the caller is."""
    try:
        claims = verify(bearer(request))
    except Refused as refused:
        return refused.response
    return JSONResponse({"subject": claims["sub"]})


async def ready(_: Request) -> Response:
    """Say that the process serves."""
    return PlainTextResponse("ready")


app = Starlette(routes=[Route("/whoami", whoami), Route("/ready", ready)])
