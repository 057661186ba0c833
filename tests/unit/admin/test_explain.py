from dataclasses import replace
from pathlib import Path

import pytest

from gateway.admin.advice import ADVICE
from gateway.admin.explain import as_json, as_text, explain
from gateway.audit.record import Record
from gateway.errors import ErrorCode
from gateway.policy.claims import MISSING, ClaimCheck
from gateway.policy.rule import Operator
from tests.support.records import ADMIN, EXECUTION, INTENT, OUTCOME, REFUSAL, SESSION

GOLDEN = Path(__file__).parents[2] / "golden" / "explain"

UNVERIFIED = Record(
    kind="refused",
    request_id="req-7",
    at=INTENT.at,
    act="obtain",
    policy=INTENT.policy,
    code=ErrorCode.TOKEN_ISSUER_UNKNOWN,
    token=INTENT.token,
    token_bytes=900,
    object="payments-prod",
)
REQUIRED = replace(
    REFUSAL,
    rules=(),
    checks=(
        ClaimCheck(
            claim="repository_owner_id",
            outcome="type",
            presented=12,
            wanted=("12",),
            operator=Operator.EQUALS,
        ),
    ),
)
NO_RULE_NEAR = replace(
    REFUSAL,
    rules=(),
    checks=(
        ClaimCheck(
            claim="repository", outcome="value", presented="acme/other", wanted=(), operator=Operator.EQUALS
        ),
        ClaimCheck(
            claim="environment", outcome="missing", presented=MISSING, wanted=(), operator=Operator.EQUALS
        ),
    ),
)
STORIES = {
    "no_rule_near": (NO_RULE_NEAR,),
    "allowed": (INTENT, OUTCOME),
    "repeated": (INTENT, replace(OUTCOME, existed=True, rules=("payments.prod", "payments.hotfix"))),
    "nearest_rule": (REFUSAL,),
    "issuer_requires": (REQUIRED,),
    "not_verified": (UNVERIFIED,),
    "aws_denied": (
        INTENT,
        replace(
            INTENT,
            kind="outcome",
            code=ErrorCode.AWS_DENIED,
            upstream="sts:AccessDenied:4b1e7f0a-0000-4000-8000-0",
        ),
    ),
    "unfinished": (INTENT,),
    "audit_too_slow": (INTENT, replace(INTENT, kind="refused", code=ErrorCode.AUDIT_UNAVAILABLE)),
    "administration": (ADMIN,),
    "replayed": (
        replace(
            INTENT,
            kind="refused",
            code=ErrorCode.TOKEN_REPLAYED,
            earlier="req-0",
            earlier_at=INTENT.at - 61,
        ),
    ),
    "unknown": (INTENT, replace(INTENT, kind="unknown")),
    "found": (
        INTENT,
        replace(INTENT, kind="unknown"),
        replace(INTENT, kind="found", execution=EXECUTION, status="RUNNING", found_by="req-9"),
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_the_story_of_a_request_reads_as_its_golden_file(name: str) -> None:
    told = as_text(explain(STORIES[name]))

    assert told == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_every_golden_file_belongs_to_a_story() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(STORIES)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_has_advice_for_administrators(code: ErrorCode) -> None:
    assert ADVICE[code].endswith(".")


def test_a_refusal_as_json_names_each_check_with_what_was_wanted_and_presented() -> None:
    document = as_json(explain([REFUSAL]))

    assert document["result"] == "refused"
    assert document["rules"] == ["payments.prod"]
    assert document["checks"] == [
        {
            "claim": "repository",
            "operator": "equals",
            "wanted": ["acme/payments"],
            "presented": "acme/payments",
            "outcome": "matched",
            "matched": True,
        },
        {
            "claim": "ref",
            "operator": "equals",
            "wanted": ["refs/heads/main"],
            "presented": "refs/heads/x",
            "outcome": "value",
            "matched": False,
        },
        {
            "claim": "environment",
            "operator": "any_of",
            "wanted": ["prod", "prod-eu"],
            "presented": None,
            "outcome": "missing",
            "matched": False,
        },
    ]


def test_a_start_as_json_names_session_and_execution() -> None:
    document = as_json(explain([INTENT, OUTCOME]))

    assert (document["result"], document["session"], document["execution"]) == ("done", SESSION, EXECUTION)
    assert document["next"] is None


def test_every_explanation_as_json_has_the_same_members() -> None:
    documents = [as_json(explain(records)) for records in STORIES.values()]

    assert len({tuple(document) for document in documents}) == 1


def test_no_text_of_a_caller_moves_the_cursor_or_adds_a_line() -> None:
    evil = "x\n\x1b[2J\u202e\x85Rule: forged"
    record = replace(
        REFUSAL,
        claims=((evil, evil),),
        user_agent=evil,
        object=evil,
        request_id=evil,
        upstream=f"sts:{evil}:{evil}",
    )

    told = as_text(explain([record]))

    assert all(line.isprintable() for line in told.split("\n"))
    assert told.count("\n") == as_text(
        explain([replace(REFUSAL, claims=(("a", 1),), upstream="a:b:c")])
    ).count("\n")
