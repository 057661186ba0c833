"""What the claims of a token with a good signature must say."""

import json

import pytest

from gateway.errors import ErrorCode, FailedClaim, TokenRejected
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.keys import read_key_set
from gateway.identity.reading import read_token
from gateway.identity.token import VerifiedToken
from gateway.identity.verify import verify_token
from gateway.secret import Secret
from tests.support.clocks import START_S
from tests.support.tokens import AUDIENCE, claims_of, jwks, key_id, raw_token, token, trusted

NOW = int(START_S)
_KEY = read_key_set(jwks()).by_id[key_id("RS256")]


def verify(text: str, issuer: TrustedIssuer, *, now: float = START_S) -> VerifiedToken:
    return verify_token(read_token(Secret(text)), issuer, _KEY, now=now)


def accepted(text: str, issuer: TrustedIssuer, *, now: float = START_S) -> bool:
    return verify(text, issuer, now=now).compact == Secret(text)


def refused(text: str, issuer: TrustedIssuer | None = None, *, now: float = START_S) -> TokenRejected:
    unverified = read_token(Secret(text))
    with pytest.raises(TokenRejected) as caught:
        verify_token(unverified, issuer or trusted(), _KEY, now=now)
    return caught.value


# Times


@pytest.mark.requirement("TV-28")
@pytest.mark.parametrize("name", ["exp", "iat", "sub"])
def test_a_token_without_a_compulsory_claim_is_refused_and_the_claim_is_named(name: str) -> None:
    fault = refused(token(claims={name: None}))

    assert fault.code is ErrorCode.CLAIM_MISSING
    assert fault.message == f"The token has no claim {name}."
    assert fault.claims == (FailedClaim(name=name, problem="missing"),)


@pytest.mark.requirement("TV-28")
def test_a_token_without_issuer_or_audience_is_refused_and_the_claim_is_named() -> None:
    with pytest.raises(TokenRejected) as nobodys:
        read_token(Secret(token(claims={"iss": None})))
    nobodys_business = refused(token(claims={"aud": None}))

    assert nobodys.value.code is ErrorCode.TOKEN_ISSUER_UNKNOWN
    assert nobodys.value.message == "The token names no issuer (claim iss)."
    assert nobodys_business.code is ErrorCode.TOKEN_AUDIENCE_MISSING
    assert nobodys_business.claims == (FailedClaim(name="aud", problem="missing"),)


@pytest.mark.requirement("TV-27")
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(str(NOW), id="text"),
        pytest.param(" 9_999_999_999 ", id="text-that-int-reads"),
        pytest.param(NOW + 0.5, id="fraction"),
        pytest.param(float(NOW), id="whole-float"),
        pytest.param(True, id="true"),
        pytest.param(False, id="false"),
        pytest.param([NOW], id="list"),
        pytest.param({"value": NOW}, id="object"),
        pytest.param(-1, id="negative"),
        pytest.param(253_402_300_800, id="year-10000"),
        pytest.param(10**60, id="sixty-digits"),
    ],
)
def test_times_are_whole_numbers_between_1970_and_9999(name: str, value: object) -> None:
    fault = refused(token(claims={name: value}))

    assert fault.code is ErrorCode.CLAIM_VALUE_INVALID
    assert fault.claims[0].name == name


@pytest.mark.requirement("TV-29")
@pytest.mark.parametrize("leeway_s", [0, 30, 60])
def test_a_token_is_good_until_the_leeway_after_exp_has_passed(leeway_s: int) -> None:
    text, issuer = token(exp=NOW + 100), trusted(leeway_s=leeway_s)

    assert verify(text, issuer, now=NOW + 100 + leeway_s - 0.001).expires_at == NOW + 100
    assert refused(text, issuer, now=NOW + 100 + leeway_s).code is ErrorCode.TOKEN_EXPIRED


@pytest.mark.requirement("TV-29")
def test_the_refusal_of_an_expired_token_says_when_it_expired() -> None:
    fault = refused(token(), now=NOW + 1000)

    assert fault.message == "The token expired at 2026-11-22T10:22:03Z."
    assert fault.hint == "Request a new token right before it is used."
    assert fault.claims == (FailedClaim(name="exp", problem="value", value=NOW + 300),)


