"""What a correctly read token must prove: header, key, signature. Every row that plain pyjwt lets through is here."""

import ast
import dataclasses
import hashlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.errors import ErrorCode, TokenRejected
from gateway.identity.issuer import TrustedIssuer
from gateway.identity.jwk import VerificationKey
from gateway.identity.keys import read_key_set
from gateway.identity.presets import SUPPORTED_ALGORITHMS
from gateway.identity.reading import read_token
from gateway.identity.signature import signature_is_valid
from gateway.identity.token import VerifiedToken
from gateway.identity.verify import verify_token
from gateway.secret import Secret
from tests.support.clocks import START_S
from tests.support.tokens import (
    b64,
    claims_of,
    jwk,
    jwks,
    key_id,
    private_key,
    raw_token,
    token,
    trusted,
    verified,
)


def key_for(algorithm: str = "RS256", members: Mapping[str, object] | None = None) -> VerificationKey:
    found = read_key_set(jwks(jwk(algorithm) | dict(members or {}))).find(key_id(algorithm))
    assert found is not None
    return found


def verify(
    text: str, issuer: TrustedIssuer | None = None, key: VerificationKey | None = None
) -> VerifiedToken:
    return verify_token(read_token(Secret(text)), issuer or trusted(), key or key_for(), now=START_S)


def accepted(text: str, issuer: TrustedIssuer | None = None) -> bool:
    return verify(text, issuer).compact == Secret(text)


def refused(
    text: str, issuer: TrustedIssuer | None = None, key: VerificationKey | None = None
) -> TokenRejected:
    unverified = read_token(Secret(text))
    with pytest.raises(TokenRejected) as caught:
        verify_token(unverified, issuer or trusted(), key or key_for(), now=START_S)
    return caught.value


@pytest.mark.requirement("TV-21")
@pytest.mark.parametrize("algorithm", sorted(SUPPORTED_ALGORITHMS))
def test_each_supported_algorithm_verifies_its_own_signature_and_no_other(algorithm: str) -> None:
    issuer = trusted("generic", algorithms=tuple(SUPPORTED_ALGORITHMS))
    good = token("generic", algorithm=algorithm)
    head, signature = good.rpartition(".")[::2]
    foreign = token("generic", algorithm=algorithm, sub="somebody-else").rpartition(".")[2]

    assert verify(good, issuer, key_for(algorithm)).algorithm == algorithm
    assert refused(f"{head}.{foreign}", issuer, key_for(algorithm)).code is ErrorCode.TOKEN_SIGNATURE_INVALID
    assert signature != foreign


@pytest.mark.requirement("TV-21")
def test_a_payload_that_was_changed_after_signing_is_refused() -> None:
    header, _, signature = token().split(".")
    payload = token(sub="repo:evil/evil").split(".")[1]

    assert refused(f"{header}.{payload}.{signature}").code is ErrorCode.TOKEN_SIGNATURE_INVALID


@pytest.mark.requirement("TV-21")
@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": 1, "iat": 0, "nbf": 0}, id="time"),
        pytest.param({"events": {}}, id="kind"),
        pytest.param({"aud": "https://elsewhere.example"}, id="audience"),
        pytest.param({"sub": ""}, id="subject"),
        pytest.param({"ref": "\n"}, id="text"),
    ],
)
def test_nothing_that_a_token_claims_is_judged_before_its_signature(claims: dict[str, object]) -> None:
    head = token(claims=claims).rpartition(".")[0]
    foreign = token().rpartition(".")[2]

    assert refused(f"{head}.{foreign}").code is ErrorCode.TOKEN_SIGNATURE_INVALID


@pytest.mark.requirement("TV-21")
def test_the_signature_is_verified_over_the_bytes_that_came_however_they_are_written() -> None:
    header = b' {"kid":\r\n"first-rs256" ,"\\u0061lg":"RS256"}'
    payload = json.dumps(claims_of(), indent=3).encode() + b"\n"

    assert accepted(raw_token(header, payload))


