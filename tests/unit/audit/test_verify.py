import hashlib
from dataclasses import replace

import pytest

from gateway.audit.chain import START, Head, seal, unseal
from gateway.audit.document import dump, moment
from gateway.audit.verdict import ChainCode, Verdict
from gateway.audit.verify import verify
from tests.support.records import BOOT, INTENT, NOW, OUTCOME, REFUSAL, MemoryFile, chained

LINES, HEAD = chained([replace(INTENT, request_id=f"req-{n}") for n in range(1, 7)])


def judge(*files: bytes, partial: bool = False, noted: tuple[Head, ...] = ()) -> Verdict:
    named = [MemoryFile(name=f"audit-{n:06}.jsonl", data=data) for n, data in enumerate(files, start=1)]
    return verify(named, partial=partial, noted=noted)


def joined(*numbers: int) -> bytes:
    return b"".join(LINES[number - 1] for number in numbers)


def codes(verdict: Verdict) -> list[tuple[str, int, ChainCode]]:
    return [(finding.file[-7:-6], finding.line, finding.code) for finding in verdict.findings]


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("cut", range(7))
def test_an_untouched_chain_is_intact_however_it_is_spread_over_files(cut: int) -> None:
    verdict = judge(joined(*range(1, cut + 1)), joined(*range(cut + 1, 7)))

    assert verdict.findings == ()
    assert verdict.notes == ()
    assert (verdict.records, verdict.head) == (6, HEAD)


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80], ids=["neighbour", "case", "high"])
def test_every_changed_byte_is_found(bit: int) -> None:
    whole = bytearray(joined(1, 2))
    unseen = []

    for place in range(len(whole)):
        whole[place] ^= bit
        if not judge(bytes(whole), joined(3)).findings:
            unseen.append(place)
        whole[place] ^= bit

    assert unseen == []


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("replacement", [b"\n", b"\0", b"}", b"x", b" "], ids=repr)
def test_every_byte_of_the_last_line_that_is_replaced_is_found(replacement: bytes) -> None:
    line = LINES[0]

    unseen = [
        place
        for place in range(len(line))
        if line[place : place + 1] != replacement
        and not judge(line[:place] + replacement + line[place + 1 :]).findings
    ]

    assert unseen == []


@pytest.mark.requirement("AU-03")
def test_every_removed_and_every_inserted_byte_is_found() -> None:
    line = LINES[1]

    def found(changed: bytes) -> bool:
        return bool(judge(LINES[0] + changed, LINES[2]).findings)

    assert [place for place in range(len(line)) if not found(line[:place] + line[place + 1 :])] == []
    assert [place for place in range(len(line) + 1) if not found(line[:place] + b" " + line[place:])] == []


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param((2, 3, 4, 5, 6), [("1", 1, ChainCode.MISSING)], id="first-removed"),
        pytest.param((1, 2, 4, 5, 6), [("1", 3, ChainCode.MISSING)], id="one-removed"),
        pytest.param((1, 5, 6), [("1", 2, ChainCode.MISSING)], id="three-removed"),
        pytest.param((1, 3, 2, 4, 5, 6), [("1", 3, ChainCode.DISPLACED)], id="two-swapped"),
        pytest.param((1, 2, 3, 4, 6, 5), [("1", 6, ChainCode.DISPLACED)], id="last-two-swapped"),
        pytest.param((2, 1, 3, 4, 5, 6), [("1", 2, ChainCode.DISPLACED)], id="first-two-swapped"),
        pytest.param((1, 2, 2, 3, 4, 5, 6), [("1", 3, ChainCode.DISPLACED)], id="repeated"),
        pytest.param(
            (6, 5, 4, 3, 2, 1), [("1", line, ChainCode.DISPLACED) for line in range(2, 7)], id="reversed"
        ),
    ],
)
def test_removed_moved_and_repeated_records_are_found_where_they_are(
    order: tuple[int, ...], expected: list[tuple[str, int, ChainCode]]
) -> None:
    assert codes(judge(joined(*order))) == expected


@pytest.mark.requirement("AU-03")
def test_an_edited_record_is_named_once_with_file_and_line() -> None:
    edited = LINES[3].replace(b"acme/payments", b"acme/pay-mind")

    verdict = judge(joined(1, 2), LINES[2] + edited + joined(5, 6))

    assert [str(finding) for finding in verdict.findings] == [
        "audit-000002.jsonl:2: The record was changed after it was written: its hash is not that of its text."
    ]


