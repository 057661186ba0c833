"""Where the tests' Vault comes from: PATH, or a build of tests/vault. `scripts/vault` runs this."""

import hashlib
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.dev.environments import EnvironmentNotBuilt, build_once, cache_folder, run_build_step
from gateway.dev.vault import BUILT_PREFIX, HOW_TO_GET_ONE, find_vault

_SOURCE = Path(__file__).parents[1] / "vault"
_INPUTS = ("go.mod", "go.sum", "main.go")


def built_folder() -> Path:
    """Return where the build of these sources stands or would stand; other sources are another folder."""
    digest = hashlib.sha256(f"{platform.system()} {platform.machine()}".encode())
    for name in _INPUTS:
        digest.update((_SOURCE / name).read_bytes())
    return cache_folder() / f"{BUILT_PREFIX}{digest.hexdigest()[:12]}"


def provide(log: Callable[[str], object]) -> Path:
    """Return a Vault program, built first if need be. Raises EnvironmentNotBuilt."""
    found = find_vault()
    if found is not None:
        return found
    if shutil.which("go") is None:
        raise EnvironmentNotBuilt(HOW_TO_GET_ONE)
    folder = built_folder()

    def announce(line: str) -> None:
        log(
            f"{line}\nCompiling Vault takes about nine minutes on two cores, and a gigabyte or two of Go's own caches."
        )

    build_once(folder, lambda: _build(folder), log=announce)
    return folder / "vault"


def _build(folder: Path) -> None:
    folder.mkdir()
    flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w"]
    command = ["env", "CGO_ENABLED=0", "go", "build", *flags, "-o", str(folder / "vault"), "."]
    run_build_step("vault", command, cwd=_SOURCE)


def main(arguments: Sequence[str]) -> int:
    """Print the path of a Vault program; with `--find` only of one that is there."""
    if list(arguments) not in ([], ["--find"]):
        sys.stderr.write("usage: scripts/vault [--find]\n")
        return 2
    try:
        found = find_vault() if arguments else provide(lambda line: sys.stderr.write(f"{line}\n"))
    except EnvironmentNotBuilt as failure:
        sys.stderr.write(f"{failure}\n")
        return 2
    if found is None:
        sys.stderr.write(f"{HOW_TO_GET_ONE}\n")
        return 1
    sys.stdout.write(f"{found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
