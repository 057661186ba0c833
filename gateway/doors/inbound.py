"""From bytes to a call: the body, the one token and the members a route knows. Everything ambiguous is refused."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request

from gateway.clock import Clock
from gateway.errors import ErrorCode, RequestRejected, TokenRejected
from gateway.exchange.call import Call
from gateway.secret import Secret
from gateway.strict_json import JsonLimits, StrictJsonError, parse_json_object

#: Seconds in which a call must be answered, from its first byte on: exchanges, and starts.
EXCHANGE_S = 15.0
START_S = 25.0

#: A workflow's input may be large data: what bounds it is the size of the body, and here its depth and breadth.
_REQUEST_LIMITS = JsonLimits(
    depth=64, members=50_000, array_length=50_000, name_length=1_024, string_length=262_144, digits=64
)
_LONGEST_USER_AGENT = 256
_TOKEN_PARAMETERS = frozenset({"token", "access_token", "id_token", "subject_token", "assertion", "jwt"})
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_T = TypeVar("_T")


class Members:
    """The members of a JSON body, the fields of a form or the parameters of a query, taken out one by one.

    Whatever is left when `end` is called is unknown here and refused by name.
    """

    def __init__(self, found: Mapping[str, object], kind: str) -> None:
        self._found = dict(found)
        self._kind = kind

    def text(self, name: str) -> str:
        """Take a text that must be there."""
        value = self.optional_text(name)
        if value is None:
            raise _malformed(f"The {self._kind} `{name}` is missing.")
        return value

    def optional_text(self, name: str) -> str | None:
        """Take a text, None when it is not there."""
        return self._take(name, str, "a text")

    def name(self, name: str) -> str:
        """Take the name of a workflow or target."""
        return self._checked(name, self.text(name))

    def optional_name(self, name: str) -> str | None:
        """Take the name of a workflow or target, None when it is not there."""
        value = self.optional_text(name)
        return None if value is None else self._checked(name, value)

    def optional_object(self, name: str) -> dict[str, object] | None:
        """Take an object, None when it is not there."""
        return self._take(name, dict, "an object")

    def optional_integer(self, name: str) -> int | None:
        """Take an integer, None when it is not there."""
        return self._take(name, int, "an integer")

    def end(self) -> None:
        """Refuse what nobody took."""
        if self._found:
            names = ", ".join(f"`{_printable(name)}`" for name in list(self._found)[:5])
            raise _malformed(f"Unknown {self._kind} {names}.")

    def _take(self, name: str, kind: type[_T], said: str) -> _T | None:
        if name not in self._found:
            return None
        value = self._found.pop(name)
        # bool is an int to Python, and not an integer to anybody else.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _malformed(f"The {self._kind} `{name}` must be {said}.")
        return value

    def _checked(self, name: str, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise _malformed(
                f"The {self._kind} `{name}` is not a name: letters, digits, `_`, `.` and `-`, up to 128."
            )
        return value


async def json_members(request: Request) -> Members:
    """Read a JSON body; raises RequestRejected for another media type or a body that is not one strict object."""
    if media_type(request) != "application/json":
        raise RequestRejected(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            "The body must be application/json.",
            hint="Send `Content-Type: application/json`.",
        )
    try:
        return Members(parse_json_object(await request.body(), _REQUEST_LIMITS), "member")
    except StrictJsonError as fault:
        twice = f" `{_printable(fault.member)}` is the one." if fault.member else ""
        raise _malformed(f"The body is not a usable JSON object. {fault}{twice}") from None


def form_fields(body: bytes) -> list[tuple[str, str]]:
    """Read an `application/x-www-form-urlencoded` body, order and repetitions kept."""
    try:
        text = body.decode("ascii")
        return parse_qsl(
            text, keep_blank_values=True, strict_parsing=bool(text), errors="strict", max_num_fields=64
        )
    except (UnicodeDecodeError, ValueError):
        raise _malformed("The body is not a usable form.") from None


def query_members(request: Request) -> Members:
    """Read the query; a token in it is refused by name, since URLs end up in logs (RFC 6750 section 2.3)."""
    try:
        pairs = parse_qsl(
            request.scope["query_string"].decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=16,
        )
    except (UnicodeDecodeError, ValueError):
        raise _malformed("The query is not readable.") from None
    names = [name for name, _ in pairs]
    if not _TOKEN_PARAMETERS.isdisjoint(names):
        raise RequestRejected(
            ErrorCode.TOKEN_IN_QUERY,
            "A token was sent in the URL.",
            hint="Send it as `Authorization: Bearer …`, and treat this token as exposed: URLs are logged on the way.",
        )
    if len(set(names)) != len(names):
        raise _malformed("A query parameter is repeated.")
    return Members(dict(pairs), "query parameter")


async def no_body(request: Request) -> None:
    """Refuse content where it means nothing (RFC 9110 section 9.3.1): somebody on the way may read it differently."""
    if await request.body():
        raise unexpected_body()


def unexpected_body() -> RequestRejected:
    """Return the refusal of content where it means nothing."""
    return _malformed("A request with this method carries no body here.")


def no_query(request: Request) -> None:
    """Refuse every query parameter."""
    if request.scope["query_string"]:
        query_members(request).end()


def one_token(
    request: Request,
    others: Iterable[str | None] = (),
    *,
    place: str = "`Authorization: Bearer …`",
) -> Secret:
    """Return the one token of the request: the bearer's, or one of the places that the route knows besides.

    place: where the route's callers usually send it, for the hint.
    """
    found = [*_bearer(request), *[other for other in others if other is not None]]
    if len(found) > 1:
        raise RequestRejected(
            ErrorCode.REQUEST_AMBIGUOUS,
            "More than one token was sent.",
            hint="Send the token once: in the Authorization header or in the body, not in both.",
        )
    if not found or not found[0]:
        raise TokenRejected(
            ErrorCode.TOKEN_MISSING,
            "No token was sent.",
            hint=f"Send the identity token as {place}; an empty CI variable looks like this too.",
        )
    return Secret(found[0])


def make_call(request: Request, token: Secret, clock: Clock, *, seconds: float = EXCHANGE_S) -> Call:
    """Return the call: the one reading of the clock, and the deadline counted from the request's first byte."""
    agents = header_values(request, b"user-agent")
    agent = agents[0] if agents else None
    return Call(
        request_id=request.scope["state"]["request_id"],
        trace_id=request.scope["state"]["trace_id"],
        token=token,
        now=clock.wall(),
        deadline=request.scope["state"]["arrived"] + seconds,
        source=request.scope["state"]["source"],
        user_agent=agent[:_LONGEST_USER_AGENT] if agent else None,
        notes=request.scope["state"]["notes"],
        standings=request.scope["state"]["standings"],
    )


