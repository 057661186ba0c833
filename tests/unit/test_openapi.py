"""What `/openapi.json` promises is what the gateway does: its routes, codes, statuses and shapes."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.clock import SystemClock
from gateway.credentials.session import AwsCredentials
from gateway.doors.discovery import DiscoveryDoor, openapi_document, server_metadata
from gateway.doors.documents import credentials_document, execution_document, identity_document
from gateway.doors.draining import Draining
from gateway.doors.health import health_routes, readiness
from gateway.doors.problems import TABLE, problem_document, token_error_document, token_error_response
from gateway.doors.reception import STYLES, Style
from gateway.doors.rest import RestDoor
from gateway.doors.routes import door_routes
from gateway.doors.token_endpoint import TokenDoor
from gateway.errors import ErrorCode, FailedClaim, GatewayError, InputFault, Upstream
from gateway.exchange.call import Identity, Shown
from gateway.executions.execution import Execution, Status
from gateway.identity.keys import KeyFault, KeySetState
from gateway.metrics import Metrics
from gateway.policy.holdings import Held, Holdings
from gateway.policy.snapshot import PolicyState
from gateway.secret import Secret
from tests.support import policies
from tests.support.tokens import verified

PUBLIC_URL = "https://gateway.acme.example"
# OpenAPI documents are trees of anything; what they must be is what these tests say.
Document = dict[str, Any]
Operation = tuple[str, str]

#: Answered before any route is found, or by every one of them; the document says them once, as `default`.
ANYWHERE = frozenset(
    {
        ErrorCode.NOT_FOUND,
        ErrorCode.METHOD_NOT_ALLOWED,
        ErrorCode.REQUEST_TIMEOUT,
        ErrorCode.URI_TOO_LONG,
        ErrorCode.HEADERS_TOO_LARGE,
        ErrorCode.HOST_NOT_ALLOWED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.OVERLOADED,
        ErrorCode.DRAINING,
    }
)
WITH_A_BODY = frozenset(
    {ErrorCode.REQUEST_TIMEOUT, ErrorCode.BODY_TOO_LARGE, ErrorCode.UNSUPPORTED_MEDIA_TYPE}
)
OF_A_CALL = frozenset({ErrorCode.REQUEST_MALFORMED, ErrorCode.REQUEST_AMBIGUOUS, ErrorCode.TOKEN_IN_QUERY})
OF_A_START = frozenset(
    {
        ErrorCode.IDEMPOTENCY_KEY_MISSING,
        ErrorCode.IDEMPOTENCY_UNSUPPORTED,
        ErrorCode.IDEMPOTENCY_CONFLICT,
        ErrorCode.INPUT_TOO_LARGE,
        ErrorCode.INPUT_INVALID,
        ErrorCode.WORKFLOW_LIMIT,
        ErrorCode.START_UNKNOWN,
    }
)
OF_AN_EXECUTION = frozenset({ErrorCode.EXECUTION_UNKNOWN, ErrorCode.EXECUTION_UNSUPPORTED})


def stage(*names: str) -> frozenset[ErrorCode]:
    return frozenset(code for code, said in TABLE.items() if said.stage in names)


#: The admin listener's own are never said to callers.
PUBLIC = frozenset(ErrorCode) - stage("admin")
WHO = (
    OF_A_CALL
    | stage("token")
    | {ErrorCode.SUBJECT_DISABLED, ErrorCode.SWITCHES_UNAVAILABLE, ErrorCode.INTERNAL_ERROR}
)
EFFECT = WHO | stage("rule", "aws", "vault", "audit") | {ErrorCode.DEADLINE_EXCEEDED}
LOOK = EFFECT | OF_AN_EXECUTION | {ErrorCode.WORKFLOW_THROTTLED}
OBTAIN = (EFFECT | WITH_A_BODY | stage("replay")) - {ErrorCode.WORKFLOW_UNKNOWN, ErrorCode.WORKFLOW_DISABLED}

#: Every code that a route's own work can end in.
CODES: Mapping[Operation, frozenset[ErrorCode]] = {
    ("post", "/v1/executions"): EFFECT
    | WITH_A_BODY
    | OF_A_START
    | stage("replay")
    | {ErrorCode.WORKFLOW_THROTTLED},
    ("get", "/v1/executions/{workflow}/{name}"): LOOK,
    ("post", "/v1/executions/{workflow}/{name}/stop"): LOOK | WITH_A_BODY,
    ("get", "/v1/executions/{workflow}/{name}/events"): LOOK,
    ("get", "/v1/whoami"): WHO,
    ("post", "/v1/whoami"): WHO | WITH_A_BODY,
    ("post", "/v1/credentials"): OBTAIN,
    ("post", "/token"): OBTAIN | {ErrorCode.GRANT_TYPE_UNSUPPORTED},
}


@pytest.fixture(scope="module")
def document() -> Document:
    return openapi_document(PUBLIC_URL, "1.2.3")


def operations(document: Document) -> Iterator[tuple[Operation, Document]]:
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            yield (method, path), item[method]


def accepts(document: Document, name: str) -> Callable[[object], list[str]]:
    """Return what finds the faults of a value against one of the document's schemas."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    validator = Draft202012Validator(schema)
    return lambda value: [error.message for error in validator.iter_errors(value)]


