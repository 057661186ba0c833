"""The demo as data: its tokens and chapters; who asks for what, what a person would type, and what must come back."""

from collections.abc import Mapping
from http import HTTPMethod

from gateway.dev.steps import PRESENT, Chapter, CommandStep, HttpStep, ReadStep
from gateway.dev.story_ci import CI_CHAPTER, DEPLOY, EXECUTION, FORGED, REFUSAL
from gateway.dev.story_vault import VAULT_CHAPTER, VAULT_TOKENS
from gateway.dev.tokens import TokenOrder

# Shell variables and the tokens they hold.
TOKENS: Mapping[str, TokenOrder] = {
    "CI_TOKEN": TokenOrder(issuer="github"),
    "BRANCH_TOKEN": TokenOrder(issuer="github", claims={"ref": "refs/heads/quick-fix"}),
    FORGED: TokenOrder(issuer="github"),  # signed anew with a key that is not the issuer's
    **VAULT_TOKENS,
    "AGENT_TOKEN": TokenOrder(issuer="okta-agents"),
    "OPERATOR_TOKEN": TokenOrder(issuer="operators"),
    "PARTNER_TOKEN": TokenOrder(issuer="partners"),
}

_AGENT = Chapter(
    title="An AI agent: Okta",
    steps=(
        HttpStep(
            says="The triage agent starts the one workflow that it may start.",
            token="AGENT_TOKEN",
            key="INC-17",
            body={"workflow": "triage-incident", "input": {"incident": "INC-17"}},
            status=201,
            expect={"target": "incident-agent", "arn": PRESENT},
            show={"status": "status", "arn": "arn"},
            keep={"TRIAGE": "url"},
        ),
        HttpStep(
            says="This workflow's output is visible to whoever started it.",
            token="AGENT_TOKEN",
            method=HTTPMethod.GET,
            path="$TRIAGE?wait_s=20",
            status=200,
            expect={"status": "SUCCEEDED", "output/incident": "INC-17"},
            show={"status": "status", "suspect": "output/suspect"},
        ),
        HttpStep(
            says="It tries to deploy: for an agent that workflow does not exist.",
            token="AGENT_TOKEN",
            key="INC-17-fix",
            body=DEPLOY,
            status=404,
            expect={"code": "workflow_unknown"},
            show=REFUSAL,
        ),
    ),
)

_OPERATOR = Chapter(
    title="A person on call: Amazon Cognito",
    steps=(
        HttpStep(
            says="CI starts a deployment that watches the new version for ten minutes.",
            token="CI_TOKEN",
            key="994-1",
            body={"workflow": "deploy-payments", "input": {"version": "1.5.0", "soak_s": 600}},
            status=201,
            expect={"status": "RUNNING"},
            show=EXECUTION,
            keep={"ROLLOUT": "url"},
        ),
        HttpStep(
            says="The operator may view it, although somebody else started it.",
            token="OPERATOR_TOKEN",
            method=HTTPMethod.GET,
            path="$ROLLOUT",
            status=200,
            expect={"status": "RUNNING", "target": "release-operator"},
            show={"status": "status", "seen as": "target"},
        ),
        HttpStep(
            says="And may stop it.",
            token="OPERATOR_TOKEN",
            path="$ROLLOUT/stop",
            body={"reason": "error rate doubled"},
            status=200,
            expect={"status": "ABORTED"},
            show={"status": "status", "ended_at": "ended_at"},
        ),
        HttpStep(
            says="But not start one.",
            token="OPERATOR_TOKEN",
            key="hotfix",
            body=DEPLOY,
            status=404,
            expect={"code": "workflow_unknown"},
            show=REFUSAL,
        ),
    ),
)

_PARTNER = Chapter(
    title="A partner company: Auth0",
    steps=(
        HttpStep(
            says="Northwind asks who it is here, and what it may do.",
            token="PARTNER_TOKEN",
            method=HTTPMethod.GET,
            path="/v1/whoami",
            status=200,
            expect={
                "issuer_name": "partners",
                "may_start/0/workflow": "quote-payout",
                "may_obtain/0/target": "partner-northwind",
            },
            show={
                "subject": "subject",
                "may start": "may_start/0/workflow",
                "may obtain": "may_obtain/0/target",
            },
        ),
        HttpStep(
            says="It runs a synchronous workflow; the answer carries the result.",
            token="PARTNER_TOKEN",
            body={"workflow": "quote-payout", "input": {"currency": "EUR", "amount_cents": 120000}},
            status=200,
            expect={"status": "SUCCEEDED", "output/fee_cents": 35, "url": None},
            show={"status": "status", "fee_cents": "output/fee_cents"},
        ),
        HttpStep(
            says="It obtains AWS credentials for an hour.",
            token="PARTNER_TOKEN",
            path="/v1/credentials",
            body={"target": "partner-northwind"},
            status=200,
            expect={"Version": 1, "SecretAccessKey": PRESENT},
            show={"AccessKeyId": "AccessKeyId", "Expiration": "Expiration"},
            keep={
                "PARTNER_KEY_ID": "AccessKeyId",
                "PARTNER_SECRET_KEY": "SecretAccessKey",
                "PARTNER_SESSION": "SessionToken",
            },
        ),
        ReadStep(
            says="AWS itself accepts them: Northwind's own report.", key="northwind/2026-10.csv", status=200
        ),
        ReadStep(says="Another partner's report is out of reach.", key="tailspin/2026-10.csv", status=403),
    ),
)

_RECORD = Chapter(
    title="What remains: the record",
    steps=(
        CommandStep(
            says="Every decision above left a record, written before its effect; the chain is whole.",
            arguments=("audit", "verify", "--audit", "$AUDIT"),
            expect=("Intact",),
        ),
        CommandStep(
            says="Why was the job from the other branch refused? An administrator sees what callers do not.",
            arguments=("explain", "$REFUSED", "--audit", "$AUDIT"),
            expect=('ref must be "refs/heads/main"', "payments.prod"),
            fold=("Claims",),
        ),
    ),
)

STORY = (CI_CHAPTER, VAULT_CHAPTER, _AGENT, _OPERATOR, _PARTNER, _RECORD)
