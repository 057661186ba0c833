"""A search at the end of every test run: what is secret in it must be in nothing that the product showed or wrote meanwhile.

Secret are the signatures of all tokens that tests signed or sent, idempotency keys, credentials that were handed out, what
scripted peers issued, and, but in records, the `jti` of fresh tokens. Searched are, of every gateway that support starts: log,
/metrics, arguments, titles and environments of its processes, and its temporary files, while it runs and afterwards; its refusals,
headers included; traces that a collector received; the records of every journal below pytest's folder and what receivers of copies got;
what modules and libraries logged from DEBUG on inside the tests' own process; and files that came to be in the working folder.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.canaries import RUN

_FOUND = pytest.StashKey[list[str]]()
_BEGUN = pytest.StashKey[float]()
_LOG = "Captured log"
_ROOT = Path(__file__).parents[2]
#: Made by tools and by the tests themselves.
_NOT_OURS = frozenset({"__pycache__", "fuzz-findings"})


def begin(config: pytest.Config) -> None:
    """Remember when the run began: younger files of the working folder are searched."""
    config.stash[_BEGUN] = time.time()


def take_report(report: pytest.TestReport) -> None:
    """Keep what was logged in the tests' process during a test."""
    for title, text in report.sections:
        if title.startswith(_LOG):
            RUN.add("logs of tests", report.nodeid, text)


def search(session: pytest.Session) -> None:
    """Search everything, and fail the run when something is found."""
    factory: pytest.TempPathFactory | None = getattr(session.config, "_tmp_path_factory", None)
    if factory is not None:
        take_journals(factory.getbasetemp())
    take_new_files(_ROOT, since=session.config.stash[_BEGUN])
    found = RUN.search()
    session.config.stash[_FOUND] = found
    if found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def take_journals(folder: Path) -> None:
    """Take all records below a folder."""
    for path in sorted(folder.rglob("audit-*.jsonl")):
        if path.is_file():
            RUN.add("records", str(path), path.read_bytes(), records=True)


def take_new_files(folder: Path, *, since: float) -> None:
    """Take the files that were written there since that moment."""
    for path in _files(folder):
        if path.stat().st_mtime >= since:
            RUN.add("files of the working folder", str(path.relative_to(folder)), path.read_bytes())


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name in _NOT_OURS or path.name.startswith(".") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def say(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell what was searched, and what was found."""
    if RUN.counted:
        places = ", ".join(f"{count} {kind}" for kind, count in sorted(RUN.counted.items()))
        terminal.write_line(f"Searched for secrets: {places}.")
    for said in config.stash.get(_FOUND, [])[:20]:
        terminal.write_line(f"SECRET WRITTEN DOWN: {said}", red=True)