@pytest.mark.requirement("TV-21")
def test_the_signature_is_verified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(algorithm: str, *others: Any) -> bool:
        asked.append(algorithm)
        return signature_is_valid(algorithm, *others)

    monkeypatch.setattr("gateway.identity.verify.signature_is_valid", counted)

    assert accepted(token())
    assert asked == ["RS256"]


@pytest.mark.requirement("TV-21")
@pytest.mark.parametrize(
    ("r", "s"),
    [
        pytest.param(0, 0, id="zeros"),
        pytest.param(0, 1, id="r-zero"),
        pytest.param(1, 0, id="s-zero"),
        pytest.param(2**256 - 1, 1, id="r-beyond-the-order"),
        pytest.param(1, 2**256 - 1, id="s-beyond-the-order"),
    ],
)
def test_an_ecdsa_signature_out_of_range_is_refused(r: int, s: int) -> None:
    head = token("generic", algorithm="ES256").rpartition(".")[0]
    text = f"{head}.{b64(r.to_bytes(32) + s.to_bytes(32))}"

    assert refused(text, trusted("generic"), key_for("ES256")).code is ErrorCode.TOKEN_SIGNATURE_INVALID


@pytest.mark.requirement("TV-21")
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "PS256"])
@pytest.mark.parametrize("change", [-1, 1], ids=["shorter", "longer"])
def test_a_signature_has_exactly_its_length(algorithm: str, change: int) -> None:
    good = read_token(Secret(token("generic", algorithm=algorithm)))
    signature = good.signature[:change] if change < 0 else b"\0" + good.signature
    text = f"{good.signing_input.decode()}.{b64(signature)}"

    assert refused(text, trusted("generic"), key_for(algorithm)).code is ErrorCode.TOKEN_SIGNATURE_INVALID


@pytest.mark.requirement("TV-21")
def test_an_ecdsa_signature_in_der_is_refused() -> None:
    good = read_token(Secret(token("generic", algorithm="ES256")))
    r, s = int.from_bytes(good.signature[:32]), int.from_bytes(good.signature[32:])
    text = f"{good.signing_input.decode()}.{b64(encode_dss_signature(r, s))}"

    assert refused(text, trusted("generic"), key_for("ES256")).code is ErrorCode.TOKEN_SIGNATURE_INVALID


def test_the_second_valid_signature_of_a_token_gives_the_same_replay_id_and_another_digest() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    good = read_token(Secret(token("generic", algorithm="ES256")))
    r, s = int.from_bytes(good.signature[:32]), int.from_bytes(good.signature[32:])
    twin = f"{good.signing_input.decode()}.{b64(r.to_bytes(32) + (order - s).to_bytes(32))}"

    first = verify(good.compact.reveal(), trusted("generic"), key_for("ES256"))
    second = verify(twin, trusted("generic"), key_for("ES256"))

    assert first.replay_id == second.replay_id
    assert first.digest != second.digest


@pytest.mark.requirement("TV-12")
@pytest.mark.parametrize(
    ("algorithms", "algorithm"),
    [
        pytest.param(("RS256",), "ES256", id="not-listed"),
        pytest.param((), "RS256", id="empty-list"),
        pytest.param(("rs256",), "RS256", id="other-case"),
        pytest.param(("RS256", "RS512"), "RS384", id="between"),
    ],
)
def test_an_algorithm_that_is_not_on_the_issuers_list_is_refused(
    algorithms: tuple[str, ...], algorithm: str
) -> None:
    issuer = trusted("generic", algorithms=algorithms)

    fault = refused(token("generic", algorithm=algorithm), issuer, key_for("RS256"))

    assert fault.code is ErrorCode.TOKEN_ALG_NOT_ALLOWED


