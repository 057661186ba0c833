"""A search at the end of every test run: what tests signed, and what scripted peers issued, must be in nothing that was written.

Searched are the logs of the gateways that tests start, the records of every journal below pytest's folder for temporary files,
and what modules logged inside the tests' own process.
"""

from pathlib import Path

import pytest

from tests.support.canaries import RUN

_FOUND = pytest.StashKey[list[str]]()
_LOG = "Captured log"


def take_report(report: pytest.TestReport) -> None:
    """Keep what modules of ours logged during a test."""
    for title, text in report.sections:
        if title.startswith(_LOG):
            RUN.add(f"log of {report.nodeid}", text)


def search(session: pytest.Session) -> None:
    """Search everything, and fail the run when something is found."""
    factory: pytest.TempPathFactory | None = getattr(session.config, "_tmp_path_factory", None)
    found = [said for place, content in RUN.written.items() for said in RUN.found(place, content)]
    if factory is not None:
        found += _in_journals(factory.getbasetemp())
    session.config.stash[_FOUND] = found
    if found and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _in_journals(folder: Path) -> list[str]:
    return [
        said
        for path in sorted(folder.rglob("audit-*.jsonl"))
        if path.is_file()
        for said in RUN.found(str(path), path.read_bytes())
    ]


def say(terminal: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell what was found."""
    for said in config.stash.get(_FOUND, [])[:20]:
        terminal.write_line(f"SECRET WRITTEN DOWN: {said}", red=True)
