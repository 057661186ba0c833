"""What a journal itself declares void, in the first line of a file that follows. Pure."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.audit.chain import LineBroken, unseal


class ChainFile(Protocol):
    """One file of a journal."""

    @property
    def name(self) -> str:
        """Return its name without a directory."""
        ...

    def lines(self) -> Iterator[bytes]:
        """Yield its lines with their ends; the last may lack one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """The end of a file that the journal itself declared void, because writing it failed or a crash tore it.

    start: offset of its first byte; digest: SHA-256 of its bytes.
    """

    file: str
    start: int
    bytes: int
    digest: str


def declared_void(files: Sequence[ChainFile]) -> dict[str, SetAside]:
    """Return what the first lines of files declare void in the files before them, by file name."""
    return {aside.file: aside for file in files for aside in _declared(file)}


def _declared(file: ChainFile) -> tuple[SetAside, ...]:
    """Return what the first line of a file declares void in the files before it."""
    try:
        opening = json.loads(unseal(next(file.lines(), b"")).text)
        return tuple(
            SetAside(
                file=str(item["file"]),
                start=int(item["start"]),
                bytes=int(item["bytes"]),
                digest=str(item["digest"]),
            )
            for item in opening.get("set_aside", ())
        )
    except (LineBroken, ValueError, KeyError, TypeError):
        return ()
