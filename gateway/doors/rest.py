"""The REST door: executions, credentials and who the caller is."""

import re
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gateway.clock import Clock
from gateway.doors.documents import (
    credentials_document,
    execution_document,
    identity_document,
    json_bytes,
    json_response,
)
from gateway.doors.inbound import (
    START_S,
    Members,
    json_members,
    make_call,
    no_body,
    no_query,
    one_token,
    query_members,
    unexpected_body,
)
from gateway.doors.leaving import WholeRequest, while_present
from gateway.doors.times import rfc3339_ms
from gateway.errors import ErrorCode, RequestRejected
from gateway.exchange.call import ExecutionRequest, StartRequest
from gateway.exchange.exchange import Exchange
from gateway.executions.execution import Event, execution_url
from gateway.executions.follow import Ended

#: Longest wait of a long poll: below the idle limits of common load balancers (60 s).
LONGEST_WAIT_S = 55

_LONGEST_REASON = 256
_PART = re.compile(r"[A-Za-z0-9_.-]{1,128}")


class RestDoor:
    """Handlers of `/v1/…`. Each reads its request strictly, asks the exchange, and answers in the documented shape."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock

    async def start(self, request: Request) -> Response:
        """`POST /v1/executions`."""
        no_query(request)
        members = await json_members(request)
        token = one_token(request, [members.optional_text("token")])
        wish = StartRequest(
            workflow=members.name("workflow"),
            target=members.optional_name("target"),
            input=members.optional_object("input") or {},
            idempotency_key=_idempotency_key(request),
        )
        members.end()
        call = make_call(request, token, self._clock, seconds=START_S)
        shown = await while_present(request, self._exchange.start(call, wish))
        fresh = not shown.execution.existed and shown.workflow.type != "express-sync"
        # Also for a STANDARD start that AWS's own names have shown to be a repetition.
        headers = {"Idempotent-Replayed": "true"} if shown.execution.existed else {}
        if shown.workflow.type == "standard":
            headers["Location"] = execution_url(shown.workflow.name, shown.execution.name)
        return json_response(execution_document(shown), 201 if fresh else 200, headers)

    async def view(self, request: Request) -> Response:
        """`GET /v1/executions/{workflow}/{name}`."""
        await no_body(request)
        query = query_members(request)
        wait_s = _whole_number(query, "wait_s", LONGEST_WAIT_S)
        wish = _execution_request(request, query)
        query.end()
        call = make_call(request, one_token(request), self._clock)
        shown = await while_present(request, self._exchange.view(call, wish, wait_s=wait_s))
        return json_response(execution_document(shown))

    async def stop(self, request: Request) -> Response:
        """`POST /v1/executions/{workflow}/{name}/stop`."""
        query = query_members(request)
        wish = _execution_request(request, query)
        query.end()
        members = await json_members(request) if await request.body() else Members({}, "member")
        token = one_token(request, [members.optional_text("token")])
        reason = (members.optional_text("reason") or "")[:_LONGEST_REASON]
        members.end()
        call = make_call(request, token, self._clock)
        shown = await while_present(request, self._exchange.stop(call, wish, reason=reason))
        return json_response(execution_document(shown))

    async def events(self, request: Request) -> Response:
        """`GET /v1/executions/{workflow}/{name}/events`: server-sent events (WHATWG HTML section 9.2)."""
        await no_body(request)
        query = query_members(request)
        wish = _execution_request(request, query)
        query.end()
        call = make_call(request, one_token(request), self._clock)
        after = _last_event_id(request)
        events = await while_present(request, self._exchange.events(call, wish, after=after))
        return StreamingResponse(_event_stream(events), media_type="text/event-stream")

    async def whoami(self, request: Request) -> Response:
        """`GET /v1/whoami`, and `POST` for callers that cannot send a header, with the token in a body."""
        no_query(request)
        others: list[str | None] = []
        # With the token in the header a body is not needed, as for a stop.
        if request.method != "POST":
            await no_body(request)
        elif await request.body():
            members = await json_members(request)
            others.append(members.optional_text("token"))
            members.end()
        call = make_call(request, one_token(request, others), self._clock)
        return json_response(identity_document(await while_present(request, self._exchange.whoami(call))))

    def whoami_at_once(self, request: WholeRequest) -> Response | None:
        """`GET /v1/whoami` where nothing has to be waited for; None where the token's key has to be asked for."""
        no_query(request)
        if request.whole:
            raise unexpected_body()
        identity = self._exchange.whoami_at_once(make_call(request, one_token(request), self._clock))
        return None if identity is None else json_response(identity_document(identity))

    async def credentials(self, request: Request) -> Response:
        """`POST /v1/credentials`: a `credential_process` document."""
        no_query(request)
        members = await json_members(request)
        token = one_token(request, [members.optional_text("token")])
        target = members.name("target")
        duration_s = members.optional_integer("duration_s")
        members.end()
        call = make_call(request, token, self._clock)
        obtained = await while_present(request, self._exchange.obtain(call, target, duration_s=duration_s))
        return json_response(credentials_document(obtained.credentials))


def _idempotency_key(request: Request) -> str | None:
    """Return the key as sent; what it may look like is judged where it becomes a name."""
    keys = request.headers.getlist("idempotency-key")
    if len(keys) > 1:
        raise RequestRejected(ErrorCode.REQUEST_AMBIGUOUS, "Two Idempotency-Key headers were sent.")
    return keys[0] if keys else None


def _execution_request(request: Request, query: Members) -> ExecutionRequest:
    workflow, name = request.path_params["workflow"], request.path_params["name"]
    if not _PART.fullmatch(workflow) or not _PART.fullmatch(name):
        raise RequestRejected(ErrorCode.NOT_FOUND, "No execution can have this address.")
    return ExecutionRequest(workflow=workflow, name=name, target=query.optional_name("target"))


def _whole_number(query: Members, name: str, most: int) -> int:
    text = query.optional_text(name)
    if text is None:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) > most:
        raise RequestRejected(
            ErrorCode.REQUEST_MALFORMED,
            f"The query parameter `{name}` must be a whole number from 0 to {most}.",
        )
    return int(text)


def _last_event_id(request: Request) -> int:
    texts = request.headers.getlist("last-event-id")
    if len(texts) > 1:
        raise RequestRejected(ErrorCode.REQUEST_AMBIGUOUS, "Two Last-Event-ID headers were sent.")
    text = texts[0] if texts else "0"
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RequestRejected(ErrorCode.REQUEST_MALFORMED, "Last-Event-ID must be the id of an event.")
    return int(text)


async def _event_stream(events: AsyncIterator[Event | Ended]) -> AsyncIterator[bytes]:
    async for event in events:
        match event:
            case Event():
                data = {"id": event.id, "at": rfc3339_ms(event.at), "type": event.type, "state": event.state}
                yield b"id: %d\nevent: history\ndata: %s\n\n" % (event.id, json_bytes(data))
            case Ended():
                ended = {"reason": event.reason, "status": event.status}
                yield b"event: end\ndata: %s\n\n" % json_bytes(ended)
