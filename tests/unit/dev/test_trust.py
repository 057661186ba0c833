"""What the roles of the embedded AWS trust: the shipped templates about stand-ins, or what the rules imply."""

import json
from pathlib import Path

from gateway.dev.trust import permissions, provider_name, trust_policy
from tests.support.policies import GITHUB, is_, obtain, policy, role, rule, start, view
from tests.support.vault_edge import engine, vault_role
from tests.support.vault_plans import start_as, vault_policy

_TEMPLATE = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Federated": "arn:aws:iam::111122223333:oidc-provider/real.example/"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    "real.example/:aud": "https://gateway.example",
                    "real.example/:sub": "repo:acme/app:environment:prod",
                    "real.example/:repository_id": "4711",
                }
            },
        }
    ],
}
_STAND_IN = "token.actions.githubusercontent.com"


def test_a_template_is_about_the_stand_in_and_keeps_what_the_emulator_knows(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    (tmp_path / "trust" / "deployer.json").write_text(json.dumps(_TEMPLATE))
    rules = policy(rule("prod", [is_("ref", "x")], start()))

    trust = trust_policy(role().arn, rules, templates=tmp_path, real={"github": "https://real.example/"})

    assert json.loads(trust)["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Federated": f"arn:aws:iam::111122223333:oidc-provider/{_STAND_IN}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{_STAND_IN}:aud": "https://gateway.example",
                    f"{_STAND_IN}:sub": "repo:acme/app:environment:prod",
                }
            },
        }
    ]


def test_a_role_without_a_template_trusts_the_issuers_whose_rules_name_it(tmp_path: Path) -> None:
    rules = policy(rule("prod", [is_("ref", "x")], start()), rule("other", [is_("ref", "y")], obtain("else")))

    trust = json.loads(trust_policy(role().arn, rules, templates=tmp_path, real={"github": GITHUB}))

    assert [one["Condition"] for one in trust["Statement"]] == [
        {"StringEquals": {f"{_STAND_IN}:aud": ["https://gateway.example"]}}
    ]


def test_a_role_that_no_rule_names_is_trusted_to_nobody(tmp_path: Path) -> None:
    rules = policy(rule("prod", [is_("ref", "x")], start()))

    trust = json.loads(trust_policy(role("else").arn, rules, templates=tmp_path, real={"github": GITHUB}))

    assert trust["Statement"] == []


def test_a_role_may_do_what_its_grants_need_and_no_more(tmp_path: Path) -> None:
    rules = policy(rule("prod", [is_("ref", "x")], start("deploy"), view("audit")))

    statements = json.loads(permissions(role().arn, rules, templates=tmp_path))["Statement"]

    assert [(one["Action"][0], one["Resource"].split(":", 5)[5]) for one in statements] == [
        ("states:StartExecution", "stateMachine:deploy"),
        ("states:DescribeExecution", "execution:deploy:*"),
        ("states:DescribeExecution", "execution:audit:*"),
    ]


def test_a_role_behind_vault_is_trusted_to_vaults_own_identity_and_to_no_issuer(tmp_path: Path) -> None:
    target = vault_role(aws=engine())
    rules = vault_policy(rule("prod", [is_("ref", "x")], start_as(target, "deploy")), targets=[target])

    trust = json.loads(trust_policy(role().arn, rules, templates=tmp_path, real={"github": GITHUB}))
    may = json.loads(permissions(role().arn, rules, templates=tmp_path))

    assert [(one["Principal"], one["Action"]) for one in trust["Statement"]] == [
        ({"AWS": "arn:aws:iam::111122223333:root"}, "sts:AssumeRole")
    ]
    assert may["Statement"][0]["Resource"].endswith(":stateMachine:deploy")


def test_a_role_of_both_roads_keeps_its_template_and_is_trusted_to_vault_as_well(tmp_path: Path) -> None:
    (tmp_path / "trust").mkdir()
    by_hand = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:user/vault"}}
    template = {**_TEMPLATE, "Statement": [*_TEMPLATE["Statement"], by_hand]}
    (tmp_path / "trust" / "deployer.json").write_text(json.dumps(template))
    target = vault_role(aws=engine())
    rules = vault_policy(rule("prod", [is_("ref", "x")], start(), start_as(target)), targets=[target])

    trust = json.loads(
        trust_policy(role().arn, rules, templates=tmp_path, real={"github": "https://real.example/"})
    )

    assert [one["Action"] for one in trust["Statement"]] == [
        "sts:AssumeRoleWithWebIdentity",
        "sts:AssumeRole",
    ]


def test_the_emulator_writes_an_issuer_without_scheme_and_closing_slash() -> None:
    assert provider_name("http://127.0.0.1:80/partners/") == "127.0.0.1:80/partners"
