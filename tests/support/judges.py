"""Runs the programs that judge what we depend on and release, each from its own locked environment.

`python -m tests.support.judges advisories` asks which locked dependencies have published advisories, `sbom FILE` writes the bill of
materials. Exit codes: 0 good, 1 findings, 2 could not ask.
"""

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from gateway.dev.environments import EnvironmentNotBuilt, build_environment
from tests.support.components import ENVIRONMENTS

ROOT: Final = Path(__file__).parents[2]
IGNORED: Final = ROOT / ".ci" / "ignored-advisories.toml"
#: What is installed where tokens are: the service, and the embedded environment of developers.
LOCKS: Final = (ROOT / "requirements.lock", ROOT / "gateway" / "dev" / "ministack.lock")
#: A reason is looked at again at least this often.
LONGEST: Final = timedelta(days=90)
# An index that knows packages and no advisories, as mirrors are, finds none of them.
_NO_ANSWER: Final = (
    "ConnectionError", "Max retries exceeded", "Name or service not known", "Failed to resolve", "Dependency not found",
)  # fmt: skip


class ListInvalid(Exception):
    """The list of ignored advisories cannot be used; the message says which entry and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """An advisory that is known and does not count until a day. reason: why it does no harm here."""

    id: str
    until: date
    reason: str


def read_ignored(document: Mapping[str, object], *, today: date) -> tuple[Ignored, ...]:
    """Return the entries; raises ListInvalid for one without a reason, and for one that has run out or runs too long."""
    entries = document.get("ignore", [])
    if document.keys() - {"ignore"} or not isinstance(entries, list):
        raise ListInvalid("Write each advisory as a table [[ignore]] with id, until and reason.")
    return tuple(_entry(entry, today) for entry in entries)


def _entry(entry: object, today: date) -> Ignored:
    match entry:
        case {"id": str(name), "until": date() as until, "reason": str(reason), **rest} if not rest:
            pass
        case _:
            raise ListInvalid(f"{entry!r} needs id, until (a date) and reason, and nothing else.")
    if len(reason.split()) < 3:
        raise ListInvalid(f"{name} needs a reason that says why it does no harm here.")
    if until < today:
        raise ListInvalid(f"{name} was to be looked at again by {until}: update, or give a new reason.")
    if until - today > LONGEST:
        raise ListInvalid(f"{name} is put off until {until}; {LONGEST.days} days are the most.")
    return Ignored(id=name, until=until, reason=reason)


def advisories(ignored: Sequence[Ignored]) -> int:
    """Ask about every lock file and return the exit code."""
    for one in ignored:
        sys.stderr.write(f"Ignored until {one.until}: {one.id}: {one.reason}\n")
    flags = [word for one in ignored for word in ("--ignore-vuln", one.id)]
    codes = [_ask(lock, flags) for lock in LOCKS]
    return max(codes)


def _ask(lock: Path, flags: Sequence[str]) -> int:
    # Hashed and complete, so pip need not resolve anything; --strict: a package that nobody knows is a finding.
    command = [
        _program("pip-audit"),
        "--strict",
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner",
        "off",
    ]
    done = subprocess.run(
        [*command, *flags, "--requirement", str(lock)], capture_output=True, text=True, check=False
    )
    name = lock.relative_to(ROOT)
    if done.returncode and any(word in done.stderr for word in _NO_ANSWER):
        _say(
            f"{name}: nobody who knows advisories could be asked; this needs the network, and the public index itself."
        )
        return 2
    _say(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no answer'}\n")
    sys.stdout.write(done.stdout)
    return min(done.returncode, 1)


def sbom(target: Path) -> int:
    """Write the bill of materials of the service: every locked package with its version and hashes (CycloneDX, JSON)."""
    command = [
        _program("cyclonedx-py"),
        "requirements",
        str(LOCKS[0]),
        "--pyproject",
        str(ROOT / "pyproject.toml"),
    ]
    # The same lock makes the same file.
    command += ["--mc-type", "application", "--output-reproducible", "--of", "JSON", "-o", str(target)]
    return 2 if subprocess.run(command, check=False).returncode else 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _program(name: str) -> str:
    folder = build_environment("audit", ENVIRONMENTS["audit"], log=_say)
    return str(folder / "bin" / name)


def main(arguments: Sequence[str]) -> int:
    """Run one of the two commands."""
    try:
        match list(arguments):
            case ["advisories"]:
                today = datetime.now(tz=UTC).date()
                return advisories(read_ignored(tomllib.loads(IGNORED.read_text()), today=today))
            case ["sbom", target]:
                return sbom(Path(target))
            case ["zizmor", *more]:
                os.execv(_program("zizmor"), ["zizmor", *more])
            case _:
                sys.stderr.write("usage: judges advisories | sbom FILE | zizmor …\n")
    except ListInvalid as fault:
        sys.stderr.write(f"{IGNORED.relative_to(ROOT)}: {fault}\n")
        return 1
    except EnvironmentNotBuilt as fault:
        sys.stderr.write(f"{fault}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
