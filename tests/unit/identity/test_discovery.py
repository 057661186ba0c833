"""Where keys may come from, and how long they count as fresh."""

import json

import pytest

from gateway.identity.discovery import KeyFetchError, discovery_url, read_jwks_uri
from gateway.identity.freshness import fresh_for_s
from gateway.identity.issuer import KeyLocation
from gateway.identity.keys import KeyFault

_ISSUER = "https://issuer.example"


def document(**members: object) -> bytes:
    return json.dumps({"issuer": _ISSUER, "jwks_uri": f"{_ISSUER}/keys", **members}).encode()


def fault_of(data: bytes, *, issuer: str = _ISSUER, location: KeyLocation | None = None) -> KeyFault:
    with pytest.raises(KeyFetchError) as caught:
        read_jwks_uri(data, issuer=issuer, location=location or KeyLocation())
    return caught.value.fault


@pytest.mark.requirement("KS-02")
@pytest.mark.parametrize(
    ("issuer", "url"),
    [
        pytest.param(_ISSUER, f"{_ISSUER}/.well-known/openid-configuration", id="host"),
        pytest.param(f"{_ISSUER}/", f"{_ISSUER}/.well-known/openid-configuration", id="slash-as-auth0"),
        pytest.param(f"{_ISSUER}//", f"{_ISSUER}//.well-known/openid-configuration", id="one-slash-only"),
        pytest.param(
            f"{_ISSUER}/oauth2/a", f"{_ISSUER}/oauth2/a/.well-known/openid-configuration", id="path-as-okta"
        ),
    ],
)
def test_the_document_is_under_the_issuer_without_one_closing_slash(issuer: str, url: str) -> None:
    assert discovery_url(issuer) == url


@pytest.mark.requirement("KS-03")
@pytest.mark.parametrize(
    "issuer",
    ["https://issuer.example/", "https://ISSUER.example", "https://issuer.example:443", "https://evil.example", "", None, 1],
)  # fmt: skip
def test_a_document_of_another_issuer_is_refused(issuer: object) -> None:
    assert fault_of(document(issuer=issuer)) is KeyFault.DISCOVERY_MISMATCH


@pytest.mark.requirement("KS-04")
@pytest.mark.parametrize(
    ("url", "location"),
    [
        pytest.param(f"{_ISSUER}/keys", KeyLocation(), id="same-host"),
        pytest.param("https://ISSUER.example/keys", KeyLocation(), id="host-in-other-case"),
        pytest.param("https://issuer.example:443/keys", KeyLocation(), id="default-port"),
        pytest.param(
            "https://keys.example/k", KeyLocation(hosts=("login.example", "keys.example")), id="listed"
        ),
        pytest.param(
            "https://keys.example:8443/k", KeyLocation(hosts=("keys.example:8443",)), id="listed-with-port"
        ),
    ],
)
def test_keys_come_from_the_issuers_host_or_a_listed_one(url: str, location: KeyLocation) -> None:
    assert read_jwks_uri(document(jwks_uri=url), issuer=_ISSUER, location=location) == url


@pytest.mark.requirement("KS-04", "KS-01")
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/keys",
        "https://issuer.example.evil.example/keys",
        "https://issuer.example:8443/keys",
        "https://issuer.example:nan/keys",
        "http://issuer.example/keys",
        "http://issuer.example:443/keys",
        "ftp://issuer.example:443/keys",
        "https://issuer.example/ke ys",
        "https://issuer.example/ke\\ys",
        "file:///etc/passwd",
        "ftp://issuer.example/keys",
        "data:application/json,{}",
        "//issuer.example/keys",
        "/keys",
        "https://user@issuer.example/keys",
        "https://issuer.example@evil.example/keys",
        "https://issuer.example\\@evil.example/keys",
        "https://issuer.example/keys#fragment",
        "https://issuer.example /keys",
        "https://issuer.example\n/keys",
        "https://listed.example:8443/keys",
    ],
)
def test_keys_from_anywhere_else_are_refused(url: str) -> None:
    location = KeyLocation(hosts=("listed.example",))

    assert fault_of(document(jwks_uri=url), location=location) is KeyFault.JWKS_HOST_NOT_ALLOWED


@pytest.mark.requirement("KS-06")
def test_plain_http_is_for_literal_loopback_in_development_alone() -> None:
    issuer, location = "http://127.0.0.1:9000/a", KeyLocation(allow_http=True)
    good = document(issuer=issuer, jwks_uri="http://127.0.0.1:9000/a/keys")
    named = document(issuer="http://localhost:9000", jwks_uri="http://localhost:9000/keys")

    assert read_jwks_uri(good, issuer=issuer, location=location) == "http://127.0.0.1:9000/a/keys"
    assert fault_of(good, issuer=issuer) is KeyFault.JWKS_HOST_NOT_ALLOWED
    assert (
        fault_of(named, issuer="http://localhost:9000", location=location) is KeyFault.JWKS_HOST_NOT_ALLOWED
    )


@pytest.mark.requirement("KS-12")
@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"<html>", id="html"),
        pytest.param(b"[]", id="array"),
        pytest.param(b'{"issuer":"a","issuer":"b"}', id="duplicate"),
        pytest.param(document(jwks_uri=None), id="null"),
        pytest.param(document(jwks_uri=[f"{_ISSUER}/keys"]), id="list"),
        pytest.param(document(jwks_uri=""), id="empty"),
        pytest.param(document(jwks_uri=f"{_ISSUER}/{'a' * 2_048}"), id="long"),
    ],
)
def test_a_document_without_a_usable_jwks_uri_is_a_bad_answer(data: bytes) -> None:
    assert fault_of(data) is KeyFault.BAD_ANSWER


@pytest.mark.requirement("KS-19")
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        pytest.param(None, 600, id="none"),
        pytest.param("max-age=0", 300, id="zero"),
        pytest.param("max-age=1", 300, id="one"),
        pytest.param("max-age=900", 900, id="between"),
        pytest.param("public, MAX-AGE=900, must-revalidate", 900, id="among-others"),
        pytest.param('max-age="900"', 900, id="quoted"),
        pytest.param("max-age=9999999999", 3_600, id="huge"),
        pytest.param("max-age=" + "9" * 5_000, 600, id="absurd"),
        pytest.param("max-age=-1", 600, id="negative"),
        pytest.param("max-age=soon", 600, id="not-a-number"),
        pytest.param("max-age=\u0663\u0660\u0660", 600, id="other-digits"),
        pytest.param("max-age", 600, id="no-value"),
        pytest.param("s-maxage=900", 600, id="for-shared-caches"),
        pytest.param("no-store", 600, id="no-store"),
    ],
)
def test_freshness_is_what_the_issuer_says_between_five_minutes_and_an_hour(
    header: str | None, seconds: float
) -> None:
    headers = {} if header is None else {"cache-control": header}

    assert fresh_for_s(headers) == seconds
