"""Takes away the code behind one requirement after the other, and says which of them no test misses. See `scripts/weaken`.

What is taken away stands in tests/weakened/*.toml, where everybody can read what each requirement hangs on. A
weakening is a copy of the tree with one text replaced; the tests that carry the requirement's number run there and must fail.
"""

import argparse
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from tests.support.copied import ROOT, copy_tree
from tests.support.requirements import LIST

WEAKENED: Final = ROOT / "tests" / "weakened"
#: A test that waits for what no longer comes has noticed, too.
_PATIENCE_S: Final = 600.0
_FAILED, _NONE_RAN = 1, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakening:
    """One text in place of another.

    numbers: requirements that no longer hold then. file: from the root of the tree. old: occurs there once.
    tests:   files or folders of tests, where those that carry the number are many and slow; all of them when empty.
    """

    numbers: tuple[str, ...]
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()


def read_weakenings() -> tuple[Weakening, ...]:
    """Return all of them, in the order of the files and in them."""
    return tuple(
        Weakening(
            numbers=tuple(one["numbers"]),
            file=one["file"],
            old=one["old"],
            new=one["new"],
            tests=tuple(one.get("tests", ())),
        )
        for file in sorted(WEAKENED.glob("*.toml"))
        for one in tomllib.loads(file.read_text("utf-8"))["weakened"]
    )


def modules_carrying(number: str) -> list[str]:
    """Return the test modules that mention the requirement."""
    return [name for name, text in _modules() if f'"{number}"' in text]


@cache
def _modules() -> tuple[tuple[str, str], ...]:
    """Return name and text of every module of tests, read once."""
    return tuple(
        (str(file.relative_to(ROOT)), file.read_text("utf-8"))
        for file in sorted((ROOT / "tests").rglob("*.py"))
        if file.name != "requirements.py"
    )


def unnoticed(weakening: Weakening, folder: Path, numbers: Sequence[str]) -> Iterator[str]:
    """Weaken the copy in the folder, run the tests of each number there, mend it, and say of each that none of them failed."""
    file = folder / weakening.file
    text = file.read_text("utf-8")
    file.write_text(text.replace(weakening.old, weakening.new), "utf-8")
    try:
        for number in numbers:
            ended, output = _tests(folder, number, weakening.tests or modules_carrying(number))
            if ended != _FAILED:
                why = "no test carries it" if ended == _NONE_RAN else f"pytest ended with {ended}"
                yield f"{number}: {weakening.file}: {why}\n{output}"
    finally:
        file.write_text(text, "utf-8")


def _tests(folder: Path, number: str, tests: Sequence[str]) -> tuple[int, str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--requirement", number, *tests]
    command += ["-p", "no:cacheprovider", "--no-header", "--tb=no"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return _FAILED, ""
    return done.returncode, done.stdout[-2000:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Weaken for these requirements, for all without arguments; return 1 when a weakening goes unnoticed."""
    parser = argparse.ArgumentParser(prog="scripts/weaken", description=__doc__)
    parser.add_argument("numbers", nargs="*", metavar="NUMBER", help="requirements, such as TV-22 (all)")
    wanted = set(parser.parse_args(arguments).numbers)
    if unknown := wanted - tomllib.loads(LIST.read_text("utf-8")).keys():
        parser.error(f"not in tests/requirements.toml: {', '.join(sorted(unknown))}")
    chosen = [
        (one, numbers)
        for one in read_weakenings()
        if (numbers := [number for number in one.numbers if not wanted or number in wanted])
    ]
    found = 0
    with tempfile.TemporaryDirectory(prefix="weaken-") as name:
        copy_tree(Path(name))
        for weakening, numbers in chosen:
            missed = list(unnoticed(weakening, Path(name), numbers))
            found += len(missed)
            sys.stdout.write("".join(f"UNNOTICED {one}\n" for one in missed) or f"ok {' '.join(numbers)}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{sum(len(numbers) for _, numbers in chosen)} tried, {found} unnoticed.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
