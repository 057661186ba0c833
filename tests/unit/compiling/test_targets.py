from pathlib import Path

import pytest

from tests.support.config_folder import GATEWAY, TARGETS, codes, compiled, said

ARN = "arn:aws:iam::111122223333:role/prod"
MACHINE = "arn:aws:states:eu-west-1:111122223333:stateMachine:deploy"


@pytest.mark.requirement("MP-09", "MP-10")
@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:iam::111122223333:role/*",
        "arn:aws:iam::*:role/prod",
        "arn:aws:iam::11112222333:role/prod",
        "arn:aws:iam::111122223333:user/prod",
        "arn:aws:iam::111122223333:role/${repository}",
        "arn:aws-xx:iam::111122223333:role/prod",
        "arn:aws:sts::111122223333:assumed-role/prod/x",
        "prod",
    ],
)
def test_a_role_is_a_complete_literal(tmp_path: Path, arn: str) -> None:
    result = compiled(tmp_path, {"targets.yaml": TARGETS.replace(ARN, arn)})

    assert result.policy is None
    assert said(result) == [("value_invalid", "targets.yaml:3:16")]


@pytest.mark.requirement("MP-09", "MP-10")
@pytest.mark.parametrize(
    ("machine", "code"),
    [
        ("arn:aws:states:*:111122223333:stateMachine:deploy", "value_invalid"),
        ("arn:aws:states:eu-west-1:111122223333:stateMachine:dep*", "value_invalid"),
        ("arn:aws:states:eu-west-1:111122223333:express:deploy", "value_invalid"),
        ("arn:aws:states:cn-north-1:111122223333:stateMachine:deploy", "aws_mismatch"),
        ("arn:aws-us-gov:states:eu-west-1:111122223333:stateMachine:deploy", "aws_mismatch"),
    ],
)
def test_a_state_machine_is_a_complete_literal_in_a_region_of_its_partition(
    tmp_path: Path, machine: str, code: str
) -> None:
    result = compiled(tmp_path, {"targets.yaml": TARGETS.replace(MACHINE, machine)})

    assert result.policy is None
    assert code in codes(result)


@pytest.mark.requirement("MP-10")
@pytest.mark.parametrize(
    ("arn", "problem"),
    [
        ("arn:aws:iam::444455556666:role/prod", "account 444455556666"),
        ("arn:aws-cn:iam::111122223333:role/prod", "partition aws-cn"),
    ],
    ids=["account", "partition"],
)
def test_role_and_machine_of_a_grant_agree(tmp_path: Path, arn: str, problem: str) -> None:
    result = compiled(tmp_path, {"targets.yaml": TARGETS.replace(ARN, arn)})

    assert problem in result.findings[0].message
    assert result.policy is not None
    assert all(grant.verb != "start" for grant in result.policy.rules["payments.deploy"].grants)


@pytest.mark.requirement("MP-10")
def test_credentials_are_handed_out_by_an_sts_of_the_roles_partition(tmp_path: Path) -> None:
    result = compiled(tmp_path, {"gateway.yaml": GATEWAY.replace("eu-west-1", "cn-north-1")})

    assert said(result) == [("aws_mismatch", "mappings/payments/deploy.yaml:9:19")]


@pytest.mark.parametrize("duration", ["14m", "13h", "899s"])
def test_a_session_lasts_as_long_as_sts_allows(tmp_path: Path, duration: str) -> None:
    result = compiled(tmp_path, {"targets.yaml": TARGETS.replace("15m", duration)})

    assert (codes(result), result.policy) == (["value_invalid"], None)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        pytest.param(", teams: [payments] }", " }", "field_missing", id="no-team"),
        pytest.param("teams: [payments] }", "teams: [payment] }", "reference_unknown", id="unknown-team"),
    ],
)
def test_everything_belongs_to_a_team_where_there_are_teams(
    tmp_path: Path, old: str, new: str, code: str
) -> None:
    result = compiled(tmp_path, {"targets.yaml": TARGETS.replace(old, new, 1)})

    assert result.policy is None
    assert codes(result)[-1] == code


def test_without_teams_nobody_writes_teams_and_ids_are_bare(tmp_path: Path) -> None:
    alone = GATEWAY[: GATEWAY.index("teams:")] + GATEWAY[GATEWAY.index("aws:") :]
    bare = TARGETS.replace(", teams: [payments] }", " }").replace(", teams: [payments, ops] }", " }")
    bare = bare.replace("    teams: [payments, ops]\n", "")

    named = compiled(tmp_path, {"gateway.yaml": alone})
    good = compiled(tmp_path, {"gateway.yaml": alone, "targets.yaml": bare})

    assert codes(named) == ["field_unknown"] * 3
    assert good.policy is not None
    assert set(good.policy.rules) == {"deploy", "watch"}


@pytest.mark.parametrize("kind", ["roles", "workflows"])
def test_a_name_stands_once_in_all_target_files(tmp_path: Path, kind: str) -> None:
    entry = {
        "roles": '  prod: { arn: "arn:aws:iam::111122223333:role/other", teams: [payments] }\n',
        "workflows": f'  deploy: {{ state_machine: "{MACHINE}", type: standard, teams: [payments] }}\n',
    }

    result = compiled(
        tmp_path, {"targets/more.yaml": f"format: oidc-gateway/targets.v1\n{kind}:\n{entry[kind]}"}
    )

    assert said(result) == [("name_taken", "targets/more.yaml:3:3")]
    assert "targets.yaml" in result.findings[0].message


def test_a_role_under_two_names_is_pointed_out(tmp_path: Path) -> None:
    result = compiled(tmp_path, {"targets.yaml": TARGETS.replace("role/shared", "role/prod")})

    assert [(finding.code, finding.severity) for finding in result.findings] == [("name_taken", "warning")]


SCHEMA = '{\n  "type": "object",\n  "properties": {"version": {"type": "string", "pattern": "^[0-9]+$"}}\n}\n'


def with_schema(name: str) -> str:
    return TARGETS.replace("    type: standard\n", f"    type: standard\n    input_schema: {name}\n")


@pytest.mark.parametrize(
    ("name", "accepted", "refused"),
    [
        pytest.param("schemas/deploy.json", {"version": "1"}, {"version": "x"}, id="file"),
        pytest.param("any", {"x": [1]}, None, id="any"),
    ],
)
def test_an_input_schema_is_a_file_or_any(
    tmp_path: Path, name: str, accepted: dict[str, object], refused: dict[str, object] | None
) -> None:
    result = compiled(tmp_path, {"targets.yaml": with_schema(name), "schemas/deploy.json": SCHEMA})

    assert result.policy is not None
    schema = result.policy.workflows["deploy"].input_schema
    assert schema.faults(accepted) == ()
    assert refused is None or schema.faults(refused)


def test_without_an_input_schema_only_the_empty_input_is_accepted(tmp_path: Path) -> None:
    result = compiled(tmp_path)

    assert result.policy is not None
    schema = result.policy.workflows["deploy"].input_schema
    assert (schema.faults({}), len(schema.faults({"a": 1}))) == ((), 1)


@pytest.mark.parametrize(
    ("content", "place", "part"),
    [
        pytest.param(SCHEMA.replace('"string"', '"sting"'), "3:38", "/properties/version/type", id="no-type"),
        pytest.param(SCHEMA.replace("^[0-9]+$", "(?=x)"), "3:59", "look-around", id="pattern"),
        pytest.param(
            '{\n  "$ref": "https://x.example/s.json"\n}', "2:11", "stay inside this file", id="network"
        ),
        pytest.param('{\n  "type": "object",\n}', "3:1", "Line 3, column 1", id="trailing-comma"),
        pytest.param(
            '{\n  "title": "' + "9" * 70 + '",\n  "maximum": ' + "9" * 5_000 + "}",
            "3:14",
            "longer than 64 characters",
            id="five-thousand-digits",
        ),
        pytest.param('{"type": "object", "type": "array"}', "1:1", "twice", id="duplicate"),
        pytest.param("[]", "1:1", "not an object", id="list"),
    ],
)
def test_a_schema_that_cannot_be_used_is_said_at_its_place(
    tmp_path: Path, content: str, place: str, part: str
) -> None:
    result = compiled(tmp_path, {"targets.yaml": with_schema("schemas/a.json"), "schemas/a.json": content})

    assert result.policy is None
    assert said(result)[0] == ("schema_unusable", f"schemas/a.json:{place}")
    assert part in result.findings[0].message


def test_a_synchronous_workflow_waits_at_most_five_minutes(tmp_path: Path) -> None:
    sync = TARGETS.replace("type: standard", "type: express-sync\n    timeout: 301s")

    result = compiled(tmp_path, {"targets.yaml": sync})

    assert ("value_invalid", "targets.yaml:9:14") in said(result)
    assert ("aws_mismatch", "mappings/ops.yaml:7:22") in said(result)


@pytest.mark.requirement("KS-06")
@pytest.mark.parametrize(
    ("members", "dev", "expected"),
    [
        pytest.param("emulator: true", False, ["dev_only"], id="emulator"),
        pytest.param("emulator: true", True, [], id="emulator-dev"),
        pytest.param(
            "endpoints: { eu-west-1: { sts: 'http://127.0.0.1:1' } }", False, ["dev_only"], id="http"
        ),
        pytest.param("endpoints: { eu-west-1: { sts: 'http://127.0.0.1:1' } }", True, [], id="http-dev"),
        pytest.param(
            "endpoints: { eu-west-1: { states: 'http://aws' } }", True, ["value_invalid"], id="http-name"
        ),
        pytest.param(
            "endpoints: { eu-west-1: { sts: 'https://vpce.example' } }", False, [], id="vpc-endpoint"
        ),
    ],
)
def test_aws_is_reached_over_https_but_for_dev(
    tmp_path: Path, members: str, dev: bool, expected: list[str]
) -> None:
    result = compiled(tmp_path, {"gateway.yaml": f"{GATEWAY}  {members}\n"}, dev=dev)

    assert codes(result) == expected
    assert (result.policy is None) is bool(expected)
