"""Finds every record that was edited, removed, moved or inserted, within and across the journal's files. Pure.

What it cannot find without a head noted elsewhere: records cut from the end of the last file, and a chain that was
computed anew as a whole. Note the head that a verification reports, and give it to a later one; `vouching` judges the
heads that the journal signed.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.audit.chain import START, Head, LineBroken, Link, is_torn, unseal
from gateway.audit.heads import is_head
from gateway.audit.set_aside import ChainFile, SetAside, declared_void
from gateway.audit.verdict import Bare, ChainCode, ChainFinding, Verdict

_WRITTEN: Final = re.compile(rb'"written_at":"([0-9T:.Z-]{1,40})"')


def verify(
    files: Sequence[ChainFile],
    *,
    partial: bool = False,
    noted: Iterable[Head] = (),
    signed: Mapping[Head, str] | None = None,
) -> Verdict:
    """Walk all files in the order given.

    partial: the chain may begin late, because older files were archived.
    noted:   heads noted earlier; a chain that ends before one, or has another hash there, was cut or replaced.
    signed:  further such heads, whose signatures are good, and when each was signed; `bare` counts from the last.
    """
    known = dict.fromkeys(noted, "noted") | {head: f"signed at {at}" for head, at in (signed or {}).items()}
    walk = _Walk(
        expected=None if partial else START,
        noted={head.seq: (head.hash, how) for head, how in known.items()},
        vouched=max((head.seq for head in signed or {}), default=0),
    )
    void = declared_void(files)
    for file in files:
        walk.through(file, void.get(file.name))
    return walk.verdict(len(files))


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The state of one verification.

    expected: the head the next line must follow; None: anything may come.
    broken:   unreadable lines since; they may stand in the place of records or have been put between them.
    noted:    hashes that are known, and how, by number of the record. vouched: the last number that is signed.
    """

    expected: Head | None
    noted: dict[int, tuple[str, str]]
    vouched: int = 0
    broken: int = 0
    file: str = ""
    line: int = 0
    records: int = 0
    last: Head = START
    bare: Bare = field(default_factory=Bare)
    findings: list[ChainFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gaps: list[tuple[str, int, range]] = field(default_factory=list)
    displaced: set[int] = field(default_factory=set)
    torn: list[tuple[str, int]] = field(default_factory=list)

    def through(self, file: ChainFile, void: SetAside | None) -> None:
        self.file, self.line, offset = file.name, 0, 0
        lines = file.lines()
        for line in lines:
            if void is not None and offset == void.start:
                self._skip(line, lines, void)
                return
            self.line += 1
            offset += len(line)
            self._take(line)
        if void is not None and offset != void.start + void.bytes:
            self._find(ChainCode.SET_ASIDE_CHANGED, "The part that the journal set aside is not there.")

    def verdict(self, files: int) -> Verdict:
        self._judge_gaps()
        self._judge_heads()
        for file, line in self.torn:
            self.notes.append(
                f"{file}:{line}: The last line is torn: by a crash, and then it was never acknowledged, or by somebody "
                "who cut the file. A head noted elsewhere tells."
            )
        findings = sorted(self.findings, key=lambda finding: (finding.file, finding.line))
        return Verdict(
            findings=tuple(findings),
            notes=tuple(self.notes),
            files=files,
            records=self.records,
            head=self.last,
            bare=self.bare,
        )

    def _take(self, line: bytes) -> None:
        try:
            link = unseal(line)
        except LineBroken as broken:
            self._unreadable(line, str(broken))
            return
        self.records += 1
        self._settle_torn()
        if self.line == 1:
            self._opening(link)
        self._place(link)
        digest, how = self.noted.get(link.seq, (link.hash, ""))
        if digest != link.hash:
            self._find(ChainCode.HEAD_DIFFERENT, f"Record {link.seq} is not the one whose hash was {how}.")
        if link.seq > self.vouched and not is_head(line):
            self._count_bare(link)

    def _count_bare(self, link: Link) -> None:
        written = _WRITTEN.search(link.text[:400])
        self.bare.records += 1
        self.bare.last = written[1].decode("ascii") if written else None
        self.bare.first = self.bare.first or self.bare.last

    def _opening(self, link: Link) -> None:
        opening = json.loads(link.text)
        event, previous = opening.get("event"), opening.get("previous")
        if event in ("moved", "deleted", "changed"):
            self.notes.append(
                f"{self.file}: The journal began this file because {previous} was {event} under it."
            )

    def _unreadable(self, line: bytes, why: str) -> None:
        if not line.endswith(b"\n") and is_torn(line, self.expected):
            self.torn.append((self.file, self.line))
            return
        self._find(ChainCode.EDITED, why)
        self.broken += 1

    def _place(self, link: Link) -> None:
        expected = self.expected
        if expected is not None and link.seq <= expected.seq:
            self.displaced.add(link.seq)
            self._find(
                ChainCode.DISPLACED,
                f"Record {link.seq} stands behind record {expected.seq}: it was moved, repeated or inserted.",
            )
            return
        if expected is not None and link.seq > expected.seq + 1 + self.broken:
            self.gaps.append((self.file, self.line, range(expected.seq + 1, link.seq)))
        elif expected is not None and link.seq == expected.seq + 1 and link.prev != expected.hash:
            self._find(
                ChainCode.UNLINKED,
                f"Record {link.seq} does not follow from record {expected.seq} as it stands: one of them was replaced.",
            )
        self.broken = 0
        self.expected = self.last = link.head

    def _skip(self, line: bytes, rest: Iterator[bytes], void: SetAside) -> None:
        digest, size = hashlib.sha256(line), len(line)
        for more in rest:
            digest.update(more)
            size += len(more)
        if size != void.bytes or digest.hexdigest() != void.digest:
            self.line += 1
            self._find(
                ChainCode.SET_ASIDE_CHANGED, "The part that the journal set aside was changed afterwards."
            )
            return
        self.notes.append(
            f"{self.file}: When the journal went on it set aside {size} bytes at its end: left unacknowledged by a "
            "crash or a failed write, or by somebody who cut the file."
        )

    def _settle_torn(self) -> None:
        for file, line in self.torn:
            message = "The line has no end, and no later file declares it void: it was cut."
            self.findings.append(ChainFinding(code=ChainCode.CUT, file=file, line=line, message=message))
        self.torn.clear()

    def _judge_gaps(self) -> None:
        for file, line, gap in self.gaps:
            # Counted, not listed: a forged number may open a gap of any width.
            found = sum(seq in gap for seq in self.displaced)
            if found == len(gap):
                continue
            which = f"Record {gap[0]} is" if len(gap) == 1 else f"Records {gap[0]} to {gap[-1]} are"
            message = f"{which} missing before this one."
            self.findings.append(ChainFinding(code=ChainCode.MISSING, file=file, line=line, message=message))

    def _judge_heads(self) -> None:
        beyond = max(self.noted, default=0)
        if beyond > self.last.seq:
            self._find(
                ChainCode.MISSING,
                f"The chain ends at record {self.last.seq}, but record {beyond} was {self.noted[beyond][1]}: its end was cut.",
            )

    def _find(self, code: ChainCode, message: str) -> None:
        self.findings.append(ChainFinding(code=code, file=self.file, line=self.line, message=message))
