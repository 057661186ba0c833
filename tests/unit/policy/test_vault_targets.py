"""A Vault role is granted and found like an IAM role, by what each of its forms is called."""

import pytest

from gateway.errors import ErrorCode
from gateway.identity.token import Claims
from gateway.policy.decide import Allowed, Denied, decide
from gateway.policy.rule import Grant, Issued, Obtain, Start
from tests.support.policies import is_, policy, rule, workflow
from tests.support.vault_edge import engine, vault_role

TARGET = vault_role(aws=engine())
ARN = "arn:aws:iam::111122223333:role/deployer"
POLICY = policy(
    rule(
        "both",
        [is_("repository_id", "4711")],
        Grant(verb="obtain", workflow=None, target=TARGET, form="aws-credentials"),
        Grant(verb="obtain", workflow=None, target=TARGET, form="vault-token"),
        Grant(verb="start", workflow=workflow(), target=TARGET),
    )
)
CLAIMS = Claims(issuer="github", members={"repository_id": "4711"})


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param("payments-ci", "aws-credentials", id="credentials-by-name"),
        pytest.param(ARN, "aws-credentials", id="credentials-by-the-arn-of-the-engines-role"),
        pytest.param("payments-ci", "vault-token", id="token-by-name"),
    ],
)
def test_what_a_vault_role_yields_is_found_by_its_name_and_its_credentials_by_the_iam_role_too(
    name: str, form: Issued
) -> None:
    decision = decide(CLAIMS, Obtain(target=name, form=form), POLICY, now=0)

    assert isinstance(decision, Allowed)
    assert decision.target == TARGET


def test_a_vault_token_is_not_found_by_the_arn_of_an_iam_role() -> None:
    decision = decide(CLAIMS, Obtain(target=ARN, form="vault-token"), POLICY, now=0)

    assert isinstance(decision, Denied)
    assert decision.code is ErrorCode.TARGET_UNKNOWN


def test_a_workflow_is_started_as_a_vault_role() -> None:
    decision = decide(CLAIMS, Start(workflow="deploy"), POLICY, now=0)

    assert isinstance(decision, Allowed)
    assert decision.target == TARGET
