"""Tests beside rules: what they find, and that a rule which breaks a must-not never comes into force."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from gateway.compiling.compile import compile_policy
from gateway.compiling.compiled import Compiled
from gateway.files.folder import load_sources
from gateway.files.source import Finding, FindingCode
from tests.support.config_folder import GOOD, OPS, PAYMENTS, TARGETS, TODAY, write_folder

MUST = """\
format: oidc-gateway/tests.v1
tests:
  - name: main deploys
    issuer: github
    claims: { repository_owner_id: "12", repository_id: "4711", ref: refs/heads/main }
    may:
      - { start: deploy, as: prod }
      - { obtain: prod }
"""
MUST_NOT = """\
format: oidc-gateway/tests.v1
tests:
  - name: a branch deploys nothing
    issuer: github
    claims: { repository_owner_id: "12", repository_id: "4711", ref: refs/heads/x }
    may_not:
      - { start: deploy }
      - { obtain: prod }
"""
WIDE = PAYMENTS.replace(", ref: refs/heads/main", "")
FILE = "mappings/payments/deploy.test.yaml"


def compiled(
    folder: Path, files: Mapping[str, str], previous: Compiled | None = None, *, today: date = TODAY
) -> Compiled:
    for old in folder.rglob("*.yaml"):
        old.unlink()
    write_folder(folder, {**GOOD, "mappings/payments/deploy.yaml": PAYMENTS, **files})
    return compile_policy(load_sources(folder, lenient=True), dev=False, today=today, previous=previous)


def failures(result: Compiled) -> list[Finding]:
    return [one for one in result.findings if one.code is FindingCode.FIXTURE_FAILED]


def rules_of(result: Compiled) -> set[str]:
    return set() if result.policy is None else set(result.policy.rules)


@pytest.mark.requirement("MP-13")
def test_rules_that_do_what_their_tests_say_come_into_force(tmp_path: Path) -> None:
    result = compiled(tmp_path, {FILE: MUST, "mappings/payments/not.test.yaml": MUST_NOT})

    assert failures(result) == []
    assert [case.faults for case in result.cases] == [(), ()]
    assert "payments.deploy" in rules_of(result)


@pytest.mark.requirement("MP-13", "F-30")
def test_a_rule_that_allows_what_must_not_be_stays_out_and_the_last_good_one_stays_in(tmp_path: Path) -> None:
    good = compiled(tmp_path, {FILE: MUST_NOT})

    result = compiled(tmp_path, {FILE: MUST_NOT, "mappings/payments/deploy.yaml": WIDE}, good)

    first, second = failures(result)
    assert str(first.place) == f"{FILE}:7:9"
    assert first.message == (
        '"a branch deploys nothing" may start deploy, but must not: rule payments.deploy allows it.'
    )
    assert second.severity == "error"
    assert result.teams["payments"].state == "held"
    assert result.policy is not None
    assert len(result.policy.rules["payments.deploy"].conditions) == 2


@pytest.mark.requirement("MP-13")
def test_at_the_start_a_team_whose_must_not_fails_has_no_rules_and_others_have_theirs(tmp_path: Path) -> None:
    result = compiled(tmp_path, {FILE: MUST_NOT, "mappings/payments/deploy.yaml": WIDE})

    assert rules_of(result) == {"ops.watch"}


@pytest.mark.requirement("MP-13")
def test_a_must_that_fails_says_which_claim_failed_which_rule_and_holds_nothing_back(tmp_path: Path) -> None:
    other = MUST.replace("refs/heads/main", "refs/heads/master")

    result = compiled(tmp_path, {FILE: other})

    assert failures(result)[0].message == (
        '"main deploys" may not start deploy as prod, but should: claim_mismatch; by rule payments.deploy, '
        'ref is "refs/heads/master", wanted "refs/heads/main".'
    )
    assert result.teams["payments"].state == "current"
    assert "payments.deploy" in rules_of(result)


@pytest.mark.requirement("MP-13")
def test_a_test_file_that_cannot_be_read_holds_its_team_back(tmp_path: Path) -> None:
    good = compiled(tmp_path, {FILE: MUST_NOT})

    result = compiled(tmp_path, {FILE: "format: [", "mappings/payments/deploy.yaml": WIDE}, good)

    assert result.teams["payments"].state == "held"
    assert result.policy is not None
    assert len(result.policy.rules["payments.deploy"].conditions) == 2


@pytest.mark.requirement("MP-13")
def test_what_others_change_so_that_a_must_not_fails_comes_into_force_nowhere(tmp_path: Path) -> None:
    shared = PAYMENTS.replace("prod }", "shared }").replace("obtain: prod", "obtain: shared")
    fixture = MUST_NOT.replace("refs/heads/x", "refs/heads/main").replace("obtain: prod", "obtain: shared")
    narrow = TARGETS.replace("teams: [payments, ops] }", "teams: [ops] }")
    files = {FILE: fixture, "mappings/payments/deploy.yaml": shared}
    good = compiled(tmp_path, {**files, "targets.yaml": narrow})

    result = compiled(tmp_path, files, good)

    assert failures(good) == []
    assert failures(result)
    assert result.policy is None
    assert result.kept == good.kept


@pytest.mark.requirement("MP-13")
def test_a_new_must_not_that_the_rules_in_force_break_holds_only_its_own_team(tmp_path: Path) -> None:
    good = compiled(tmp_path, {"mappings/payments/deploy.yaml": WIDE})

    result = compiled(tmp_path, {FILE: MUST_NOT, "mappings/payments/deploy.yaml": WIDE}, good)

    assert result.policy is not None
    assert result.teams["payments"].state == "held"
    assert result.teams["ops"].state == "current"


@pytest.mark.requirement("MP-13")
@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        pytest.param("start: deploy", "start: deplyo", "7:18", id="workflow"),
        pytest.param("obtain: prod", "obtain: prdo", "8:19", id="target"),
        pytest.param("issuer: github", "issuer: gihtub", "4:13", id="issuer"),
    ],
)
def test_a_must_not_about_a_name_that_nothing_bears_guards_nothing_and_is_said(
    tmp_path: Path, old: str, new: str, place: str
) -> None:
    result = compiled(tmp_path, {FILE: MUST_NOT.replace(old, new)})

    (found,) = [one for one in result.findings if one.code is FindingCode.REFERENCE_UNKNOWN]
    assert str(found.place) == f"{FILE}:{place}"
    assert found.fix.startswith("Did you mean ")


@pytest.mark.requirement("MP-13")
def test_several_targets_to_choose_from_are_as_good_as_one_for_a_must_not(tmp_path: Path) -> None:
    both = PAYMENTS.replace(
        "      - { obtain: prod }", "      - { start: deploy, as: shared }\n      - { obtain: prod }"
    )
    fixture = MUST_NOT.replace("refs/heads/x", "refs/heads/main").replace("      - { obtain: prod }\n", "")

    result = compiled(tmp_path, {FILE: fixture, "mappings/payments/deploy.yaml": both})

    assert "as prod or as shared" in failures(result)[0].message


@pytest.mark.requirement("MP-13")
def test_a_test_can_be_about_another_day(tmp_path: Path) -> None:
    rules = PAYMENTS.rstrip("\n") + '\n    last_day: "2027-01-31"\n'
    fixture = MUST_NOT.replace("refs/heads/x", "refs/heads/main") + '    today: "2027-02-01"\n'

    assert failures(compiled(tmp_path, {FILE: fixture, "mappings/payments/deploy.yaml": rules})) == []


@pytest.mark.requirement("MP-13")
def test_a_team_is_judged_by_its_own_rules_alone(tmp_path: Path) -> None:
    ops = OPS.replace("issuer: partners", "issuer: github").replace(
        "{ sub: nw7@clients }", '{ repository_id: "4711", ref: refs/heads/x }'
    )
    fixture = MUST_NOT.replace("- { start: deploy }", "- { view: deploy }")

    result = compiled(tmp_path, {FILE: fixture, "mappings/ops.yaml": ops})

    assert failures(result) == []


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        pytest.param(
            "may_not:", "mustnt:", FindingCode.FIELD_UNKNOWN, '"mustnt" is not known in', id="misspelt"
        ),
        pytest.param(
            "    may_not:\n      - { start: deploy }\n      - { obtain: prod }\n",
            "",
            FindingCode.VALUE_INVALID,
            "This test asks nothing.",
            id="asks-nothing",
        ),
        pytest.param(
            "{ start: deploy }",
            "{ start: deploy, obtain: prod }",
            FindingCode.VALUE_INVALID,
            "A grant is exactly one power.",
            id="two-verbs",
        ),
        pytest.param(
            "{ obtain: prod }",
            "{ obtain: prod, as: prod }",
            FindingCode.VALUE_INVALID,
            "obtain names the target itself.",
            id="as-beside-obtain",
        ),
        pytest.param("tests.v1", "tests.v2", FindingCode.FORMAT_UNKNOWN, "The format is", id="format"),
        pytest.param("    issuer: github\n", "", FindingCode.FIELD_MISSING, "has no issuer", id="missing"),
    ],
)
def test_a_mistake_in_a_test_file_is_said_once_with_its_place(
    tmp_path: Path, old: str, new: str, code: FindingCode, message: str
) -> None:
    result = compiled(tmp_path, {FILE: MUST_NOT.replace(old, new, 1)})

    found = [one for one in result.findings if one.place.file == FILE and one.code is code]
    assert len(found) == 1
    assert message in found[0].message
    assert all(one.code is not FindingCode.FIXTURE_FAILED for one in result.findings)


@pytest.mark.requirement("MP-13")
def test_a_must_that_fails_because_of_a_misspelt_name_is_not_said_a_second_time(tmp_path: Path) -> None:
    misspelt = PAYMENTS.replace("start: deploy,", "start: deplyo,")

    result = compiled(tmp_path, {FILE: MUST, "mappings/payments/deploy.yaml": misspelt})

    assert [one.code for one in result.findings] == [FindingCode.REFERENCE_UNKNOWN]
    assert result.cases[0].faults


@pytest.mark.requirement("MP-01", "MP-13")
@pytest.mark.parametrize(
    "rules",
    [pytest.param(PAYMENTS, id="good-rules"), pytest.param(f"{PAYMENTS}    odd: 1\n", id="bad-rules")],
)
def test_every_mistake_of_a_file_of_tests_is_named_at_once(tmp_path: Path, rules: str) -> None:
    spoilt = (
        MUST.replace("issuer: github", "issuer: githb")
        .replace("start: deploy", "start: deplyo")
        .replace("obtain: prod", "obtain: prdo")
        .replace("    may:", "    may_nott: []\n    may:")
    )

    result = compiled(tmp_path, {FILE: spoilt, "mappings/payments/deploy.yaml": rules})

    named = [(one.code, one.place.line) for one in result.findings if one.place.file == FILE]
    assert sorted(named) == [
        (FindingCode.FIELD_UNKNOWN, 6),
        (FindingCode.REFERENCE_UNKNOWN, 4),
        (FindingCode.REFERENCE_UNKNOWN, 8),
        (FindingCode.REFERENCE_UNKNOWN, 9),
    ]
