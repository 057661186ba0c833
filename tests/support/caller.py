"""A caller of the gateway over real HTTP, and what its answers must always be."""

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qs

import httpx2

from gateway.audit.reading import Query, find
from gateway.audit.record import Record
from tests.support.canaries import RUN

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
_T = TypeVar("_T")
#: What answers of these doors hand out; the document of AWS credentials stands in a text of its own within another.
_SECRETS = re.compile(
    r'(?:SecretAccessKey|SessionToken|secret_access_key|session_token|access_token)\\?": ?\\?"([A-Za-z0-9+/=._-]{24,})'
)


def _note_request(request: httpx2.Request) -> None:
    RUN.hold_token(request.headers.get("authorization", "").removeprefix("Bearer "))
    RUN.hold_random(request.headers.get("idempotency-key", ""))
    if request.url.path == "/token":
        for value in parse_qs(request.content.decode("latin-1")).get("subject_token", []):
            RUN.hold_token(value)


def _note_answer(answer: httpx2.Response) -> None:
    path = answer.request.url.path
    if answer.status_code >= 400:
        content = answer.read()
        RUN.add(
            "refusals",
            str(answer.request.url.copy_with(path="/", query=None)),
            f"{dict(answer.headers)}\n".encode() + content,
        )
    elif path in {"/token", "/v1/credentials"}:
        for secret in _SECRETS.findall(answer.read().decode()):
            RUN.hold(secret)


class Caller:
    """Calls one gateway. url: its base URL. audit: the folder of its records."""

    def __init__(self, url: str, audit: Path) -> None:
        self.url = url
        self.audit = audit
        # A test may hold more than the usual hundred; and the gateway closes after 5 s what this one must not use then.
        limits = httpx2.Limits(max_connections=None, keepalive_expiry=2)
        hooks: dict[str, list[Callable[..., None]]] = {"request": [_note_request], "response": [_note_answer]}
        self.client = httpx2.Client(
            base_url=url, trust_env=False, timeout=60, limits=limits, event_hooks=hooks
        )

    def ask(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send one request. body: sent as JSON unless None."""
        sent = {} if token is None else {"Authorization": f"Bearer {token}"}
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            sent["Content-Type"] = "application/json"
        return self.client.request(method, path, content=content, headers={**sent, **(headers or {})})

    def start(
        self,
        token: str | None,
        workflow: str,
        *,
        key: str | None = None,
        input: Mapping[str, object] | None = None,  # noqa: A002  the member's own name
        target: str | None = None,
    ) -> httpx2.Response:
        """`POST /v1/executions`."""
        body: dict[str, object] = {"workflow": workflow}
        if input is not None:
            body["input"] = input
        if target is not None:
            body["target"] = target
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.ask("POST", "/v1/executions", token, body=body, headers=headers)

    def get(self, path: str, token: str | None = None, **headers: str) -> httpx2.Response:
        """`GET`. headers: `last_event_id="7"`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.ask("GET", path, token, headers=named)

    def exchange(self, token: str, **fields: str) -> httpx2.Response:
        """`POST /token` as RFC 8693 writes it; fields join or replace the usual ones, an empty one removes."""
        form = {
            "grant_type": GRANT_TYPE,
            "subject_token_type": JWT_TYPE,
            "subject_token": token,
            **fields,
        }
        return self.client.post("/token", data={name: text for name, text in form.items() if text})

    def metric(self, sample: str) -> float:
        """Return one sample of /metrics, named with its labels as the exposition writes them; 0 when it is not there."""
        for line in self.client.get("/metrics").text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0

    def records(self, answer: httpx2.Response, *, at_least: int = 1) -> list[Record]:
        """Return what was recorded about the request behind this answer, oldest first; at least so many records."""
        query = Query(request=answer.headers["x-request-id"])

        def look() -> list[Record] | None:
            found = [entry.record for entry in find(self.audit, query)]
            return found if len(found) >= at_least else None

        # Neither a refusal nor an administrator's answer waits for its record to be on the disk.
        return until(look)


def until(look: Callable[[], _T | None], *, patience_s: float = 20) -> _T:
    """Return what the look finds as soon as it is something; only a gateway in another process needs to be waited for."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def problem(answer: httpx2.Response) -> dict[str, object]:
    """Return an RFC 9457 problem document, held against its answer."""
    document: dict[str, object] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["status"] == answer.status_code
    assert document["type"] == f"urn:oidc-gateway:problem:{document['code']}"
    assert document["request_id"] == answer.headers["x-request-id"]
    assert {"title", "stage", "retryable"} <= document.keys()
    return document