@pytest.mark.requirement("TV-12", "TV-47")
@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_issuer_that_lists_an_insecure_algorithm_still_gets_nothing(algorithm: str) -> None:
    good = read_token(Secret(token()))
    forged = dataclasses.replace(good, algorithm=algorithm)
    issuer = trusted(algorithms=("none", "HS256", "RS256"))

    with pytest.raises(TokenRejected, match="token_alg_not_allowed"):
        verify_token(forged, issuer, key_for(), now=START_S)


@pytest.mark.requirement("TV-14")
@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
def test_a_token_that_brings_its_key_is_refused(name: str) -> None:
    fault = refused(token(header={name: jwk("RS256", "other")}))

    assert fault.code is ErrorCode.TOKEN_HEADER_INVALID
    assert fault.message == f"The token's header has the member {name}; keys come from the issuer alone."


@pytest.mark.requirement("TV-14")
def test_a_key_in_the_header_is_never_used_even_where_the_header_is_tolerated() -> None:
    issuer = trusted("generic", key_headers_ignored=True)
    text = token("generic", which="other", header={"jwk": jwk("RS256", "other"), "kid": key_id("RS256")})

    assert refused(text, issuer).code is ErrorCode.TOKEN_SIGNATURE_INVALID


@pytest.mark.requirement("TV-14")
def test_a_certificate_thumbprint_in_the_header_is_ignored() -> None:
    """GitHub sends one."""
    assert accepted(token(header={"x5t": "eW8"}))


@pytest.mark.requirement("TV-15")
def test_a_token_without_kid_is_refused_unless_a_static_key_file_allows_it() -> None:
    text = token(header={"kid": None})

    assert refused(text).code is ErrorCode.TOKEN_KID_MISSING
    assert accepted(text, trusted(kid_required=False))


@pytest.mark.requirement("TV-16")
@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/JWT", "Application/jwt", None])
def test_the_usual_types_are_accepted_in_any_spelling(typ: str | None) -> None:
    assert accepted(token(header={"typ": typ}))


@pytest.mark.requirement("TV-16")
@pytest.mark.parametrize(
    "typ",
    ["at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "JOSE", "", "application/", "JWT ", "text/JWT"],
)
def test_a_type_that_is_not_on_the_issuers_list_is_refused(typ: str) -> None:
    assert refused(token(header={"typ": typ})).code is ErrorCode.TOKEN_TYPE_NOT_ALLOWED


@pytest.mark.requirement("TV-16")
def test_access_tokens_of_rfc_9068_are_accepted_where_the_preset_says_so() -> None:
    assert accepted(token("auth0", header={"typ": "at+jwt"}), trusted("auth0"))


@pytest.mark.requirement("TV-16", "TV-26a")
def test_the_type_of_okta_org_access_tokens_is_explained() -> None:
    fault = refused(token("okta", header={"typ": "application/okta-internal-at+jwt"}), trusted("okta"))

    assert fault.code is ErrorCode.TOKEN_TYPE_NOT_ALLOWED
    assert "Okta org authorization server" in str(fault.hint)


@pytest.mark.requirement("TV-18")
@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        pytest.param("PS256", {"alg": "RS256"}, id="key-names-another-algorithm"),
        pytest.param("RS512", {"alg": "RS256"}, id="key-names-another-hash"),
    ],
)
def test_a_key_is_used_only_for_the_algorithm_it_names(algorithm: str, key: Mapping[str, object]) -> None:
    issuer = trusted("generic", algorithms=tuple(SUPPORTED_ALGORITHMS))
    text = token("generic", algorithm=algorithm, header={"kid": key_id("RS256")})

    assert refused(text, issuer, key_for("RS256", key)).code is ErrorCode.TOKEN_KEY_MISMATCH


@pytest.mark.requirement("TV-18")
@pytest.mark.parametrize(
    ("claimed", "of"),
    [("RS256", "ES256"), ("ES256", "RS256"), ("ES384", "ES256"), ("EdDSA", "ES256"), ("PS256", "EdDSA")],
)
def test_a_key_of_another_type_or_curve_is_never_tried(claimed: str, of: str) -> None:
    issuer = trusted("generic", algorithms=tuple(SUPPORTED_ALGORITHMS))
    text = token("generic", algorithm=claimed, header={"kid": key_id(of)})

    assert refused(text, issuer, key_for(of)).code is ErrorCode.TOKEN_KEY_MISMATCH


