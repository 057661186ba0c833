"""What administrators send, taken apart: whom to explain, what was wished, what to switch, which page."""

from dataclasses import dataclass
from typing import Final, cast, get_args

from starlette.requests import Request

from gateway.doors.inbound import Members, query_members
from gateway.errors import ErrorCode, RequestRejected
from gateway.identity.token import Claims
from gateway.policy.rule import Issued, Obtain, Start, Stop, View, Wish
from gateway.policy.snapshot import Policy
from gateway.secret import Secret
from gateway.state.switch_document import MAX_NAME
from gateway.state.switches import KINDS, SwitchKind

_MOST_RULES: Final = 1_000
_FEW_RULES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which rules to list. after: the id that the last page ended with. limit: 1 to 1,000."""

    team: str | None
    issuer: str | None
    after: str | None
    limit: int


def page_of(request: Request) -> Page:
    """Read the query of a list; raises RequestRejected."""
    query = query_members(request)
    limit = query.optional_text("limit") or str(_FEW_RULES)
    if not limit.isascii() or not limit.isdecimal() or len(limit) > 4 or not 1 <= int(limit) <= _MOST_RULES:
        raise malformed(f"`limit` must be a number from 1 to {_MOST_RULES:,}.")
    page = Page(
        team=query.optional_text("team"),
        issuer=query.optional_text("issuer"),
        after=query.optional_text("after"),
        limit=int(limit),
    )
    query.end()
    return page


def asked_of(members: Members, policy: Policy) -> Secret | Claims:
    """Return the token, or the claims that a good token of an issuer would have; raises RequestRejected."""
    token, issuer, claims = (
        members.optional_text("token"),
        members.optional_text("issuer"),
        members.optional_object("claims"),
    )
    if token is not None and issuer is None and claims is None:
        return Secret(token)
    if token is not None or issuer is None or claims is None:
        raise malformed("Send either `token`, or both `issuer` and `claims`.")
    by_name = {one.name: one for one in policy.issuers.values()}
    found = by_name.get(issuer) or policy.issuers.get(issuer)
    if found is None:
        raise malformed("The member `issuer` names no issuer of gateway.yaml.")
    return Claims(issuer=found.name, members=claims)


def wish_of(members: Members) -> Wish | None:
    """Return what the caller would ask for; None: whatever the token holds. Raises RequestRejected."""
    written = members.optional_object("wish")
    if written is None:
        return None
    wish = Members(written, "member of `wish`")
    verbs = [verb for verb in ("start", "view", "stop", "obtain") if verb in written]
    if len(verbs) != 1:
        raise malformed("`wish` has exactly one of `start`, `view`, `stop` and `obtain`.")
    verb = verbs[0]
    name = wish.name(verb)
    found: Wish
    if verb == "obtain":
        form = wish.optional_text("form") or "aws-credentials"
        if form not in get_args(Issued):
            raise malformed(f"`form` is one of {', '.join(get_args(Issued))}.")
        found = Obtain(target=name, form=cast(Issued, form))
    else:
        target = wish.optional_name("target")
        if verb == "start":
            found = Start(workflow=name, target=target)
        else:
            # Of anybody's executions: what a caller started itself a `start` grant lets it see and stop.
            found = (View if verb == "view" else Stop)(workflow=name, own=False, target=target)
    wish.end()
    return found


def switched(request: Request) -> tuple[SwitchKind, str]:
    """Return which switch is meant, by the path and the query; raises RequestRejected."""
    kind = request.path_params["kind"]
    if kind not in KINDS:
        raise RequestRejected(ErrorCode.NOT_FOUND, f"Switches are of the kinds {', '.join(KINDS)}.")
    query = query_members(request)
    name = query.text("name")
    query.end()
    if not 1 <= len(name) <= MAX_NAME or not name.isprintable() or name != name.strip():
        raise malformed("The name is not one line of visible characters.")
    return cast(SwitchKind, kind), name


async def no_body(request: Request) -> None:
    """Refuse a body, whatever it holds: files are changed where they are, never from here."""
    declared = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if declared and await request.body():
        raise RequestRejected(
            ErrorCode.REQUEST_MALFORMED,
            "A reload takes no body.",
            hint="It reads the configured folder again; change the files there.",
        )


def malformed(message: str) -> RequestRejected:
    """Return the refusal of a request that says nothing."""
    return RequestRejected(ErrorCode.REQUEST_MALFORMED, message)
