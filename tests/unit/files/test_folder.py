import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.files import folder as loading
from gateway.files.folder import load_sources
from gateway.files.source import Source, read_source
from tests.support.config_folder import GATEWAY, GOOD, OPS, PAYMENTS, TARGETS, load, write_folder


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


def test_a_broken_file_whose_bytes_are_unchanged_is_not_parsed_again(tmp_path: Path) -> None:
    before = load(tmp_path, {"mappings/ops.yaml": "oops: ["})
    write_folder(tmp_path, {"mappings/payments/deploy.yaml": PAYMENTS.replace("PAY-1", "PAY-2")})

    after = load_sources(tmp_path, previous=before)

    assert not before.mappings[0].sound
    assert after.mappings[0] is before.mappings[0]


def test_a_file_that_others_could_write_is_judged_anew(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "mappings/ops.yaml").chmod(0o666)
    before = load_sources(tmp_path)
    (tmp_path / "mappings/ops.yaml").chmod(0o644)

    after = load_sources(tmp_path, previous=before)

    assert (before.mappings[0].sound, after.mappings[0].sound) == (False, True)


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


@pytest.mark.parametrize(
    ("name", "code", "severity", "place"),
    [
        pytest.param(b"x\xff.yaml", "file_encoding", "error", "x\\xff.yaml", id="no-utf-8"),
        pytest.param(b"x\xff.txt", "file_ignored", "warning", "x\\xff.txt", id="no-utf-8-ignored"),
        pytest.param(b"x\x1b[31m.yaml", "value_unsafe_text", "error", "x\\u{1B}[31m.yaml", id="escape"),
        pytest.param(
            b"x\n::error::.yaml", "value_unsafe_text", "error", "x\\u{A}::error::.yaml", id="line-break"
        ),
        pytest.param(
            "x\u202e.yaml".encode(), "value_unsafe_text", "error", "x\\u{202E}.yaml", id="reordered"
        ),
    ],
)
def test_a_file_s_name_is_plain_text_or_the_file_is_not_read(
    tmp_path: Path, name: bytes, code: str, severity: str, place: str
) -> None:
    load(tmp_path)
    Path(os.fsdecode(os.fsencode(tmp_path / "mappings/payments") + b"/" + name)).write_text(PAYMENTS)

    sources = load_sources(tmp_path)

    (finding,) = sources.findings
    assert (finding.code, finding.severity, finding.place.file) == (
        code,
        severity,
        f"mappings/payments/{place}",
    )
    assert len(sources.mappings) == 2
    assert len(sources.fingerprint) == 64


def test_a_folder_s_name_is_plain_text_or_nothing_in_it_is_read(tmp_path: Path) -> None:
    load(tmp_path)
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "mappings") + b"/te\xffam"))
    folder.mkdir()
    (folder / "a.yaml").write_text(PAYMENTS)

    sources = load_sources(tmp_path)

    assert [(one.code, one.place.file) for one in sources.findings] == [
        ("file_encoding", "mappings/te\\xffam")
    ]
    assert len(sources.mappings) == 2


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("schemas/de\\0ploy.json", "value_unsafe_text", id="null-character"),
        pytest.param("sche\\emas/deploy.json", "value_unsafe_text", id="escape-in-a-folder"),
        pytest.param("schemas/" + "a" * 240 + "/deploy", "file_missing", id="long"),
    ],
)
def test_a_named_file_that_no_file_system_can_hold_is_a_finding_where_it_is_named(
    tmp_path: Path, name: str, code: str
) -> None:
    targets = TARGETS.replace("    type: standard\n", f'    type: standard\n    input_schema: "{name}"\n')

    sources = load(tmp_path, {"targets.yaml": targets})

    ((finding,),) = (source.findings for source in sources.attachments.values())
    assert finding.code == code
    assert str(finding.place).startswith("targets.yaml:9:")
    assert len(sources.fingerprint) == 64


