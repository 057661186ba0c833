"""The Vault that tests and the demo start: on loopback, with a home of its own, and gone afterwards."""

from pathlib import Path

import pytest

from gateway.dev.environments import cache_folder
from gateway.dev.vault import VaultServer, running_vault
from tests.support.processes import descendants, listening_addresses
from tests.support.vaults import hvac_client


def test_it_listens_on_loopback_alone_tells_nobody_its_token_and_leaves_nothing(
    vault: VaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_folder().parent))  # where a Vault may have been built
    monkeypatch.setenv("HOME", str(home))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    before = descendants(_me())

    with running_vault(workdir=scratch) as server:
        family = descendants(_me()) - before
        addresses = listening_addresses(family)
        arguments = b"".join(Path(f"/proc/{one}/cmdline").read_bytes() for one in family)
        files = list(home.rglob("*")) + list(scratch.rglob(".vault-token"))
        with hvac_client(server.address, server.root_token.reveal()) as root:
            policies = root.auth.token.lookup_self()["data"]["policies"]

    assert server.address != vault.address
    assert {host for host, _ in addresses} == {"127.0.0.1"}
    assert server.root_token.reveal().encode() not in arguments
    assert files == []
    assert policies == ["root"]
    assert descendants(_me()) <= before
    assert list(scratch.iterdir()) == []


def _me() -> int:
    return int(Path("/proc/self").resolve().name)
