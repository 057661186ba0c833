"""Where an outgoing request goes, and the request as the bytes of HTTP/1.1 (RFC 9110, RFC 9112). Pure."""

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Final
from urllib.parse import urlsplit

from gateway.outbound.http import Outgoing

#: The schemes that can be called, and their ports.
PORTS: Final = {"http": 80, "https": 443}
_VISIBLE: Final = re.compile(r"[!-~]+")
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9_.])?")


class UrlInvalid(ValueError):
    """A URL that cannot be called; the message says why without repeating it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A URL taken apart.

    host:      in lower case, without brackets. port: 1 to 65,535; 0: of a scheme that is not HTTP, and not written.
    origin:    what a connection can be used for again.
    authority: as the header Host says it. target: path and query as they were written.
    """

    scheme: str
    host: str
    port: int
    origin: str
    authority: str
    target: str


@lru_cache(maxsize=256)
def place_of(url: str) -> Place:
    """Take an absolute URL apart; raises UrlInvalid. Nothing in it is decoded, escaped or mended."""
    # `urlsplit` silently drops line ends and tabs.
    if _VISIBLE.fullmatch(url) is None or "\\" in url:
        raise UrlInvalid("the URL cannot be read")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UrlInvalid("the URL cannot be read") from None
    if not host or port == 0 or "@" in parts.netloc or "#" in url:
        raise UrlInvalid("the URL needs a host, and no user or fragment")
    name = f"[{host}]" if _is_v6(host, bracketed="[" in parts.netloc) else host
    usual = PORTS.get(parts.scheme, 0)
    authority = name if port is None or port == usual else f"{name}:{port}"
    target = (parts.path or "/") + (f"?{parts.query}" if "?" in url else "")
    return Place(
        scheme=parts.scheme,
        host=host,
        port=usual if port is None else port,
        origin=f"{parts.scheme}://{name}:{port or usual}",
        authority=authority,
        target=target,
    )


def request_bytes(request: Outgoing, place: Place, *, keep: bool) -> bytes:
    """Return the whole request. keep: the connection may be used again.

    Raises ValueError for a header that would not stay on its line: what leaves us is right in itself.
    """
    headers = {"Host": place.authority, "Accept": "*/*", "Accept-Encoding": "identity", **request.headers}
    if not keep:
        headers["Connection"] = "close"
    body = request.body or b""
    if body or request.method == "POST":
        headers["Content-Length"] = str(len(body))
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers) or "\0" in lines:
        raise ValueError("A header that is sent holds a line end.")
    return f"{request.method} {place.target} HTTP/1.1\r\n{lines}\r\n".encode() + body


def _is_v6(host: str, *, bracketed: bool) -> bool:
    try:
        fine = IPv6Address(host).scope_id is None if bracketed else _NAME.fullmatch(host) is not None
    except ValueError:
        fine = False
    if not fine:
        raise UrlInvalid("the URL's host cannot be read")
    return bracketed
