import os
import stat
from pathlib import Path

import pytest

from gateway.files.source import MAX_BYTES, Source, read_source


def read(folder: Path, file: str = "a.yaml", *, lenient: bool = False) -> Source:
    return read_source(folder.resolve(), file, lenient=lenient)


def only_code(source: Source) -> str:
    (finding,) = source.findings
    return finding.code


@pytest.mark.requirement("MP-04")
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666], ids=oct)
def test_a_file_that_others_can_write_is_refused_by_serve_and_a_warning_for_check(
    tmp_path: Path, mode: int
) -> None:
    (tmp_path / "a.yaml").write_text("x: y\n")
    (tmp_path / "a.yaml").chmod(mode)

    refused, warned = read(tmp_path), read(tmp_path, lenient=True)

    assert only_code(refused) == only_code(warned) == "file_permissions"
    assert (refused.readable, warned.readable) == (False, True)
    assert f"mode {stat.S_IMODE(mode):04o}" in refused.findings[0].message


@pytest.mark.requirement("MP-04")
def test_a_file_of_a_stranger_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("x: y\n")
    os.chown(tmp_path / "a.yaml", 12345, -1)

    assert only_code(read(tmp_path)) == "file_permissions"


@pytest.mark.requirement("MP-04")
def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.yaml")

    assert only_code(read(tmp_path)) == "file_permissions"


@pytest.mark.requirement("MP-04")
@pytest.mark.parametrize("name", ["folder", "device", "dangling", "missing"])
def test_only_regular_files_are_read(tmp_path: Path, name: str) -> None:
    if name == "folder":
        (tmp_path / "a.yaml").mkdir()
    elif name == "device":
        (tmp_path / "a.yaml").symlink_to("/dev/null")
    elif name == "dangling":
        (tmp_path / "a.yaml").symlink_to("nowhere")

    expected = "file_permissions" if name in {"folder", "device"} else "file_missing"

    assert only_code(read(tmp_path)) == expected


@pytest.mark.requirement("MP-04")
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    inside = tmp_path / "config"
    inside.mkdir()
    (tmp_path / "outside.yaml").write_text("x: y\n")
    (inside / "a.yaml").symlink_to("../outside.yaml")

    assert only_code(read(inside)) == "file_outside"


@pytest.mark.requirement("MP-04")
def test_links_inside_the_folder_are_followed_as_a_mounted_configmap_has_them(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_22").mkdir()
    (tmp_path / "..2026_11_22" / "a.yaml").write_text("x: y\n")
    (tmp_path / "..data").symlink_to("..2026_11_22")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    assert read(tmp_path).text == "x: y\n"


@pytest.mark.requirement("MP-04")
def test_a_file_swapped_between_look_and_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "config"
    inside.mkdir()
    (tmp_path / "secret").write_text("x: y\n")
    (inside / "good.yaml").write_text("x: y\n")
    link = inside / "a.yaml"
    link.symlink_to("../secret")
    opened = os.open

    def swap_after_opening(path: str, flags: int) -> int:
        handle = opened(path, flags)
        link.unlink()
        link.symlink_to("good.yaml")
        return handle

    monkeypatch.setattr(os, "open", swap_after_opening)

    assert only_code(read(inside)) == "file_outside"


@pytest.mark.requirement("MP-03")
@pytest.mark.parametrize(("size", "good"), [(MAX_BYTES, True), (MAX_BYTES + 1, False)], ids=["limit", "more"])
def test_a_file_has_at_most_8_mib(tmp_path: Path, size: int, good: bool) -> None:
    (tmp_path / "a.yaml").write_bytes(b"#" * size)

    source = read(tmp_path)

    assert source.readable is good
    assert good or only_code(source) == "file_too_large"


@pytest.mark.requirement("MP-05")
def test_a_file_without_bytes_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"")

    assert only_code(read(tmp_path)) == "file_empty"


@pytest.mark.parametrize(
    ("data", "place", "said"),
    [
        pytest.param(b"a: b\nc: caf\xe9\n", "a.yaml:2:7", "byte 0xE9 at offset 11", id="latin-1"),
        pytest.param(
            "grün: caf".encode() + b"\xff", "a.yaml:1:10", "byte 0xFF at offset 10", id="after-umlaut"
        ),
        pytest.param(b"\xef\xbb\xbfa: b\n", "a.yaml:1:1", "a byte-order mark at offset 0", id="bom"),
        pytest.param("a: b\n".encode("utf-16"), "a.yaml:1:1", "a byte-order mark at offset 0", id="utf-16"),
    ],
)
def test_a_file_that_is_not_utf_8_is_refused_with_the_place_of_the_byte(
    tmp_path: Path, data: bytes, place: str, said: str
) -> None:
    (tmp_path / "a.yaml").write_bytes(data)

    (finding,) = read(tmp_path).findings

    assert finding.code == "file_encoding"
    assert str(finding.place) == place
    assert said in finding.message
