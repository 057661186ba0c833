"""One link of the hash chain: a record sealed into a line, and a line taken apart again. Pure.

A line is `{"seq":…,"boot":…,"prev":…,"written_at":…, the record's members…,"hash":…}`. `hash` is the SHA-256 of all
bytes of the line before `,"hash"`; `prev` is the `hash` of the line before. The chain has no key: who may write the
files can compute all of it anew. It shows accidents, and everybody who does not rewrite everything that follows.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final

_PREFIX = re.compile(rb'\{"seq":([1-9][0-9]{0,17}),"boot":"([0-9a-f]{16})","prev":"([0-9a-f]{64})","')
_SUFFIX = re.compile(rb',"hash":"([0-9a-f]{64})"\}')
_PIECE: Final = 2_047
_SUFFIX_BYTES: Final = len(b',"hash":""}') + 64


class LineBroken(ValueError):
    """The bytes are no line the journal wrote; the message says why, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of a chain: the last record's number and hash."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


START: Final = Head(seq=0, hash="0" * 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A line that is whole and unchanged in itself. text: the line's JSON, without its line end."""

    seq: int
    boot: str
    prev: str
    hash: str
    text: bytes

    @property
    def head(self) -> Head:
        """Return the chain's end after this line."""
        return Head(seq=self.seq, hash=self.hash)


def seal(body: str, head: Head, *, boot: str, written_at: str) -> tuple[bytes, Head]:
    """Return the line that puts a record behind `head`, with its line end, and the new head.

    body: the record as an ASCII JSON object on one line, with at least one member.
    boot: 16 hex digits that name this run of the process.
    """
    seq = head.seq + 1
    front = (
        f'{{"seq":{seq},"boot":"{boot}","prev":"{head.hash}","written_at":"{written_at}",{body[1:-1]}'.encode(
            "ascii"
        )
    )
    digest = _digest(front)
    return front + f',"hash":"{digest}"}}\n'.encode("ascii"), Head(seq=seq, hash=digest)


def _digest(front: bytes) -> str:
    # In pieces: from 2,048 bytes on hashlib lets go of the interpreter's lock, and getting it back takes a busy process
    # longer than the hash.
    digest = hashlib.sha256()
    for at in range(0, len(front), _PIECE):
        digest.update(front[at : at + _PIECE])
    return digest.hexdigest()


def unseal(line: bytes) -> Link:
    """Take a line apart, its line end included; raises LineBroken."""
    if not line.endswith(b"\n"):
        raise LineBroken("The line has no end.")
    text = line[:-1]
    front, back = text[:-_SUFFIX_BYTES], text[-_SUFFIX_BYTES:]
    prefix, suffix = _PREFIX.match(front), _SUFFIX.fullmatch(back)
    if prefix is None or suffix is None:
        raise LineBroken("The line does not have the form of a record.")
    stated = suffix[1].decode("ascii")
    if hashlib.sha256(front).hexdigest() != stated:
        raise LineBroken("The record was changed after it was written: its hash is not that of its text.")
    return Link(
        seq=int(prefix[1]),
        boot=prefix[2].decode("ascii"),
        prev=prefix[3].decode("ascii"),
        hash=stated,
        text=text,
    )


def is_torn(tail: bytes, head: Head | None) -> bool:
    """Say whether bytes without a line end are what a crash leaves of the line that comes after `head`.

    Disks may leave NUL bytes for what was never written. A whole record with something behind it is no torn line.
    """
    written = tail.rstrip(b"\0")
    whole = _SUFFIX.search(written)
    if whole is not None and (whole.end() < len(written) or written != tail):
        return False
    if head is None:
        return written.startswith(b'{"seq":'[: len(written)])
    start = f'{{"seq":{head.seq + 1},"boot":"'.encode("ascii")
    return written[: len(start)] == start[: len(written)]