@pytest.mark.requirement("AU-03")
def test_a_record_that_was_replaced_by_one_sealed_anew_is_found_at_its_successor() -> None:
    forged, _ = chained([replace(INTENT, request_id="forged")], unseal(LINES[1]).head)

    assert codes(judge(joined(1, 2) + forged[0] + joined(4, 5))) == [("1", 4, ChainCode.UNLINKED)]


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"\xff\xfe\n"], ids=["blank", "object", "bytes"])
def test_an_inserted_line_is_found_and_blames_no_other(line: bytes) -> None:
    assert codes(judge(joined(1, 2) + line + joined(3, 4))) == [("1", 3, ChainCode.EDITED)]


@pytest.mark.requirement("AU-03")
def test_a_removed_file_is_found_in_the_next() -> None:
    assert codes(judge(joined(1, 2), joined(5, 6))) == [("2", 1, ChainCode.MISSING)]


@pytest.mark.requirement("AU-03")
def test_a_chain_whose_older_files_were_archived_is_intact_only_when_that_is_said() -> None:
    assert codes(judge(joined(4, 5, 6))) == [("1", 1, ChainCode.MISSING)]
    assert judge(joined(4, 5, 6), partial=True).findings == ()


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("kept", [1, 5], ids=["much-cut", "one-cut"])
def test_a_cut_tail_is_found_with_a_head_noted_earlier_and_only_so(kept: int) -> None:
    rest = joined(*range(1, kept + 1))

    assert judge(rest).findings == ()
    assert [str(finding) for finding in judge(rest, noted=(HEAD,)).findings] == [
        f"audit-000001.jsonl:{kept}: The chain ends at record {kept}, but record 6 was noted: its end was cut."
    ]


@pytest.mark.requirement("AU-03")
def test_a_chain_computed_anew_is_found_with_a_head_noted_earlier() -> None:
    anew, _ = chained([replace(REFUSAL, request_id=f"req-{n}") for n in range(1, 7)])

    assert judge(b"".join(anew)).findings == ()
    assert codes(judge(b"".join(anew), noted=(HEAD,))) == [("1", 6, ChainCode.HEAD_DIFFERENT)]


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize("zeros", [0, 40], ids=["short", "with-zeros"])
def test_a_line_torn_by_a_crash_is_a_note_and_no_finding(zeros: int) -> None:
    torn = [LINES[1][:length] + b"\0" * zeros for length in range(1, len(LINES[1]) - 1)]

    verdicts = [judge(LINES[0] + tail) for tail in torn]

    assert [verdict.findings for verdict in verdicts if verdict.findings] == []
    said = (
        "audit-000001.jsonl:2: The last line is torn: by a crash, and then it was never acknowledged, or by somebody "
        "who cut the file. A head noted elsewhere tells."
    )
    assert {verdict.notes for verdict in verdicts} == {(said,)}


@pytest.mark.requirement("AU-03")
@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"hello", id="foreign"),
        pytest.param(LINES[2][:40], id="number-ahead"),
        pytest.param(LINES[0][:40], id="number-behind"),
        pytest.param(LINES[1][:-1] + b"x", id="whole-with-more"),
    ],
)
def test_an_end_that_no_crash_leaves_is_a_finding(tail: bytes) -> None:
    assert codes(judge(LINES[0] + tail)) == [("1", 2, ChainCode.EDITED)]


@pytest.mark.requirement("AU-03")
def test_a_line_that_is_torn_although_records_follow_is_a_finding_unless_the_journal_declared_it() -> None:
    torn = LINES[1][:50]
    aside = {
        "file": "audit-000001.jsonl",
        "start": len(LINES[0]),
        "bytes": len(torn),
        "digest": hashlib.sha256(torn).hexdigest(),
    }
    opening = dump({"v": 1, "kind": "journal", "event": "started", "set_aside": [aside]})
    declared, _ = seal(opening, unseal(LINES[0]).head, boot=BOOT, written_at=moment(NOW))

    assert codes(judge(LINES[0] + torn, joined(2, 3))) == [("1", 2, ChainCode.CUT)]
    assert judge(LINES[0] + torn, declared).findings == ()
    assert codes(judge(LINES[0] + torn + b"x", declared)) == [("1", 2, ChainCode.SET_ASIDE_CHANGED)]
    assert codes(judge(LINES[0], declared)) == [("1", 1, ChainCode.SET_ASIDE_CHANGED)]


def test_an_empty_journal_gives_no_findings_and_no_records() -> None:
    assert judge() == Verdict(findings=(), notes=(), files=0, records=0, head=START)


def test_a_forged_number_of_any_size_costs_nothing() -> None:
    far, _ = chained([OUTCOME], Head(seq=10**17, hash="0" * 64))

    assert [finding.message for finding in judge(joined(2, 1) + far[0]).findings] == [
        "Record 1 stands behind record 2: it was moved, repeated or inserted.",
        "Records 3 to 100000000000000000 are missing before this one.",
    ]
