"""A real Vault for the embedded environment and the tests: found on the machine, run in dev mode on loopback, gone with us."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.dev.children import LOOPBACK, Server, running
from gateway.dev.environments import cache_folder, is_built
from gateway.secret import Secret

#: Begins the names of the folders in the cache that hold a Vault built from its Go module.
BUILT_PREFIX = "vault-"
HOW_TO_GET_ONE = "No vault was found. Install Vault so that `vault` is on PATH, or Go and run scripts/vault, which builds one."
_VERSION_S = 20.0


class VaultNotFound(Exception):
    """There is no Vault on this machine; the message says how to get one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultServer:
    """An empty, unsealed Vault in memory. root_token: may do everything in it, and is nothing anywhere else."""

    address: str
    root_token: Secret = field(repr=False)


def find_vault() -> Path | None:
    """Return the `vault` on PATH, or else the newest that scripts/vault has built; None when there is neither."""
    on_path = shutil.which("vault")
    if on_path is not None and _answers(on_path):
        return Path(on_path)
    built = [folder for folder in cache_folder().glob(f"{BUILT_PREFIX}*") if is_built(folder)]
    newest = max(built, key=lambda folder: folder.stat().st_mtime, default=None)
    return newest / "vault" if newest else None


def _answers(program: str) -> bool:
    # Ran, not only looked up: version managers put commands on PATH that then refuse, and others share the name.
    try:
        said = subprocess.run(
            [program, "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_VERSION_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.returncode == 0 and said.stdout.startswith(b"Vault v")


@contextmanager
def running_vault(*, workdir: Path | None = None, port: int | None = None) -> Iterator[VaultServer]:
    """Yield an empty Vault; when we end, it ends with all that it holds.

    workdir: where its scratch folder is made. port: where it shall listen; a free one when None.
    Raises VaultNotFound and ChildFailed.
    """
    program = find_vault()
    if program is None:
        raise VaultNotFound(HOW_TO_GET_ONE)
    token = secrets.token_urlsafe(24)
    server = Server(
        name="vault",
        # Its scratch folder is its HOME; and even there the root token is not written to a file.
        command=lambda _port, _scratch: [str(program), "server", "-dev", "-dev-no-store-token"],
        environment=lambda port: _environment(port, token),
        health="/v1/sys/health",
    )
    with running(server, workdir=workdir, port=port) as port_taken:
        yield VaultServer(address=f"http://{LOOPBACK}:{port_taken}", root_token=Secret(token))


def _environment(port: int, token: str) -> Mapping[str, str]:
    return {
        # Not as arguments: every user of the machine may read those.
        "VAULT_DEV_ROOT_TOKEN_ID": token,
        "VAULT_DEV_LISTEN_ADDRESS": f"{LOOPBACK}:{port}",
        "VAULT_DISABLE_MLOCK": "true",
        "SKIP_SETCAP": "true",
    }
