"""What a verification of the journal found."""

from dataclasses import dataclass, field
from enum import StrEnum

from gateway.audit.chain import Head


class ChainCode(StrEnum):
    """What is wrong with the chain; stable."""

    EDITED = "edited"
    MISSING = "missing"
    DISPLACED = "displaced"
    UNLINKED = "unlinked"
    CUT = "cut"
    SET_ASIDE_CHANGED = "set_aside_changed"
    HEAD_DIFFERENT = "head_different"
    HEAD_INVALID = "head_invalid"
    SIGNATURE_WRONG = "signature_wrong"
    KEY_UNKNOWN = "key_unknown"
    CHAIN_FOREIGN = "chain_foreign"
    FORKED = "forked"
    UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainFinding:
    """One thing wrong, as a sentence. line counts from 1; 0 stands for the whole file."""

    code: ChainCode
    file: str
    line: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.message}"


@dataclass(slots=True, kw_only=True)
class Bare:
    """The records behind one of them, without the journal's own heads. first, last: when they were written."""

    records: int = 0
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found.

    notes: what looks odd and is explained, such as the torn line of a crash, as sentences.
    bare:  the records behind the one that was named as vouched for.
    """

    findings: tuple[ChainFinding, ...]
    notes: tuple[str, ...]
    files: int
    records: int
    head: Head
    bare: Bare = field(default_factory=Bare)
