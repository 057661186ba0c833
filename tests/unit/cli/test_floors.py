"""The process itself refuses libraries with published holes, whatever installed them."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from gateway.cli.floors import FLOORS, installed_version, refuse_below_floors
from gateway.listening.server import CannotServe

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.requirement("DE-01")


def test_what_is_locked_and_installed_is_above_every_floor() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))

    refuse_below_floors(installed=locked.__getitem__)
    refuse_below_floors()

    assert {name: installed_version(name) for name in FLOORS} == {name: locked[name] for name in FLOORS}


@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize(
    "older",
    [
        pytest.param(lambda floor: f"{floor}rc1", id="candidate of the floor itself"),
        pytest.param(lambda floor: f"{floor}.dev3", id="snapshot of the floor itself"),
        pytest.param(lambda floor: "0.15.99", id="older"),
        pytest.param(lambda floor: "unknown", id="not to be read"),
    ],
)
def test_a_library_below_its_floor_is_named_with_the_reason_and_what_to_install(
    name: str, older: object
) -> None:
    assert callable(older)
    version = older(FLOORS[name].release)

    with pytest.raises(CannotServe) as refused:
        refuse_below_floors(installed={name: version}.get)

    assert refused.value.message == (
        f"{name} {version} is too old: {FLOORS[name].why}. "
        f"Install {name} {FLOORS[name].release} or later, best from requirements.lock."
    )


@pytest.mark.parametrize("version", ["2.15.1", "2.15.1.post1", "2.15.10", "2.16", "3.0rc1", "10"])
def test_the_floor_itself_and_everything_above_is_good(version: str) -> None:
    refuse_below_floors(installed={"pyjwt": version}.get)


def test_what_is_not_installed_has_no_floor() -> None:
    assert installed_version("no-such-distribution") is None
    refuse_below_floors(installed=lambda _: None)


def test_pip_is_told_the_same_floors_as_the_process() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = dict(re.findall(r"^([\w.-]+)>=([\w.]+)", "\n".join(project["dependencies"]), re.MULTILINE))

    assert {name: floor.release for name, floor in FLOORS.items() if name in asked} == {
        name: asked[name] for name in FLOORS if name in asked
    }
    assert {"pyjwt", "starlette"} <= asked.keys()


def test_serve_does_not_begin_below_a_floor() -> None:
    program = (
        "import sys\n"
        "from gateway.cli import floors, main\n"
        "floors.installed_version = lambda _: '0.1'\n"
        "sys.exit(main.main(['serve', '--config', 'config', '--port', '0', '--allow-root']))\n"
    )

    refused = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert (refused.returncode, refused.stdout) == (2, "")
    assert "pyjwt 0.1 is too old" in refused.stderr
