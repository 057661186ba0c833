"""Every route of every door as plain data. Limits and error shapes by path are in `middleware.STYLES`."""

from starlette.routing import Route

from gateway.doors.discovery import DiscoveryDoor
from gateway.doors.rest import RestDoor
from gateway.doors.short_way import Address, Handler, QuickHandler
from gateway.doors.token_endpoint import TokenDoor

_EXECUTION = "/v1/executions/{workflow}/{name}"


def door_routes(*, rest: RestDoor, token: TokenDoor, discovery: DiscoveryDoor) -> list[Route]:
    """Return the routes of every door. A new door is added here and nowhere else."""
    events = Route(f"{_EXECUTION}/events", rest.events, methods=["GET"])
    # A HEAD would follow the execution to its end and say nothing.
    events.methods = {"GET"}
    return [
        Route("/v1/executions", rest.start, methods=["POST"]),
        Route(_EXECUTION, rest.view, methods=["GET"]),
        Route(f"{_EXECUTION}/stop", rest.stop, methods=["POST"]),
        events,
        Route("/v1/whoami", rest.whoami, methods=["GET", "POST"]),
        Route("/v1/credentials", rest.credentials, methods=["POST"]),
        Route("/token", token.token, methods=["POST"]),
        Route("/.well-known/oidc-gateway", discovery.gateway, methods=["GET"]),
        Route("/.well-known/oauth-authorization-server", discovery.authorization_server, methods=["GET"]),
        Route("/openapi.json", discovery.openapi, methods=["GET"]),
    ]


def short_handlers(*, rest: RestDoor, token: TokenDoor) -> dict[Address, Handler]:
    """Return the handlers of the busiest of these routes, by address: those that do not stream."""
    return {
        (b"POST", b"/v1/executions"): rest.start,
        (b"GET", b"/v1/whoami"): rest.whoami,
        (b"POST", b"/v1/whoami"): rest.whoami,
        (b"POST", b"/v1/credentials"): rest.credentials,
        (b"POST", b"/token"): token.token,
    }


def quick_handlers(*, rest: RestDoor) -> dict[Address, QuickHandler]:
    """Return handlers that need not wait, for some of the same addresses."""
    return {(b"GET", b"/v1/whoami"): rest.whoami_at_once}
