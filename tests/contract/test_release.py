"""What a release is made of and by, in the eyes of programs that judge such things for everybody."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support import components
from tests.support.components import program

ROOT = Path(__file__).parents[2]
_WHY = components.missing("audit")
pytestmark = [
    pytest.mark.requirement("DE-05"),
    pytest.mark.skipif(_WHY is not None and os.environ.get("REQUIRE_REAL") != "1", reason=_WHY or ""),
]


def test_the_bill_of_materials_names_every_locked_package_with_version_and_hashes(tmp_path: Path) -> None:
    pinned = set(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    target = tmp_path / "sbom.json"

    subprocess.run([str(ROOT / "scripts" / "sbom"), str(target)], check=True, capture_output=True)
    bill = json.loads(target.read_text())

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == "oidc-gateway"
    assert {(part["name"], part["version"]) for part in bill["components"]} == pinned
    assert all(reference["hashes"] for part in bill["components"] for reference in part["externalReferences"])


def test_the_workflows_hold_nothing_that_a_linter_of_workflows_knows_to_be_abused() -> None:
    command = [
        program("audit", "zizmor"),
        "--offline",
        "--persona=auditor",
        str(ROOT / ".github" / "workflows"),
    ]

    judged = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (judged.returncode, "No findings to report" in judged.stdout + judged.stderr) == (0, True), (
        judged.stdout
    )
