"""The demo's chapter of the second road: a CI job's token becomes a Vault token, or AWS credentials that Vault issues."""

from collections.abc import Mapping
from http import HTTPMethod
from typing import Final

from gateway.dev.steps import PRESENT, Chapter, CommandStep, HttpStep
from gateway.dev.tokens import TokenOrder

_TESTS: Final = "acme/payments-tests"


def _tests_job(environment: str) -> TokenOrder:
    return TokenOrder(
        issuer="github",
        claims={
            "sub": f"repo:{_TESTS}:environment:{environment}",
            "repository": _TESTS,
            "repository_id": "4712",
            "environment": environment,
            "workflow": "ci",
            "workflow_ref": f"{_TESTS}/.github/workflows/ci.yaml@refs/heads/main",
            "job_workflow_ref": f"{_TESTS}/.github/workflows/ci.yaml@refs/heads/main",
        },
    )


VAULT_TOKENS: Mapping[str, TokenOrder] = {
    "TESTS_TOKEN": _tests_job("ci"),
    "STAGING_TOKEN": _tests_job("staging"),
}


def _exchanged(token: str) -> Mapping[str, str]:
    return {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "subject_token": f"${token}",
        "audience": "payments-ci",
        "requested_token_type": "urn:oidc-gateway:token-type:vault-token",
    }


VAULT_CHAPTER = Chapter(
    title="HashiCorp Vault",
    steps=(
        CommandStep(
            says="An administrator made Vault what the files say: a JWT mount, a role with bound claims, a policy.",
            arguments=("vault", "plan", "--dev", "--config", "$CONFIG", "--token-file", "$VAULT_ROOT_FILE"),
            expect=("Vault is in step with the files.",),
        ),
        HttpStep(
            says="The tests of acme/payments-tests need secrets: their token becomes one of Vault, for 15 minutes.",
            token=None,
            path="/token",
            form=_exchanged("TESTS_TOKEN"),
            status=200,
            expect={
                "issued_token_type": "urn:oidc-gateway:token-type:vault-token",
                "vault_address": "$VAULT_ADDR",
                "access_token": PRESENT,
            },
            show={"issued": "issued_token_type", "target": "target", "expires_in": "expires_in"},
            keep={"JOB_VAULT_TOKEN": "access_token"},
        ),
        HttpStep(
            says="Vault itself accepts it. It carries the policies that the target names, and Vault's default.",
            token=None,
            vault_token="JOB_VAULT_TOKEN",
            server="VAULT_ADDR",
            method=HTTPMethod.GET,
            path="/v1/auth/token/lookup-self",
            status=200,
            expect={"data/policies": ["default", "payments-ci"], "data/meta/role": "payments-ci"},
            show={"role": "data/meta/role", "policies": "data/policies", "ttl": "data/ttl"},
        ),
        HttpStep(
            says="Or AWS credentials that Vault's AWS engine issues. Neither Vault nor AWS knows the gateway.",
            token="TESTS_TOKEN",
            path="/v1/credentials",
            body={"target": "payments-ci"},
            status=200,
            expect={"Version": 1, "SecretAccessKey": PRESENT},
            show={"AccessKeyId": "AccessKeyId", "Expiration": "Expiration"},
        ),
        HttpStep(
            says="The same repository from another environment: refused, and nobody asks Vault.",
            token=None,
            path="/token",
            form=_exchanged("STAGING_TOKEN"),
            status=400,
            expect={
                "code": "claim_mismatch",
                "claims/0/name": "environment",
                "claims/0/value": "staging",
            },
            show={"code": "code", "claim": "claims/0/name", "yours": "claims/0/value"},
        ),
        HttpStep(
            says="Two tokens live in Vault: the administrator's and the job's. What served inside is revoked.",
            token=None,
            vault_token="VAULT_ROOT",
            server="VAULT_ADDR",
            method=HTTPMethod.GET,
            path="/v1/auth/token/accessors?list=true",
            status=200,
            expect={"data/keys/#": 2},
            show={"tokens": "data/keys/#"},
            patience_s=5,  # it is revoked beside the answer
        ),
    ),
)
