"""What the lock files promise: nothing is installed whose hash we do not know, and no index is named."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON_LOCKS = [
    ROOT / "requirements.lock",
    *sorted((ROOT / "gateway").rglob("*.lock")),
    *sorted((ROOT / "tests" / "locks").glob("*.txt")),
]
ASKED = [*sorted((ROOT / "gateway").rglob("*.in")), *sorted((ROOT / "tests" / "locks").glob("*.in"))]


def pins(lock: Path) -> list[str]:
    """The logical lines of a lock file that are no comment."""
    joined = lock.read_text().replace("\\\n", " ")
    # As pip reads it: lines are joined first, and what stands behind a # is then nothing, whatever it looks like.
    read = (re.sub(r"(^|\s+)#.*$", "", line) for line in joined.splitlines())
    return [line for line in read if line.strip()]


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda lock: lock.name)
@pytest.mark.requirement("DE-01")
def test_every_package_is_pinned_by_version_and_hash(lock: Path) -> None:
    loose = [line for line in pins(lock) if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", line)]

    assert not loose


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda lock: lock.name)
@pytest.mark.requirement("DE-01")
def test_a_lock_file_names_no_index(lock: Path) -> None:
    assert not re.findall(r"\S+://\S+|--(?:extra-)?index-url.*|--find-links.*", lock.read_text())


def test_npm_s_lock_file_has_hashes_and_no_registry() -> None:
    lock = json.loads((ROOT / "tests" / "locks" / "node" / "package-lock.json").read_text())
    installed = {name: entry for name, entry in lock["packages"].items() if name}

    assert installed
    assert [name for name, entry in installed.items() if "resolved" in entry] == []
    assert [name for name, entry in installed.items() if not entry["integrity"].startswith("sha512-")] == []


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked.name)
def test_what_is_asked_for_is_in_the_lock_file_beside_it(asked: Path) -> None:
    lock = next(path for ending in (".lock", ".txt") if (path := asked.with_suffix(ending)).exists())
    wanted = re.findall(r"^([\w.-]+)(?:\[\w+\])?(?:==([\d.]+[\d]))?", asked.read_text(), flags=re.MULTILINE)

    pinned = dict(line.split(" ", 1)[0].split("==") for line in pins(lock))

    assert wanted
    assert [
        name for name, version in wanted if name not in pinned or not pinned[name].startswith(version)
    ] == []