def header_values(request: Request, name: bytes) -> list[str]:
    """Return the values of a header. name: in lower case. Through `request.headers` it takes five times as long."""
    return [value.decode("latin-1") for known, value in request.scope["headers"] if known == name]


def media_type(request: Request) -> str:
    """Return the body's media type in lower case; a charset other than UTF-8 counts as another type.

    So do two of them, and a coding such as gzip, of which nothing is undone here.
    """
    kinds = request.headers.getlist("content-type")
    if len(kinds) != 1 or request.headers.get("content-encoding", "identity").lower() != "identity":
        return ""
    kind, _, parameters = kinds[0].partition(";")
    charset = parameters.strip().lower()
    if charset and charset.replace('"', "") != "charset=utf-8":
        return ""
    return kind.strip().lower()


def _bearer(request: Request) -> list[str]:
    tokens = []
    for header in header_values(request, b"authorization"):
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise RequestRejected(
                ErrorCode.REQUEST_MALFORMED,
                "The Authorization header does not carry a bearer token.",
                hint="Send `Authorization: Bearer …`; other schemes, client secrets among them, are not used here.",
            )
        tokens.append(token)
    return tokens


def _malformed(message: str) -> RequestRejected:
    return RequestRejected(ErrorCode.REQUEST_MALFORMED, message)


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in name[:64])