@pytest.mark.requirement("TV-18")
def test_a_key_of_another_id_is_never_used() -> None:
    text = token(header={"kid": "another"})

    assert refused(text).code is ErrorCode.TOKEN_KEY_MISMATCH


@pytest.mark.requirement("TV-22")
@pytest.mark.parametrize(
    "iss",
    [
        "https://token.actions.githubusercontent.com/",
        "https://TOKEN.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com:443",
        "http://token.actions.githubusercontent.com",
        "token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com.evil.example",
        "https://token.actions.githubusercontent.co",
    ],
)
def test_the_issuer_is_compared_code_point_by_code_point(iss: str) -> None:
    assert refused(token(iss=iss)).code is ErrorCode.TOKEN_ISSUER_UNKNOWN


@pytest.mark.requirement("TV-46")
def test_only_the_verifier_makes_a_verified_token() -> None:
    package = Path(inspect.getfile(verify_token)).parents[1]
    makers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and (getattr(node.func, "id", None) or getattr(node.func, "attr", None)) == "VerifiedToken"
    }

    assert makers == {"identity/verify.py"}


@pytest.mark.requirement("TV-46")
def test_verified_claims_cannot_be_changed() -> None:
    claims = verified().claims.members

    with pytest.raises(TypeError):
        claims["sub"] = "somebody-else"  # type: ignore[index]


@pytest.mark.requirement("TV-47")
def test_nothing_about_verification_can_be_switched_off() -> None:
    assert list(inspect.signature(verify_token).parameters) == ["token", "issuer", "key", "now"]
    # The only switches of an issuer; neither touches signature, audience or expiry.
    switches = {f.name for f in dataclasses.fields(TrustedIssuer) if f.type in (bool, "bool")}
    assert switches == {"blank_subjects", "okta_org", "kid_required", "key_headers_ignored"}


_GOOD = claims_of()
_PLAIN_HEADER: dict[str, object] = {"alg": "RS256", "kid": "first-rs256", "typ": "JWT"}


def written(members: Mapping[str, object], **changes: object) -> bytes:
    return json.dumps({**members, **changes}).encode()


@pytest.mark.requirement("TV-09", "TV-10", "TV-13", "TV-16", "TV-24", "TV-27")
@pytest.mark.parametrize(
    ("header", "payload", "code"),
    [
        pytest.param(
            _PLAIN_HEADER, b'{"iss":"https://evil.example",' + written(_GOOD)[1:], "token_json_duplicate", id="iss-twice"
        ),
        pytest.param(_PLAIN_HEADER, written(_GOOD, a=float("nan")), "token_json_invalid", id="nan"),
        pytest.param(_PLAIN_HEADER, written(_GOOD, sub="\ud800"), "token_json_invalid", id="half-a-pair"),
        pytest.param(
            _PLAIN_HEADER, written(_GOOD, exp=" 9_999_999_999 "), "claim_value_invalid", id="exp-that-int-reads"
        ),
        pytest.param(_PLAIN_HEADER, written(_GOOD, nbf=True), "claim_value_invalid", id="nbf-true"),
        pytest.param(
            _PLAIN_HEADER, written(_GOOD, aud=[_GOOD["aud"], "https://x.example"]), "token_audience_mismatch", id="aud"
        ),
        pytest.param({**_PLAIN_HEADER, "cty": "JWT"}, written(_GOOD), "token_header_invalid", id="cty"),
        pytest.param({**_PLAIN_HEADER, "zip": "DEF"}, written(_GOOD), "token_header_invalid", id="zip"),
        pytest.param(
            {**_PLAIN_HEADER, "typ": "logout+jwt"}, written(_GOOD), "token_type_not_allowed", id="typ"
        ),
    ],
)  # fmt: skip
def test_what_pyjwt_lets_through_is_refused_here(
    header: Mapping[str, object], payload: bytes, code: str
) -> None:
    """The library accepts each of these tokens with exactly these arguments; it is why the library is not the validator."""
    text = raw_token(written(header), payload)
    public = private_key("RS256").public_key()
    assert isinstance(public, rsa.RSAPublicKey)

    jwt.decode(
        text,
        public,
        algorithms=["RS256"],
        audience="https://gateway.acme.example",
        issuer="https://token.actions.githubusercontent.com",
        leeway=10_000_000_000,  # whenever the test runs
    )

    with pytest.raises(TokenRejected) as caught:
        verify(text)
    assert caught.value.code == code