@pytest.mark.requirement("TV-28", "TV-30")
def test_a_token_is_good_from_the_leeway_before_nbf() -> None:
    text = token(nbf=NOW + 30)

    assert accepted(text, trusted())
    assert refused(text, now=NOW - 0.001).code is ErrorCode.TOKEN_NOT_YET_VALID


@pytest.mark.requirement("TV-28", "TV-30")
def test_a_token_without_nbf_is_good() -> None:
    assert accepted(token(nbf=None), trusted())


@pytest.mark.requirement("TV-31")
def test_a_token_that_is_issued_in_the_future_is_refused() -> None:
    text = token(iat=NOW + 31, nbf=None)

    assert refused(text).code is ErrorCode.TOKEN_ISSUED_IN_FUTURE
    assert accepted(text, trusted(), now=NOW + 1)


@pytest.mark.requirement("TV-31")
@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_times_that_contradict_each_other_are_refused(name: str) -> None:
    fault = refused(token(exp=NOW + 10, claims={name: NOW + 11}))

    assert fault.code is ErrorCode.CLAIM_VALUE_INVALID
    assert fault.message == f"The token's {name} is later than its exp."


@pytest.mark.requirement("TV-32")
def test_a_token_that_was_issued_too_long_ago_is_refused_although_it_has_not_expired() -> None:
    text = token(exp=NOW + 7200)

    assert accepted(text, trusted(), now=NOW + 3600)
    assert refused(text, now=NOW + 3601).code is ErrorCode.TOKEN_TOO_OLD


@pytest.mark.requirement("TV-32")
def test_a_token_that_lives_too_long_is_refused() -> None:
    assert accepted(token(exp=NOW + 86_400), trusted())
    assert refused(token(exp=NOW + 86_401)).code is ErrorCode.TOKEN_LIFETIME_TOO_LONG


@pytest.mark.requirement("TV-34")
def test_the_moment_is_the_one_passed_in() -> None:
    assert accepted(token(now=1_000_000_000), trusted(), now=1_000_000_001)


# Audience and client


@pytest.mark.requirement("TV-23")
@pytest.mark.parametrize("aud", [None, []], ids=["absent", "empty-list"])
def test_a_token_without_audience_is_refused(aud: object) -> None:
    fault = refused(token(aud=aud))

    assert fault.code is ErrorCode.TOKEN_AUDIENCE_MISSING
    assert fault.message == "The token names no audience (claim aud)."


@pytest.mark.requirement("TV-23", "TV-47")
def test_an_issuer_without_audiences_accepts_nothing() -> None:
    assert refused(token(), trusted(audiences=())).code is ErrorCode.TOKEN_AUDIENCE_MISMATCH


@pytest.mark.requirement("TV-24")
@pytest.mark.parametrize(
    "aud",
    [
        pytest.param("https://github.com/acme", id="other"),
        pytest.param(AUDIENCE + "/", id="trailing-slash"),
        pytest.param(AUDIENCE.upper(), id="case"),
        pytest.param(AUDIENCE[:-1], id="prefix"),
        pytest.param("", id="empty"),
        pytest.param([AUDIENCE, "https://elsewhere.example"], id="ours-among-foreign"),
        pytest.param([[AUDIENCE]], id="nested-list"),
        pytest.param([AUDIENCE, None], id="null-in-list"),
        pytest.param({"aud": AUDIENCE}, id="object"),
        pytest.param(1, id="number"),
        pytest.param(False, id="false"),
    ],
)
def test_an_audience_that_is_not_ours_alone_is_refused(aud: object) -> None:
    assert refused(token(aud=aud)).code is ErrorCode.TOKEN_AUDIENCE_MISMATCH


@pytest.mark.requirement("TV-24")
def test_an_audience_that_is_null_is_refused() -> None:
    payload = json.dumps({**claims_of(), "aud": None}).encode()

    assert refused(raw_token(b'{"alg":"RS256","kid":"first-rs256"}', payload)).code is (
        ErrorCode.TOKEN_AUDIENCE_MISMATCH
    )


@pytest.mark.requirement("TV-24")
def test_a_list_of_our_one_audience_is_accepted() -> None:
    assert accepted(token(aud=[AUDIENCE]), trusted())


@pytest.mark.requirement("TV-24")
def test_the_refusal_of_an_audience_shows_the_callers_own_and_how_to_ask_for_another() -> None:
    fault = refused(token(aud="https://github.com/acme"))

    assert (
        fault.message
        == "The token's audience is https://github.com/acme, which this gateway does not accept."
    )
    assert "core.getIDToken(audience)" in str(fault.hint)
    assert fault.claims == (FailedClaim(name="aud", problem="value", value="https://github.com/acme"),)
    assert AUDIENCE not in f"{fault} {fault.hint} {fault.claims}"


