"""Signed heads: what the holder of a key says of the end of a chain, as a value, a text to sign and a line. Pure.

A chain without a key shows only who did not take the trouble to compute it anew. A signed head that was kept elsewhere
shows everybody who cannot sign: the records up to it are exactly those that were there when it was signed.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.audit.chain import Head
from gateway.audit.document import VERSION, dump

#: The event of the journal's own record that carries a head.
EVENT: Final = "head"
# First in every text that is signed, so that a signature made for anything else is none of a head.
_DOMAIN: Final = "oidc-gateway audit head v1"
_NEEDLE: Final = f'"kind":"journal","event":"{EVENT}"'.encode("ascii")
_NOTED: Final = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
# Passed over, it would protect nothing, and nobody would know.
_NOTED_BADLY: Final = re.compile(r"[0-9]+:[0-9a-fA-F]{8,}…?")
_SHAPES: Final = {
    "chain": r"[0-9a-f]{16}",
    "boot": r"[0-9a-f]{16}",
    "file": r"audit-[0-9]{6,9}\.jsonl",
    "hash": r"[0-9a-f]{64}",
    "at": r"[0-9T:.-]{26}Z",
    "key": r"[0-9a-f]{16}",
    "signature": r"[0-9a-f]{128}",
}


class HeadInvalid(ValueError):
    """The text is no head; the message says why, as a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pledge:
    """How often the next head follows, as the signed text itself says it: that makes missing heads noticeable.

    records: after so many; seconds: or so long after a record that no head covers.
    """

    records: int = 1_000
    seconds: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """The end of a chain at one moment, signed.

    chain: 16 hex digits that all files of one journal share. boot: the run of the process that signed.
    file:  the one that was written to. at: RFC 3339 UTC. key: id of the key, see `signing`.
    """

    chain: str
    boot: str
    file: str
    head: Head
    at: str
    pledge: Pledge
    key: str
    signature: bytes = field(default=b"", repr=False)

    def text(self) -> bytes:
        """Return what is signed: a domain, then every member on a line of its own."""
        lines = [_DOMAIN, *(f"{name}={value}" for name, value in _members(self).items())]
        return "".join(f"{line}\n" for line in lines).encode("ascii")

    def document(self) -> dict[str, object]:
        """Return the head as it is written into the journal and the log."""
        return {**_members(self), "signature": self.signature.hex()}

    def line(self) -> str:
        """Return the head as one line of JSON, for keeping elsewhere."""
        return dump(self.document())


class Signer(Protocol):
    """Holds a private key. key: its id."""

    @property
    def key(self) -> str:
        """Return the id under which auditors know the key."""
        ...

    def sign(self, text: bytes) -> bytes:
        """Return the signature."""
        ...


#: Says whether a signature is good; None when the key is not known.
Check = Callable[[SignedHead], bool | None]


def body(head: SignedHead) -> str:
    """Return the journal's record of a head."""
    return dump({"v": VERSION, "kind": "journal", "event": EVENT, "head": head.document()})


def is_head(line: bytes) -> bool:
    """Say whether a line is the journal's record of a head; the needle cannot stand inside a text of JSON."""
    return _NEEDLE in line[:400]


def read_head(document: Mapping[str, object]) -> SignedHead:
    """Return the head an object stands for; raises HeadInvalid."""
    texts = {name: _text(document, name, shape) for name, shape in _SHAPES.items()}
    seq, records, seconds = (_number(document, name) for name in ("seq", "records", "seconds"))
    return SignedHead(
        chain=texts["chain"],
        boot=texts["boot"],
        file=texts["file"],
        head=Head(seq=seq, hash=texts["hash"]),
        at=texts["at"],
        pledge=Pledge(records=records, seconds=seconds),
        key=texts["key"],
        signature=bytes.fromhex(texts["signature"]),
    )


def read_exported(text: str) -> Head | SignedHead | None:
    """Return what one line of an export holds, None for a line without a head; raises HeadInvalid for a broken one.

    A line is `SEQ:HASH`, a head, or a line of the journal, of the log or of syslog that carries one; and between those
    stands whatever else a process writes.
    """
    noted = _NOTED.fullmatch(text.strip())
    if noted is not None:
        return Head(seq=int(noted[1]), hash=noted[2])
    start = text.find("{")
    if start < 0:
        if _NOTED_BADLY.fullmatch(text.strip()):
            raise HeadInvalid("It is not all of SEQ:HASH.")
        return None
    try:
        document = json.loads(text[start:])
    except ValueError as fault:
        if '"signature"' in text:
            raise HeadInvalid("It is not JSON on one line.") from fault
        return None
    if not isinstance(document, dict):
        return None
    inner = document.get("head")
    if isinstance(inner, dict):
        return read_head(inner)
    return read_head(document) if "signature" in document else None


def heads_in(lines: Iterable[bytes]) -> Iterator[tuple[int, SignedHead | HeadInvalid]]:
    """Yield every head of a file with its line number, from 1, or why it is none."""
    for number, line in enumerate(lines, start=1):
        if not is_head(line):
            continue
        try:
            found = json.loads(line)["head"]
            yield number, read_head(found)
        except (HeadInvalid, ValueError, KeyError, TypeError) as fault:
            yield number, HeadInvalid(str(fault))


def _members(head: SignedHead) -> dict[str, object]:
    return {
        "chain": head.chain,
        "boot": head.boot,
        "file": head.file,
        "seq": head.head.seq,
        "hash": head.head.hash,
        "at": head.at,
        "records": head.pledge.records,
        "seconds": head.pledge.seconds,
        "key": head.key,
    }


def _text(document: Mapping[str, object], name: str, shape: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or re.fullmatch(shape, value) is None:
        raise HeadInvalid(f"Its member {name} is missing or has another form.")
    return value


def _number(document: Mapping[str, object], name: str) -> int:
    value = document.get(name)
    if type(value) is not int or not 0 <= value < 10**18:
        raise HeadInvalid(f"Its member {name} is missing or no number.")
    return value
