"""The demo's first chapter, the main job: a CI job starts a workflow, and everything that can be wrong about it."""

from http import HTTPMethod

from gateway.dev.steps import PRESENT, Chapter, HttpStep

FORGED = "FORGED_TOKEN"

DEPLOY = {"workflow": "deploy-payments", "input": {"version": "1.4.2", "soak_s": 1}}
REFUSAL = {"code": "code", "title": "title"}
EXECUTION = {"status": "status", "arn": "arn"}

CI_CHAPTER = Chapter(
    title="A CI job: GitHub Actions",
    steps=(
        HttpStep(
            says="The production job of acme/payments starts a deployment.",
            token="CI_TOKEN",
            key="991-1",
            body=DEPLOY,
            status=201,
            expect={"status": "RUNNING", "target": "payments-prod", "arn": PRESENT},
            show=EXECUTION,
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
            body=DEPLOY,
            status=200,
            expect={"status": "SUCCEEDED", "arn": "$DEPLOYMENT_ARN"},
            show=EXECUTION,
        ),
        HttpStep(
            says="The same key with another input is a mistake, and nothing is started.",
            token="CI_TOKEN",
            key="991-1",
            body={"workflow": "deploy-payments", "input": {"version": "1.5.0"}},
            status=409,
            expect={"code": "idempotency_conflict", "url": "$DEPLOYMENT"},
            show=REFUSAL,
        ),
        HttpStep(
            says="Without a key a retry could deploy twice, so there is no start without one.",
            token="CI_TOKEN",
            body=DEPLOY,
            status=400,
            expect={"code": "idempotency_key_missing"},
            show=REFUSAL,
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
            body=DEPLOY,
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
            body=DEPLOY,
            status=401,
            expect={"code": "token_signature_invalid"},
            show=REFUSAL,
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
