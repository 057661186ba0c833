"""Every route as plain data: where, how, who answers, how errors are said and how large a body may be."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.doors.discovery import DiscoveryDoor
from gateway.doors.leaving import CallerLeft
from gateway.doors.problems import ErrorShape, problem_response, token_error_response
from gateway.doors.rest import RestDoor
from gateway.doors.token_endpoint import TokenDoor
from gateway.errors import GatewayError

Handler = Callable[[Request], Awaitable[Response]]

#: Largest bodies: of an exchange; of a start, whose input alone may have 262,144 bytes.
EXCHANGE_BODY_BYTES = 64 * 1024
START_BODY_BYTES = 320 * 1024

# nginx's number for a client that closed the connection; nobody receives it, the log shows it.
_CALLER_LEFT = 499


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRoute:
    """One route. shape: how a GatewayError is said here."""

    path: str
    methods: tuple[str, ...]
    handler: Handler
    shape: ErrorShape = problem_response
    max_body_bytes: int = EXCHANGE_BODY_BYTES

    def to_starlette(self) -> Route:
        """Return the route as Starlette wants it; every deliberate failure is answered in this door's shape."""

        async def endpoint(request: Request) -> Response:
            try:
                return await self.handler(request)
            except GatewayError as failure:
                return self.shape(failure, request.scope["state"]["request_id"], {})
            except CallerLeft:
                return Response(status_code=_CALLER_LEFT)

        return Route(self.path, endpoint, methods=list(self.methods))


def door_routes(*, rest: RestDoor, token: TokenDoor, discovery: DiscoveryDoor) -> tuple[DoorRoute, ...]:
    """Return the routes of every door. A new door is added here and nowhere else."""
    execution = "/v1/executions/{workflow}/{name}"
    return (
        DoorRoute(
            path="/v1/executions", methods=("POST",), handler=rest.start, max_body_bytes=START_BODY_BYTES
        ),
        DoorRoute(path=execution, methods=("GET",), handler=rest.view),
        DoorRoute(path=f"{execution}/stop", methods=("POST",), handler=rest.stop),
        DoorRoute(path=f"{execution}/events", methods=("GET",), handler=rest.events),
        DoorRoute(path="/v1/whoami", methods=("GET", "POST"), handler=rest.whoami),
        DoorRoute(path="/v1/credentials", methods=("POST",), handler=rest.credentials),
        DoorRoute(path="/token", methods=("POST",), handler=token.token, shape=token_error_response),
        DoorRoute(path="/.well-known/oidc-gateway", methods=("GET",), handler=discovery.gateway),
        DoorRoute(
            path="/.well-known/oauth-authorization-server",
            methods=("GET",),
            handler=discovery.authorization_server,
        ),
        DoorRoute(path="/openapi.json", methods=("GET",), handler=discovery.openapi),
    )
