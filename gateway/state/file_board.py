"""A board in a folder: where the workers of one gateway post, one file each.

[edge]
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from gateway.state.board import Status, read_status, write_status


class FileBoard:
    """Keeps `NAME.json` for each worker in a folder of this user's own; a post replaces its file at once.

    name: of this process's file. Both methods raise OSError.
    """

    def __init__(self, folder: Path, *, name: str) -> None:
        self._folder = folder
        self._name = name

    async def post(self, status: Status) -> None:
        """Replace this process's status."""
        await asyncio.to_thread(self._write, write_status(status))

    async def read(self) -> tuple[Status, ...]:
        """Return everybody's by worker; a file that holds no status is left out."""
        return await asyncio.to_thread(lambda: tuple(sorted(self._statuses(), key=lambda one: one.worker)))

    def _write(self, data: bytes) -> None:
        draft = self._folder / f".{self._name}"
        draft.write_bytes(data)
        draft.replace(self._folder / f"{self._name}.json")

    def _statuses(self) -> Iterator[Status]:
        for path in self._folder.glob("*.json"):
            try:
                status = read_status(path.read_bytes())
            except FileNotFoundError:  # its worker died, and the supervisor took it away
                continue
            if status is not None:
                yield status
