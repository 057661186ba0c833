"""Virtual environments for programs whose packages would fight ours: built once from a lock file, kept in the user's cache."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_COMPLETE = ".complete"


class EnvironmentNotBuilt(Exception):
    """A virtual environment could not be built; the message ends with pip's own last lines."""


def cache_folder() -> Path:
    """Return where everything is kept that can be built again: `$XDG_CACHE_HOME/oidc-gateway`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oidc-gateway"


def environment_path(name: str, lock: Path) -> Path:
    """Return where the environment of this lock file stands or would stand.

    The name carries the digest of the lock file and of the interpreter, so that another version of either is another folder.
    """
    digest = hashlib.sha256(lock.read_bytes())
    digest.update(f"\0{sys.base_prefix}\0{sys.version}".encode())
    return cache_folder() / f"{name}-{digest.hexdigest()[:12]}"


def is_built(folder: Path) -> bool:
    """Say whether a build of this folder has come to its end."""
    return (folder / _COMPLETE).exists()


def build_environment(name: str, lock: Path, *, log: Callable[[str], None]) -> Path:
    """Return the folder of the environment, built now unless it stands already. Raises EnvironmentNotBuilt.

    lock: requirements with hashes; pip refuses a package whose hash differs.
    """
    folder = environment_path(name, lock)
    build_once(folder, lambda: _install(folder, lock), log=log)
    return folder


def build_once(folder: Path, build: Callable[[], None], *, log: Callable[[str], None]) -> None:
    """Let one process fill the folder while others wait; a build that was cut short is thrown away and made again."""
    if is_built(folder):
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Built in place behind a marker, not beside and renamed: the programs of a virtual environment contain its path.
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if is_built(folder):
            return
        log(f"Building {folder.name} in {folder.parent} (once; it is kept for the next time).")
        shutil.rmtree(folder, ignore_errors=True)
        build()
        (folder / _COMPLETE).touch()


def run_build_step(name: str, command: list[str], *, cwd: Path | None = None) -> None:
    """Run one step of a build quietly. Raises EnvironmentNotBuilt with what it printed last."""
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=cwd,
        check=False,
    )
    if done.returncode != 0:
        last = "\n".join(done.stdout.splitlines()[-15:])
        raise EnvironmentNotBuilt(
            f"{name} could not be built ({command[0]} ended with {done.returncode}).\n{last}"
        )


def _install(folder: Path, lock: Path) -> None:
    run_build_step(folder.name, [sys.executable, "-m", "venv", str(folder)])
    install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "-r",
        str(lock),
    ]
    run_build_step(folder.name, [str(folder / "bin" / "python"), *install])
