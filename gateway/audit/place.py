"""Where a record stands, and how far a journal is durable."""

from dataclasses import dataclass

from gateway.audit.chain import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a record stands. start: offset of its line."""

    file: str
    start: int
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a journal is durable: this file up to this size, ending with this record."""

    chain: str
    boot: str
    file: str
    size: int
    head: Head