@pytest.mark.requirement("TV-24")
def test_an_audience_is_shown_on_one_short_line() -> None:
    fault = refused(token(aud="x" * 500 + "\u202e\n"))

    assert len(fault.message) < 200
    assert fault.message.isascii()
    assert fault.message.isprintable()


_USERINFO = "https://acme.eu.auth0.example/userinfo"


@pytest.mark.requirement("TV-24", "TV-26")
def test_auth0s_second_audience_is_accepted_when_listed_and_the_client_is_ours() -> None:
    issuer = trusted("auth0", also_allowed=(_USERINFO,), clients=("nw7partnerclient",))

    assert accepted(token("auth0", aud=[AUDIENCE, _USERINFO]), issuer)


@pytest.mark.requirement("TV-24", "TV-26")
@pytest.mark.parametrize(
    ("aud", "azp", "clients", "code"),
    [
        pytest.param([AUDIENCE, _USERINFO], None, ("app",), ErrorCode.TOKEN_CLIENT_MISMATCH, id="no-azp"),
        pytest.param([AUDIENCE, _USERINFO], "app", (), ErrorCode.TOKEN_CLIENT_MISMATCH, id="no-client-list"),
        pytest.param(
            [AUDIENCE, _USERINFO], "x", ("app",), ErrorCode.TOKEN_CLIENT_MISMATCH, id="other-client"
        ),
        pytest.param([_USERINFO], "app", ("app",), ErrorCode.TOKEN_AUDIENCE_MISMATCH, id="only-the-second"),
        pytest.param([AUDIENCE, AUDIENCE], None, (), ErrorCode.TOKEN_CLIENT_MISMATCH, id="ours-twice"),
    ],
)
def test_several_audiences_need_a_listed_client(
    aud: list[str], azp: str | None, clients: tuple[str, ...], code: ErrorCode
) -> None:
    issuer = trusted("auth0", also_allowed=(_USERINFO,), clients=clients)

    assert refused(token("auth0", aud=aud, azp=azp), issuer).code is code


@pytest.mark.requirement("TV-26")
@pytest.mark.parametrize("name", ["azp", "cid", "client_id"])
def test_a_client_that_is_not_listed_is_refused(name: str) -> None:
    issuer = trusted("generic", clients=("app",))

    fault = refused(token("generic", claims={name: "other"}), issuer)

    assert accepted(token("generic", claims={name: "app"}), issuer)
    assert fault.code is ErrorCode.TOKEN_CLIENT_MISMATCH
    assert fault.claims == (FailedClaim(name=name, problem="value", value="other"),)


@pytest.mark.requirement("TV-26")
def test_every_claim_that_names_a_client_must_name_a_listed_one() -> None:
    issuer = trusted("generic", clients=("app",))

    assert refused(token("generic", azp="app", client_id="other"), issuer).claims[0].name == "client_id"


@pytest.mark.requirement("TV-26")
@pytest.mark.parametrize("client", [["app"], 7, True], ids=["list", "number", "true"])
def test_a_client_that_is_not_a_text_is_refused_even_without_a_list(client: object) -> None:
    assert refused(token(azp=client)).code is ErrorCode.TOKEN_CLIENT_MISMATCH


@pytest.mark.requirement("TV-26")
def test_where_clients_are_listed_a_token_must_name_one() -> None:
    fault = refused(token("generic"), trusted("generic", clients=("app",)))

    assert fault.message == "The token names no client (claim azp), which is required here."


# Kinds of token


@pytest.mark.requirement("TV-25")
def test_a_cognito_access_token_is_accepted_by_its_client_without_audience() -> None:
    assert accepted(token("cognito-access"), trusted("cognito-access"))


@pytest.mark.requirement("TV-25")
@pytest.mark.parametrize(
    ("presented", "expected"),
    [("cognito-access", "cognito-id"), ("cognito-id", "cognito-access")],
)
def test_the_other_kind_of_cognito_token_is_refused(presented: str, expected: str) -> None:
    fault = refused(token(presented), trusted(expected))

    assert fault.code is ErrorCode.TOKEN_USE_MISMATCH
    assert fault.claims[0].name == "token_use"


