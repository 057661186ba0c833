"""What a running gateway shows and leaves besides its log and its journal, for the search at the end of the run."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2

from tests.support.canaries import RUN
from tests.support.processes import HAS_PROC, descendants

#: A file that tests make as large as files may be is no place to look for a token in.
_MOST_BYTES = 8_000_000
_PATIENCE_S = 2.0


def take_arguments(place: str, process: int) -> None:
    """Take arguments, titles and environments of a process and its descendants, as far as the kernel shows them."""
    for one in descendants(process) if HAS_PROC else ():
        for name in ("cmdline", "comm", "environ"):
            # It may have ended meanwhile, and who is not root may not see the environment of a process that cannot be dumped.
            with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                RUN.add("arguments", place, Path(f"/proc/{one}/{name}").read_bytes())


def take_metrics(place: str, client: httpx2.Client) -> None:
    """Take what it counts, unless it does not answer any more."""
    with suppress(httpx2.HTTPError):
        RUN.add("metrics", place, client.get("/metrics", timeout=_PATIENCE_S).content)


def take_files(place: str, folder: Path) -> None:
    """Take the content and the names of the files in a folder for temporary files, records aside."""
    for path in _files(folder):
        with suppress(FileNotFoundError, PermissionError):
            if path.stat().st_size <= _MOST_BYTES:
                RUN.add("files", place, f"{path.relative_to(folder)}\n".encode() + path.read_bytes())


def _files(folder: Path) -> Iterator[Path]:
    # Records are searched by themselves, because they may hold more.
    return (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".jsonl")
