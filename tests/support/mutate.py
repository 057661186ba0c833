"""Changes the code that decides, one small thing at a time, and lists the changes that no test notices. See `scripts/mutate`.

mutmut works in a copy of the tree: nothing here is ever changed. What survives is compared with tests/mutation.md, which
says of every known survivor why it may.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.components import mutator
from tests.support.copied import ROOT, copy_tree

EXPLAINED: Final = ROOT / "tests" / "mutation.md"
MODULES: Final = (
    "gateway/identity/verify.py",
    "gateway/policy/decide.py",
    "gateway/credentials/session.py",
)
_TESTS: Final = ("tests/unit/identity", "tests/unit/policy", "tests/unit/compiling", "tests/unit/credentials")
# It reads the source for who makes a VerifiedToken, and finds mutmut's own copies of the function.
_READS_THE_SOURCE: Final = (
    "tests/unit/identity/test_verify.py::test_only_the_verifier_makes_a_verified_token",
)
# Ten thousand signatures for every change would take hours, and what they find the others find as well.
_TOO_LONG: Final = ("tests/unit/identity/test_mutated_tokens.py",)
_HEADING: Final = re.compile(r"^### `([\w.]+)`$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change. function: dotted; removed, added: the lines that differ, without their indentation."""

    function: str
    removed: tuple[str, ...]
    added: tuple[str, ...]


def read_explained(text: str) -> tuple[Mutant, ...]:
    """Return the survivors that the file explains."""
    found = []
    for part in re.split(r"^(?=### )", text, flags=re.MULTILINE)[1:]:
        heading = _HEADING.match(part)
        assert heading is not None, part
        found += [_mutant(heading[1], block) for block in re.findall(r"```diff\n(.*?)```", part, re.DOTALL)]
    return tuple(found)


def _mutant(function: str, diff: str) -> Mutant:
    lines = [line for line in diff.splitlines() if not line.startswith(("+++", "---"))]
    removed, added = (tuple(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
    return Mutant(function=function, removed=removed, added=added)


def survivors(modules: Sequence[str]) -> tuple[Mutant, ...]:
    """Run the tests against every change of these modules; return those that none of them noticed."""
    tool = mutator(_say)
    with tempfile.TemporaryDirectory(prefix="mutate-") as name:
        folder = Path(name)
        _copy(folder, modules)
        _mutmut(tool, folder, "run", "--max-children", "2")
        listed = _mutmut(tool, folder, "results", quiet=True)
        names = re.findall(r"^\s*(\S+): (?:survived|no tests|suspicious)$", listed, re.MULTILINE)
        return tuple(_show(tool, folder, one) for one in names)


def _copy(folder: Path, modules: Sequence[str]) -> None:
    copy_tree(folder)
    arguments = ["-p", "no:cacheprovider", "-x", "--hypothesis-profile=ci"]
    arguments += [f"--deselect={one}" for one in _READS_THE_SOURCE] + [f"--ignore={one}" for one in _TOO_LONG]
    also = [one.name for one in folder.iterdir() if one.name not in {"gateway", "pyproject.toml"}]
    with (folder / "pyproject.toml").open("a") as file:
        file.write(
            f"\n[tool.mutmut]\nsource_paths = ['gateway']\nonly_mutate = {list(modules)}\nalso_copy = {also}\n"
            f"pytest_add_cli_args = {arguments}\npytest_add_cli_args_test_selection = {list(_TESTS)}\n"
        )


def _mutmut(tool: Path, folder: Path, *arguments: str, quiet: bool = False) -> str:
    # Behind everything else on the path: it brings a pytest of its own, and ours is the one that is meant.
    program = "import sys; sys.path.append(sys.argv.pop(1)); from mutmut.__main__ import cli; cli()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tool), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE if quiet else None,
        text=True,
        check=True,
    )
    return done.stdout or ""


def _show(tool: Path, folder: Path, name: str) -> Mutant:
    module, _, mangled = name.rpartition(".x_")
    function = mangled.partition("__mutmut_")[0]
    return _mutant(f"{module}.{function}", _mutmut(tool, folder, "show", name, quiet=True))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def main(arguments: Sequence[str]) -> int:
    """Mutate these modules, all three without arguments; return 1 when a survivor is explained nowhere."""
    explained = set(read_explained(EXPLAINED.read_text("utf-8")))
    found = survivors(arguments or MODULES)
    unexplained = [one for one in found if one not in explained]
    for one in unexplained:
        _say(f"\n### `{one.function}`\n\n```diff")
        _say("\n".join([f"- {line}" for line in one.removed] + [f"+ {line}" for line in one.added]))
        _say("```")
    _say(f"\n{len(found)} survived, {len(unexplained)} of them without an explanation in tests/mutation.md.")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
