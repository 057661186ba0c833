"""Remarks: advice about a policy in which nothing is wrong, and silence otherwise."""

from dataclasses import replace

import pytest

from gateway.admin.remarks import remarks_on
from gateway.policy.rule import Rule
from tests.support.policies import is_, policy, rule, start, view

PROD = rule("prod", [is_("repository_id", "4711"), is_("environment", "prod", "prod-eu")], start())


@pytest.mark.requirement("TV-40")
def test_a_ci_rule_for_a_deployment_environment_is_advised_to_count_its_tokens() -> None:
    (remark,) = remarks_on(policy(PROD))

    assert "team.prod" in remark
    assert "replay: once" in remark


def test_many_rules_are_one_remark_that_names_a_few() -> None:
    many = [replace(PROD, id=f"team.r{number}") for number in range(7)]

    (remark,) = remarks_on(policy(*many))

    assert "team.r4, …" in remark
    assert "team.r5" not in remark


@pytest.mark.parametrize(
    "quiet",
    [
        pytest.param(replace(PROD, replay="once"), id="counts-already"),
        pytest.param(rule("any", [is_("repository_id", "4711")], start()), id="no-environment"),
        pytest.param(rule("look", list(PROD.conditions), view()), id="gives-nothing"),
        pytest.param(replace(PROD, issuers=("agents",)), id="another-issuer"),
    ],
)
def test_whoever_needs_no_advice_gets_none(quiet: Rule) -> None:
    assert remarks_on(policy(quiet)) == ()
