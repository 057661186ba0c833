"""Plain HTTP to programs on this machine."""

import http.client
import json
import urllib.parse
from collections.abc import Mapping

from gateway.dev.children import LOOPBACK


def get_json(url: str) -> dict[str, object]:
    """Get a JSON object from a loopback server."""
    document: dict[str, object] = json.loads(_exchange("GET", url, None, {}))
    return document


def post(url: str, body: str, headers: Mapping[str, str]) -> bytes:
    """Post to a loopback server and return the body of its good answer; anything else is an error."""
    return _exchange("POST", url, body, headers)


def _exchange(method: str, url: str, body: str | None, headers: Mapping[str, str]) -> bytes:
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(LOOPBACK, parts.port, timeout=30)
    try:
        connection.request(method, parts.path, body, dict(headers))
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status >= http.client.BAD_REQUEST:
        raise RuntimeError(f"{parts.path} answered {answer.status}: {content.decode(errors='replace')}")
    return content
