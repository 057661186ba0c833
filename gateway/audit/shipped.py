"""How far the second copy has the journal: `shipped.json` beside the journal's files.

[edge]
"""

import json
import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Final

from gateway.audit.place import Mark
from gateway.audit.tail import Cursor

_log = logging.getLogger("gateway.audit.shipping")

CURSOR_FILE: Final = "shipped.json"


class Shipped:
    """Remembers one place over restarts."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / CURSOR_FILE
        self._saved: Cursor | None = None

    def read(self, mark: Mark) -> Cursor | None:
        """Return the place, None for the beginning of everything there is; a first run begins with the mark's file."""
        try:
            said = json.loads(self._path.read_bytes())
            if said["chain"] == mark.chain:
                return Cursor(file=str(said["file"]), offset=int(said["offset"]), seq=int(said["seq"]))
        except FileNotFoundError:
            _log.info("the second copy of the audit record begins now", extra={"file": mark.file})
            return Cursor(file=mark.file, offset=0, seq=0)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        _log.error(
            "how far was sent is not known any more; everything that is there is sent again",
            extra={"file": str(self._path)},
        )
        return None

    def save(self, chain: str, cursor: Cursor) -> None:
        """Remember the place; when that fails, the next run sends more of it again, and nothing is lost."""
        if cursor == self._saved:
            return
        try:
            replace_durably(self._path, json.dumps({"chain": chain, **asdict(cursor)}).encode())
        except OSError as fault:
            _log.warning(
                "how far was sent cannot be saved; after a restart some of it would be sent again",
                extra={"file": str(self._path), "reason": fault.strerror},
            )
        self._saved = cursor


def replace_durably(path: Path, data: bytes) -> None:
    """Put a whole file into place, so that a crash at any moment leaves the old one or the new one; raises OSError."""
    draft = path.with_name(f".{path.name}.draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
