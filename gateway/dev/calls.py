"""One HTTP call of the demo: as bytes on the wire, and as the curl command that a person would type."""

import http.client
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template
from urllib.parse import urlencode, urlsplit

from gateway.dev.steps import HttpStep

_TIMEOUT_S = 70.0  # longer than the longest wait the API offers


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. document: the JSON body, or None when it is not JSON."""

    status: int
    document: object
    body: bytes = field(repr=False)


def send(step: HttpStep, *, variables: Mapping[str, str]) -> Answer:
    """Make the call. Raises OSError."""
    server = urlsplit(variables[step.server])
    connection = http.client.HTTPConnection(server.netloc, timeout=_TIMEOUT_S)
    try:
        connection.request(
            step.method,
            _fill(step.path, variables),
            body=_body(step, variables),
            headers={name: _fill(value, variables) for name, value in _headers(step).items()},
        )
        answer = connection.getresponse()
        body = answer.read()
        return Answer(status=answer.status, document=_parse(body), body=body)
    except http.client.HTTPException as cause:
        raise OSError(f"The answer is not HTTP: {type(cause).__name__}") from cause
    finally:
        connection.close()


def as_curl(step: HttpStep) -> list[str]:
    """Return the command for a shell, in pieces that are not to be broken. Tokens are shell variables."""
    path = step.path if step.path.startswith("$") else step.path.lstrip("/")
    divider = "" if path.startswith("$") else "/"
    words = ["curl -s", f'"${step.server}{divider}{path}"']
    if step.method == "POST" and step.body is None and step.form is None:
        words.insert(1, "-X POST")
    words += [
        f'-H "{name}: {value}"'
        for name, value in _headers(step).items()
        if name != _FORM_TYPE[0] or step.form is None
    ]
    if step.body is not None:
        words.append(f"-d {shlex.quote(json.dumps(step.body))}")
    words += [f'-d "{name}={value}"' for name, value in (step.form or {}).items()]
    return words


_FORM_TYPE = ("Content-Type", "application/x-www-form-urlencoded")


def _headers(step: HttpStep) -> dict[str, str]:
    headers = {}
    if step.token is not None:
        headers["Authorization"] = f"Bearer ${step.token}"
    if step.vault_token is not None:
        headers["X-Vault-Token"] = f"${step.vault_token}"
    if step.key is not None:
        headers["Idempotency-Key"] = step.key
    if step.body is not None:
        headers["Content-Type"] = "application/json"
    if step.form is not None:
        headers[_FORM_TYPE[0]] = _FORM_TYPE[1]
    return headers


def _body(step: HttpStep, variables: Mapping[str, str]) -> bytes | None:
    if step.form is not None:
        return urlencode({name: _fill(value, variables) for name, value in step.form.items()}).encode()
    return None if step.body is None else json.dumps(step.body).encode()


def _fill(text: str, variables: Mapping[str, str]) -> str:
    return Template(text).substitute(variables)


def _parse(body: bytes) -> object:
    try:
        parsed: object = json.loads(body)
    except ValueError:
        return None
    return parsed
