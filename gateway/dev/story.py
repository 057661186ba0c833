"""The demo as data: who asks for what, what a person would type, and what must come back."""

from collections.abc import Mapping
from http import HTTPMethod

from gateway.dev.steps import PRESENT, Chapter, CommandStep, HttpStep, ReadStep
from gateway.dev.tokens import TokenOrder

FORGED = "FORGED_TOKEN"

# Shell variables and the tokens they hold.
TOKENS: Mapping[str, TokenOrder] = {
    "CI_TOKEN": TokenOrder(issuer="github"),
    "BRANCH_TOKEN": TokenOrder(issuer="github", claims={"ref": "refs/heads/quick-fix"}),
    FORGED: TokenOrder(issuer="github"),  # signed anew with a key that is not the issuer's
    "AGENT_TOKEN": TokenOrder(issuer="okta-agents"),
    "OPERATOR_TOKEN": TokenOrder(issuer="operators"),
    "PARTNER_TOKEN": TokenOrder(issuer="partners"),
}

_DEPLOY = {"workflow": "deploy-payments", "input": {"version": "1.4.2", "soak_s": 1}}
_REFUSAL = {"code": "code", "title": "title"}
_EXECUTION = {"status": "status", "arn": "arn"}

_CI = Chapter(
    title="A CI job: GitHub Actions",
    steps=(
        HttpStep(
            says="The production job of acme/payments starts a deployment.",
            token="CI_TOKEN",
            key="991-1",
            body=_DEPLOY,
            status=201,
            expect={"status": "RUNNING", "target": "payments-prod", "arn": PRESENT},
            show=_EXECUTION,
            keep={"DEPLOYMENT": "url", "DEPLOYMENT_ARN": "arn"},
        ),
        HttpStep(
            says="It waits for the end; the answer comes as soon as there is one.",
            token="CI_TOKEN",
            method=HTTPMethod.GET,
            path="$DEPLOYMENT?wait_s=50",
            status=200,
            expect={"status": "SUCCEEDED", "done": True, "arn": "$DEPLOYMENT_ARN"},
            show={"status": "status", "ended_at": "ended_at"},
        ),
        HttpStep(
            says="The job is run again: the same key and input are the same execution, not a second one.",
            token="CI_TOKEN",
            key="991-1",
            body=_DEPLOY,
            status=200,
            expect={"status": "SUCCEEDED", "arn": "$DEPLOYMENT_ARN"},
            show=_EXECUTION,
        ),
        HttpStep(
            says="The same key with another input is a mistake, and nothing is started.",
            token="CI_TOKEN",
            key="991-1",
            body={"workflow": "deploy-payments", "input": {"version": "1.5.0"}},
            status=409,
            expect={"code": "idempotency_conflict", "url": "$DEPLOYMENT"},
            show=_REFUSAL,
        ),
        HttpStep(
            says="Without a key a retry could deploy twice, so there is no start without one.",
            token="CI_TOKEN",
            body=_DEPLOY,
            status=400,
            expect={"code": "idempotency_key_missing"},
            show=_REFUSAL,
        ),
        HttpStep(
            says="An input that breaks the workflow's schema is refused before any credential is minted.",
            token="CI_TOKEN",
            key="991-2",
            body={"workflow": "deploy-payments", "input": {"version": "latest"}},
            status=422,
            expect={"code": "input_invalid", "errors/0/path": "/version"},
            show={"code": "code", "where": "errors/0/path", "problem": "errors/0/problem"},
        ),
        HttpStep(
            says="The same repository from another branch: the answer names the claim that failed.",
            token="BRANCH_TOKEN",
            key="992-1",
            body=_DEPLOY,
            status=403,
            expect={
                "code": "claim_mismatch",
                "claims/0/name": "ref",
                "claims/0/value": "refs/heads/quick-fix",
            },
            show={"code": "code", "claim": "claims/0/name", "yours": "claims/0/value"},
            keep={"REFUSED": "request_id"},
        ),
        HttpStep(
            says="A token with the right claims, but signed by somebody else.",
            token=FORGED,
            key="993-1",
            body=_DEPLOY,
            status=401,
            expect={"code": "token_signature_invalid"},
            show=_REFUSAL,
        ),
        HttpStep(
            says="Our rules allow this one, the IAM role's trust policy does not: AWS has the last word.",
            token="CI_TOKEN",
            key="991-3",
            body={"workflow": "migrate-ledger"},
            status=403,
            expect={"code": "aws_denied", "upstream/service": "sts", "upstream/code": "AccessDenied"},
            show={"code": "code", "service": "upstream/service", "answered": "upstream/code"},
        ),
        HttpStep(
            says="For steps that call AWS themselves: credentials by RFC 8693 token exchange.",
            token=None,
            path="/token",
            form={
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "subject_token": "$CI_TOKEN",
                "audience": "payments-prod",
            },
            status=200,
            expect={
                "issued_token_type": "urn:oidc-gateway:token-type:aws-credentials",
                "access_token": PRESENT,
            },
            show={"issued": "issued_token_type", "target": "target", "expires_in": "expires_in"},
        ),
    ),
)

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
            body=_DEPLOY,
            status=404,
            expect={"code": "workflow_unknown"},
            show=_REFUSAL,
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
            show=_EXECUTION,
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
            body=_DEPLOY,
            status=404,
            expect={"code": "workflow_unknown"},
            show=_REFUSAL,
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

STORY = (_CI, _AGENT, _OPERATOR, _PARTNER, _RECORD)