_SAME_HINT = "Send it exactly as issued."
_OKTA_HINT = (
    "It is an access token of an Okta org authorization server, which only Okta itself may accept; "
    "use an ID token, or a token of a custom authorization server (/oauth2/…)."
)


@pytest.mark.parametrize(
    ("text", "key", "message", "hint"),
    [
        pytest.param(
            token("generic", algorithm="ES512"),
            key_for(),
            "The signature algorithm ES512 is not accepted from this issuer.",
            None,
            id="algorithm",
        ),
        pytest.param(
            token("generic", header={"kid": None}),
            key_for(),
            "The token's header names no key (kid).",
            "Configure the identity provider to publish key ids; AWS needs them too.",
            id="no kid",
        ),
        pytest.param(
            token("generic", header={"typ": "logout+jwt"}),
            key_for(),
            "The token's type (header typ) is not accepted from this issuer.",
            None,
            id="type",
        ),
        pytest.param(
            token("generic", header={"typ": "application/okta-internal-at+jwt"}),
            key_for(),
            "The token's type (header typ) is not accepted from this issuer.",
            _OKTA_HINT,
            id="okta's own type",
        ),
        pytest.param(
            token("github"),
            key_for(),
            "The token's issuer is not trusted here.",
            "Issuers are compared byte for byte; look for a trailing slash, a path or the other case.",
            id="issuer",
        ),
        pytest.param(
            token("generic", header={"kid": "another"}),
            key_for(),
            "The key does not bear the id that the token names.",
            None,
            id="another key",
        ),
        pytest.param(
            token("generic", algorithm="ES256", header={"kid": key_id("RS256")}),
            key_for(),
            "The key that the token names is not meant for its algorithm.",
            None,
            id="a key for something else",
        ),
        pytest.param(
            token("generic", which="other", header={"kid": key_id("RS256")}),
            key_for(),
            "The token's signature is not valid.",
            _SAME_HINT,
            id="signature",
        ),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_helps(
    text: str, key: VerificationKey, message: str, hint: str | None
) -> None:
    fault = refused(text, trusted("generic"), key)

    assert (fault.message, fault.hint) == (message, hint)


def test_a_type_that_is_no_text_is_refused_even_where_nobody_has_read_the_header_before() -> None:
    """`read_token` refuses it first; the proof does not depend on that."""
    forged = dataclasses.replace(read_token(Secret(token())), unbelieved_header={"typ": 7})

    with pytest.raises(TokenRejected, match="token_type_not_allowed"):
        verify_token(forged, trusted(), key_for(), now=START_S)


def test_a_refusal_after_the_signature_knows_whose_token_it_was() -> None:
    fault = refused(token(aud="https://elsewhere.example"))

    assert fault.issuer == "github"
    assert fault.members is not None
    assert fault.members["aud"] == "https://elsewhere.example"


@pytest.mark.requirement("TV-41")
def test_the_replay_id_is_the_digest_of_issuer_nul_and_signing_input() -> None:
    text = token()
    signing_input = text.rpartition(".")[0]

    meant = hashlib.sha256(
        f"https://token.actions.githubusercontent.com\0{signing_input}".encode()
    ).hexdigest()

    assert verify(text).replay_id == meant
