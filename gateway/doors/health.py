"""/livez, /readyz and /metrics: is it alive, should it get requests, what has it done."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.doors.draining import Draining
from gateway.doors.exposing import Exposition
from gateway.identity.keys import KeySetState
from gateway.metrics import Metrics
from gateway.policy.snapshot import PolicyState
from gateway.state.agreement import WHATS, View


def health_routes(
    *,
    metrics: Metrics,
    draining: Draining,
    policy: Callable[[], PolicyState | None],
    keys: Callable[[], tuple[KeySetState, ...]],
    view: Callable[[], View | None] = lambda: None,
    state: Callable[[], str] = lambda: "memory",
    switches: Callable[[], bool] = lambda: True,
) -> list[Route]:
    """Return the routes for whoever watches the process. Nothing here asks the network or reads a file.

    policy: the state of the policy in force, None while there is none. keys: the state of every issuer's keys.
    view: whether other workers and replicas run on the same; None where there are none.
    state: of what is shared: `memory`, `ok`, or why Redis is not used. It never makes a gateway unready: what needs no
    shared state is served all the same, and the others would fare no better elsewhere.
    switches: whether they can be read. While they cannot, every exchange is refused, here and on whoever has the same.
    """
    exposition = Exposition(metrics)

    async def livez(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        status, document = readiness(draining, policy(), keys(), view())
        return JSONResponse(
            document | {"state": state(), "switches": "ok" if switches() else "unreadable"}, status
        )

    async def show_metrics(_: Request) -> Response:
        text = await exposition.text()
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", show_metrics)]


def readiness(
    draining: Draining,
    policy: PolicyState | None,
    keys: tuple[KeySetState, ...],
    view: View | None = None,
) -> tuple[int, dict[str, object]]:
    """Return the HTTP status and document of /readyz.

    A rejected reload leaves the last good policy in force, so it is shown and changes nothing; one issuer with
    keys is enough, because the others' tokens would fare no better elsewhere. Where a sibling has taken what this worker
    has not, tokens do fare better there.
    """
    if draining.leaving:
        status = "draining"
    elif policy is None:
        status = "no_policy"
    elif view is not None and view.behind:
        status = "behind"
    elif not any(state.keys for state in keys):
        status = "no_keys"
    else:
        status = "ready"
    document: dict[str, object] = {"status": status, "policy": policy.state if policy else "none"}
    if policy is not None:
        document |= {
            "digest": policy.digest,
            "findings": policy.findings,
            "teams_held_back": len(policy.held_back),
            "teams_without_rules": len(policy.without_rules),
        }
    document["issuers"] = {state.issuer: _issuer(state) for state in keys}
    if view is not None:
        document["agreement"] = _agreement(view)
    return 200 if status == "ready" else 503, document


def _agreement(view: View) -> dict[str, object]:
    words: dict[str, object] = {what: "differs" if what in view.disagree else "same" for what in WHATS}
    return {"workers": len(view.workers), "missing": view.missing, **words}


def _issuer(state: KeySetState) -> dict[str, object]:
    return {
        "keys": state.keys,
        "age_s": None if state.age_s is None else round(state.age_s),
        "last_error": state.fault,
    }
