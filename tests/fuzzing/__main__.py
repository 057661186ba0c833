"""`python -m tests.fuzzing [--seconds N] [TARGET ...]`: each target in turn, bounded; the input that breaks a promise is kept."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.support.components import missing, packages

NAMES: Final = ("token", "signed", "json", "keys", "mapping", "targets", "gateway", "arn")
_ROOT: Final = Path(__file__).parents[2]
_FOUND: Final = _ROOT / "fuzz-findings"
# The fuzzer's parts are imported last and from behind: nothing of ours may come from its environment.
_PROGRAM: Final = """\
import sys
sys.path.append(sys.argv.pop(1))
import atheris
with atheris.instrument_imports(include=["gateway"]):
    from tests.fuzzing.targets import TARGETS, seeds
target, folder = sys.argv.pop(1), sys.argv[-1]
for number, seed in enumerate(seeds(target)):
    with open(f"{folder}/seed-{number}", "wb") as file:
        file.write(seed)
atheris.Setup(sys.argv, TARGETS[target])
atheris.Fuzz()
"""


def run(target: str, *, seconds: int) -> int:
    """Fuzz one target for so long; return 0, or libFuzzer's status when a promise was broken."""
    _FOUND.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        bounds = (
            f"-max_total_time={seconds} -max_len=20000 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1"
        )
        program = [sys.executable, "-c", _PROGRAM, str(packages("atheris")), target]
        done = subprocess.run(
            [*program, *bounds.split(), f"-artifact_prefix={_FOUND}/{target}-", folder],
            cwd=_ROOT,
            check=False,
        )
    if not any(_FOUND.iterdir()):
        _FOUND.rmdir()
    return done.returncode


def main(arguments: Sequence[str]) -> int:
    """Fuzz what is asked for; return 1 when a promise was broken, 2 when there is no fuzzer."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for each target (60)")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; all of them")
    asked = parser.parse_args(arguments)
    for name in asked.targets:
        if name not in NAMES:
            parser.error(f"there is no target {name}; there are {', '.join(NAMES)}")
    why = missing("atheris")
    if why is not None:
        sys.stderr.write(f"{why}\n")
        return 2
    broken = [name for name in asked.targets or NAMES if run(name, seconds=asked.seconds) != 0]
    for name in broken:
        sys.stderr.write(f"{name} broke a promise; the input is in {_FOUND.name}/.\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
