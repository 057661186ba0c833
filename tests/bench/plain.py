"""The baseline `plain`: what a team writes in an afternoon with Starlette and PyJWT. Run by uvicorn."""

import os
from typing import Final

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


async def whoami(request: Request) -> Response:
    """Verify signature, issuer, audience, times and one claim."""
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    try:
        key = _KEYS.get_signing_key_from_jwt(token)
        claims = jwt.decode(token, key, algorithms=["RS256"], issuer=_ISSUER, audience=_AUDIENCE)
    except jwt.PyJWTError:
        return JSONResponse({"error": "invalid_token"}, 401)
    if claims.get(_CLAIM) != _WANTED:
        return JSONResponse({"error": "forbidden"}, 403)
    return JSONResponse({"subject": claims["sub"]})


async def ready(_: Request) -> Response:
    """Say that the process serves."""
    return PlainTextResponse("ready")


app = Starlette(routes=[Route("/whoami", whoami), Route("/ready", ready)])
