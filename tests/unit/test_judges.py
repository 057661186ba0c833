"""What may be passed over for a while, and that releases and scans are made as they say."""

import re
import tomllib
from datetime import date
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml

from tests.support.judges import IGNORED, Ignored, ListInvalid, read_ignored

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TODAY = date(2026, 11, 22)
REASON = "Concerns the client side of it."


@pytest.mark.requirement("DE-02")
def test_an_advisory_is_passed_over_until_its_day_and_for_its_reason() -> None:
    entry = {"id": "GHSA-xxxx", "until": TODAY, "reason": REASON}

    assert read_ignored({"ignore": [entry]}, today=TODAY) == (
        Ignored(id="GHSA-xxxx", until=TODAY, reason=REASON),
    )


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        pytest.param({"until": date(2026, 11, 21)}, "was to be looked at again by 2026-11-21", id="run out"),
        pytest.param({"until": date(2027, 2, 21)}, "90 days are the most", id="for ever"),
        pytest.param({"until": "2026-12-01"}, "needs id, until", id="a day that is none"),
        pytest.param({"reason": ""}, "needs a reason", id="no reason"),
        pytest.param({"reason": "not relevant"}, "needs a reason", id="a word for a reason"),
        pytest.param({"untill": TODAY}, "nothing else", id="misspelt"),
    ],
)
@pytest.mark.requirement("DE-02")
def test_an_entry_that_could_hide_an_advisory_for_ever_is_refused(entry: dict[str, object], why: str) -> None:
    whole = {"id": "GHSA-xxxx", "until": TODAY, "reason": REASON, **entry}

    with pytest.raises(ListInvalid, match=why):
        read_ignored({"ignore": [whole]}, today=TODAY)


@pytest.mark.parametrize("document", [{"ignored": []}, {"ignore": {}}, {"ignore": ["GHSA-xxxx"]}])
@pytest.mark.requirement("DE-02")
def test_a_list_of_another_shape_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ListInvalid):
        read_ignored(document, today=TODAY)


@pytest.mark.requirement("DE-02")
def test_our_own_list_has_the_right_shape() -> None:
    document = tomllib.loads(IGNORED.read_text())

    assert document.keys() <= {"ignore"}


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
@pytest.mark.requirement("DE-05")
def test_a_workflow_names_each_action_by_digest_and_takes_no_right_that_it_does_not_name(
    workflow: Path,
) -> None:
    text = workflow.read_text()
    document = yaml.safe_load(text)

    used = re.findall(r"uses: (\S+)(.*)", text)

    assert document["permissions"] == {}
    assert [name for name, _ in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", name)] == []
    assert [name for name, release in used if not re.fullmatch(r" # v[\d.]+", release)] == []
    assert "secrets." not in text


@pytest.mark.requirement("DE-05")
def test_only_the_step_that_publishes_has_the_identity_that_publishes_and_runs_nothing_of_ours() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]

    rights = {name: job["permissions"] for name, job in jobs.items()}

    assert rights == {"build": {"contents": "read"}, "publish": {"id-token": "write"}}
    assert [step["uses"].split("@")[0] for step in jobs["publish"]["steps"]] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]


@pytest.mark.requirement("DE-05")
def test_a_release_is_built_from_the_lock_files_and_has_attestations_and_a_bill_of_materials() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    steps = jobs["build"]["steps"]
    commands = [line.strip() for step in steps for line in step.get("run", "").splitlines() if line.strip()]
    kept = [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")]
    bill = "scripts/sbom oidc-gateway.cdx.json"

    wheel = next(index for index, line in enumerate(commands) if " pip wheel " in line)

    assert commands[:wheel] == ["scripts/audit-dependencies", "scripts/setup"]
    assert "--no-index --no-deps --no-build-isolation" in commands[wheel]
    assert bill in commands
    assert kept == ["dist/", "oidc-gateway.cdx.json"]
    assert jobs["publish"]["steps"][-1]["with"] == {"attestations": True}


@pytest.mark.requirement("DE-02")
def test_advisories_are_asked_for_every_day_and_with_every_change() -> None:
    # YAML reads the key `on` as true.
    document = yaml.safe_load((ROOT / ".github" / "workflows" / "advisories.yml").read_text())
    triggers, steps = document[True], document["jobs"]["advisories"]["steps"]

    assert triggers.keys() == {"schedule", "push", "pull_request"}
    assert [step["run"] for step in steps if "run" in step] == ["scripts/audit-dependencies"]


@pytest.mark.requirement("DE-06")
def test_no_locked_package_runs_code_at_every_start_of_python() -> None:
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE)

    hooks = [str(file) for name in names for file in _files(name) if str(file).endswith(".pth")]

    assert hooks == []


def _files(name: str) -> list[object]:
    try:
        return list(distribution(name).files or [])
    except PackageNotFoundError:  # for another platform or Python
        return []
