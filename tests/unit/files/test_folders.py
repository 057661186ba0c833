import os
from pathlib import Path

import pytest

from gateway.files.folder import Sources, load_sources
from tests.support.config_folder import GOOD, TARGETS, load, write_folder


def said(sources: Sources) -> list[tuple[str, str, str]]:
    return [(finding.code, finding.severity, finding.place.file) for finding in sources.findings]


@pytest.mark.requirement("MP-04")
@pytest.mark.parametrize(
    ("folder", "place"),
    [
        pytest.param(".", ".", id="configuration"),
        pytest.param("mappings", "mappings", id="mappings"),
        pytest.param("mappings/payments", "mappings/payments", id="team"),
        pytest.param("targets", "targets", id="targets"),
        pytest.param("schemas", "schemas", id="schemas"),
    ],
)
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777], ids=oct)
def test_a_folder_in_which_others_can_replace_files_is_refused_by_serve_and_a_warning_for_check(
    tmp_path: Path, folder: str, place: str, mode: int
) -> None:
    targets = TARGETS.replace(
        "    type: standard\n", "    type: standard\n    input_schema: schemas/a.json\n"
    )
    load(tmp_path, {"targets.yaml": None, "targets/a.yaml": targets, "schemas/a.json": "{}"})
    (tmp_path / folder).chmod(mode)

    assert said(load_sources(tmp_path)) == [("file_permissions", "error", place)]
    assert said(load_sources(tmp_path, lenient=True)) == [("file_permissions", "warning", place)]


@pytest.mark.requirement("MP-04")
def test_a_folder_of_a_stranger_is_refused(tmp_path: Path) -> None:
    load(tmp_path)
    os.chown(tmp_path / "mappings/payments", 12345, -1)

    assert said(load_sources(tmp_path)) == [("file_permissions", "error", "mappings/payments")]


@pytest.mark.requirement("MP-04")
def test_in_a_folder_with_the_sticky_bit_others_cannot_replace_files_and_what_they_add_is_refused(
    tmp_path: Path,
) -> None:
    load(tmp_path)
    (tmp_path / "mappings/payments").chmod(0o1777)
    good = load_sources(tmp_path)
    link = tmp_path / "mappings/payments/added.yaml"
    link.symlink_to("../ops.yaml")
    os.chown(link, 12345, -1, follow_symlinks=False)

    added = load_sources(tmp_path)

    assert said(good) == []
    assert said(added) == [("file_permissions", "error", "mappings/payments/added.yaml")]


@pytest.mark.requirement("MP-04")
def test_the_folders_behind_links_are_judged_too(tmp_path: Path) -> None:
    write_folder(tmp_path / "..1", GOOD)
    (tmp_path / "..data").symlink_to("..1")
    for name in ("gateway.yaml", "targets.yaml", "mappings"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    good = load_sources(tmp_path)
    (tmp_path / "..1").chmod(0o777)

    bad = load_sources(tmp_path)

    assert said(good) == []
    assert said(bad) == [("file_permissions", "error", "..1")]


@pytest.mark.requirement("MP-04")
def test_a_link_to_a_file_elsewhere_in_the_folder_is_as_good_as_the_folder_there(tmp_path: Path) -> None:
    load(tmp_path, {"shared/a/ops.yaml": GOOD["mappings/ops.yaml"], "mappings/ops.yaml": None})
    (tmp_path / "mappings/ops.yaml").symlink_to("../shared/a/ops.yaml")
    (tmp_path / "shared").chmod(0o777)

    assert said(load_sources(tmp_path)) == [("file_permissions", "error", "shared")]


@pytest.mark.requirement("MP-04")
def test_on_a_read_only_mount_nobody_writes_whatever_the_modes_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Kubernetes mounts a ConfigMap so: drwxrwxrwx, and read-only.
    load(tmp_path)
    tmp_path.chmod(0o777)
    mounted = os.statvfs

    def read_only(path: Path) -> os.statvfs_result:
        found = mounted(path)
        return os.statvfs_result((*found[:8], found.f_flag | os.ST_RDONLY, *found[9:]))

    monkeypatch.setattr(os, "statvfs", read_only)

    assert said(load_sources(tmp_path)) == []


@pytest.mark.requirement("MP-04")
def test_a_link_in_a_circle_is_a_finding_and_no_failure(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "mappings/payments/circle.yaml").symlink_to("circle.yaml")

    sources = load_sources(tmp_path)

    assert sources.findings == ()
    assert [one.code for one in sources.mappings[1].findings] == ["file_permissions"]
