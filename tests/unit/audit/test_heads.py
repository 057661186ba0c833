"""Signed heads: whoever has only a kept head and the public key finds a cut end and a chain that was computed anew."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.audit.chain import START, Head, seal
from gateway.audit.document import dump, encode, moment
from gateway.audit.files import journal_files
from gateway.audit.heads import HeadInvalid, Pledge, SignedHead, body, heads_in, read_exported
from gateway.audit.journal import JsonlJournal
from gateway.audit.signing import HeadKeys, HeadSigner, generate
from gateway.audit.verdict import ChainCode, Verdict
from gateway.audit.vouching import Exported, verify_signed
from gateway.clock import SystemClock
from gateway.errors import ConfigurationInvalid
from gateway.metrics import Metrics
from tests.support.records import BOOT, INTENT, NOW, MemoryFile
from tests.unit.audit.test_journal import until

CHAIN = "c0ffeec0ffeec0ff"
OPENING = dump({"v": 1, "kind": "journal", "event": "started", "chain": CHAIN, "file": "audit-000001.jsonl"})


class Pair:
    """A private key and the file of its public half."""

    def __init__(self, folder: Path, name: str) -> None:
        self.private = folder / name
        self.public, self.id = generate(self.private)
        self.signer = HeadSigner.load(self.private)


@pytest.fixture
def ours(tmp_path: Path) -> Pair:
    return Pair(tmp_path, "ours.pem")


@pytest.fixture
def theirs(tmp_path: Path) -> Pair:
    return Pair(tmp_path, "theirs.pem")


def signed(head: Head, pair: Pair, *, chain: str = CHAIN, pledge: Pledge | None = None) -> SignedHead:
    bare = SignedHead(
        chain=chain,
        boot=BOOT,
        file="audit-000001.jsonl",
        head=head,
        at=moment(NOW),
        pledge=pledge or Pledge(),
        key=pair.signer.key,
    )
    return replace(bare, signature=pair.signer.sign(bare.text()))


class Chain:
    """A journal in memory, sealed as the ledger does it."""

    def __init__(self, chain: str = CHAIN, *, at: float = NOW) -> None:
        self.lines: list[bytes] = []
        self.head = START
        self.at = at
        self.put(OPENING.replace(CHAIN, chain))

    def put(self, *bodies: str) -> "Chain":
        for one in bodies:
            line, self.head = seal(one, self.head, boot=BOOT, written_at=moment(self.at))
            self.lines.append(line)
        return self

    def records(self, *names: str) -> "Chain":
        return self.put(*(encode(replace(INTENT, request_id=name)) for name in names))

    def sign(self, pair: Pair, **options: object) -> SignedHead:
        head = signed(self.head, pair, **options)  # type: ignore[arg-type]
        self.put(body(head))
        return head

    def judge(self, *pairs: Pair, kept: tuple[SignedHead, ...] = ()) -> Verdict:
        exported = [Exported(head=head, source="kept", line=n) for n, head in enumerate(kept, start=1)]
        file = MemoryFile(name="audit-000001.jsonl", data=b"".join(self.lines))
        check = HeadKeys([pair.public for pair in pairs]).check if pairs else None
        return verify_signed([file], check=check, exported=exported)


def codes(verdict: Verdict) -> list[tuple[str, int, ChainCode]]:
    return [(finding.file, finding.line, finding.code) for finding in verdict.findings]


def said(verdict: Verdict) -> str:
    return "\n".join(map(str, verdict.findings))


@pytest.mark.requirement("AU-03")
def test_a_chain_with_good_heads_is_intact_with_the_public_key_alone(ours: Pair) -> None:
    chain = Chain().records("a", "b")
    head = chain.sign(ours)

    verdict = chain.judge(ours, kept=(head,))

    assert verdict.findings == ()
    assert verdict.notes == ()


@pytest.mark.requirement("AU-03")
def test_an_end_cut_behind_a_kept_head_is_found(ours: Pair) -> None:
    chain = Chain().records("a", "b", "c")
    early = chain.sign(ours)
    late = chain.records("d", "e").sign(ours)
    del chain.lines[-2:]

    without, with_head = chain.judge(ours), chain.judge(ours, kept=(early, late))

    assert without.findings == ()
    assert said(with_head) == (
        f"audit-000001.jsonl:6: The chain ends at record 6, but record 7 was signed at {moment(NOW)}: its end was cut."
    )


@pytest.mark.requirement("AU-03")
def test_a_chain_computed_anew_is_found_by_the_heads_left_in_it(ours: Pair) -> None:
    honest = Chain().records("a", "b")
    head = honest.sign(ours)
    forged = Chain().records("a", "EDITED").put(body(head))

    verdict = forged.judge(ours)

    assert codes(verdict) == [("audit-000001.jsonl", 3, ChainCode.HEAD_DIFFERENT)]
    assert said(verdict).endswith(f"Record 3 is not the one whose hash was signed at {moment(NOW)}.")
    assert forged.judge().findings[0].code is ChainCode.HEAD_DIFFERENT


@pytest.mark.requirement("AU-03")
def test_a_chain_computed_anew_without_heads_is_found_by_a_kept_head_and_by_their_absence(ours: Pair) -> None:
    honest = Chain().records("a", "b")
    head = honest.sign(ours)
    forged = Chain().records("a", "EDITED", "c")

    assert codes(forged.judge(ours)) == [("audit-000001.jsonl", 0, ChainCode.UNSIGNED)]
    assert codes(forged.judge(ours, kept=(head,))) == [("audit-000001.jsonl", 3, ChainCode.HEAD_DIFFERENT)]
    assert forged.judge().findings == ()


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("later_s", [61 + 60, 3_600], ids=["two minutes", "an hour"])
def test_records_later_than_the_next_promised_head_are_a_finding(ours: Pair, later_s: int) -> None:
    chain = Chain().records("a")
    chain.sign(ours, pledge=Pledge(records=1_000, seconds=60))
    chain.records("b")
    chain.at += later_s
    chain.records("c")

    verdict = chain.judge(ours)

    assert codes(verdict) == [("audit-000001.jsonl", 0, ChainCode.UNSIGNED)]
    assert "2 records stand behind the last signed head" in said(verdict)


def test_records_that_no_head_can_cover_yet_are_a_note(ours: Pair) -> None:
    chain = Chain().records("a")
    chain.sign(ours)
    chain.at += 3_600  # nothing happened for an hour, so nothing had to be signed
    chain.records("b")

    verdict = chain.judge(ours)

    assert verdict.findings == ()
    assert verdict.notes == (
        f"1 records stand behind the last signed head, record 2 of {moment(NOW)}, and are vouched for by their chain alone.",
    )


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"at": moment(NOW + 1)}, id="time"),
        pytest.param({"head": Head(seq=3, hash="0" * 64)}, id="hash"),
        pytest.param({"head": Head(seq=2, hash="0" * 64)}, id="number"),
        pytest.param({"boot": "0" * 16}, id="boot"),
        pytest.param({"file": "audit-000002.jsonl"}, id="file"),
        pytest.param({"pledge": Pledge(records=10**9)}, id="records"),
        pytest.param({"pledge": Pledge(seconds=10**9)}, id="seconds"),
        pytest.param({"signature": b"\0" * 64}, id="signature"),
    ],
)
def test_a_head_of_which_anything_was_changed_is_a_finding(ours: Pair, change: dict[str, object]) -> None:
    chain = Chain().records("a", "b")
    head = replace(signed(chain.head, ours), **change)  # type: ignore[arg-type]
    chain.put(body(head))

    verdict = chain.judge(ours)

    assert codes(verdict)[-2:] == [
        ("audit-000001.jsonl", 4, ChainCode.SIGNATURE_WRONG),
        ("audit-000001.jsonl", 0, ChainCode.UNSIGNED),
    ]


@pytest.mark.requirement("AU-03")
def test_a_foreign_signature_is_found_and_both_keys_of_a_change_are_taken(ours: Pair, theirs: Pair) -> None:
    chain = Chain().records("a")
    chain.sign(theirs)
    chain.records("b").sign(ours)

    assert codes(chain.judge(ours)) == [("audit-000001.jsonl", 3, ChainCode.KEY_UNKNOWN)]
    assert theirs.id in said(chain.judge(ours))
    assert chain.judge(ours, theirs).findings == ()


@pytest.mark.requirement("AU-03")
def test_a_head_that_names_another_key_than_it_was_signed_with_is_found(ours: Pair, theirs: Pair) -> None:
    chain = Chain().records("a")
    chain.put(body(replace(signed(chain.head, theirs), key=ours.id)))

    assert ChainCode.SIGNATURE_WRONG in [finding.code for finding in chain.judge(ours).findings]


@pytest.mark.requirement("AU-03")
def test_a_head_of_another_journal_is_found(ours: Pair) -> None:
    other = Chain("0" * 16).records("a")
    head = other.sign(ours, chain="0" * 16)
    chain = Chain().records("a")
    chain.sign(ours)

    verdict = chain.judge(ours, kept=(head,))

    assert codes(verdict) == [("kept", 1, ChainCode.CHAIN_FOREIGN)]


@pytest.mark.requirement("AU-03")
def test_an_older_state_that_was_put_back_and_went_on_is_found(ours: Pair) -> None:
    chain = Chain().records("a")
    kept = chain.records("b").sign(ours)
    restored = Chain().records("a", "OTHER")
    restored.sign(ours)

    verdict = restored.judge(ours, kept=(kept,))

    assert ChainCode.FORKED in [finding.code for finding in verdict.findings]


def test_without_a_key_everything_works_as_before_and_says_what_was_not_checked(ours: Pair) -> None:
    chain = Chain().records("a")
    chain.sign(ours)

    verdict = chain.judge()

    assert verdict.findings == ()
    assert verdict.notes == ("1 signed heads were not checked: give the public key with --key.",)


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda line: line, id="head"),
        pytest.param(lambda line: f'{{"message":"audit head","head":{line}}}', id="log line"),
        pytest.param(
            lambda line: f'<110>1 2026-11-22T10:17:03Z h oidc-gateway b journal - {{"head":{line}}}',
            id="syslog",
        ),
    ],
)
def test_a_head_is_read_from_wherever_it_was_kept(ours: Pair, wrap: object) -> None:
    head = signed(Head(seq=3, hash="ab" * 32), ours)
    assert callable(wrap)

    assert read_exported(wrap(head.line())) == head


@pytest.mark.parametrize("text", ["nonsense", "", "{", "[1]", "16:20:23 Listening", '{"head":1}'], ids=repr)
def test_a_line_that_is_about_something_else_holds_no_head(text: str) -> None:
    assert read_exported(text) is None


@pytest.mark.parametrize(
    "text", ["3:0123456789ab", '{"head":{"seq":1}}', '{"signature":"x"}', '{"signature":'], ids=repr
)
def test_what_is_no_whole_head_is_named_as_such(text: str) -> None:
    with pytest.raises(HeadInvalid):
        read_exported(text)


# The journal itself.


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


class Later(SystemClock):
    """A clock whose time a test moves on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def journal(directory: Path, pair: Pair, **options: object) -> JsonlJournal:
    return JsonlJournal(
        directory,
        **{"metrics": Metrics(), "clock": SystemClock(), "signer": pair.signer, **options},  # type: ignore[arg-type]
    )


