"""A gateway's server in a process of its own, with routes that a test can hold and let go.

GET /hold answers once /release was asked, or once the process refuses new requests; GET /held counts the holders.
"""

import asyncio
import sys

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router

from gateway.clock import SystemClock
from gateway.doors.draining import Draining
from gateway.doors.health import health_routes
from gateway.doors.middleware import Front
from gateway.doors.reception import Reception
from gateway.listening.server import Listen, ShutdownTimes, run_server
from gateway.metrics import Metrics
from gateway.policy.snapshot import PolicyState


def main(serve_on_s: float, finish_s: int) -> int:
    """Run until signalled; prints its URL, and `flushed` when the application has shut down."""
    metrics = Metrics()
    draining = Draining()
    released = asyncio.Event()
    held = 0

    async def hold(_: Request) -> Response:
        nonlocal held
        held += 1
        while not released.is_set() and not draining.refusing:  # noqa: ASYNC110  # two conditions
            await asyncio.sleep(0.01)
        # Long enough for the listener to be gone when this answers.
        await asyncio.sleep(0.2)
        return PlainTextResponse("held")

    async def count(_: Request) -> Response:
        return PlainTextResponse(str(held))

    async def release(_: Request) -> Response:
        released.set()
        return PlainTextResponse("released")

    async def never(_: Request) -> Response:
        await asyncio.Event().wait()
        return PlainTextResponse("never")

    class Lifespan:
        def __init__(self, _: object) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None:
            say("flushed")

    router = Router(
        [
            Route("/hold", hold),
            Route("/held", count),
            Route("/release", release),
            Route("/never", never),
            *health_routes(
                metrics=metrics,
                draining=draining,
                policy=lambda: PolicyState(digest="d", state="current", loaded_at=0, findings=0),
                keys=lambda: (),
            ),
        ],
        lifespan=Lifespan,
    )
    return run_server(
        Front(router, reception=Reception(metrics=metrics, draining=draining, clock=SystemClock())),
        listen=Listen(port=0),
        draining=draining,
        count_refused=lambda reason: metrics.connections_refused.labels(reason).inc(),
        announce=say,
        times=ShutdownTimes(serve_on_s=serve_on_s, finish_s=finish_s),
        allow_root=True,
    )


def say(line: str) -> None:
    """Tell the test."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2])))