@pytest.mark.requirement("TV-25")
@pytest.mark.parametrize("use", [None, "ID", ["id"], True], ids=["absent", "case", "list", "true"])
def test_cognitos_token_use_is_compared_exactly(use: object) -> None:
    fault = refused(token("cognito-id", token_use=use), trusted("cognito-id"))

    assert fault.code is ErrorCode.TOKEN_USE_MISMATCH


@pytest.mark.requirement("TV-25")
@pytest.mark.parametrize(
    ("kind", "claims", "code"),
    [
        pytest.param(
            "cognito-access", {"client_id": "other"}, ErrorCode.TOKEN_CLIENT_MISMATCH, id="other-client"
        ),
        pytest.param("cognito-access", {"client_id": None}, ErrorCode.TOKEN_CLIENT_MISMATCH, id="no-client"),
        pytest.param(
            "cognito-access", {"aud": "elsewhere"}, ErrorCode.TOKEN_AUDIENCE_MISMATCH, id="foreign-resource"
        ),
        pytest.param("cognito-id", {"aud": "other"}, ErrorCode.TOKEN_AUDIENCE_MISMATCH, id="other-app"),
        pytest.param("cognito-id", {"aud": None}, ErrorCode.TOKEN_AUDIENCE_MISSING, id="no-audience"),
    ],
)
def test_cognitos_client_is_aud_of_id_tokens_and_client_id_of_access_tokens(
    kind: str, claims: dict[str, object], code: ErrorCode
) -> None:
    assert refused(token(kind, claims=claims), trusted(kind)).code is code


@pytest.mark.requirement("TV-25")
def test_a_cognito_access_token_is_refused_where_no_client_is_listed() -> None:
    fault = refused(token("cognito-access"), trusted("cognito-access", clients=()))

    assert fault.code is ErrorCode.TOKEN_CLIENT_MISMATCH


@pytest.mark.requirement("TV-25")
def test_a_cognito_id_token_must_satisfy_both_lists_when_both_are_given() -> None:
    issuer = trusted("cognito-id", audiences=("a", "4fk2client"), clients=("4fk2client",))

    assert accepted(token("cognito-id"), issuer)
    assert refused(token("cognito-id", aud="a"), issuer).code is ErrorCode.TOKEN_CLIENT_MISMATCH


_OKTA_ORG = "https://acme.okta.example"


@pytest.mark.requirement("TV-26a")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"aud": _OKTA_ORG}, id="as-issued"),
        pytest.param({"aud": _OKTA_ORG, "cid": None}, id="scp-alone"),
        pytest.param({"aud": _OKTA_ORG, "scp": None}, id="cid-alone"),
        pytest.param({"aud": AUDIENCE}, id="with-our-audience"),
        pytest.param({"aud": AUDIENCE, "cid": None}, id="scp-and-our-audience"),
        pytest.param({"aud": AUDIENCE, "scp": None}, id="cid-and-our-audience"),
        pytest.param({"aud": _OKTA_ORG, "cid": None, "scp": None}, id="audience-alone"),
    ],
)
def test_access_tokens_of_an_okta_org_server_are_refused_by_name(claims: dict[str, object]) -> None:
    issuer = trusted("okta", issuer=_OKTA_ORG, okta_org=True, audiences=(AUDIENCE, _OKTA_ORG))

    fault = refused(token("okta", iss=_OKTA_ORG, claims=claims), issuer)

    assert fault.code is ErrorCode.TOKEN_OKTA_ORG_SERVER


@pytest.mark.requirement("TV-26a")
def test_id_tokens_of_an_okta_org_server_are_accepted() -> None:
    issuer = trusted("okta", issuer=_OKTA_ORG, okta_org=True, audiences=("0oaclient",))

    assert accepted(token("okta", iss=_OKTA_ORG, aud="0oaclient", cid=None, scp=None), issuer)


@pytest.mark.requirement("TV-26b")
@pytest.mark.parametrize("events", [{"https://schemas.openid.net/event/backchannel-logout": {}}, {}, "x"])
def test_logout_and_security_event_tokens_are_refused(events: object) -> None:
    assert refused(token(events=events)).code is ErrorCode.TOKEN_TYPE_NOT_ALLOWED


# Subject and texts


