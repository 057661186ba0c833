"""What is the same for every route: headers, errors, tokens out of place; and what the gateway says of itself."""

import re
from collections.abc import Mapping

import httpx2
import pytest
from openapi_spec_validator import validate

from gateway.doors.answers import SECURITY_HEADERS
from tests.support.caller import GRANT_TYPE, problem
from tests.support.world import World

EXECUTION = f"/v1/executions/lab-wait/{'a' * 32}-{'b' * 32}"
ROUTES = [
    ("POST", "/v1/executions"),
    ("GET", EXECUTION),
    ("POST", f"{EXECUTION}/stop"),
    ("GET", f"{EXECUTION}/events"),
    ("GET", "/v1/whoami"),
    ("POST", "/v1/whoami"),
    ("POST", "/v1/credentials"),
    ("POST", "/token"),
    ("GET", "/.well-known/oidc-gateway"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/openapi.json"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/nothing/here"),
    ("DELETE", "/v1/executions"),
    ("OPTIONS", "/token"),
    ("TRACE", "/v1/whoami"),
]
# Where tokens are taken.
CALLERS = ROUTES[:8]


def each(routes: list[tuple[str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("method", "path"), routes, ids=[f"{method} {path}" for method, path in routes]
    )


@pytest.mark.requirement("HT-11")
@each(ROUTES)
def test_every_answer_forbids_caching_sniffing_framing_and_foreign_origins(
    world: World, method: str, path: str
) -> None:
    answer = world.ask(method, path, headers={"Origin": "https://evil.example"})

    for name, value in SECURITY_HEADERS:
        assert answer.headers.get_list(name.decode()) == [value.decode()]
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert "set-cookie" not in answer.headers
    assert not re.search(r"\d", answer.headers.get("server", ""))


@pytest.mark.requirement("HT-11")
def test_a_request_id_is_never_the_callers_own(world: World) -> None:
    answer = world.ask("GET", "/livez", headers={"X-Request-Id": "mine"})

    assert answer.headers.get_list("x-request-id") != ["mine"]


@pytest.mark.requirement("HT-12")
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param("GET", "/nothing/here", 404, "not_found", id="no such address"),
        pytest.param("GET", "/v1/whoami/", 404, "not_found", id="a slash too many"),
        pytest.param("GET", "//v1/whoami", 404, "not_found", id="two slashes"),
        pytest.param("DELETE", "/v1/executions", 405, "method_not_allowed", id="another method"),
        pytest.param("PUT", "/token/", 404, "not_found", id="another method and a slash"),
        pytest.param("BREW", "/v1/executions", 400, "request_malformed", id="an unknown method"),
        pytest.param("OPTIONS", "/v1/executions", 405, "method_not_allowed", id="preflight"),
    ],
)
def test_errors_of_the_framework_are_problem_documents(
    world: World, method: str, path: str, status: int, code: str
) -> None:
    answer = world.ask(method, path, world.mint())

    assert (answer.status_code, problem(answer)["code"]) == (status, code)
    assert (status == 405) == ("allow" in answer.headers)
    assert "starlette" not in answer.text.lower()


@pytest.mark.requirement("TV-01")
@each(CALLERS)
@pytest.mark.parametrize("name", ["token", "access_token", "id_token", "subject_token", "assertion", "jwt"])
def test_a_token_in_the_url_is_refused_by_name_wherever_tokens_are_taken(
    world: World, method: str, path: str, name: str
) -> None:
    token = world.mint()

    answer = world.ask(method, f"{path}?{name}={token}", token, body={} if method == "POST" else None)

    document = answer.json()
    assert (answer.status_code, document["code"]) == (400, "token_in_query")
    assert token not in answer.text


@pytest.mark.requirement("TV-01")
@each([("GET", EXECUTION), ("GET", f"{EXECUTION}/events"), ("GET", "/v1/whoami")])
def test_a_cookie_is_never_read(world: World, method: str, path: str) -> None:
    token = world.mint()

    answer = world.ask(method, path, headers={"Cookie": f"token={token}; access_token={token}"})

    assert (answer.status_code, problem(answer)["code"]) == (401, "token_missing")


@pytest.mark.requirement("TV-07")
@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        pytest.param("Basic dXNlcjpwYXNz", 400, "request_malformed", id="basic"),
        pytest.param("Token abc", 400, "request_malformed", id="another scheme"),
        pytest.param("bearer", 401, "token_missing", id="no token"),
        pytest.param("Bearer Bearer a.b.c", 401, "token_malformed", id="the scheme twice"),
        pytest.param('Bearer "a.b.c"', 401, "token_malformed", id="quotes"),
        pytest.param("Bearer  a.b.c", 401, "token_malformed", id="two blanks"),
    ],
)
def test_an_authorization_header_is_not_repaired(world: World, header: str, status: int, code: str) -> None:
    answer = world.ask("GET", "/v1/whoami", headers={"Authorization": header})

    assert (answer.status_code, problem(answer)["code"]) == (status, code)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(world: World, scheme: str) -> None:
    answer = world.ask("GET", "/v1/whoami", headers={"Authorization": f"{scheme} {world.mint()}"})

    assert answer.status_code == 200


# --- What it says of itself ---


def test_clients_find_audience_and_token_endpoint(world: World) -> None:
    answer = world.get("/.well-known/oidc-gateway")

    assert answer.json() == {
        "audiences": ["https://gateway.acme.example"],
        "token_endpoint": f"{world.url}/token",
    }


def test_oauth_metadata_names_what_there_is(world: World) -> None:
    document = world.get("/.well-known/oauth-authorization-server").json()

    assert document["issuer"] == world.url
    assert document["token_endpoint"] == f"{world.url}/token"
    assert document["grant_types_supported"] == [GRANT_TYPE]
    assert document["token_endpoint_auth_methods_supported"] == ["none"]


def test_the_openapi_document_is_valid_and_knows_every_route(world: World) -> None:
    document: dict[str, Mapping[str, object]] = world.get("/openapi.json").json()

    validate(document)
    served = {
        (method.lower(), re.sub(r"/lab-wait/[^/]+", "/{workflow}/{name}", path))
        for method, path in ROUTES[:14]
    }
    described = {
        (method, path)
        for path, operations in document["paths"].items()
        if isinstance(operations, Mapping)
        for method in operations
        if method in ("get", "post")
    }
    assert described == served


def test_health_and_metrics_need_no_token(world: World) -> None:
    alive, ready, metrics = world.get("/livez"), world.get("/readyz"), world.get("/metrics")

    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    document = ready.json()
    assert (ready.status_code, document["status"], document["policy"]) == (200, "ready", "current")
    assert all(issuer["keys"] >= 1 for issuer in document["issuers"].values())
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "oidc_gateway_http_requests_total" in metrics.text


def test_metrics_name_routes_and_never_callers(world: World) -> None:
    world.get(EXECUTION, world.mint())
    world.ask("GET", "/nothing/../secret-path", world.mint())

    text = world.get("/metrics").text

    assert 'route="/v1/executions/{workflow}/{name}"' in text
    for secret in ("secret-path", "acme/payments", "a" * 32):
        assert secret not in text


def test_head_and_expect_are_answered_like_any_client_expects(world: World) -> None:
    head: httpx2.Response = world.client.head("/livez")

    assert (head.status_code, head.content) == (200, b"")
