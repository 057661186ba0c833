"""The token door: OAuth 2.0 token exchange (RFC 8693)."""

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from gateway.clock import Clock
from gateway.doors.documents import credentials_document, json_bytes, json_response, vault_token_document
from gateway.doors.inbound import form_fields, json_members, make_call, media_type, no_query, one_token
from gateway.doors.leaving import while_present
from gateway.errors import ErrorCode, RequestRejected
from gateway.exchange.call import Call
from gateway.exchange.exchange import Exchange

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
AWS_CREDENTIALS = "urn:oidc-gateway:token-type:aws-credentials"
VAULT_TOKEN = "urn:oidc-gateway:token-type:vault-token"
ISSUED_TOKEN_TYPES = (AWS_CREDENTIALS, VAULT_TOKEN)
SUBJECT_TOKEN_TYPES = (
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
    "urn:ietf:params:oauth:token-type:access_token",
)

# The longest role ARN that IAM makes has 20 + 512 + 64 characters and more for its partition.
_LONGEST_TARGET = 1_024

# Unknown parameters are ignored (RFC 6749 section 3.2); these are the ones that mean something here.
_REPEATABLE = ("audience", "resource")
_SINGLE = (
    "grant_type",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "scope",
)


class TokenDoor:
    """The handler of `/token`."""

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock

    async def token(self, request: Request) -> Response:
        """`POST /token`."""
        no_query(request)
        fields = await _fields(request)
        _check_kind(fields)
        token = one_token(request, fields.get("subject_token", ()), place="the parameter subject_token")
        target = _one_target(fields)
        call = make_call(request, token, self._clock)
        if _value(fields, "requested_token_type") == VAULT_TOKEN:
            return await self._vault_token(request, call, target)
        obtained = await while_present(request, self._exchange.obtain(call, target))
        document = json_bytes(credentials_document(obtained.credentials)).decode("ascii")
        issued = self._issued(AWS_CREDENTIALS, obtained.target.name, obtained.credentials.expires_at, call)
        return json_response({"access_token": document, **issued})

    async def _vault_token(self, request: Request, call: Call, target: str) -> Response:
        obtained = await while_present(request, self._exchange.obtain_vault_token(call, target))
        issued = self._issued(VAULT_TOKEN, obtained.target.name, obtained.token.expires_at, call)
        return json_response({**vault_token_document(obtained), **issued})

    def _issued(self, kind: str, target: str, expires_at: float, call: Call) -> dict[str, object]:
        return {
            "issued_token_type": kind,
            # It is no OAuth access token (RFC 8693 section 2.2.1).
            "token_type": "N_A",
            "expires_in": max(0, int(expires_at - self._clock.wall())),
            "target": target,
            "request_id": call.request_id,
        }


async def _fields(request: Request) -> Mapping[str, Sequence[str]]:
    match media_type(request):
        case "application/x-www-form-urlencoded":
            pairs = form_fields(await request.body())
        case "application/json":
            members = await json_members(request)
            pairs = [
                (name, text) for name in (*_SINGLE, *_REPEATABLE) if (text := members.optional_text(name))
            ]
        case _:
            raise RequestRejected(
                ErrorCode.UNSUPPORTED_MEDIA_TYPE,
                "The body must be application/x-www-form-urlencoded.",
                hint="RFC 8693 sends a form; JSON with the same names is accepted too.",
            )
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        # A parameter without a value counts as left out (RFC 6749 section 3.2).
        if value and (name in _SINGLE or name in _REPEATABLE):
            fields.setdefault(name, []).append(value)
    for name in _SINGLE:
        if len(fields.get(name, ())) > 1:
            raise RequestRejected(ErrorCode.REQUEST_AMBIGUOUS, f"The parameter {name} is repeated.")
    return fields


def _check_kind(fields: Mapping[str, Sequence[str]]) -> None:
    """Refuse every exchange but a JWT for AWS credentials, naming the parameter that asks for another."""
    grant_type = _value(fields, "grant_type")
    if grant_type is None:
        raise _malformed("The parameter grant_type is missing.", f"Send grant_type={GRANT_TYPE}.")
    if grant_type != GRANT_TYPE:
        raise RequestRejected(
            ErrorCode.GRANT_TYPE_UNSUPPORTED,
            "This grant type is not supported.",
            hint=f"Send grant_type={GRANT_TYPE}.",
        )
    kind = _value(fields, "subject_token_type")
    if kind is None:
        raise _malformed(
            "The parameter subject_token_type is missing.", f"Send one of {', '.join(SUBJECT_TOKEN_TYPES)}."
        )
    if kind not in SUBJECT_TOKEN_TYPES:
        raise _malformed(
            "This subject_token_type is not accepted.", f"Send one of {', '.join(SUBJECT_TOKEN_TYPES)}."
        )
    if "actor_token" in fields or "actor_token_type" in fields:
        raise _malformed("Actor tokens are not accepted.", "An `act` claim inside the subject token is.")
    if "scope" in fields:
        raise _malformed(
            "This endpoint knows no scopes.", "What credentials may do is decided by the target's role."
        )
    if _value(fields, "requested_token_type") not in (None, *ISSUED_TOKEN_TYPES):
        raise _malformed(
            "This requested_token_type cannot be issued.",
            f"Leave it out for AWS credentials, or send one of {', '.join(ISSUED_TOKEN_TYPES)}.",
        )


def _one_target(fields: Mapping[str, Sequence[str]]) -> str:
    named = [*fields.get("audience", ()), *fields.get("resource", ())]
    if not named:
        raise _malformed("No target is named.", "Send audience=<target>, or resource=<ARN of its role>.")
    if len(named) > 1:
        raise RequestRejected(
            ErrorCode.TARGET_UNKNOWN,
            "Several targets are named.",
            hint="One exchange yields credentials of one target: send one audience or one resource.",
        )
    if len(named[0]) > _LONGEST_TARGET:
        raise _malformed(
            "This is no target's name or role ARN.", "GET /v1/whoami lists what may be obtained."
        )
    return named[0]


def _value(fields: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = fields.get(name)
    return values[0] if values else None


def _malformed(message: str, hint: str) -> RequestRejected:
    return RequestRejected(ErrorCode.REQUEST_MALFORMED, message, hint=hint)
