"""Every code is said at every door, in shapes that the standards and our clients know."""

import json

import pytest

from gateway.doors.problems import (
    TABLE,
    problem_document,
    problem_response,
    token_error_document,
    token_error_response,
)
from gateway.errors import (
    AccessDenied,
    ErrorCode,
    FailedClaim,
    GatewayError,
    InputFault,
    RequestRejected,
    TokenRejected,
    Unavailable,
    Upstream,
    UpstreamFailed,
)

CODES = pytest.mark.parametrize("code", list(ErrorCode), ids=str)


def test_every_code_has_its_row_and_every_row_its_code() -> None:
    assert set(TABLE) == set(ErrorCode)


def test_every_title_belongs_to_one_code() -> None:
    titles = [said.title for said in TABLE.values()]

    assert len(set(titles)) == len(titles)


@CODES
def test_every_code_makes_a_problem_document(code: ErrorCode) -> None:
    answer = problem_response(GatewayError(code, "A sentence."), "r1")

    document = json.loads(bytes(answer.body))
    assert answer.status_code == document["status"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert document["type"] == f"urn:oidc-gateway:problem:{code}"
    assert list(document) == [
        "type",
        "title",
        "status",
        "code",
        "stage",
        "retryable",
        "request_id",
        "detail",
    ]


@CODES
def test_the_token_endpoint_never_answers_401_403_or_409(code: ErrorCode) -> None:
    answer = token_error_response(GatewayError(code, "A sentence."), "r1")

    assert answer.status_code in {400, 405, 408, 413, 414, 415, 421, 429, 431, 500, 502, 503, 504}
    assert answer.headers["Content-Type"] == "application/json"
    assert "WWW-Authenticate" not in answer.headers


@CODES
def test_only_what_can_heal_by_itself_is_retryable(code: ErrorCode) -> None:
    said = TABLE[code]

    assert said.retryable == (
        said.status in {408, 429, 503} or code in {ErrorCode.DEADLINE_EXCEEDED, ErrorCode.REQUEST_IN_PROGRESS}
    )


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        (ErrorCode.TOKEN_EXPIRED, 400, "invalid_request"),
        (ErrorCode.CLAIM_MISMATCH, 400, "invalid_request"),
        (ErrorCode.AWS_DENIED, 400, "invalid_target"),
        (ErrorCode.TARGET_UNKNOWN, 400, "invalid_target"),
        (ErrorCode.TARGET_AMBIGUOUS, 400, "invalid_target"),
        (ErrorCode.GRANT_TYPE_UNSUPPORTED, 400, "unsupported_grant_type"),
        (ErrorCode.BODY_TOO_LARGE, 413, "invalid_request"),
        (ErrorCode.UNSUPPORTED_MEDIA_TYPE, 415, "invalid_request"),
        (ErrorCode.KEYS_UNAVAILABLE, 503, "temporarily_unavailable"),
        (ErrorCode.DEADLINE_EXCEEDED, 504, "temporarily_unavailable"),
        (ErrorCode.START_UNKNOWN, 504, "server_error"),
        (ErrorCode.INTERNAL_ERROR, 500, "server_error"),
    ],
)
def test_the_token_endpoint_speaks_oauth(code: ErrorCode, status: int, error: str) -> None:
    answer = token_error_response(GatewayError(code, "A sentence."), "r1")

    assert answer.status_code == status
    assert json.loads(bytes(answer.body))["error"] == error


def test_a_refusal_names_the_claims_that_failed_and_echoes_only_what_the_caller_sent() -> None:
    error = AccessDenied(
        ErrorCode.CLAIM_MISMATCH,
        "No rule allows this identity to start deploy-payments.",
        hint="Compare the claims.",
        claims=(
            FailedClaim(name="ref", problem="value", value="refs/heads/x"),
            FailedClaim(name="environment", problem="missing"),
        ),
    )

    document = problem_document(error, "r1")

    assert document == {
        "type": "urn:oidc-gateway:problem:claim_mismatch",
        "title": "No rule allows this identity to do this.",
        "status": 403,
        "code": "claim_mismatch",
        "stage": "rule",
        "retryable": False,
        "request_id": "r1",
        "detail": "No rule allows this identity to start deploy-payments. Compare the claims.",
        "claims": [
            {"name": "ref", "problem": "value", "value": "refs/heads/x"},
            {"name": "environment", "problem": "missing"},
        ],
    }


