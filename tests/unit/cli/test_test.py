"""`oidc-gateway test`: each test beside the rules, what failed in it, and the exit code."""

import json
from pathlib import Path

import pytest

from gateway.cli.main import main
from tests.support.config_folder import GOOD, PAYMENTS, write_folder
from tests.support.gateways import CONFIG

FILE = "mappings/payments/deploy.test.yaml"
CASES = """\
format: oidc-gateway/tests.v1
tests:
  - name: a branch deploys nothing
    issuer: github
    claims: { repository_owner_id: "12", repository_id: "4711", ref: refs/heads/x }
    may_not: [{ start: deploy }]
"""
WIDE = PAYMENTS.replace(", ref: refs/heads/main", "")


def folder(tmp_path: Path, **files: str) -> list[str]:
    named = {"mappings/payments/deploy.yaml": files["rules"]} if "rules" in files else {}
    write_folder(tmp_path, {**GOOD, **named, FILE: files.get("tests", CASES)})
    return ["test", "--config", str(tmp_path)]


@pytest.mark.requirement("MP-13")
def test_the_tests_of_the_example_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--config", str(CONFIG)]) == 0
    assert capsys.readouterr().out.endswith(" tests judged, 0 failed.\n")


@pytest.mark.requirement("MP-13")
def test_a_failing_test_says_what_is_allowed_and_by_which_rule(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(folder(tmp_path, rules=WIDE))

    assert code == 1
    assert capsys.readouterr().out == (
        f"✗ {FILE}: a branch deploys nothing\n"
        "    may start deploy, but must not: rule payments.deploy allows it.\n"
        "1 test judged, 1 failed.\n"
    )


@pytest.mark.requirement("MP-13")
def test_check_reports_a_failing_test_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder(tmp_path, rules=WIDE)

    code = main(["check", str(tmp_path)])

    assert code == 1
    assert f"{FILE}:6:15: error[fixture_failed]" in capsys.readouterr().out


def test_rules_that_cannot_be_read_are_no_passed_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(folder(tmp_path, rules="format: ["))

    assert code == 1
    assert "1 could not be judged: mend the files first." in capsys.readouterr().out


def test_a_test_file_that_cannot_be_read_is_no_passed_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(folder(tmp_path, tests=CASES.replace("may_not", "mustnt")))

    assert code == 1
    assert 'error[field_unknown]: "mustnt"' in capsys.readouterr().out


def test_programs_read_one_object(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main([*folder(tmp_path, rules=WIDE), "--json"])

    assert code == 1
    document = json.loads(capsys.readouterr().out)
    assert document["tests"] == [
        {
            "file": FILE,
            "name": "a branch deploys nothing",
            "passed": False,
            "faults": ["may start deploy, but must not: rule payments.deploy allows it."],
        }
    ]


def test_no_tests_are_said_to_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path, GOOD)

    assert main(["test", "--config", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("There are no tests.")


def test_without_a_folder_nothing_runs(tmp_path: Path) -> None:
    assert main(["test", "--config", str(tmp_path / "no")]) == 2
