"""Where a request goes and what it looks like on the wire."""

import pytest

from gateway.outbound.http import Outgoing
from gateway.outbound.request_bytes import UrlInvalid, place_of, request_bytes


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        pytest.param("https://STS.aws.test", "sts.aws.test", 443, "sts.aws.test", "/", id="bare"),
        pytest.param("https://a.test:443/", "a.test", 443, "a.test", "/", id="usual port"),
        pytest.param("http://a.test:8080/x", "a.test", 8080, "a.test:8080", "/x", id="port"),
        pytest.param("http://a.test/%2e%2e/a%2Fb?c=%20&d", "a.test", 80, "a.test", "/%2e%2e/a%2Fb?c=%20&d", id="as written"),
        pytest.param("https://a.test/?", "a.test", 443, "a.test", "/?", id="empty query"),
        pytest.param("https://[2001:DB8::1]:8443/", "2001:db8::1", 8443, "[2001:db8::1]:8443", "/", id="v6"),
        pytest.param("https://[2001:db8::1]/", "2001:db8::1", 443, "[2001:db8::1]", "/", id="v6, usual port"),
    ],
)  # fmt: skip
def test_a_url_is_called_as_it_is_written(
    url: str, host: str, port: int, authority: str, target: str
) -> None:
    place = place_of(url)

    assert (place.host, place.port, place.authority, place.target) == (host, port, authority, target)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https:///keys", id="no host"),
        pytest.param("keys", id="relative"),
        pytest.param("https://user@a.test/", id="user"),
        pytest.param("https://a.test@b.test/", id="a host for a user"),
        pytest.param("https://a.test\\@b.test/", id="backslash"),
        pytest.param("https://a.test/#b", id="fragment"),
        pytest.param("https://a.test/#", id="empty fragment"),
        pytest.param("https://a.test:0/", id="port 0"),
        pytest.param("https://a.test:65536/", id="port too large"),
        pytest.param("https://a.test:x/", id="port no number"),
        pytest.param("https://a.test/ HTTP/1.1\r\nX: y", id="line end"),
        pytest.param("https://a.test/a b", id="blank"),
        pytest.param("https://a\tb.test/", id="tab"),
        pytest.param("https://a.test/ä", id="beyond ASCII"),
        pytest.param("https://a%2eb.test/", id="escape in a host"),
        pytest.param("https://[fe80::1%25eth0]/", id="scoped v6"),
        pytest.param("https://[::1/", id="half a bracket"),
        pytest.param("https://[v1.x]/", id="another literal"),
    ],
)
def test_a_url_that_two_readers_could_take_for_two_is_not_called(url: str) -> None:
    with pytest.raises(UrlInvalid) as caught:
        place_of(url)

    assert "test" not in str(caught.value)


def test_a_request_is_one_head_with_our_headers_and_its_body() -> None:
    request = Outgoing(method="POST", url="https://a.test/x", headers={"Accept": "text/xml"}, body=b"a=b")

    assert request_bytes(request, place_of(request.url), keep=True) == (
        b"POST /x HTTP/1.1\r\nHost: a.test\r\nAccept: text/xml\r\nAccept-Encoding: identity\r\n"
        b"Content-Length: 3\r\n\r\na=b"
    )


@pytest.mark.parametrize(
    ("method", "length"),
    [pytest.param("GET", False, id="GET"), pytest.param("POST", True, id="POST")],
)
def test_only_a_post_states_the_length_of_no_body(method: str, length: bool) -> None:
    request = Outgoing(method="POST" if method == "POST" else "GET", url="https://a.test/")

    assert (b"Content-Length: 0\r\n" in request_bytes(request, place_of(request.url), keep=True)) is length


def test_a_connection_that_will_not_be_kept_says_so() -> None:
    request = Outgoing(method="GET", url="https://a.test/")

    assert b"\r\nConnection: close\r\n" in request_bytes(request, place_of(request.url), keep=False)


@pytest.mark.parametrize(
    "value", ["a\r\nX: y", "a\nX: y", "a\rX: y", "a\0b"], ids=["crlf", "lf", "cr", "nul"]
)
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_that_would_not_stay_on_its_line_is_never_sent(value: str, place: str) -> None:
    headers = {value: "x"} if place == "name" else {"X-Vault-Token": value}
    request = Outgoing(method="GET", url="https://a.test/", headers=headers)

    with pytest.raises(ValueError, match="line end") as caught:
        request_bytes(request, place_of(request.url), keep=True)

    assert value not in str(caught.value)