@pytest.mark.parametrize("step", ["read_document", "shape_document"])
def test_a_mapping_file_that_finds_a_bug_of_ours_is_a_finding_and_the_others_are_read(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    correct = getattr(loading, step)

    def fail_for_ops(judged: Source, *shape: type) -> object:
        if judged.file == "mappings/ops.yaml" and not any(
            one.code == "internal_fault" for one in judged.findings
        ):
            raise ValueError("a bug of ours")
        return correct(judged, *shape)

    monkeypatch.setattr(loading, step, fail_for_ops)

    sources = load(tmp_path)

    ops, payments = sources.mappings
    assert [finding.code for finding in ops.findings] == ["internal_fault"]
    assert payments.sound
    assert "mapping file could not be parsed" in caplog.messages


# A team's name for a role is widened only together with what the role is allowed: neither version alone is dangerous.
NARROW = {"targets.yaml": TARGETS, "mappings/payments/deploy.yaml": PAYMENTS}
WIDE = {
    "targets.yaml": TARGETS.replace("role/prod", "role/readonly"),
    "mappings/payments/deploy.yaml": PAYMENTS.replace(", ref: refs/heads/main", ""),
}


def versions_of(sources: loading.Sources) -> set[str]:
    """Return which version each file is of that both have."""
    (targets,) = sources.targets
    payments = sources.mappings[-1]
    assert targets.shape is not None
    assert payments.shape is not None
    return {
        "wide" if targets.shape.roles["prod"].arn.endswith("readonly") else "narrow",
        "narrow" if "ref" in payments.shape.rules[0].claims else "wide",
    }


class ChangesWhileRead:
    """Reads files, and lets something happen after the file with a given name was read."""

    def __init__(self, after: str, change: Callable[[], object], *, times: int = 1) -> None:
        self.after = after
        self.change = change
        self.times = times
        self.reads = 0

    def __call__(self, folder: Path, file: str, *, lenient: bool, path: Path | None = None) -> Source:
        source = read_source(folder, file, lenient=lenient, path=path)
        if file == self.after:
            self.reads += 1
            if self.reads <= self.times:
                self.change()
        return source


def config_map(folder: Path) -> None:
    write_folder(folder / "..1", {**GOOD, **NARROW})
    write_folder(folder / "..2", {**GOOD, **WIDE})
    (folder / "..data").symlink_to("..1")
    for name in ("gateway.yaml", "targets.yaml", "mappings"):
        (folder / name).symlink_to(f"..data/{name}")


def swap(folder: Path, to: str) -> None:
    (folder / "..fresh").symlink_to(to)
    (folder / "..fresh").rename(folder / "..data")


@pytest.mark.requirement("MP-06")
@pytest.mark.parametrize("after", ["gateway.yaml", "targets.yaml", "mappings/ops.yaml"])
def test_a_config_map_that_is_swapped_while_it_is_read_is_read_as_one_version(
    tmp_path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_map(tmp_path)
    monkeypatch.setattr(loading, "read_source", ChangesWhileRead(after, lambda: swap(tmp_path, "..2")))

    sources = load_sources(tmp_path)

    assert sources.findings == ()
    assert versions_of(sources) == {"wide"}


@pytest.mark.requirement("MP-06")
def test_a_config_map_that_is_swapped_there_and_back_is_read_as_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config_map(tmp_path)
    swaps = iter(["..2", "..1"])

    def read(folder: Path, file: str, *, lenient: bool, path: Path | None = None) -> Source:
        if file.startswith("mappings/") and (to := next(swaps, None)) is not None:
            swap(tmp_path, to)
        return read_source(folder, file, lenient=lenient, path=path)

    monkeypatch.setattr(loading, "read_source", read)

    assert versions_of(load_sources(tmp_path)) == {"narrow"}


@pytest.mark.requirement("MP-06")
@pytest.mark.parametrize("after", ["targets.yaml", "mappings/ops.yaml"])
def test_files_that_change_while_they_are_read_are_read_again(
    tmp_path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path, dict(NARROW))
    monkeypatch.setattr(loading, "read_source", ChangesWhileRead(after, lambda: write_folder(tmp_path, WIDE)))

    sources = load_sources(tmp_path)

    assert sources.findings == ()
    assert versions_of(sources) == {"wide"}


@pytest.mark.requirement("MP-05", "MP-06")
def test_files_that_never_stop_changing_are_no_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path)
    changing = ChangesWhileRead("mappings/ops.yaml", (tmp_path / "targets.yaml").touch, times=100)
    monkeypatch.setattr(loading, "read_source", changing)

    sources = load_sources(tmp_path)

    assert [(one.code, one.severity, one.place.file) for one in sources.findings] == [
        ("file_changing", "error", "gateway.yaml")
    ]
    assert changing.reads == 5


@pytest.mark.requirement("MP-06")
def test_a_schema_that_changes_with_the_targets_is_of_their_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = TARGETS.replace(
        "    type: standard\n", "    type: standard\n    input_schema: schemas/a.json\n"
    )
    load(tmp_path, {"targets.yaml": targets, "schemas/a.json": "{}"})

    def both() -> None:
        write_folder(tmp_path, {"mappings/ops.yaml": OPS + "# new\n", "schemas/a.json": '{"title": "new"}'})

    monkeypatch.setattr(loading, "read_source", ChangesWhileRead("mappings/payments/deploy.yaml", both))

    sources = load_sources(tmp_path)

    assert "new" in sources.attachments["schemas/a.json"].text
    assert "# new" in sources.mappings[0].document.excerpt(8)


def test_what_else_is_written_in_the_folder_meanwhile_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(tmp_path, {"audit/log": "a"})
    changing = ChangesWhileRead(
        "mappings/ops.yaml", lambda: (tmp_path / "audit/log").write_text("b"), times=100
    )
    monkeypatch.setattr(loading, "read_source", changing)

    sources = load_sources(tmp_path)

    assert (sources.findings, changing.reads) == ((), 1)