def heads(directory: Path) -> Iterator[SignedHead]:
    for file in journal_files(directory):
        for _, head in heads_in(file.lines()):
            assert isinstance(head, SignedHead)
            yield head


@pytest.mark.requirement("AU-03")
async def test_the_journal_signs_at_start_after_so_many_records_at_rotation_and_at_its_end(
    directory: Path, ours: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway.audit.head")
    kept = journal(directory, ours, pledge=Pledge(records=10, seconds=3_600), max_bytes=30_000)
    async with kept:
        for number in range(60):
            await kept.intend(replace(INTENT, request_id=f"req-{number}"))

    files = journal_files(directory)
    verdict = verify_signed(files, check=HeadKeys([ours.public]).check)
    assert verdict.findings == ()
    assert verdict.notes == ()
    assert verdict.bare.records == 0
    assert len(files) > 2
    for file in files:
        *_, last = file.lines()
        assert b'"event":"head"' in last, "every file ends with a head over all before it"
    written = [head.document() for head in heads(directory)]
    assert [record.__dict__["head"] for record in caplog.records if record.message == "audit head"] == written


@pytest.mark.requirement("AU-03")
async def test_a_record_waits_no_longer_for_a_head_than_promised_and_an_idle_journal_signs_nothing(
    directory: Path, ours: Pair
) -> None:
    clock = Later()
    kept = journal(directory, ours, pledge=Pledge(records=1_000, seconds=60), clock=clock)
    async with kept:
        await until(lambda: len(list(heads(directory))) == 1)
        await kept.intend(INTENT)
        clock.ahead += 61
        await until(lambda: len(list(heads(directory))) == 2)
        clock.ahead += 3_600

        await kept.intend(replace(INTENT, request_id="req-2"))

    assert [head.head.seq for head in heads(directory)] == [1, 3, 5]


async def test_heads_go_on_over_restarts_and_a_changed_key(directory: Path, ours: Pair, theirs: Pair) -> None:
    for pair in (ours, theirs):
        async with journal(directory, pair) as kept:
            kept.refuse(replace(INTENT, kind="refused"))

    keys = HeadKeys([ours.public, theirs.public])
    assert verify_signed(journal_files(directory), check=keys.check).findings == ()
    assert len({head.chain for head in heads(directory)}) == 1


# Keys.


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o604], ids=oct)
def test_a_signing_key_open_to_others_is_refused(ours: Pair, mode: int) -> None:
    ours.private.chmod(mode)

    with pytest.raises(ConfigurationInvalid, match="is open to others"):
        HeadSigner.load(ours.private)


def test_a_key_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"nonsense")
    path.chmod(0o600)

    with pytest.raises(ConfigurationInvalid, match="holds no Ed25519 private key"):
        HeadSigner.load(path)


def test_a_new_key_is_closed_to_others_and_replaces_none(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    public, _ = generate(path)

    with pytest.raises(FileExistsError):
        generate(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"PUBLIC KEY" in public.read_bytes()
