from pathlib import Path

import pytest

from gateway.files.folder import load_sources
from tests.support.config_folder import GATEWAY, GOOD, PAYMENTS, load, write_folder


def test_all_files_of_the_folder_are_read(tmp_path: Path) -> None:
    sources = load(tmp_path)

    assert sources.findings == ()
    assert [file.file for file in sources.mappings] == ["mappings/ops.yaml", "mappings/payments/deploy.yaml"]
    assert all(file.sound for file in sources.mappings)


def test_targets_may_be_split_into_a_folder(tmp_path: Path) -> None:
    sources = load(tmp_path, {"targets.yaml": None, "targets/a.yaml": GOOD["targets.yaml"]})

    assert [file.file for file in sources.targets] == ["targets/a.yaml"]


def test_tests_of_rules_and_hidden_files_are_no_rules_and_other_files_are_named(tmp_path: Path) -> None:
    sources = load(
        tmp_path,
        {
            "mappings/payments/deploy.test.yaml": "x",
            "mappings/payments/.deploy.yaml.swp": "x",
            "mappings/payments/more.yml": "x",
        },
    )

    assert [(finding.code, finding.severity, finding.place.file) for finding in sources.findings] == [
        ("file_ignored", "warning", "mappings/payments/more.yml")
    ]


@pytest.mark.requirement("MP-04")
def test_a_mounted_configmap_is_read_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "..2026", GOOD)
    (tmp_path / "..data").symlink_to("..2026")
    for name in ("gateway.yaml", "targets.yaml", "mappings"):
        (tmp_path / name).symlink_to(f"..data/{name}")

    sources = load_sources(tmp_path)

    assert sources.findings == ()
    assert len(sources.mappings) == 2


@pytest.mark.requirement("MP-04")
@pytest.mark.parametrize("to", ["/etc", "..", "."], ids=["outside", "above", "circle"])
def test_a_linked_folder_that_leads_outside_or_in_a_circle_is_refused(tmp_path: Path, to: str) -> None:
    folder = tmp_path / "config"
    write_folder(folder, GOOD)
    (folder / "mappings" / "payments" / "link").symlink_to("../../.." if to == ".." else to)

    sources = load_sources(folder)

    assert [finding.code for finding in sources.findings] == ["file_outside"]
    assert all("/etc" not in file.file for file in sources.mappings)


@pytest.mark.parametrize("name", ["/etc/passwd", "../keys.json", "schemas/../../x"])
def test_a_named_file_stays_inside_the_folder(tmp_path: Path, name: str) -> None:
    changed = GATEWAY.replace("preset: auth0", f"preset: auth0\n    jwks_file: {name}")

    sources = load(tmp_path, {"gateway.yaml": changed})

    assert [finding.code for finding in sources.attachments[name].findings] == ["file_outside"]


def test_a_file_whose_bytes_are_unchanged_is_not_parsed_again(tmp_path: Path) -> None:
    before = load(tmp_path)
    write_folder(tmp_path, {"mappings/payments/deploy.yaml": PAYMENTS.replace("PAY-1", "PAY-2")})

    after = load_sources(tmp_path, previous=before)

    assert after.gateway is before.gateway
    assert after.mappings[0] is before.mappings[0]
    assert after.mappings[1] is not before.mappings[1]


@pytest.mark.parametrize("change", ["bytes", "mode", "new-file", "nothing"])
def test_the_fingerprint_tells_whether_there_is_anything_new_to_compile(tmp_path: Path, change: str) -> None:
    before = load(tmp_path).fingerprint
    if change == "bytes":
        write_folder(tmp_path, {"mappings/ops.yaml": GOOD["mappings/ops.yaml"] + "# more\n"})
    elif change == "mode":
        (tmp_path / "mappings/ops.yaml").chmod(0o666)
    elif change == "new-file":
        write_folder(tmp_path, {"mappings/payments/b.yaml": "format: oidc-gateway/mapping.v1\nrules: []\n"})

    assert (load_sources(tmp_path).fingerprint == before) is (change == "nothing")


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        load_sources(tmp_path / "nowhere")