def members(document: Document, name: str) -> set[str]:
    return set(document["components"]["schemas"][name]["properties"])


def full(code: ErrorCode) -> GatewayError:
    """An error with every particular that an error can have."""
    return GatewayError(
        code,
        "A sentence with “quotes”.",
        hint="What to do.",
        claims=(
            FailedClaim(name="ref", problem="value", value="refs/heads/x"),
            FailedClaim(name="environment", problem="missing"),
        ),
        targets=("payments-ci", "payments-prod"),
        faults=(InputFault(path="/version", problem="pattern"),),
        upstream=Upstream(service="sts", code="AccessDenied", request_id="a1"),
        url="/v1/executions/deploy-payments/a-b",
        retry_after_s=5,
    )


def test_the_document_is_valid_openapi_3_1(document: Document) -> None:
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_the_document_names_this_gateway_and_its_version(document: Document) -> None:
    assert document["servers"] == [{"url": PUBLIC_URL}]
    assert document["info"]["version"] == "1.2.3"


def test_the_document_lists_every_route_and_no_other(document: Document) -> None:
    doors = door_routes(
        rest=RestDoor(None, SystemClock()),  # type: ignore[arg-type]  # no route is called
        token=TokenDoor(None, SystemClock()),  # type: ignore[arg-type]
        discovery=DiscoveryDoor(public_url=lambda: PUBLIC_URL, version="1", policy=None),  # type: ignore[arg-type]
    )
    health = health_routes(metrics=Metrics(), draining=Draining(), policy=lambda: None, keys=lambda: ())

    served = {
        (method.lower(), route.path)
        for route in (*doors, *health)
        for method in (route.methods or set()) - {"HEAD"}  # comes with every GET
    }

    assert {operation for operation, _ in operations(document)} == served


def test_the_document_lists_every_code_and_no_other(document: Document) -> None:
    assert document["components"]["schemas"]["Code"]["enum"] == [str(code) for code in ErrorCode]


def test_every_code_can_be_answered_somewhere() -> None:
    assert ANYWHERE.union(*CODES.values()) == PUBLIC


@pytest.mark.parametrize("operation", CODES, ids=" ".join)
def test_an_operation_lists_the_statuses_it_can_answer_and_no_other(
    document: Document, operation: Operation
) -> None:
    at_token = operation[1] == "/token"
    possible = {
        str(TABLE[code].token_status if at_token else TABLE[code].status) for code in CODES[operation]
    }

    listed = dict(operations(document))[operation]["responses"].keys()

    assert {status for status in listed if status[0] in "45"} == possible


def test_every_operation_says_what_any_request_can_meet(document: Document) -> None:
    silent = [
        operation
        for operation, said in operations(document)
        if said["responses"].get("default") != {"$ref": "#/components/responses/Problem"}
    ]

    assert silent == []