@pytest.mark.requirement("TV-35")
@pytest.mark.parametrize(
    "sub",
    [
        pytest.param("", id="empty"),
        pytest.param("a" * 256, id="256-characters"),
        pytest.param("a b", id="blank"),
        pytest.param(" a", id="leading-blank"),
        pytest.param("a\u0000b", id="nul"),
        pytest.param("a\nb", id="line-feed"),
        pytest.param("a\u007fb", id="delete"),
        pytest.param("caf\u00e9", id="beyond-ascii"),
        pytest.param("a\u200bb", id="zero-width"),
        pytest.param(7, id="number"),
        pytest.param(["a"], id="list"),
        pytest.param(True, id="true"),
    ],
)
def test_a_subject_is_printable_ascii_without_white_space(sub: object) -> None:
    fault = refused(token("generic", sub=sub), trusted("generic"))

    assert fault.code is ErrorCode.CLAIM_VALUE_INVALID
    # Not what is said of control characters in any claim: a subject has a rule of its own.
    assert fault.message.startswith("The token's sub is not ")
    assert fault.claims[0].name == "sub"


@pytest.mark.requirement("TV-35")
def test_a_subject_of_255_characters_is_accepted() -> None:
    assert verify(token("generic", sub="a" * 255), trusted("generic")).principal.subject == "a" * 255


@pytest.mark.requirement("TV-35")
def test_blanks_inside_a_subject_are_accepted_where_the_preset_says_so() -> None:
    sub = "repo:acme/payments:environment:Production EU"

    assert verify(token(sub=sub), trusted()).principal.subject == sub
    assert refused(token(sub=f"{sub} ")).code is ErrorCode.CLAIM_VALUE_INVALID


@pytest.mark.requirement("TV-10")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"ref": "refs/heads/main\u0000"}, id="nul"),
        pytest.param({"ref": "refs/heads/\nmain"}, id="line-feed"),
        pytest.param({"groups": ["ok", "evil\u007f"]}, id="in-a-list"),
        pytest.param({"re\u0007f": "x"}, id="in-a-name"),
    ],
)
def test_control_characters_in_claims_that_rules_can_compare_are_refused(claims: dict[str, object]) -> None:
    fault = refused(token(claims=claims))

    assert fault.code is ErrorCode.CLAIM_VALUE_INVALID
    assert fault.message.isprintable()


@pytest.mark.requirement("TV-10")
def test_the_one_control_character_that_json_lets_stand_as_it_is_is_refused_too() -> None:
    payload = json.dumps(claims_of(ref="refs/heads/main?")).replace("?", "\x7f").encode()

    fault = refused(raw_token(b'{"alg":"RS256","kid":"first-rs256"}', payload))

    assert fault.code is ErrorCode.CLAIM_VALUE_INVALID
    assert fault.claims[0].name == "ref"


@pytest.mark.requirement("TV-10")
def test_the_lines_of_an_address_are_no_fault() -> None:
    assert accepted(token("generic", address={"formatted": "1 Main St\nSpringfield"}), trusted("generic"))


@pytest.mark.requirement("TV-29")
def test_the_faults_of_claims_are_found_in_the_fixed_order() -> None:
    """Time, kind, audience, client, subject: each token has the fault of its step and of all later ones."""
    issuer = trusted("cognito-id", audiences=("4fk2client", "second"))
    later: dict[str, object] = {"sub": ""}
    steps: list[dict[str, object]] = [
        {"exp": NOW - 100, "iat": NOW - 200, "nbf": None, "token_use": "access", "aud": "x"},
        {"token_use": "access", "aud": "x"},
        {"aud": "x"},
        {"aud": "second"},
        {},
    ]

    codes = [refused(token("cognito-id", claims={**later, **step}), issuer).code for step in steps]

    assert codes == [
        ErrorCode.TOKEN_EXPIRED,
        ErrorCode.TOKEN_USE_MISMATCH,
        ErrorCode.TOKEN_AUDIENCE_MISMATCH,
        ErrorCode.TOKEN_CLIENT_MISMATCH,
        ErrorCode.CLAIM_VALUE_INVALID,
    ]


def test_a_verified_token_says_who_and_until_when() -> None:
    text = token()

    made = verify(text, trusted())

    assert made.principal.subject == "repo:acme/payments:environment:prod"
    assert made.claims.issuer == "github"
    assert made.claims.members["repository_id"] == "4711"
    assert made.digest == Secret(text).digest()
    assert made.key_id == "first-rs256"
