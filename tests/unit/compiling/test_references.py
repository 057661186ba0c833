"""A name that nothing bears: misspelt by a team, or taken away by its owner."""

from pathlib import Path

import pytest

from gateway.compiling.compiled import Compiled
from tests.support.config_folder import GATEWAY, OPS, PAYMENTS, TARGETS, codes, compiled

FILE = "mappings/payments/deploy.yaml"


def grants(result: Compiled, rule: str = "payments.deploy") -> int:
    assert result.policy is not None
    return len(result.policy.rules[rule].grants) if rule in result.policy.rules else 0


@pytest.mark.requirement("MP-06")
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        pytest.param("issuer: github", "issuer: githb", id="issuer"),
        pytest.param("start: deploy", "start: deploi", id="workflow"),
        pytest.param("as: prod", "as: prd", id="target"),
        pytest.param("obtain: prod", "obtain: prd", id="obtained"),
    ],
)
def test_a_misspelt_name_holds_its_team_back_and_takes_nothing_away(
    tmp_path: Path, right: str, wrong: str
) -> None:
    good = compiled(tmp_path)

    result = compiled(tmp_path, {FILE: PAYMENTS.replace(right, wrong)}, previous=good)

    assert codes(result) == ["reference_unknown"]
    assert result.teams["payments"].state == "held"
    assert result.teams["ops"].state == "current"
    assert grants(result) == 2


@pytest.mark.requirement("MP-06")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(PAYMENTS, id="file-as-it-was"),
        pytest.param(PAYMENTS.replace("why: PAY-1", "why: PAY-2"), id="file-changed-too"),
        pytest.param(PAYMENTS.replace("as: prod", "as: prdo"), id="and-misspelt"),
    ],
)
def test_what_an_owner_removes_is_gone_at_once_whatever_the_team_writes(tmp_path: Path, change: str) -> None:
    good = compiled(tmp_path)
    without = "\n".join(line for line in TARGETS.splitlines() if "role/prod" not in line) + "\n"

    result = compiled(tmp_path, {"targets.yaml": without, FILE: change}, previous=good)

    assert set(codes(result)) == {"reference_unknown"}
    assert grants(result) == 0


def test_a_team_may_change_other_rules_while_one_names_what_its_owner_removed(tmp_path: Path) -> None:
    good = compiled(tmp_path)
    without = "\n".join(line for line in TARGETS.splitlines() if "role/prod" not in line) + "\n"
    removed = compiled(tmp_path, {"targets.yaml": without}, previous=good)
    more = PAYMENTS + PAYMENTS.split("rules:\n")[1].replace("name: deploy", "name: more").replace(
        "as: prod", "as: shared"
    ).replace("      - { obtain: prod }\n", "")

    result = compiled(tmp_path, {"targets.yaml": without, FILE: more}, previous=removed)

    assert result.teams["payments"].state == "current"
    assert grants(result, "payments.more") == 1


def test_at_the_first_start_a_misspelt_name_makes_its_grant_inert_alone(tmp_path: Path) -> None:
    result = compiled(tmp_path, {FILE: PAYMENTS.replace("obtain: prod", "obtain: prd")})

    assert (codes(result), result.inert, grants(result)) == (["reference_unknown"], 1, 1)


@pytest.mark.requirement("MP-01")
def test_rules_are_not_blamed_for_what_gateway_yaml_or_the_targets_get_wrong(tmp_path: Path) -> None:
    teams = GATEWAY.replace("teams:\n", "team:\n")
    issuers = GATEWAY.replace("issuers: [github]", "issuers: [githb]")
    name = GATEWAY.replace("  github:", "  Github:")

    changes: tuple[dict[str, str | bytes | None], ...] = (
        {"gateway.yaml": teams},
        {"gateway.yaml": issuers},
        {"gateway.yaml": name},
        {"targets.yaml": ""},
        {"targets.yaml": None},
        {"mappings/ops.yaml": OPS.replace("issuer:", "isuer:")},
    )

    found = [codes(compiled(tmp_path / str(number), change)) for number, change in enumerate(changes)]

    assert found == [
        ["field_unknown"],
        ["reference_unknown"],
        ["value_invalid"],
        ["file_empty"],
        ["file_missing"],
        ["field_unknown"],
    ]
