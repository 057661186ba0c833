"""`audit keygen`, `heads` and `verify --key`: what an auditor types, and what they read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.files import journal_files
from gateway.audit.journal import JsonlJournal
from gateway.audit.signing import HeadSigner
from gateway.cli.main import main
from gateway.clock import SystemClock
from gateway.metrics import Metrics
from tests.support.records import INTENT


@pytest.fixture
def key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["audit", "keygen", str(tmp_path / "head.pem")]) == 0
    capsys.readouterr()
    return tmp_path / "head.pem"


async def write(directory: Path, key: Path | None, *, count: int = 3) -> None:
    signer = HeadSigner.load(key) if key else None
    async with JsonlJournal(directory, metrics=Metrics(), clock=SystemClock(), signer=signer) as kept:
        for number in range(count):
            await kept.intend(replace(INTENT, request_id=f"req-{number}"))
            await kept.conclude(replace(INTENT, kind="outcome", request_id=f"req-{number}"))


def verify(directory: Path, key: Path | None, *options: str) -> int:
    keys = ["--key", f"{key}.pub"] if key else []
    return main(["audit", "verify", "--audit", str(directory), *keys, *options])


def heads(directory: Path, capsys: pytest.CaptureFixture[str], to: Path) -> list[str]:
    assert main(["audit", "heads", "--audit", str(directory)]) == 0
    text = capsys.readouterr().out
    to.write_text(text)
    return text.splitlines()


def test_keygen_says_what_each_file_is_for_and_replaces_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "head.pem"

    first, said = main(["audit", "keygen", str(path)]), capsys.readouterr()
    second, complaint = main(["audit", "keygen", str(path)]), capsys.readouterr()

    assert (first, second) == (0, 2)
    assert said.out.splitlines()[:2] == [
        f"Private key: {path} (for audit.signing_key)",
        f"Public key:  {path}.pub (for `audit verify --key`)",
    ]
    assert complaint.err.startswith(
        f"oidc-gateway audit: {path} exists already, and a key is never replaced: name another file. "
    )


@pytest.mark.requirement("AU-03")
async def test_an_auditor_with_the_public_key_and_a_kept_head_finds_a_cut_end(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, kept = tmp_path / "audit", tmp_path / "heads.jsonl"
    await write(directory, key)
    heads(directory, capsys, kept)
    [file] = journal_files(directory)
    lines = list(file.lines())

    whole = verify(directory, key, "--head", str(kept))
    file.path.write_bytes(b"".join(lines[:4]))
    cut = verify(directory, key, "--head", str(kept))

    assert (whole, cut) == (0, 1)
    assert "The chain ends at record 4, but record" in capsys.readouterr().out


async def test_a_line_of_the_log_on_stdin_is_as_good_as_a_file(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "audit"
    await write(directory, key)
    *_, last = heads(directory, capsys, tmp_path / "heads.jsonl")
    log = json.dumps({"message": "audit head", "head": json.loads(last)})
    (tmp_path / "log").write_text(f'{{"message":"request served"}}\n{log}\n')

    with (tmp_path / "log").open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        code = verify(directory, key, "--head", "-")

    assert code == 0


async def test_a_journal_without_signed_heads_is_no_journal_of_that_key(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "audit"
    await write(directory, None)

    assert verify(directory, None) == 0
    assert verify(directory, key) == 1
    assert "audit-000001.jsonl: No head that these keys signed is here" in capsys.readouterr().out
    assert main(["audit", "heads", "--audit", str(directory)]) == 1


async def test_each_worker_s_journal_is_held_against_its_own_heads(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory, kept = tmp_path / "audit", tmp_path / "heads.jsonl"
    for name in ("w1", "w2"):
        await write(directory / name, key)
    heads(directory, capsys, kept)

    intact = verify(directory, key, "--head", str(kept))
    told = capsys.readouterr().out.splitlines()
    [file] = journal_files(directory / "w2")
    file.path.write_bytes(b"".join(list(file.lines())[:3]))
    cut = verify(directory, key, "--head", str(kept))

    assert (intact, cut) == (0, 1)
    assert [line.partition(":")[0] for line in told] == ["w1", "w2"]
    assert "w2/audit-000001.jsonl:3: The chain ends at record 3" in capsys.readouterr().out


async def test_a_journal_that_was_replaced_as_a_whole_is_found_by_its_kept_heads(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "heads.jsonl"
    for name in ("w1", "w2"):
        await write(tmp_path / "old" / name, key)
        await write(tmp_path / "new" / name, key)
    heads(tmp_path / "old", capsys, kept)

    code = verify(tmp_path / "new", key, "--head", str(kept))

    assert code == 1
    assert "heads.jsonl:1: The head is of chain" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            "nonsense\n",
            "heads.jsonl: There is no head in its 1 line. `oidc-gateway audit heads` prints heads",
        ),
        ("{}\n[1]\n", "heads.jsonl: There is no head in its 2 lines. "),
        ("", "heads.jsonl: It is empty. "),
        ("3:0123456789abcdef\n", "heads.jsonl:1: This is no head. It is not all of SEQ:HASH."),
        ('{"head":{"signature":"00"\n', "heads.jsonl:1: This is no head. It is not JSON on one line."),
        (None, "heads.jsonl: No such file or directory"),
    ],
    ids=["nonsense", "none", "empty", "cut-note", "cut-head", "absent"],
)
async def test_a_file_of_heads_that_cannot_be_used_is_named(
    tmp_path: Path, content: str | None, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await write(tmp_path / "audit", None)
    if content is not None:
        (tmp_path / "heads.jsonl").write_text(content)

    code = verify(tmp_path / "audit", None, "--head", str(tmp_path / "heads.jsonl"))

    assert code == 2
    assert complaint in capsys.readouterr().err


async def test_a_private_key_given_as_public_is_named(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await write(tmp_path / "audit", key)

    code = main(["audit", "verify", "--audit", str(tmp_path / "audit"), "--key", str(key)])

    assert code == 2
    assert f"{key} holds no Ed25519 public key in PEM." in capsys.readouterr().err


@pytest.mark.requirement("AU-03")
async def test_heads_are_found_in_whatever_a_process_wrote_to_both_of_its_outputs(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await write(tmp_path / "audit", key)
    kept = tmp_path / "gateway.log"
    heads(tmp_path / "audit", capsys, kept)
    lines = ("Listening on http://127.0.0.1:8080", "{not JSON", '{"message":"draining"}', '"text"')
    kept.write_text("\n".join([*lines[:2], kept.read_text().rstrip("\n"), *lines[2:], ""]))

    code = verify(tmp_path / "audit", key, "--head", str(kept))

    assert code == 0


async def test_a_device_and_a_folder_in_the_place_of_heads_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await write(tmp_path / "audit", None)

    codes = [verify(tmp_path / "audit", None, "--head", name) for name in ("/dev/null", str(tmp_path))]

    assert codes == [2, 2]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("oidc-gateway audit: /dev/null: It is empty. ")
    assert second == f"oidc-gateway audit: {tmp_path} is a folder. Name the file in which heads were kept."