def test_refusals_at_the_token_endpoint_are_documented_in_the_shape_they_have(document: Document) -> None:
    refusals = {
        status: answer["$ref"].rpartition("/")[2]
        for status, answer in document["paths"]["/token"]["post"]["responses"].items()
        if "$ref" in answer
    }

    # A body that comes too slowly is refused on the wire, before anybody knows what it was for.
    assert {status for status, shape in refusals.items() if shape == "Problem"} == {"408", "default"}
    assert set(refusals.values()) == {"Problem", "TokenError"}
    assert STYLES["/token"] == Style(say=token_error_response)


@pytest.mark.parametrize("code", sorted(PUBLIC), ids=str)
@pytest.mark.parametrize(
    ("schema", "say"),
    [("Problem", problem_document), ("TokenError", token_error_document)],
    ids=["native", "token"],
)
def test_every_error_fits_its_schema(
    document: Document, schema: str, say: Callable[[GatewayError, str], dict[str, object]], code: ErrorCode
) -> None:
    faults = accepts(document, schema)

    assert faults(say(GatewayError(code, "A sentence."), "r1")) == []
    assert faults(say(full(code), "r1")) == []


def test_every_member_that_an_error_can_have_is_documented(document: Document) -> None:
    # These belong to starts, which the token endpoint does not make.
    of_starts = {"errors", "url"}

    native = problem_document(full(ErrorCode.INTERNAL_ERROR), "r1").keys()
    token = token_error_document(full(ErrorCode.INTERNAL_ERROR), "r1").keys() - of_starts

    assert members(document, "Problem") == native
    assert members(document, "TokenError") == token


@pytest.mark.parametrize("policy", [None, PolicyState(digest="d", state="stale", loaded_at=0.0, findings=2)])
def test_readiness_fits_its_schema(document: Document, policy: PolicyState | None) -> None:
    keys = KeySetState(
        issuer="github", source="https://…", keys=0, age_s=None, fault=KeyFault.TIMEOUT, version=""
    )

    _, said = readiness(Draining(), policy, (keys,))

    assert accepts(document, "Readiness")(said) == []
    assert said.keys() <= members(document, "Readiness")


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "FAILED"])
def test_an_execution_fits_its_schema(document: Document, status: Status) -> None:
    execution = Execution(
        workflow="deploy",
        name="a-b",
        arn="arn:aws:states:eu-west-1:111122223333:execution:deploy:a-b",
        status=status,
        started_at=1.0,
        ended_at=None if status == "RUNNING" else 2.0,
        output="[1]" if status == "SUCCEEDED" else None,
    )
    workflow = replace(policies.workflow(), output_visible=True)

    said = execution_document(Shown(execution=execution, workflow=workflow, target=policies.role()))

    assert accepts(document, "Execution")(said) == []
    assert said.keys() <= members(document, "Execution")


def test_an_identity_fits_its_schema(document: Document) -> None:
    grants = (Held(grant=policies.start(), replay="once"), Held(grant=policies.obtain(), replay="off"))

    said = identity_document(
        Identity(token=verified("github"), holdings=Holdings(grants=grants), policy="sha256:…")
    )

    assert accepts(document, "Identity")(said) == []
    assert said.keys() == members(document, "Identity")


def test_credentials_fit_their_schema(document: Document) -> None:
    credentials = AwsCredentials(
        access_key_id="ASIAEXAMPLE",
        secret_access_key=Secret("not-a-secret"),
        session_token=Secret("nor-this"),
        expires_at=900.0,
        identity="arn:aws:sts::111122223333:assumed-role/deployer/deployer.0.0",
    )

    said = credentials_document(credentials)

    assert accepts(document, "Credentials")(said) == []
    assert said.keys() == members(document, "Credentials")


def test_the_metadata_of_the_token_endpoint_fits_its_schema(document: Document) -> None:
    assert accepts(document, "ServerMetadata")(server_metadata(PUBLIC_URL)) == []
