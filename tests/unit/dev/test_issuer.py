"""The development issuers, over real HTTP on loopback."""

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import jwt
import pytest

from gateway.dev.issuer import DevIssuer, Issuers, running_issuers
from gateway.dev.tokens import OrderInvalid, TokenOrder


@pytest.fixture(scope="module")
def issuers() -> Iterator[Issuers]:
    github = DevIssuer(name="github", path="/github", audience="https://gw.example", defaults={"sub": "s"})
    partners = DevIssuer(
        name="partners", path="/partners/", audience="https://gw.example", defaults={"sub": "p"}
    )
    with running_issuers((github, partners)) as running:
        yield running


def get(url: str) -> dict[str, object]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    try:
        connection.request("GET", urlsplit(url).path)
        document: dict[str, object] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return document


def post_order(issuers: Issuers, order: object, *, key: str) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(urlsplit(issuers.url).netloc, timeout=5)
    try:
        connection.request("POST", "/mint", json.dumps(order), {"Authorization": f"Bearer {key}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["github", "partners"])
def test_a_token_verifies_with_the_keys_that_discovery_names(issuers: Issuers, name: str) -> None:
    url = issuers.issuer_url(name)

    discovery = get(f"{url.rstrip('/')}/.well-known/openid-configuration")
    keys = get(str(discovery["jwks_uri"]))["keys"]
    token = issuers.mint(TokenOrder(issuer=name))

    assert discovery["issuer"] == url
    assert isinstance(keys, list)
    verified = jwt.decode(token, jwt.PyJWK(keys[0]), audience="https://gw.example", issuer=url)
    assert verified["iss"] == url


def test_the_key_set_holds_no_private_member(issuers: Issuers) -> None:
    keys = get(f"{issuers.url}/github/jwks")["keys"]

    assert isinstance(keys, list)
    assert set(keys[0]) == {"kid", "kty", "use", "alg", "n", "e"}


def test_each_issuer_signs_with_a_key_of_its_own(issuers: Issuers) -> None:
    keys = get(f"{issuers.url}/partners/jwks")["keys"]
    token = issuers.mint(TokenOrder(issuer="github"))

    assert isinstance(keys, list)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, jwt.PyJWK(keys[0]), audience="https://gw.example")


def test_the_mint_endpoint_makes_what_was_ordered(issuers: Issuers) -> None:
    order = {"issuer": "github", "claims": {"ref": "x"}, "remove": ["jti"], "expires_in_s": 60}

    status, answer = post_order(issuers, order, key=issuers.mint_key)

    claims = jwt.decode(answer["token"], options={"verify_signature": False})
    assert (status, claims["ref"], claims["exp"] - claims["iat"]) == (200, "x", 60)
    assert "jti" not in claims


def test_nobody_without_the_mint_key_gets_a_token(issuers: Issuers) -> None:
    status, answer = post_order(issuers, {"issuer": "github"}, key="wrong")

    assert (status, answer) == (401, {"error": "The mint key is missing or wrong."})


@pytest.mark.parametrize(
    ("order", "message"),
    [
        pytest.param(
            {"issuer": "gitlab"},
            "There is no issuer 'gitlab' here; there are: github, partners.",
            id="unknown issuer",
        ),
        pytest.param(
            ["github"], "The order is not the JSON object that this endpoint takes.", id="not an object"
        ),
    ],
)
def test_an_order_that_cannot_be_filled_says_why(issuers: Issuers, order: object, message: str) -> None:
    status, answer = post_order(issuers, order, key=issuers.mint_key)

    assert (status, answer) == (400, {"error": message})


def test_a_token_of_an_issuer_that_is_not_there_is_refused_by_name(issuers: Issuers) -> None:
    with pytest.raises(OrderInvalid, match="There is no issuer 'nobody' here"):
        issuers.mint(TokenOrder(issuer="nobody"))


def test_the_mint_key_is_not_shown_where_values_are_printed(issuers: Issuers) -> None:
    assert issuers.mint_key not in repr(issuers)
