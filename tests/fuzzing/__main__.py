"""`scripts/fuzz`: lets a fuzzer loose on each target for a bounded time, and keeps the input that breaks a promise.

A line for each target tells its runs, the inputs that led somewhere new, the edges of the code that were reached, and findings.
Ends with 0 when nothing was found, 1 when something was or a target did not run, 2 when there is no fuzzer here.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.components import missing, packages

NAMES: Final = ("token", "signed", "json", "keys", "mapping", "targets", "gateway", "arn")
_ROOT: Final = Path(__file__).parents[2]
_FOUND: Final = _ROOT / "fuzz-findings"
_COLUMNS: Final = "{:<9}{:>12}{:>12}{:>8}{:>10}"
# The fuzzer's parts are imported last and from behind: nothing of ours may come from its environment.
_PROGRAM: Final = """\
import json, sys
sys.path.append(sys.argv.pop(1))
import atheris
with atheris.instrument_imports(include=["gateway", "tests.support.arn_oracle"]):
    from tests.fuzzing.targets import TARGETS, seeds, words
target, folder = sys.argv.pop(1), sys.argv[-1]
for number, seed in enumerate(seeds(target)):
    with open(f"{folder}/seed-{number}", "wb") as file:
        file.write(seed)
if words(target):
    with open(f"{folder}.words", "w") as file:
        file.writelines(f"{json.dumps(word)}\\n" for word in words(target))
    sys.argv.insert(1, f"-dict={folder}.words")
atheris.Setup(sys.argv, TARGETS[target])
atheris.Fuzz()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one target. findings: files with inputs that broke a promise. said: the fuzzer's own words."""

    target: str
    status: int
    findings: tuple[Path, ...]
    said: str

    @property
    def runs(self) -> int:
        """How many inputs were tried; 0 when the fuzzer did not come to its end."""
        return self._last(r"stat::number_of_executed_units: (\d+)") or self._last(r"(?m)^#(\d+)\t")

    @property
    def is_good(self) -> bool:
        """Whether it ran to its end and found nothing."""
        return self.status == 0 and not self.findings and self.runs > 0

    def line(self) -> str:
        """Return its row of the table."""
        numbers = (self.runs, self._last(r"stat::new_units_added: +(\d+)"), self._last(r" cov: (\d+)"))
        return _COLUMNS.format(self.target, *(f"{number:,}" for number in numbers), len(self.findings))

    def _last(self, pattern: str) -> int:
        return int((re.findall(pattern, self.said) or ["0"])[-1])


def run(target: str, *, seconds: int, hear: Callable[[str], object] = lambda _: None) -> Outcome:
    """Fuzz one target for so long. hear: told each line of the fuzzer as it comes."""
    _FOUND.mkdir(exist_ok=True)
    before = set(_FOUND.iterdir())
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        folder = Path(scratch) / "corpus"
        folder.mkdir()
        bounds = (
            f"-max_total_time={seconds} -max_len=20000 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1"
        )
        program = [sys.executable, "-c", _PROGRAM, str(packages("atheris")), target, *bounds.split()]
        with subprocess.Popen(
            [*program, f"-artifact_prefix={_FOUND}/{target}-", str(folder)],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            lines = []
            for line in process.stdout or ():
                lines.append(line)
                hear(line)
    found = tuple(path for path in set(_FOUND.iterdir()) - before if path.name.startswith(f"{target}-"))
    outcome = Outcome(target=target, status=process.returncode, findings=found, said="".join(lines))
    if not outcome.is_good:
        (_FOUND / f"{target}.log").write_text(outcome.said)
    return outcome


def main(arguments: Sequence[str]) -> int:
    """Fuzz what is asked for; return the status of the command."""
    asked = _parse(arguments)
    why = missing("atheris")
    if why is not None:
        sys.stderr.write(f"{why}\n")
        return 2
    hear: Callable[[str], object] = sys.stdout.write if asked.verbose else lambda _: None
    _say(_COLUMNS.format("target", "runs", "new inputs", "edges", "findings"))
    outcomes = []
    with ThreadPoolExecutor(1 if asked.verbose else asked.jobs) as pool:
        for outcome in pool.map(
            lambda name: run(name, seconds=asked.seconds, hear=hear), asked.targets or NAMES
        ):
            _say(outcome.line())
            outcomes.append(outcome)
    if _FOUND.is_dir() and not any(_FOUND.iterdir()):
        _FOUND.rmdir()
    _say(_conclusion(outcomes))
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


def _conclusion(outcomes: Sequence[Outcome]) -> str:
    bad = [outcome for outcome in outcomes if not outcome.is_good]
    if not bad:
        runs = sum(outcome.runs for outcome in outcomes)
        return f"Nothing found: {runs:,} runs of {len(outcomes)} targets broke no promise."
    broken = [outcome.target for outcome in bad if outcome.findings]
    failed = [outcome.target for outcome in bad if not outcome.findings]
    said = [
        f"{name} broke a promise: the input is in {_FOUND.name}/, the fuzzer's words in {name}.log."
        for name in broken
    ]
    said += [f"{name} did not run to its end: {_FOUND.name}/{name}.log says why." for name in failed]
    return "\n".join(said)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for each target (60)")
    parser.add_argument(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="targets at a time (one a processor)",
    )
    parser.add_argument(
        "--verbose", action="store_true", help="show the fuzzer's own lines too, one target at a time"
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all of them")
    asked = parser.parse_args(arguments)
    for name in asked.targets:
        if name not in NAMES:
            parser.error(f"there is no target {name}; there are {', '.join(NAMES)}")
    return asked


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