@pytest.mark.parametrize(
    ("error", "member", "value"),
    [
        pytest.param(
            AccessDenied(ErrorCode.TARGET_AMBIGUOUS, "Several.", targets=("a", "b")),
            "targets",
            ["a", "b"],
            id="targets",
        ),
        pytest.param(
            RequestRejected(
                ErrorCode.INPUT_INVALID, "No.", faults=(InputFault(path="/v", problem="pattern"),)
            ),
            "errors",
            [{"path": "/v", "problem": "pattern"}],
            id="errors",
        ),
        pytest.param(
            UpstreamFailed(
                ErrorCode.AWS_DENIED,
                "No.",
                upstream=Upstream(service="sts", code="AccessDenied", request_id="u1"),
            ),
            "upstream",
            {"service": "sts", "code": "AccessDenied", "request_id": "u1"},
            id="upstream",
        ),
        pytest.param(
            UpstreamFailed(
                ErrorCode.AWS_UNAVAILABLE, "No.", upstream=Upstream(service="states", code="timeout")
            ),
            "upstream",
            {"service": "states", "code": "timeout"},
            id="upstream-without-an-answer",
        ),
        pytest.param(
            RequestRejected(ErrorCode.IDEMPOTENCY_CONFLICT, "No.", url="/v1/executions/w/n"),
            "url",
            "/v1/executions/w/n",
            id="url",
        ),
        pytest.param(
            Unavailable(ErrorCode.KEYS_UNAVAILABLE, "No.", retry_after_s=7),
            "retry_after_s",
            7,
            id="retry-after",
        ),
    ],
)
def test_particulars_are_the_same_at_both_doors(error: GatewayError, member: str, value: object) -> None:
    native = problem_document(error, "r1")
    token = token_error_document(error, "r1")

    assert native[member] == value
    assert token[member] == value


def test_a_time_to_retry_is_a_header_as_well() -> None:
    error = Unavailable(ErrorCode.KEYS_UNAVAILABLE, "No.", retry_after_s=7)

    assert problem_response(error, "r1").headers["Retry-After"] == "7"
    assert token_error_response(error, "r1").headers["Retry-After"] == "7"


@pytest.mark.parametrize(
    ("code", "challenge"),
    [
        pytest.param(ErrorCode.TOKEN_EXPIRED, 'Bearer error="invalid_token"', id="a-bad-token"),
        pytest.param(ErrorCode.TOKEN_MISSING, "Bearer", id="no-token"),
    ],
)
def test_a_token_fault_challenges_as_rfc_6750_says(code: ErrorCode, challenge: str) -> None:
    answer = problem_response(TokenRejected(code, "A sentence."), "r1")

    assert answer.headers["WWW-Authenticate"] == challenge


def test_an_error_description_keeps_to_the_characters_of_rfc_6749() -> None:
    error = RequestRejected(ErrorCode.REQUEST_MALFORMED, 'Say `a` – not "b\\c"…', hint="Größe.")

    document = token_error_document(error, "r1")

    assert document["error_description"] == "Say 'a' - not 'b/c'... Gr??e."


def test_an_answer_is_one_line_of_ascii_whatever_a_claim_holds() -> None:
    claim = FailedClaim(name="ref", problem="value", value="a\u2028\u202eb\ud800\x1b[31m")

    body = bytes(problem_response(AccessDenied(ErrorCode.CLAIM_MISMATCH, "No.", claims=(claim,)), "r1").body)

    assert body.isascii()
    assert body.endswith(b"\n")
    assert not any(byte < 0x20 for byte in body[:-1])
