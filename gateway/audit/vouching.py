"""Judges a journal by the heads that were signed: in it, and in what was kept elsewhere. Pure.

A signature vouches for every record up to its head. So it shows an end that was cut off behind a head that somebody kept,
and a chain that was computed anew, by whoever could write the files and had no key.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from gateway.audit.chain import Head, LineBroken, unseal
from gateway.audit.heads import Check, HeadInvalid, Pledge, SignedHead, heads_in
from gateway.audit.set_aside import ChainFile
from gateway.audit.verdict import ChainCode, ChainFinding, Verdict
from gateway.audit.verify import verify

# A head follows what it covers, so a busy second and a slow disk lie between the promise and the head.
_GRACE_RECORDS: Final = 8_192
_GRACE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A head that was kept elsewhere, and where: a file or an option, and its line."""

    head: Head | SignedHead
    source: str
    line: int = 0


@dataclass(slots=True, kw_only=True)
class _Judged:
    """The heads of one verification. signed: good ones, the last of each number; unchecked: for want of keys."""

    noted: list[Head] = field(default_factory=list)
    signed: dict[int, SignedHead] = field(default_factory=dict)
    unchecked: int = 0
    findings: list[ChainFinding] = field(default_factory=list)

    def find(self, code: ChainCode, file: str, line: int, message: str) -> None:
        self.findings.append(ChainFinding(code=code, file=file, line=line, message=message))


def chain_ids(files: Sequence[ChainFile]) -> frozenset[str]:
    """Return the ids that the first lines of a journal's files give their chain: one, none before it had any."""
    return frozenset(found for file in files if (found := _chain_id(file)) is not None)


def verify_signed(
    files: Sequence[ChainFile],
    *,
    check: Check | None,
    partial: bool = False,
    exported: Iterable[Exported] = (),
) -> Verdict:
    """Walk all files of one journal in the order given, and hold them against every head.

    check:    knows the keys that are trusted; None: nobody gave any, so signed heads count no more than noted ones.
    exported: heads kept elsewhere. One of another chain is a finding: give each journal its own.
    """
    judged = _Judged()
    _judge(judged, files, tuple(exported), check)
    signed = {head.head: head.at for head in judged.signed.values()}
    verdict = verify(files, partial=partial, noted=judged.noted, signed=signed)
    findings, notes = list(judged.findings), list(verdict.notes)
    if check is None and judged.unchecked:
        notes.append(f"{judged.unchecked} signed heads were not checked: give the public key with --key.")
    if check is not None and verdict.records:
        _judge_bare(verdict, judged, files[-1].name, findings, notes)
    return replace(verdict, findings=(*verdict.findings, *findings), notes=tuple(notes))


def _judge(
    judged: _Judged, files: Sequence[ChainFile], exported: Sequence[Exported], check: Check | None
) -> None:
    chains = chain_ids(files)
    for file, line, found in _found(files, exported):
        if isinstance(found, HeadInvalid):
            judged.find(ChainCode.HEAD_INVALID, file, line, f"The head cannot be read. {found}")
        elif isinstance(found, Head):
            judged.noted.append(found)
        elif found.chain not in chains:
            judged.find(
                ChainCode.CHAIN_FOREIGN,
                file,
                line,
                f"The head is of chain {found.chain}, which is not the one of these files: they were replaced, or the head "
                "belongs to another gateway's journal.",
            )
        elif check is None:
            judged.unchecked += 1
            judged.noted.append(found.head)
        else:
            _judge_signature(judged, file, line, found, check)


def _judge_signature(judged: _Judged, file: str, line: int, head: SignedHead, check: Check) -> None:
    match check(head):
        case None:
            judged.find(
                ChainCode.KEY_UNKNOWN,
                file,
                line,
                f"The head is signed with key {head.key}, which is none of those given: give its public key with --key too, "
                "or somebody else signed it.",
            )
        case False:
            judged.find(
                ChainCode.SIGNATURE_WRONG,
                file,
                line,
                f"The head's signature is not good: it was changed, or not made by key {head.key}.",
            )
        case True:
            other = judged.signed.setdefault(head.head.seq, head)
            if other.head != head.head:
                judged.find(
                    ChainCode.FORKED,
                    file,
                    line,
                    f"Two good signatures, of {other.at} and {head.at}, vouch for different records {head.head.seq}: an "
                    "older state of the files was put back, and the journal went on from there.",
                )


def _judge_bare(
    verdict: Verdict, judged: _Judged, file: str, findings: list[ChainFinding], notes: list[str]
) -> None:
    last = judged.signed[max(judged.signed)] if judged.signed else None
    if last is None:
        message = (
            "No head that these keys signed is here, so nothing shows that the chain was not computed anew: signing was never "
            "switched on, or the heads were removed."
        )
        findings.append(ChainFinding(code=ChainCode.UNSIGNED, file=file, line=0, message=message))
        return
    bare = verdict.bare
    if not bare.records:
        return
    said = f"{bare.records} records stand behind the last signed head, record {last.head.seq} of {last.at}"
    if _is_broken(last.pledge, bare.records, _between(bare.first, bare.last)):
        message = (
            f"{said}. Its signature promised the next after {last.pledge.records} records or {last.pledge.seconds} seconds: "
            "signing was switched off, or the records behind it were computed anew."
        )
        findings.append(ChainFinding(code=ChainCode.UNSIGNED, file=file, line=0, message=message))
    else:
        notes.append(f"{said}, and are vouched for by their chain alone.")


def _is_broken(pledge: Pledge, records: int, seconds: float) -> bool:
    return records > pledge.records + _GRACE_RECORDS or seconds > pledge.seconds + _GRACE_S


def _between(first: str | None, last: str | None) -> float:
    try:
        return (datetime.fromisoformat(last or "") - datetime.fromisoformat(first or "")).total_seconds()
    except ValueError:
        return 0.0


def _found(
    files: Sequence[ChainFile], exported: Sequence[Exported]
) -> Iterator[tuple[str, int, Head | SignedHead | HeadInvalid]]:
    for kept in exported:
        yield kept.source, kept.line, kept.head
    for file in files:
        for line, head in heads_in(file.lines()):
            yield file.name, line, head


def _chain_id(file: ChainFile) -> str | None:
    try:
        found = json.loads(unseal(next(iter(file.lines()), b"")).text).get("chain")
    except (LineBroken, ValueError):
        return None
    return found if isinstance(found, str) else None
